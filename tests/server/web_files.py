"""Web configuration files, the certificates that they name, and clients that use them."""

import base64
import ipaddress
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from exporter.server import Limits, Site, WebConfig
from tests.server.serving import SITE, serving

FOLDER = Path(__file__).parent.parent / "data" / "web_config"
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
HEADERS = (
    "Content-Security-Policy",
    "Content-Type",
    "Strict-Transport-Security",
    "WWW-Authenticate",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)
"""Those that a web configuration decides on."""

NAMES = [
    x509.DNSName("prometheus.example.org"),
    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    x509.RFC822Name("prometheus@example.org"),
    x509.UniformResourceIdentifier("spiffe://example.org/prometheus"),
]
"""Those of a client's certificate."""


TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
ALICE = "$2b$04$VzqQEE/KkvYuV3gpHLUwt.NeWDyBBGo2Hiylp.o2shFuFQ0mc48M."
"""The hash of ``secret``."""
USERS = f"basic_auth_users: {{alice: {ALICE}}}\n"


@dataclass(frozen=True)
class Refused:
    """The server has closed the connection without an answer."""


@dataclass(frozen=True)
class Answer:
    """
    What a server answers.

    Attributes:
        headers: Those of HEADERS; of requests that are admitted, those that a configuration adds.
        body: Only that of 401, 429 and 500.
        cipher: Empty: without TLS.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cipher: str = ""


class Certificates:
    """
    Writes certificates into a folder.

    ``server``, ``ours`` (a client of the same authority, ``ca.crt``), ``foreign`` (of another one),
    ``under`` (of an authority under the same one, ``intermediate.crt``), and what else the files of
    FOLDER name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority, other = trustme.CA(), trustme.CA()
        self._write(authority, "server", "127.0.0.1")
        self._write(authority, "other", "127.0.0.1")
        self._write_client(authority, "ours")
        self._write_client(other, "foreign")
        intermediate = authority.create_child_ca()
        self._write_client(intermediate, "under")
        intermediate.cert_pem.write_to_path(folder / "intermediate.crt")
        authority.cert_pem.write_to_path(folder / "ca.crt")
        (folder / "two.crt").write_bytes(other.cert_pem.bytes() + authority.cert_pem.bytes())
        certificate = (folder / "server.crt").read_bytes()
        key = (folder / "server.key").read_bytes()
        (folder / "chain.crt").write_bytes(certificate + authority.cert_pem.bytes())
        (folder / "both.pem").write_bytes(key + certificate)
        encrypted = serialization.load_pem_private_key(key, None).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
        (folder / "encrypted.key").write_bytes(encrypted)

    def _write(self, authority: trustme.CA, name: str, *names: str) -> None:
        issued = authority.issue_cert(*names)
        issued.cert_chain_pems[0].write_to_path(self.folder / f"{name}.crt")
        issued.private_key_pem.write_to_path(self.folder / f"{name}.key")

    def _write_client(self, authority: trustme.CA, name: str) -> None:
        """Write a certificate with names of each kind, which trustme cannot issue."""
        signer = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes()).subject
        self._issue(name, ec.generate_private_key(ec.SECP256R1()), signer, issuer)

    def write_self_signed(self, name: str, key: rsa.RSAPrivateKey) -> None:
        """Write a certificate for *key*."""
        self._issue(name, key, key, x509.Name([]))

    def _issue(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        signer: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
        issuer: x509.Name,
    ) -> None:
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(NAMES), critical=True)
            .add_extension(x509.ExtendedKeyUsage([CLIENT_AUTH]), critical=False)
            .sign(signer, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        (self.folder / f"{name}.crt").write_bytes(certificate.public_bytes(pem))
        written = key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (self.folder / f"{name}.key").write_bytes(written)

    def web_config(self, path: Path) -> Path:
        """Write the web configuration file *path* beside the certificates."""
        text = path.read_text(encoding="utf-8").replace("{folder}", self.folder.name)
        for name, file in (("cert", "server.crt"), ("key", "server.key"), ("ca", "ca.crt")):
            pem = (self.folder / file).read_text(encoding="ascii").strip()
            text = text.replace(f"{{{name}}}", pem.replace("\n", "\n    "))
        written = self.folder / f"{path.parent.name}.{path.name}"
        written.write_text(text, encoding="utf-8")
        return written

    def client(self, name: str = "") -> ssl.SSLContext:
        """
        Create a client's side of TLS.

        Args:
            name: ``ours``, ``foreign`` or ``under``. Empty: without a certificate.
        """
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        if name:
            context.load_cert_chain(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        return context


def basic(user: str | bytes, password: str | bytes) -> str:
    """Return the value of the header Authorization."""
    encoded = [text.encode() if isinstance(text, str) else text for text in (user, password)]
    return "Basic " + base64.b64encode(b":".join(encoded)).decode()


def ask(
    port: int,
    tls: ssl.SSLContext | None = None,
    authorization: str | None = None,
    *,
    method: str = "GET",
    path: str = "/-/healthy",
    source: str = "127.0.0.1",
) -> Answer | Refused:
    """
    Send a request and return the answer.

    Args:
        source: The client's own address.
    """
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        plain = socket.create_connection(("127.0.0.1", port), 10, (source, 0))
        connection.sock = plain
        if tls is not None:
            connection.sock = tls.wrap_socket(plain, server_hostname="127.0.0.1")
        headers = {"Authorization": authorization} if authorization is not None else {}
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        body = response.read()
        cipher = ""
        if isinstance(connection.sock, ssl.SSLSocket):
            found = connection.sock.cipher()
            cipher = found[0] if found is not None else ""
    except (OSError, HTTPException):
        return Refused()
    finally:
        connection.close()
    sent = {name: response.headers[name] for name in HEADERS if name in response.headers}
    is_refused = response.status in (401, 429, 500)
    if not is_refused:  # our pages have these in any case
        sent.pop("Content-Type", None)
        sent.pop("X-Content-Type-Options", None)
    return Answer(response.status, sent, body if is_refused else b"", cipher)


SECRET = basic("alice", "secret")


class File:
    """A web configuration file that is in use."""

    def __init__(self, folder: Path, text: str) -> None:
        self.path = folder / "web.yml"
        self.path.write_text(text, encoding="utf-8")
        self.config = WebConfig(str(self.path))

    def change(self, text: str) -> None:
        """Write the file and let the exporter find it."""
        self.path.write_text(text, encoding="utf-8")
        self.found()

    def found(self) -> None:
        """Let the exporter look at the files until it has to apply them."""
        self.config.check()
        self.config.check()


@contextmanager
def encrypted(
    certificates: Certificates,
    site: Site = SITE,
    limits: Limits = Limits(),  # noqa: B008
) -> Iterator[int]:
    with serving(site, limits, File(certificates.folder, TLS).config) as port:
        yield port
