"""What answers in AWS's place is recognized and described: never unexpected, never quoted."""

import gzip
import logging
import socket
import threading

import pytest

from exporter.aws import Operation
from exporter.cli.wiring import SystemClock
from exporter.model import ReadError, Reason, ReportMode
from tests import fake_aws
from tests.aws import Monitor
from tests.aws.servers import always, server
from tests.builders import (
    FakeClock,
    add_key,
    an_account,
    environment,
    last_uses_of,
    request_once,
    some_sessions,
)
from tests.fake_aws import FakeAws, Fault

SENTINEL = "wJalrXUtnFEMISENTINEL"

HTML = f"<!DOCTYPE html><html><body><p>{SENTINEL}<br></body></html>"


@pytest.mark.parametrize("body", ["", HTML, SENTINEL, "<html></html>", '{"message": "no"}'])
@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (200, Reason.MALFORMED),
        (204, Reason.MALFORMED),
        (301, Reason.NETWORK),
        (302, Reason.NETWORK),
        (304, Reason.NETWORK),
        (400, Reason.MALFORMED),
        (403, Reason.NETWORK),
        (404, Reason.MALFORMED),
        (405, Reason.MALFORMED),
        (407, Reason.NETWORK),
        (429, Reason.THROTTLED),
        (500, Reason.SERVICE_FAILURE),
        (502, Reason.SERVICE_FAILURE),
        (503, Reason.SERVICE_FAILURE),
        (511, Reason.SERVICE_FAILURE),
    ],
)
def test_a_response_of_something_else(
    aws: FakeAws,
    prod: fake_aws.Account,
    monitor: Monitor,
    caplog: pytest.LogCaptureFixture,
    status: int,
    reason: Reason,
    body: str,
) -> None:
    """A response that is not AWS's has a reason by its status, and keeps what is known."""
    add_key(prod)
    account = monitor(report_mode=ReportMode.OFF)
    account.refresh()
    headers = {"Location": f"https://{SENTINEL}/", "X-Secret": SENTINEL}
    aws.fault(Fault(operation="ListUsers", body=body, status=status, headers=headers))
    with caplog.at_level(logging.DEBUG, logger="exporter"):
        snapshot = account.refresh()

    # An error page that happens to be XML has no code of AWS's either.
    allowed = {reason, Reason.MALFORMED} if status < 500 else {reason}
    assert snapshot.failure in allowed
    assert str(status) in snapshot.error
    assert "text/xml" in snapshot.error  # the content type
    assert account.last_uses == last_uses_of(prod)
    assert SENTINEL not in repr(snapshot) + caplog.text


S = SENTINEL.encode()

RAW = {
    "no HTTP": S + b"\r\n\r\n",
    "a strange version": b"HTTP/9.9 200 " + S + b"\r\n\r\n",
    "a strange status": b"HTTP/1.1 " + S + b"\r\n\r\n",
    "a strange reason": b"HTTP/1.1 500 " + S + b"\r\nContent-Length: 0\r\n\r\n",
    "a strange header": b"HTTP/1.1 200 OK\r\n" + S + b"\r\nContent-Length: 0\r\n\r\n",
    "a header line without end": b"HTTP/1.1 200 OK\r\nX: " + S * 5000 + b"\r\n\r\n",
    "a thousand headers": b"HTTP/1.1 200 OK\r\n" + b"X: " + b"X: ".join([S + b"\r\n"] * 1000),
    "a strange length": b"HTTP/1.1 200 OK\r\nContent-Length: " + S + b"\r\n\r\n" + S,
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n" + S,
    "a strange chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + S + b"\r\n",
    "a cut chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfff\r\n" + S,
    "a strange encoding": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + S,
    "gzip": b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(S),
    "a content type": b"HTTP/1.1 200 OK\r\nContent-Type: a\x1b[31m\r\n\r\n" + S,
    "two responses": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" * 2,
    "an early hint": b"HTTP/1.1 103 Early\r\nX: " + S + b"\r\n\r\n" * 2,
    "UTF-16": b"HTTP/1.1 200 OK\r\n\r\n" + SENTINEL.encode("utf-16"),
    "many entities": b"HTTP/1.1 200 OK\r\n\r\n<!DOCTYPE a [<!ENTITY b '"
    + S * 20
    + b"'><!ENTITY c '&b;&b;&b;&b;&b;&b;&b;&b;'><!ENTITY d '&c;&c;&c;&c;&c;&c;&c;&c;'>"
    b"<!ENTITY e '&d;&d;&d;&d;&d;&d;&d;&d;'>]><a>&e;&e;&e;&e;&e;&e;&e;&e;</a>",
    "deep XML": b"HTTP/1.1 200 OK\r\n\r\n" + b"<a>" * 50_000,
    "NUL": b"HTTP/1.1 200 OK\r\n\r\n\0\0" + S,
}


@pytest.mark.parametrize("case", RAW)
def test_a_broken_response(caplog: pytest.LogCaptureFixture, case: str) -> None:
    """A response that breaks the rules of HTTP or XML is no bug of ours, and is not repeated."""
    clock = SystemClock()
    variables = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE12", "AWS_SECRET_ACCESS_KEY": "secret"}
    with (
        server(always(RAW[case])) as url,
        environment(variables),
        caplog.at_level(logging.DEBUG, logger="exporter"),
        pytest.raises(ReadError) as raised,
    ):
        request_once(some_sessions(url, clock), clock, Operation.LIST_USERS)

    assert raised.value.reason in (Reason.NETWORK, Reason.MALFORMED, Reason.SERVICE_FAILURE)
    assert SENTINEL not in str(raised.value) + caplog.text
    assert str(raised.value).isprintable()
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("status", [b"407 " + S, b"403 " + S, b"502 " + S])
def test_a_proxy_that_refuses(status: bytes) -> None:
    """A proxy that does not let us through is named by its status, without its words."""
    clock = SystemClock()
    with server(always(b"HTTP/1.1 " + status + b"\r\n\r\n")) as proxy:
        variables = {
            "AWS_ACCESS_KEY_ID": "AKIAEXAMPLEEXAMPLE12",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "https_proxy": proxy.replace("//", f"//user:{SENTINEL}@"),
        }
        with environment(variables), pytest.raises(ReadError) as raised:
            request_once(some_sessions("https://iam.invalid", clock), clock, Operation.LIST_USERS)

    assert raised.value.reason is Reason.NETWORK
    assert f"the proxy answered with HTTP status {status[:3].decode()}" in str(raised.value)
    assert SENTINEL not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("http://nowhere.invalid", "Name or service not known|name resolution|No address"),
        ("http://127.0.0.1:1", "Connection refused"),
        ("https://127.0.0.1:1", "Connection refused"),
        (f"http://user:{SENTINEL}@127.0.0.1:1", "Connection refused"),
    ],
)
def test_a_network_error(clock: FakeClock, monitor: Monitor, url: str, cause: str) -> None:
    """A network error has its cause."""
    snapshot = monitor(an_account(), sessions=some_sessions(url, clock)).refresh()

    assert snapshot.failure is Reason.NETWORK
    assert any(text in snapshot.error for text in cause.split("|"))
    assert SENTINEL not in snapshot.error


def test_no_tls(clock: FakeClock, monitor: Monitor) -> None:
    """A server that does not speak TLS is a network error that says so."""

    def serve(connection: socket.socket, _: threading.Event) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with server(serve, "https") as url:
        snapshot = monitor(an_account(), sessions=some_sessions(url, clock)).refresh()

    assert snapshot.failure is Reason.NETWORK
    assert "TLS" in snapshot.error


@pytest.mark.parametrize("status", [501])
def test_an_optional_call_that_is_not_implemented(
    aws: FakeAws, clock: FakeClock, monitor: Monitor, status: int
) -> None:
    """An account summary that is not implemented is requested once per report period."""
    aws.fault(Fault(operation="GetAccountSummary", body="<a/>", status=status))
    account = monitor(report_mode=ReportMode.OFF)
    for _ in range(16):
        assert account.refresh().up
        clock.advance(minutes=15)

    assert aws.count("GetAccountSummary") == 1


def test_the_first_timeout_is_logged(
    aws: FakeAws, clock: FakeClock, monitor: Monitor, caplog: pytest.LogCaptureFixture
) -> None:
    """That AWS does not answer is logged after the first attempt, and once a refresh."""
    aws.fault(Fault(operation="GetCallerIdentity", latency=0.3))
    logged_after: list[int] = []
    remove = aws.on_call(lambda *_: logged_after.append(caplog.text.count("failed, retrying")))
    account = monitor(sessions=some_sessions(aws.url, clock, read_timeout=0.05))
    account.refresh()
    remove()

    assert account.latest.failure is Reason.TIMEOUT
    assert logged_after == [0, 1, 1, 1, 1]
