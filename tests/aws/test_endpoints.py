"""Where requests go: the endpoint of each partition, through a proxy, over TLS that is trusted."""

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from socket import socket
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from exporter.aws import Clients, Endpoints, Operation
from exporter.aws.base_credentials import BaseCredentials
from exporter.cli.wiring import SystemClock
from exporter.model import Account, Partition, ReadError, Reason, RoleArn
from tests.aws.servers import Serve, read_request, server
from tests.builders import PROD, ROLE, environment

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE12", "AWS_SECRET_ACCESS_KEY": "secret"}

OPERATIONS = (Operation.LIST_USERS, Operation.GET_CALLER_IDENTITY, Operation.LIST_ACCOUNTS)
"""One of each service: IAM, STS and Organizations."""


class Proxy:
    """
    A proxy that refuses every connection.

    Attributes:
        hosts: The hosts that it was asked for.
    """

    def __init__(self) -> None:
        self.hosts: list[str] = []

    def serve(self, connection: socket, _: threading.Event) -> None:
        method, target, _version = read_request(connection).split(b"\r\n")[0].decode().split()
        assert method == "CONNECT"
        self.hosts.append(target.removesuffix(":443"))
        connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")


def request(operation: Operation, account: Account, endpoints: Endpoints) -> None:
    """
    Make one request for *account*, with the credentials of the environment.

    Raises:
        ReadError: It failed.
    """
    clock = SystemClock()
    clients = Clients(
        endpoints,
        workers=1,
        observe=lambda *_: None,
        count_error=lambda *_: None,
        clock=clock,
    )
    current, region = BaseCredentials(None, endpoints.region, clock).get(account)
    clients.request(operation, {}, credentials=current.credentials, region=region, seconds=10.0)


def in_partition(partition: Partition) -> Account:
    """An account that is read through a role in *partition*."""
    return Account(PROD, "prod", partition, role_arn=RoleArn(partition, PROD, ROLE))


def hosts(
    account: Account, variables: Mapping[str, str] | None = None, **endpoints: Any
) -> list[str]:
    """The hosts of IAM, STS and Organizations that requests for *account* go to."""
    proxy = Proxy()
    with (
        server(proxy.serve) as url,
        environment({**CREDENTIALS, "HTTPS_PROXY": url, "NO_PROXY": "", **(variables or {})}),
    ):
        for operation in OPERATIONS:
            with pytest.raises(ReadError, match="the proxy answered with HTTP status 403"):
                request(operation, account, Endpoints(**endpoints))
    return proxy.hosts


# -- partitions --------------------------------------------------------------------------------

HOSTS = {
    Partition.AWS: (
        "iam.amazonaws.com",
        "sts.us-east-1.amazonaws.com",
        "organizations.us-east-1.amazonaws.com",
    ),
    Partition.CHINA: (
        "iam.cn-north-1.amazonaws.com.cn",
        "sts.cn-north-1.amazonaws.com.cn",
        "organizations.cn-northwest-1.amazonaws.com.cn",
    ),
    Partition.US_GOV: (
        "iam.us-gov.amazonaws.com",
        "sts.us-gov-west-1.amazonaws.com",
        "organizations.us-gov-west-1.amazonaws.com",
    ),
    Partition.EUROPEAN_SOVEREIGN: (
        "iam.eusc-de-east-1.amazonaws.eu",
        "sts.eusc-de-east-1.amazonaws.eu",
        "organizations.eusc-de-east-1.amazonaws.eu",
    ),
    Partition.ISO: (
        "iam.us-iso-east-1.c2s.ic.gov",
        "sts.us-iso-east-1.c2s.ic.gov",
        "organizations.us-iso-east-1.c2s.ic.gov",
    ),
    Partition.ISO_B: (
        "iam.us-isob-east-1.sc2s.sgov.gov",
        "sts.us-isob-east-1.sc2s.sgov.gov",
        "organizations.us-isob-east-1.sc2s.sgov.gov",
    ),
    Partition.ISO_E: (
        "iam.eu-isoe-west-1.cloud.adc-e.uk",
        "sts.eu-isoe-west-1.cloud.adc-e.uk",
        "organizations.eu-isoe-west-1.cloud.adc-e.uk",
    ),
    Partition.ISO_F: (
        "iam.us-isof-south-1.csp.hci.ic.gov",
        "sts.us-isof-south-1.csp.hci.ic.gov",
        "organizations.us-isof-south-1.csp.hci.ic.gov",
    ),
}


@pytest.mark.parametrize("partition", list(Partition))
@pytest.mark.parametrize("region", ["us-east-1", "cn-northwest-1"])
def test_endpoints_follow_from_the_role(partition: Partition, region: str) -> None:
    """The partition of the role decides, wherever the exporter runs."""
    found = hosts(in_partition(partition), {"AWS_DEFAULT_REGION": region})

    if region.startswith("cn-") and partition is Partition.CHINA:
        expected = ("iam.cn-north-1.amazonaws.com.cn", f"sts.{region}.amazonaws.com.cn")
        assert tuple(found) == (*expected, HOSTS[partition][2])
    else:
        assert tuple(found) == HOSTS[partition]


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        ("us-gov-east-1", ("iam.us-gov.", "sts.us-gov-east-1.", "organizations.us-gov-west-1.")),
        ("eu-central-1", ("iam.", "sts.eu-central-1.", "organizations.us-east-1.")),
    ],
)
def test_endpoints_follow_from_the_configured_region(
    region: str, expected: tuple[str, ...]
) -> None:
    """Without a role the configured region decides, not that of the environment."""
    account = Account(PROD, "prod", Partition.AWS)

    found = hosts(account, {"AWS_DEFAULT_REGION": "cn-north-1"}, region=region)

    assert tuple(found) == tuple(f"{host}amazonaws.com" for host in expected)


@pytest.mark.parametrize("partition", [Partition.AWS, Partition.CHINA])
def test_a_region_that_does_not_exist(partition: Partition) -> None:
    """A misspelt region, about which there is a warning, keeps no role from being assumed."""
    assert tuple(hosts(in_partition(partition), region="useast1")) == HOSTS[partition]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"use_fips": True},
            (
                "iam-fips.amazonaws.com",
                "sts-fips.us-east-1.amazonaws.com",
                "organizations-fips.us-east-1.amazonaws.com",
            ),
        ),
        (
            {"use_dualstack": True},
            ("iam.global.api.aws", "sts.us-east-1.api.aws", "organizations.us-east-1.api.aws"),
        ),
        (
            {"use_fips": True, "use_dualstack": True},
            (
                "iam-fips.global.api.aws",
                "sts-fips.us-east-1.api.aws",
                "organizations-fips.us-east-1.api.aws",
            ),
        ),
    ],
)
def test_fips_and_dual_stack(options: dict[str, Any], expected: tuple[str, ...]) -> None:
    """FIPS and dual-stack endpoints are used for every service."""
    assert tuple(hosts(in_partition(Partition.AWS), **options)) == expected


# -- proxies and TLS ---------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a self-signed certificate for 127.0.0.1, followed by its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "proxy of a company")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "company.pem"
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    file.write_bytes(signed.public_bytes(pem) + private)
    return file


USERS = (
    b"<ListUsersResponse><ListUsersResult><IsTruncated>false</IsTruncated><Users/>"
    b"</ListUsersResult></ListUsersResponse>"
)


def over_tls(certificate: Path) -> Serve:
    """Answer ListUsers over TLS, with *certificate*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def serve(connection: socket, _: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            read_request(secured)
            head = f"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {len(USERS)}"
            secured.sendall(f"{head}\r\n\r\n".encode() + USERS)

    return serve


@contextmanager
def aws_over_tls(certificate: Path) -> Iterator[Endpoints]:
    """Run an AWS over TLS, and give its endpoints."""
    with server(over_tls(certificate), "https") as url:
        yield Endpoints(region="us-east-1", urls={"iam": url})


def test_a_certificate_that_is_not_trusted(certificate: Path) -> None:
    """A proxy that decrypts TLS is not trusted by itself."""
    with (
        aws_over_tls(certificate) as aws,
        environment({**CREDENTIALS, "NO_PROXY": "*"}),
        pytest.raises(ReadError, match="certificate") as raised,
    ):
        request(Operation.LIST_USERS, in_partition(Partition.AWS), aws)

    assert raised.value.reason is Reason.NETWORK


def test_aws_ca_bundle(certificate: Path) -> None:
    """AWS_CA_BUNDLE names the certificates that are trusted."""
    variables = {**CREDENTIALS, "NO_PROXY": "*", "AWS_CA_BUNDLE": str(certificate)}
    with aws_over_tls(certificate) as aws, environment(variables):
        request(Operation.LIST_USERS, in_partition(Partition.AWS), aws)


@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_no_proxy(certificate: Path, variable: str) -> None:
    """A host in NO_PROXY, such as a VPC endpoint, is reached without the proxy."""
    proxy = Proxy()
    with server(proxy.serve) as url, aws_over_tls(certificate) as aws:
        variables = {**CREDENTIALS, "AWS_CA_BUNDLE": str(certificate), "HTTPS_PROXY": url}
        with environment({**variables, "NO_PROXY": "", variable: "127.0.0.1"}):
            request(Operation.LIST_USERS, in_partition(Partition.AWS), aws)

    assert proxy.hosts == []
