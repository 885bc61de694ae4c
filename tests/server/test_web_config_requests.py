"""
The same web configuration, the same requests: a Go exporter and ours give the same answers.

The Go exporter is the blackbox exporter, which serves with exporter-toolkit.
"""

import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from exporter.server import WebConfig
from tests.server.serving import connect, get, read_all, serving
from tests.server.web_files import (
    FOLDER,
    Answer,
    Certificates,
    ask,
    basic,
)
from tests.servers import Release, find, free_port, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.process,
    pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning"),
]

Request = Callable[[int, Certificates], object]
"""Sends something to a port, and returns what is to be compared."""

SECRET = basic("alice", "secret")


@dataclass(frozen=True)
class Plain:
    """Requests without TLS."""

    authorizations: tuple[str | None, ...] = (None,)
    method: str = "GET"

    def __call__(self, port: int, certificates: Certificates) -> object:
        return [ask(port, None, text, method=self.method) for text in self.authorizations]


@dataclass(frozen=True)
class Encrypted:
    """
    A request with TLS.

    Attributes:
        certificate: The client's: ``ours``, ``foreign``, ``under``, or none.
        versions: The client's oldest and newest.
        ciphers: The client's, of TLS 1.2.
        curve: The client's only one. Empty: any.
        chosen: Whether the cipher is compared.
    """

    certificate: str = ""
    authorization: str | None = None
    versions: tuple[ssl.TLSVersion, ssl.TLSVersion] | None = None
    ciphers: str = ""
    curve: str = ""
    chosen: bool = False

    def __call__(self, port: int, certificates: Certificates) -> object:
        context = certificates.client(self.certificate)
        if self.versions is not None:
            context.minimum_version, context.maximum_version = self.versions
        if self.ciphers:
            context.set_ciphers(self.ciphers + ":@SECLEVEL=0")
        if self.curve:
            context.set_ecdh_curve(self.curve)
        answer = ask(port, context, self.authorization)
        if isinstance(answer, Answer) and not self.chosen:
            return Answer(answer.status, answer.headers, answer.body)
        return answer


def client_hello(port: int, certificates: Certificates) -> object:
    """Send the beginning of a TLS handshake, and return the first line of the answer."""
    with connect(port) as client:
        client.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n")
        return read_all(client).partition(b"\r\n")[0]


def plain_bytes(port: int, certificates: Certificates) -> object:
    """Send a request without TLS, and return all bytes of the answer."""
    with connect(port) as client:
        client.sendall(get("/-/healthy"))
        return read_all(client)


def keeps_alive(*headers: str, body: bytes = b"") -> Request:
    """Send the same request twice on one connection, and return the status lines."""
    length = f"Content-Length: {len(body)}"

    def send(port: int, certificates: Certificates) -> object:
        with connect(port) as client:
            client.sendall(get("/-/healthy", *headers, length) + body)
            first = client.recv(10000).partition(b"\r\n")[0]
            client.sendall(get("/-/healthy", *headers, length, "Connection: close") + body)
            return first, read_all(client).partition(b"\r\n")[0]

    return send


OLD = [
    (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1),
    (ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_1),
    (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2),
    (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_3),
]
VERSIONS = [Encrypted(versions=versions) for versions in OLD]
CLIENTS = [Encrypted(certificate) for certificate in ("", "foreign", "under", "ours")]
TLS12 = OLD[2]
CIPHERS = [
    Encrypted(versions=TLS12, ciphers=name, chosen=True)
    for name in (
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-AES128-GCM-SHA256",
    )
]
CURVES = [Encrypted(curve=name) for name in ("prime256v1", "secp384r1", "secp521r1", "X25519")]
WRONG = [
    None,
    "",
    SECRET,
    SECRET.replace("Basic", "bAsIc"),
    SECRET.replace("Basic ", "Basic  "),
    SECRET.replace("Basic", "Bearer"),
    SECRET[:-1] + "!",
    SECRET.rstrip("="),
    basic("alice", "Secret"),
    basic("alice", ""),
    basic("", "secret"),
    basic("mallory", "secret"),
    basic("ALICE", "secret"),
    basic("alice", "secret "),
    basic("alice", "secret\0"),
    basic(b"\xff", "secret"),
    "Basic YWxpY2U=",
    basic("bob", "hunter2"),
    basic("carol", "secret"),
    basic("carol", "hunter2"),
]
LONG = [basic("alice", "x" * length) for length in (71, 72, 73, 200)]
NAMES = [
    basic("0123", "a"),
    basic("83", "a"),
    basic("", "b"),
    basic("josé", "c"),
    basic("true", "d"),
    basic("True", "d"),
]
PASSWORDS = [
    basic("colon", "a:b"),
    basic("colon", "a"),
    basic("zero", "a\0b"),
    basic("zero", "a"),
    basic("zero", "a\0b\0a\0b"),
    basic("empty", ""),
    basic("empty", "a"),
]
HASHES = [
    basic(user, "secret") for user in ("x", "z", "minor", "one", "longer", "shorter", "characters")
]

CASES: list[tuple[str, Sequence[Request]]] = [
    ("empty", [Plain(), Plain(method="HEAD"), client_hello, keeps_alive()]),
    ("headers", [Plain(), Plain(method="HEAD")]),
    ("header_sameorigin", [Plain()]),
    ("header_lines", [Plain()]),
    ("header_empty", [Plain()]),
    ("users", [Plain(tuple(WRONG)), Plain((None, SECRET), method="HEAD")]),
    ("users", [keeps_alive(), keeps_alive(f"Authorization: {SECRET}")]),
    ("users", [keeps_alive(body=b"x"), keeps_alive(f"Authorization: {SECRET}", body=b"x")]),
    ("users", [keeps_alive(f"Authorization: {basic('alice', 'x')}", f"Authorization: {SECRET}")]),
    ("users", [Plain((None, basic("alice", "x")), method="POST")]),
    ("users_long_password", [Plain(tuple(LONG))]),
    ("users_odd_names", [Plain(tuple(NAMES))]),
    ("users_odd_passwords", [Plain(tuple(PASSWORDS))]),
    ("users_odd_hashes", [Plain(tuple(HASHES))]),
    ("users_unusual_hashes", [Plain((basic("plus", "a"), basic("mark", "a")))]),
    ("users_none", [Plain((None, SECRET))]),
    ("rate_limit", [Plain((None,) * 5), keeps_alive()]),
    ("rate_limit_users", [Plain((None, SECRET, SECRET, None))]),
    ("rate_limit_off", [Plain((None,) * 5)]),
    ("rate_limit_zero", [Plain((None,) * 5)]),
    ("rate_limit_negative", [Plain((None,) * 5)]),
    ("rate_limit_no_burst", [Plain((None,) * 5)]),
    ("rate_limit_merged", [Plain((None,) * 5)]),
    ("rate_shortest", [Plain((None,) * 5)]),
    ("tabs", [Plain()]),
    ("rate_limit_duration", [Plain((None,) * 5)]),
    ("tls_files", [Encrypted(), *CLIENTS, *VERSIONS, *CURVES, *CIPHERS, plain_bytes, Plain()]),
    ("tls_inline", [Encrypted()]),
    ("tls_chain", [Encrypted()]),
    ("tls_without_certificate", [Encrypted(), Plain()]),
    ("users_tls", [Encrypted(), Encrypted("", SECRET), Encrypted("", basic("a", "b")), Plain()]),
    ("client_none", CLIENTS),
    ("client_request", CLIENTS),
    ("client_request_ca", CLIENTS),
    ("client_if_given", CLIENTS),
    ("client_required", CLIENTS),
    ("client_required_inline", CLIENTS),
    ("client_two_cas", CLIENTS),
    ("client_ca_missing", CLIENTS),
    ("client_ca_intermediate", CLIENTS),
    ("client_ca_leaf", CLIENTS),
    ("client_ca_junk", CLIENTS),
    ("client_ca_null", CLIENTS),
    ("sans_dns", CLIENTS),
    ("sans_ip", CLIENTS),
    ("sans_email", CLIENTS),
    ("sans_uri", CLIENTS),
    ("sans_other", CLIENTS),
    ("sans_empty", CLIENTS),
    ("sans_if_given", CLIENTS),
    ("sans_ignored", CLIENTS),
    ("version_tls10", VERSIONS),
    ("version_tls11", VERSIONS),
    ("version_tls12", VERSIONS),
    ("version_tls13", VERSIONS),
    ("ciphers_all", CIPHERS),
    ("ciphers_one", CIPHERS),
    ("ciphers_cbc", CIPHERS),
    ("ciphers_tls13", VERSIONS),
    ("curves_one", CURVES),
]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextmanager
def blackbox_exporter(folder: Path, web_config: Path) -> Iterator[int]:
    """Run the blackbox exporter and yield its port."""
    program = find("prometheus-blackbox-exporter", Release.NEWER)
    (folder / "blackbox.yml").write_text("modules: {http: {prober: http}}\n", encoding="utf-8")
    port = free_port()
    with (folder / "blackbox.log").open("w") as log:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'blackbox.yml'}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--web.config.file={web_config}",
            ],
            stderr=log,
        )

    def is_listening() -> bool:
        with socket.create_connection(("127.0.0.1", port), 5):
            return True

    try:
        wait_until(is_listening, "the blackbox exporter listens")
        yield port
    finally:
        process.terminate()
        process.wait(10)


@pytest.mark.parametrize(
    ("name", "requests"), CASES, ids=[f"{i}-{name}" for i, (name, _) in enumerate(CASES)]
)
def test_same_answers(
    name: str, requests: Sequence[Request], certificates: Certificates, tmp_path: Path
) -> None:
    """Both exporters give the same status, headers and errors for each request."""
    web_config = certificates.web_config(FOLDER / "good" / f"{name}.yml")
    with ExitStack() as stack:
        theirs = stack.enter_context(blackbox_exporter(tmp_path, web_config))
        ours = stack.enter_context(serving(web=WebConfig(str(web_config))))
        expected = [send(theirs, certificates) for send in requests]
        actual = [send(ours, certificates) for send in requests]

    assert actual == expected


FAKEPASSWORD = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"

CHANGES: dict[str, str | None] = {
    "invalid": "unknown: 1",
    "not YAML": "{",
    "unknown header": "http_server_config: {headers: {X-Other: x}}",
    "missing": None,
    "other users": f"basic_auth_users: {{alice: {FAKEPASSWORD}}}",
    "no users": "http_server_config: {headers: {X-Frame-Options: deny}}",
}
"""What the file becomes. None: it is removed."""


@pytest.mark.parametrize("text", CHANGES.values(), ids=CHANGES)
def test_same_answers_after_a_change(
    text: str | None, certificates: Certificates, tmp_path: Path
) -> None:
    """Both exporters give the same answers after the file has changed."""
    web_config = certificates.web_config(FOLDER / "good" / "users.yml")
    web = WebConfig(str(web_config))
    send = Plain((None, SECRET, basic("alice", "fakepassword")))
    with ExitStack() as stack:
        theirs = stack.enter_context(blackbox_exporter(tmp_path, web_config))
        ours = stack.enter_context(serving(web=web))
        before = send(theirs, certificates), send(ours, certificates)
        if text is None:
            web_config.unlink()
        else:
            web_config.write_text(text, encoding="utf-8")
        web.check()
        web.check()
        after = send(theirs, certificates), send(ours, certificates)

    assert before[0] == before[1]
    assert after[0] == after[1]
    assert after != before
