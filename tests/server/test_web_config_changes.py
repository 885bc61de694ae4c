"""Web configuration files, and certificates, that change while they are in use."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from tests.server.serving import SITE, Requests, connect, get, serving
from tests.server.web_files import (
    SECRET,
    TLS,
    USERS,
    Answer,
    Certificates,
    File,
    ask,
    basic,
)
from tests.servers import wait_until


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def serial_number(port: int, certificates: Certificates) -> object:
    """Return the serial number of the certificate that is served."""
    with certificates.client().wrap_socket(connect(port), server_hostname="127.0.0.1") as client:
        certificate = client.getpeercert()
        assert certificate is not None
        return certificate["serialNumber"]


def test_certificates_are_read_again(certificates: Certificates) -> None:
    """A new certificate is used for new connections; those that are open stay open."""
    file = File(certificates.folder, TLS)
    tls = certificates.client()
    with (
        serving(web=file.config) as port,
        tls.wrap_socket(connect(port), server_hostname="127.0.0.1") as client,
    ):
        before = serial_number(port, certificates)
        for kind in ("crt", "key"):
            (certificates.folder / f"other.{kind}").replace(certificates.folder / f"server.{kind}")
        file.found()
        after = serial_number(port, certificates)
        client.sendall(get("/-/healthy"))

        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        assert before != after


def test_a_certificate_without_its_key_changes_nothing(
    certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """While a certificate and its key do not belong together, the last ones are served."""
    file = File(certificates.folder, TLS)
    with serving(web=file.config) as port:
        before = serial_number(port, certificates)
        (certificates.folder / "other.crt").replace(certificates.folder / "server.crt")
        file.found()
        file.found()

        assert serial_number(port, certificates) == before
    assert caplog.messages == ["invalid TLS configuration; the last valid one stays in effect"]
    assert "is not the key of the certificate" in caplog.records[0].__dict__["error"]


def test_users_are_read_again(tmp_path: Path) -> None:
    """A user who is removed is refused at once, though the password was correct before."""
    file = File(tmp_path, USERS)
    with serving(web=file.config) as port:
        before = ask(port, None, SECRET)
        file.change(USERS.replace("alice", "bob"))
        after = [ask(port, None, basic(user, "secret")) for user in ("alice", "bob")]

    statuses = [each.status for each in (before, *after) if isinstance(each, Answer)]
    assert statuses == [200, 401, 200]


def test_changes_are_found(tmp_path: Path) -> None:
    """A change takes effect by itself, within seconds."""
    file = File(tmp_path, "")
    with serving(web=file.config) as port:
        assert ask(port) == Answer(200)
        file.path.write_text(USERS, encoding="utf-8")
        wait_until(lambda: ask(port) != Answer(200), "a password is asked for", 10)


def test_headers_and_rate_limit_are_read_again(tmp_path: Path) -> None:
    """Headers and the rate limit change without a restart."""
    file = File(tmp_path, "")
    with serving(web=file.config) as port:
        file.change("http_server_config: {headers: {X-Frame-Options: deny}}\n")
        headers = ask(port)
        file.change("rate_limit: {interval: 1h, burst: 1}\n")
        limited = [ask(port), ask(port)]

    assert headers == Answer(200, {"X-Frame-Options": "deny"})
    assert [each.status for each in limited if isinstance(each, Answer)] == [200, 429]


def test_a_change_elsewhere_keeps_the_rate_limit(tmp_path: Path) -> None:
    """The rate limit begins again only if it is another."""
    text = "rate_limit: {interval: 1h, burst: 1}\n"
    file = File(tmp_path, text)
    with serving(web=file.config) as port:
        ask(port)
        file.change(f"{text}http_server_config: {{headers: {{X-Frame-Options: deny}}}}\n")

        answer = ask(port)

    assert isinstance(answer, Answer)
    assert answer.status == 429


INVALID = "invalid web configuration; all requests are answered with 500"


def statuses(port: int, *authorizations: str | None) -> list[int]:
    answers = [ask(port, None, authorization) for authorization in authorizations]
    return [answer.status for answer in answers if isinstance(answer, Answer)]


@pytest.mark.parametrize("text", ["basic_auth_users: {alice: x}", "{", "unknown: 1"])
def test_while_the_file_is_invalid_no_request_is_answered(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """While a file is invalid, all requests are answered with 500, and the log says so once."""
    requests = Requests()
    file = File(tmp_path, USERS)
    with serving(replace(SITE, observe=requests.observe), web=file.config) as port:
        file.change(text)
        file.found()
        answers = [ask(port, None, SECRET), ask(port)]
        invalid = [record.message for record in caplog.records if record.levelname == "ERROR"]
        file.change(USERS)
        after = statuses(port, None, SECRET)

    headers = {
        "Content-Type": "text/plain; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
    }
    assert answers == [Answer(500, headers, b"Internal Server Error\n")] * 2
    assert invalid == [INVALID]
    assert after == [401, 200]
    assert requests["invalid_web_config", 500] == 2


def test_a_problem_that_is_gone_is_logged_again_when_it_returns(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says when a problem is found, when it is solved and when it is back."""
    caplog.set_level(logging.INFO)
    file = File(tmp_path, USERS)
    passwords = file.config.passwords
    for text in ("{", USERS, "{"):
        file.change(text)

    messages = [each for each in caplog.messages if each != "web configuration warning"]
    assert messages == [INVALID, "web configuration reloaded", INVALID]
    assert file.config.passwords is passwords


def test_while_the_file_is_missing_no_request_is_answered(tmp_path: Path) -> None:
    """A file that cannot be read is an invalid one, whatever it said before."""
    file = File(tmp_path, "")
    with serving(web=file.config) as port:
        before = statuses(port, None)
        file.path.unlink()
        file.found()

        assert (before, statuses(port, None)) == ([200], [500])


def test_users_change_while_a_certificate_is_invalid(certificates: Certificates) -> None:
    """A problem with a certificate does not keep a user who is removed."""
    file = File(certificates.folder, TLS + USERS)
    (certificates.folder / "server.key").unlink()
    with serving(web=file.config) as port:
        file.change(TLS + USERS.replace("alice", "bob"))
        answers = [
            ask(port, certificates.client(), basic(user, "secret")) for user in ("alice", "bob")
        ]

    assert [each.status for each in answers if isinstance(each, Answer)] == [401, 200]


def test_a_file_that_is_being_written_changes_nothing(tmp_path: Path) -> None:
    """An empty file is valid, so it takes effect only if it is still empty a moment later."""
    file = File(tmp_path, USERS)
    file.path.write_text("", encoding="utf-8")
    file.config.check()
    file.path.write_text(f"{USERS}# written\n", encoding="utf-8")
    file.found()

    assert file.config.passwords is not None


@pytest.mark.parametrize(("before", "after"), [(TLS, ""), ("", TLS)], ids=["removed", "added"])
def test_tls_is_not_switched(
    before: str, after: str, certificates: Certificates, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether connections are encrypted does not change while the exporter runs; all else does."""
    file = File(certificates.folder, before)
    file.change(after + USERS)

    assert "restart it" in caplog.records[0].__dict__["error"]
    assert file.config.passwords is not None
    assert (file.config.tls is not None) is bool(before)


def test_an_unchanged_file_is_not_a_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is logged, and no password forgotten, while nothing changes."""
    caplog.set_level(logging.INFO)
    file = File(tmp_path, USERS)
    passwords = file.config.passwords
    file.found()

    assert caplog.messages == []
    assert file.config.passwords is passwords
