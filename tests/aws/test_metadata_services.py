"""Credentials of ECS, EKS Pod Identity, EC2 and IAM Identity Center: from a service."""

import hashlib
import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import socket

import pytest

from exporter.aws.base_credentials import BaseCredentials
from exporter.cli.wiring import SystemClock
from exporter.model import Account, Partition
from tests.aws.servers import read_request, server
from tests.builders import PROD, environment

ACCOUNT = Account(PROD, "prod", Partition.AWS)

KEYS = {
    "Code": "Success",
    "AccessKeyId": "ASIAEXAMPLEEXAMPLE12",
    "SecretAccessKey": "secret",
    "Token": "session",
    "Expiration": (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ"),
}


SSO = {
    "accessKeyId": "ASIAEXAMPLEEXAMPLE34",
    "secretAccessKey": "secret",
    "sessionToken": "session",
    "expiration": int((datetime.now(UTC) + timedelta(hours=6)).timestamp() * 1000),
}


class Service:
    """
    A service that has credentials.

    Attributes:
        requests: Each request so far, with its headers.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []

    def serve(self, connection: socket, _: threading.Event) -> None:
        request = read_request(connection).decode()
        self.requests.append(request)
        body = self._answer(request.split()[1])
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall((head + body).encode())

    def _answer(self, path: str) -> str:
        match path:
            case "/latest/api/token":
                return "imds-token"
            case "/latest/meta-data/iam/security-credentials/":
                return "role"
            case portal if portal.startswith("/federation/credentials?"):
                return json.dumps({"roleCredentials": SSO})
        return json.dumps(KEYS)


def access_key() -> str:
    """The access key that is found with the environment."""
    found, _ = BaseCredentials(None, None, SystemClock()).get(ACCOUNT)
    return str(found.credentials.access_key)


def test_eks_pod_identity(tmp_path: Path) -> None:
    """The agent is asked with the token in the file, which EKS replaces from time to time."""
    service, token = Service(), tmp_path / "token"
    token.write_text("pod-token")
    with server(service.serve) as url:
        variables = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/v1/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(token),
        }
        with environment(variables):
            assert access_key() == KEYS["AccessKeyId"]

    assert "Authorization: pod-token" in service.requests[0]


def test_ecs() -> None:
    """The task's endpoint is asked."""
    service = Service()
    with server(service.serve) as url:
        variables = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{url}/v2/credentials/task"}
        with environment(variables):
            assert access_key() == KEYS["AccessKeyId"]

    assert service.requests[0].startswith("GET /v2/credentials/task ")


@pytest.mark.parametrize("disabled", [False, True])
def test_imds_v2(disabled: bool) -> None:
    """The instance metadata service is asked with a token, in version 2."""
    service = Service()
    with server(service.serve) as url:
        variables = {
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": url,
            "AWS_EC2_METADATA_V1_DISABLED": str(disabled).lower(),
        }
        with environment(variables):
            assert access_key() == KEYS["AccessKeyId"]

    first, *others = service.requests
    assert first.startswith("PUT /latest/api/token ")
    assert others
    assert all("x-aws-ec2-metadata-token: imds-token" in request for request in others)


def test_sso(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The portal of IAM Identity Center is asked with the token that aws sso login has cached."""
    service, config = Service(), tmp_path / "config"
    config.write_text(
        "[sso-session company]\nsso_region = eu-west-1\nsso_start_url = https://example.invalid\n"
        "[default]\nsso_session = company\nsso_role_name = reader\n"
        f"sso_account_id = {PROD}\n"
    )
    cache = tmp_path / ".aws" / "sso" / "cache"
    cache.mkdir(parents=True)
    token = {"accessToken": "sso-token", "expiresAt": KEYS["Expiration"]}
    name = hashlib.sha1(b"company", usedforsecurity=False).hexdigest()
    (cache / f"{name}.json").write_text(json.dumps(token))
    # Computed from HOME when botocore is imported.
    for provider in ("tokens.SSOTokenProvider", "credentials.SSOProvider"):
        monkeypatch.setattr(f"botocore.{provider}._SSO_TOKEN_CACHE_DIR", str(cache))
    with (
        server(service.serve) as url,
        environment({"AWS_CONFIG_FILE": str(config), "AWS_ENDPOINT_URL_SSO": url}),
    ):
        assert access_key() == SSO["accessKeyId"]

    assert "x-amz-sso_bearer_token: sso-token" in service.requests[0]
