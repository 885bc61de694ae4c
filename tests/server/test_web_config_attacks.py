"""Attacks on the running exporter with TLS and passwords, while a real Prometheus scrapes it."""

import json
import multiprocessing
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import bcrypt
import pytest
import yaml

from tests.server.web_files import Answer, Certificates, ask, basic
from tests.servers import Exporter, Release, exporter, get, prometheus, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.process]

FILES = 256
"""How many files the exporter may open: half of them are for connections."""

CLIENTS = 200
"""More than there may be connections."""

SECONDS = 10.0
"""How long an attack takes."""

COST = 12
"""Of bcrypt: a check takes a fifth of a second or more."""

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}
"""An account that cannot be read."""

SPAWN = multiprocessing.get_context("spawn")

ATTACKER = "127.0.0.2"
"""The address of those who try passwords. Prometheus has 127.0.0.1."""


@dataclass(frozen=True)
class Target:
    """The exporter that is attacked."""

    port: int
    certificates: Certificates

    def connect(self, source: str = ATTACKER) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 5, (source, 0))

    def encrypted(self) -> ssl.SSLSocket:
        tls = self.certificates.client()
        return tls.wrap_socket(self.connect(), server_hostname="127.0.0.1")


FAILED = "count_over_time(up[1m]) - sum_over_time(up[1m])"
"""How many scrapes have failed."""

Attack = Callable[[Target, Event], None]
"""Goes on until the event is set. Several run at the same time."""


def slow_headers(target: Target, end: Event) -> None:
    """Complete the TLS handshake, and send a header a byte at a time (slow-loris)."""
    with ExitStack() as stack:
        while not end.wait(0.05):
            with suppress(OSError):
                client = stack.enter_context(target.encrypted())
                client.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
                for _ in range(3):
                    end.wait(0.1)
                    client.sendall(b"x")


def silent_handshakes(target: Target, end: Event) -> None:
    """Open connections and send nothing, or half of a handshake."""
    with ExitStack() as stack:
        for number in range(10**9):
            if end.wait(0.01):
                return
            with suppress(OSError):
                client = stack.enter_context(target.connect())
                client.sendall(b"\x16\x03\x01\x02\x00\x01" if number % 2 else b"")


def connection_flood(target: Target, end: Event) -> None:
    """Open and reset connections as fast as possible."""
    with ExitStack() as stack:
        clients: list[socket.socket] = []
        while not end.is_set():
            with suppress(OSError):
                clients.append(stack.enter_context(target.connect()))
            if len(clients) >= CLIENTS // 4:
                clients.pop(0).close()


def wrong_passwords(target: Target, end: Event) -> None:
    """Try one password after the other, for users that exist and others."""
    tls = target.certificates.client()
    for number in range(10**9):
        if end.is_set():
            return
        user = "prometheus" if number % 2 else "root"
        password = f"{number}-{threading.get_ident()}"
        ask(target.port, tls, basic(user, password), path="/metrics", source=ATTACKER)


def repeat(attack: Attack, target: Target, end: Event, count: int) -> None:
    """Run *attack* *count* times at the same time."""
    threads = [threading.Thread(target=attack, args=(target, end)) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def under(attack: Attack, target: Target, count: int = 8) -> Iterator[None]:
    """Run *attack* *count* times at the same time, in a process of its own."""
    end = SPAWN.Event()
    process = SPAWN.Process(target=repeat, args=(attack, target, end, count))
    process.start()
    try:
        yield
    finally:
        end.set()
        process.join(30)
        process.kill()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
def running(certificates: Certificates) -> Iterator[Exporter]:
    """Run an exporter with TLS and the user ``prometheus``, whose password is ``secret``."""
    hashed = bcrypt.hashpw(b"secret", bcrypt.gensalt(COST)).decode()
    web_config = certificates.folder / "web.yml"
    web_config.write_text(
        "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
        f"basic_auth_users: {{prometheus: {hashed}}}\n",
        encoding="utf-8",
    )
    with exporter(
        f"--web.config.file={web_config}",
        environment=ENVIRONMENT,
        wrapper=("sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh"),
    ) as running:
        yield running


def target_of(running: Exporter, certificates: Certificates) -> Target:
    return Target(int(running.address.rpartition(":")[2]), certificates)


def scrape_configuration(target: Target) -> str:
    """Return the configuration of a Prometheus that scrapes the target once a second."""
    job = {
        "job_name": "aws-iam-key-exporter",
        "scheme": "https",
        "tls_config": {"ca_file": str(target.certificates.folder / "ca.crt")},
        "basic_auth": {"username": "prometheus", "password": "secret"},
        "static_configs": [{"targets": [f"127.0.0.1:{target.port}"]}],
    }
    times = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    return yaml.safe_dump({"global": times, "scrape_configs": [job]})


def open_files(running: Exporter) -> int:
    return len(list(Path(f"/proc/{running.process.pid}/fd").iterdir()))


def memory(running: Exporter) -> int:
    """Return the resident memory in KiB."""
    status = Path(f"/proc/{running.process.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmRSS:")[2].split()[0])


def query(address: str, expression: str) -> float | None:
    """Return the value of *expression*, which has one series. None: it has none yet."""
    parameters = urllib.parse.urlencode({"query": expression})
    result = json.loads(get(f"http://{address}/api/v1/query?{parameters}"))["data"]["result"]
    return float(result[0]["value"][1]) if result else None


@pytest.mark.parametrize(
    "attack",
    [slow_headers, silent_handshakes, connection_flood, wrong_passwords],
    ids=lambda attack: attack.__name__,
)
def test_scrapes_under_attack(
    attack: Attack, running: Exporter, certificates: Certificates, tmp_path: Path
) -> None:
    """Under attack, no scrape fails, and probes of others are answered. Nothing is left of it."""
    target = target_of(running, certificates)
    tls = certificates.client()
    folder = tmp_path / "prometheus"
    folder.mkdir()
    probes: list[float] = []
    with prometheus(folder, scrape_configuration(target), Release.NEWER) as address:
        wait_until(lambda: query(address, "sum_over_time(up[1m])"), "scraped once")
        failed_before = query(address, FAILED)
        files, kilobytes = open_files(running), memory(running)
        with under(attack, target):
            end = time.monotonic() + SECONDS
            while (began := time.monotonic()) < end:
                answer = ask(target.port, tls, basic("prometheus", "secret"))
                probes.append(time.monotonic() - began)
                assert isinstance(answer, Answer), f"after {probes[-1]:.3f} s"
                assert answer.status == 200
                time.sleep(0.1)
        wait_until(lambda: open_files(running) < files + 5, "the connections are closed")
        gained = memory(running) - kilobytes
        failed = query(address, FAILED)
        scrapes = query(address, "count_over_time(up[1m])")
        slowest = query(address, "max_over_time(scrape_duration_seconds[1m])")

    print(
        f"{attack.__name__}: {scrapes:g} scrapes, {slowest:.3f} s; probes {max(probes):.3f} s;"
        f" {gained} KiB more"
    )
    assert gained < 50_000
    assert (failed, scrapes is not None and scrapes >= SECONDS / 2) == (failed_before, True)
    assert max(probes) < 3  # in a flood, the kernel drops some SYNs; clients repeat them after 1 s
    assert "level=error" not in running.log


def test_the_first_scrape_while_passwords_are_tried(
    running: Exporter, certificates: Certificates
) -> None:
    """A password that was not checked before takes its turn before those of another client."""
    target = target_of(running, certificates)
    with under(wrong_passwords, target, 30):
        time.sleep(5)
        began = time.monotonic()
        answer = ask(target.port, certificates.client(), basic("prometheus", "secret"))
        seconds = time.monotonic() - began

    print(f"first login: {seconds:.3f} s")
    assert isinstance(answer, Answer)
    assert answer.status == 200
    assert seconds < 5


def test_the_log_of_an_attack_is_short(running: Exporter, certificates: Certificates) -> None:
    """What clients do wrong does not fill the log."""
    target = target_of(running, certificates)
    lines = len(running.lines)
    with ExitStack() as stack:
        for attack in (slow_headers, silent_handshakes, connection_flood, wrong_passwords):
            stack.enter_context(under(attack, target, 2))
        time.sleep(5)

    assert len(running.lines) - lines < 5


def test_the_web_configuration_is_in_the_log(running: Exporter, certificates: Certificates) -> None:
    """The log says that TLS is enabled, and when a change takes effect or does not."""
    target_of(running, certificates)
    web_config = certificates.folder / "web.yml"
    text = web_config.read_text(encoding="utf-8")

    assert 'msg="TLS is enabled"' in running.log
    web_config.write_text(text.replace("prometheus", "other"), encoding="utf-8")
    wait_until(lambda: 'msg="web configuration reloaded"' in running.log, "the change is found")
    web_config.write_text("unknown: 1", encoding="utf-8")
    wait_until(lambda: 'msg="invalid web configuration' in running.log, "the problem is found")
