"""Connections with TLS and passwords."""

import logging
import os
import socket
import ssl
import struct
import threading
from dataclasses import replace
from pathlib import Path

import bcrypt
import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa

from exporter.server import Limits, WebConfigError
from tests.server.serving import SITE, Chunks, Requests, connect, get, read_all, serving
from tests.server.web_files import (
    SECRET,
    TLS,
    USERS,
    Answer,
    Certificates,
    File,
    Refused,
    ask,
    basic,
    encrypted,
)


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_rsa_certificates(version: ssl.TLSVersion, certificates: Certificates) -> None:
    """A certificate with an RSA key is served, too."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1", key_type=trustme.KeyType.RSA)
    issued.cert_chain_pems[0].write_to_path(certificates.folder / "server.crt")
    issued.private_key_pem.write_to_path(certificates.folder / "server.key")
    tls = certificates.client()
    authority.configure_trust(tls)
    tls.maximum_version = version
    with encrypted(certificates) as port:
        answer = ask(port, tls)

    assert isinstance(answer, Answer)
    assert answer.status == 200


def test_refused_requests_are_counted(tmp_path: Path) -> None:
    """Requests that are refused are counted by the reason."""
    requests = Requests()
    file = File(tmp_path, f"{USERS}rate_limit: {{interval: 1h, burst: 2}}\n")
    with serving(replace(SITE, observe=requests.observe), web=file.config) as port:
        for authorization in (None, SECRET, SECRET):
            ask(port, None, authorization)

    assert requests == {("unauthorized", 401): 1, ("healthy", 200): 1, ("rate_limited", 429): 1}


def test_clients_that_leave_during_the_check(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that resets its connection while its password is checked leaves nothing behind."""
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(10)).decode()
    requests = Requests()
    file = File(tmp_path, f"basic_auth_users: {{alice: {hashed}}}\n")
    with serving(
        replace(SITE, observe=requests.observe), Limits(connections=40), file.config
    ) as port:
        for number in range(30):
            with connect(port) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                authorization = basic("alice", str(number))
                client.sendall(get("/metrics", f"Authorization: {authorization}"))
        answer = ask(port, None, SECRET)

    assert isinstance(answer, Answer)
    assert (answer.status, caplog.messages) == (200, [])


def test_a_weak_key_is_refused(certificates: Certificates) -> None:
    """OpenSSL does not serve a certificate with a key that is too small."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 (that is the point)
    certificates.write_self_signed("server", key)

    with pytest.raises(WebConfigError) as caught:
        File(certificates.folder, TLS)

    problem = "tls_server_config.cert_file: OpenSSL refuses the certificate: ee key too small"
    assert str(caught.value).endswith(problem)


@pytest.mark.parametrize("path", ["/metrics", "/", "/nothing", "/-/ready"])
def test_every_path_needs_a_password(path: str, tmp_path: Path) -> None:
    """No path is served without a password."""
    with serving(web=File(tmp_path, USERS).config) as port:
        answers = [ask(port, None, each, path=path) for each in (None, SECRET)]

    statuses = [each.status for each in answers if isinstance(each, Answer)]
    assert statuses == [401, 404 if path == "/nothing" else 200]


def test_configured_headers_replace_ours(tmp_path: Path) -> None:
    """A header of the configuration replaces one that a page has."""
    policy = "http_server_config: {headers: {Content-Security-Policy: default-src *}}\n"
    with serving(web=File(tmp_path, policy).config) as port:
        assert ask(port, path="/") == Answer(200, {"Content-Security-Policy": "default-src *"})


def test_requests_without_tls_are_malformed(certificates: Certificates) -> None:
    """A request without TLS is answered in plain text, and counted as malformed."""
    requests = Requests()
    with encrypted(certificates, replace(SITE, observe=requests.observe)) as port:
        answer = ask(port)

    assert isinstance(answer, Answer)
    assert (answer.status, requests) == (400, {("malformed", 400): 1})


@pytest.mark.parametrize(
    "data", [b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\x00\x02\xff\xff", b"\0" * 100, b""]
)
def test_failed_handshakes_are_not_logged(
    data: bytes, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """What clients do wrong before there is a request does not fill the log."""
    caplog.set_level(logging.INFO)
    with encrypted(certificates) as port:
        for _ in range(3):
            with connect(port) as client:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                read_all(client)
        assert ask(port, certificates.client()) != Refused()

    assert caplog.messages == []


@pytest.mark.parametrize("data", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "half"])
def test_a_slow_handshake_is_cut_off(data: bytes, certificates: Certificates) -> None:
    """A client that does not complete the TLS handshake is disconnected."""
    limits = Limits(header=0.2, idle=60)
    with encrypted(certificates, limits=limits) as port, connect(port) as client:
        client.sendall(data)

        assert read_all(client) == b""


def test_a_slow_header_is_cut_off_with_tls(certificates: Certificates) -> None:
    """The time for a header is the same with TLS."""
    tls = certificates.client()
    with (
        encrypted(certificates, limits=Limits(header=0.5, idle=60)) as port,
        tls.wrap_socket(connect(port), server_hostname="127.0.0.1") as client,
    ):
        client.sendall(b"GET /metrics HTTP/1.1\r\n")

        assert client.recv(1000) == b""


def test_large_headers_with_tls(certificates: Certificates) -> None:
    """A header that is too large is answered with TLS, too."""
    tls = certificates.client()
    with (
        encrypted(certificates) as port,
        tls.wrap_socket(connect(port), server_hostname="127.0.0.1") as client,
    ):
        client.sendall(get("/", "X: " + "x" * 20000))

        assert client.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_large_pages_with_tls(certificates: Certificates) -> None:
    """A page that is larger than all buffers arrives completely."""
    large = Chunks(*[os.urandom(65536)] * 256)
    tls = certificates.client()
    with (
        encrypted(certificates, replace(SITE, metrics=lambda *_: large)) as port,
        tls.wrap_socket(connect(port), server_hostname="127.0.0.1") as client,
    ):
        client.sendall(get("/metrics", "Connection: close"))
        body = read_all(client).partition(b"\r\n\r\n")[2]

    assert body == b"".join(large)


def test_a_client_that_does_not_read_is_cut_off_with_tls(certificates: Certificates) -> None:
    """A client that receives nothing for too long is disconnected, and not logged."""
    large = Chunks(*[b"x" * 65536] * 256)
    site = replace(SITE, metrics=lambda *_: large)
    tls = certificates.client()
    with (
        encrypted(certificates, site, Limits(stalled=0.3)) as port,
        tls.wrap_socket(connect(port, receive_buffer=4096), server_hostname="127.0.0.1") as client,
    ):
        client.sendall(get("/metrics"))
        client.recv(1)
        threading.Event().wait(1)
        received = 0
        try:
            while data := client.recv(65536):
                received += len(data)
        except OSError:
            pass

    assert received < large.size


def test_pipelined_requests_with_tls(certificates: Certificates) -> None:
    """Requests that are sent at once are all answered."""
    tls = certificates.client()
    with (
        encrypted(certificates) as port,
        tls.wrap_socket(connect(port), server_hostname="127.0.0.1") as client,
    ):
        client.sendall(get("/-/healthy") * 50 + get("/nothing", "Connection: close"))
        response = read_all(client)

    assert (response.count(b"200 OK"), response.count(b"404 Not Found\r\n")) == (50, 1)


def test_sessions_end_with_their_configuration(certificates: Certificates) -> None:
    """A client cannot resume a session whose certificate is not accepted any more."""
    text = (
        "tls_server_config: {cert_file: server.crt, key_file: server.key,"
        " client_auth_type: RequireAndVerifyClientCert, client_ca_file: AUTHORITY}\n"
    )
    file = File(certificates.folder, text.replace("AUTHORITY", "ca.crt"))
    tls = certificates.client("ours")
    tls.maximum_version = ssl.TLSVersion.TLSv1_2

    def connects(session: ssl.SSLSession | None) -> ssl.SSLSession | None:
        with tls.wrap_socket(connect(port), server_hostname="127.0.0.1", session=session) as client:
            client.sendall(get("/-/healthy"))
            assert client.recv(1000).startswith(b"HTTP/1.1 200")
            return client.session

    with serving(web=file.config) as port:
        session = connects(None)
        connects(session)
        file.change(text.replace("AUTHORITY", "foreign.crt"))

        with pytest.raises((ssl.SSLError, ConnectionError)):
            connects(session)
