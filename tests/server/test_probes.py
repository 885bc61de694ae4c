"""Probes, their own listener, and the requests that control the exporter."""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from exporter import server
from exporter.server import Lifecycle, Limits, Site
from tests.fake_aws import FakeAws
from tests.fake_aws.fleet import MONITORING, ROLE, fill
from tests.server.serving import SITE, Requests, request, serving
from tests.servers import exporter, free_port, get, wait_until

NO_ACCOUNT = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}
"""An account that cannot be read."""


@contextmanager
def serving_probes(site: Site = SITE) -> Iterator[int]:
    """Serve the probes of *site* in a thread and yield the port."""
    (bound,) = server.bind("127.0.0.1:0")
    loop = asyncio.new_event_loop()
    started, stop = threading.Event(), asyncio.Event()

    async def run() -> None:
        probes = server.serve_probes(site, [bound], Limits())
        started.set()
        await stop.wait()
        probes.stop()
        await probes.close_all_connections()

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),))
    thread.start()
    started.wait(5)
    try:
        yield int(bound.getsockname()[1])
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)
        loop.close()


# -- the listener of probes ---------------------------------------------------------------------


def test_probes_are_served_on_their_own_address() -> None:
    """Health and readiness are as on the other addresses, also with a route prefix."""
    with serving_probes(replace(SITE, prefix="/x", is_ready=lambda: False)) as port:
        assert request(port, "/-/healthy")[1] == b"Healthy\n"
        assert request(port, "/-/ready")[0].status == 503


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/reload", "/-/quit", "/keys", "/config"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_else_is_served_there(path: str, method: str) -> None:
    """No page, no metric and nothing that controls the exporter is on the address of probes."""
    lifecycle = Lifecycle(pytest.fail, pytest.fail)
    with serving_probes(replace(SITE, lifecycle=lifecycle)) as port:
        answer, body = request(port, path, method)

    assert answer.status in (404, 405)
    assert b"/metrics" not in body


# -- what controls the exporter -----------------------------------------------------------------


class Controlled:
    """
    Records what is controlled.

    Attributes:
        outcome: How reloads go.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.outcome = (True, "Configuration reloaded.\n")

    async def reload(self) -> tuple[bool, str]:
        self.calls.append("reload")
        return self.outcome

    def quit(self) -> None:
        self.calls.append("quit")

    def site(self, site: Site = SITE) -> Site:
        return replace(site, lifecycle=Lifecycle(self.reload, self.quit))


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", ["/-/reload", "/-/quit"])
def test_post_and_put_control_the_exporter(path: str, method: str) -> None:
    """POST and PUT do the same."""
    controlled = Controlled()
    with serving(controlled.site()) as port:
        answer, _ = request(port, path, method)

    assert answer.status == 200
    assert controlled.calls == [path.rpartition("/")[2]]


def test_a_failed_reload_is_an_error() -> None:
    """The answer to a reload that fails is 500 and says why."""
    controlled = Controlled()
    controlled.outcome = False, "failed to reload config: x\n"
    with serving(controlled.site()) as port:
        answer, body = request(port, "/-/reload", "POST")

    assert (answer.status, body) == (500, b"failed to reload config: x\n")


@pytest.mark.parametrize("path", ["/-/reload", "/-/quit"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_get_controls_nothing(path: str, method: str) -> None:
    """GET is answered with what to do instead."""
    controlled = Controlled()
    with serving(controlled.site()) as port:
        answer, body = request(port, path, method)

    assert (answer.status, answer.headers["Allow"]) == (405, "POST, PUT")
    assert body == (b"" if method == "HEAD" else b"This endpoint requires a POST request.\n")
    assert controlled.calls == []


@pytest.mark.parametrize("path", ["/-/reload", "/-/quit"])
@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_controlling_has_to_be_enabled(path: str, method: str) -> None:
    """Without --web.enable-lifecycle nothing is controlled by HTTP."""
    with serving() as port:
        answer, body = request(port, path, method)

    assert (answer.status, body) == (403, b"Lifecycle API is not enabled.\n")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("https://exporter.example", 200),
        ("http://exporter.example:80", 403),
    ],
)
def test_pages_of_other_sites_control_nothing(origin: str, status: int) -> None:
    """A browser that sends a request for a page of another site is refused."""
    controlled = Controlled()
    site = replace(SITE, external_url="https://exporter.example/x")
    with serving(controlled.site(site)) as port:
        answer, _ = request(port, "/-/reload", "POST", Origin=origin)

    assert answer.status == status
    assert controlled.calls == (["reload"] if status == 200 else [])


@pytest.mark.parametrize(
    ("site", "status"),
    [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)],
)
def test_browsers_say_whose_page_it_is(site: str, status: int) -> None:
    """A browser that sends no Origin says where the request is from."""
    headers = {"Sec-Fetch-Site": site}
    with serving(Controlled().site()) as port:
        assert request(port, "/-/reload", "POST", **headers)[0].status == status


def test_a_page_of_ours_may_control() -> None:
    """The origin of a page that the exporter itself has served is that of the request."""
    controlled = Controlled()
    with serving(controlled.site()) as port:
        origin = f"http://127.0.0.1:{port}"
        assert request(port, "/-/reload", "POST", Origin=origin)[0].status == 200


# -- prefixes -----------------------------------------------------------------------------------

PREFIXED = replace(SITE, prefix="/exporter")


@pytest.mark.parametrize("path", ["/", "/metrics", "/-/healthy", "/-/ready"])
def test_all_paths_have_the_prefix(path: str) -> None:
    """With a prefix, everything is served below it."""
    with serving(PREFIXED) as port:
        assert request(port, f"/exporter{path}")[0].status == 200


@pytest.mark.parametrize("path", ["/metrics", "/-/healthy", "/exporter/x", "/exportermetrics"])
def test_nothing_is_served_beside_the_prefix(path: str) -> None:
    """Without the prefix there is nothing but the way to it."""
    with serving(PREFIXED) as port:
        answer, body = request(port, path)

    assert (answer.status, body) == (404, b"404 Not Found. The metrics are at /exporter/metrics\n")


@pytest.mark.parametrize("path", ["/", "/exporter"])
@pytest.mark.parametrize("external", ["", "https://example.com/exporter"])
def test_the_root_leads_to_the_landing_page(path: str, external: str) -> None:
    """Browsers are redirected to the landing page, where they can reach it."""
    with serving(replace(PREFIXED, external_url=external)) as port:
        answer, _ = request(port, path)

    assert (answer.status, answer.headers["Location"]) == (302, f"{external or '/exporter'}/")


def test_links_are_relative() -> None:
    """The links of the landing page work behind a proxy that adds or removes a prefix."""
    with serving() as port:
        _, body = request(port, "/")

    assert b'href="/' not in body
    assert b'href="metrics"' in body


# -- counting -----------------------------------------------------------------------------------


def test_requests_in_flight_are_counted() -> None:
    """A request is in flight from its beginning to its end, whatever its answer is."""
    flights: list[int] = []
    durations: list[str] = []
    requests = Requests()
    site = replace(
        SITE,
        observe=requests.observe,
        count_in_flight=flights.append,
        observe_duration=lambda handler, seconds: durations.append(handler),
    )
    with serving(site) as port:
        for path, method in (("/metrics", "GET"), ("/x", "GET"), ("/metrics", "DELETE")):
            request(port, path, method)

    assert flights == [1, -1] * 3
    assert durations == [handler for handler, _ in requests] == ["metrics", "not_found", "metrics"]


# -- the running exporter -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.process
def test_liveness_does_not_depend_on_aws(tmp_path: Path) -> None:
    """With AWS out of reach, the exporter is healthy, not ready, and serves its metrics."""
    pages, probes = (f"127.0.0.1:{free_port()}" for _ in range(2))
    flags = [
        f"--web.listen-address={pages}",
        f"--web.probe-listen-address={probes}",
        "--web.external-url=http://x/exporter/",
    ]
    with exporter(*flags, environment=NO_ACCOUNT) as running:
        wait_until(lambda: running.log.count("address=") == 2, "listening")
        metrics = get(f"http://{pages}/exporter/metrics")
        health = get(f"http://{probes}/-/healthy")
        wait_until(lambda: "refresh failed" in running.log, "the account cannot be read")

    assert "aws_iam_exporter_account_up{" in metrics
    assert health == "Healthy\n"


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with FakeAws() as fake:
        fill(fake, accounts=2, keys=3)
        yield fake


ACCOUNTS = """
accounts:
- {role_arn: "arn:aws:iam::100000000001:role/%s", name: one}
"""


def post(url: str) -> tuple[int, str]:
    host, _, path = url.removeprefix("http://").partition("/")
    answer, body = request(int(host.rpartition(":")[2]), f"/{path}", "POST")
    return answer.status, body.decode()


@pytest.mark.slow
@pytest.mark.process
def test_reloading_the_running_exporter(aws: FakeAws, tmp_path: Path) -> None:
    """By HTTP, by signal and by itself: a good file is in effect, a bad one changes nothing."""
    file = tmp_path / "config.yaml"
    file.write_text(ACCOUNTS % ROLE)
    flags = [f"--config.file={file}", "--web.enable-lifecycle"]
    with exporter(*flags, environment=aws.environment(MONITORING)) as running:
        running.wait_until_ready()
        url = f"http://{running.address}/-/reload"
        file.write_text("accounts: [{name: [x}]")
        status, text = post(url)
        page = running.get("/metrics")
        assert status == 500
        assert f"{file}:1: invalid YAML" in text
        assert "aws_iam_exporter_config_last_reload_successful 0.0\n" in page
        assert 'account="one"' in page

        file.write_text("")
        status, text = post(url)
        assert status == 500
        assert f"{file}:1: is empty; write {{}} if that is meant" in text

        file.write_text((ACCOUNTS % ROLE).replace("one", "uno"))
        assert post(url) == (200, "Configuration reloaded.\n")
        page = running.get("/metrics")
        assert "aws_iam_exporter_config_last_reload_successful 1.0\n" in page
        assert 'account="uno"' in page
        assert 'account="one"' not in page

        file.write_text((ACCOUNTS % ROLE).replace("one", "hup"))
        running.process.send_signal(signal.SIGHUP)
        wait_until(lambda: 'account="hup"' in running.get("/metrics"), "SIGHUP reloads")
        assert post(f"http://{running.address}/-/quit")[0] == 200
        assert running.process.wait(10) == 0


@pytest.mark.slow
@pytest.mark.process
def test_the_running_exporter_reloads_by_itself(aws: FakeAws, tmp_path: Path) -> None:
    """With --config.auto-reload-interval a changed file takes effect soon."""
    file = tmp_path / "config.yaml"
    file.write_text(ACCOUNTS % ROLE)
    flags = [f"--config.file={file}", "--config.auto-reload-interval=0.1s"]
    with exporter(*flags, environment=aws.environment(MONITORING)) as running:
        running.wait_until_ready()
        file.write_text((ACCOUNTS % ROLE).replace("one", "auto"))

        wait_until(lambda: 'account="auto"' in running.get("/metrics"), "it is reloaded")


@pytest.mark.slow
@pytest.mark.process
def test_metrics_of_the_process_can_be_excluded() -> None:
    """Metrics about the process, Python and requests are left out, those about AWS are not."""
    with exporter("--web.disable-exporter-metrics", environment=NO_ACCOUNT) as running:
        page = running.get("/metrics")

    prefixes = ("process_", "python_", "aws_iam_exporter_http_")
    assert [line for line in page.splitlines() if line.startswith(prefixes)] == []
    assert "\naws_iam_exporter_build_info{" in page
    assert "\naws_iam_exporter_api_requests_total{" in page


@pytest.mark.slow
@pytest.mark.process
def test_several_addresses() -> None:
    """IPv4 and IPv6 addresses are served at the same time, and each is logged."""
    ports = free_port(), free_port()
    flags = [
        f"--web.listen-address={host}:{port}"
        for host, port in zip(("127.0.0.1", "[::1]"), ports, strict=True)
    ]
    with exporter(*flags, environment=NO_ACCOUNT) as running:
        wait_until(lambda: running.log.count("address=") == 2, "both are logged")
        assert get(f"http://127.0.0.1:{ports[0]}/-/healthy") == "Healthy\n"
        assert get(f"http://[::1]:{ports[1]}/-/healthy") == "Healthy\n"
