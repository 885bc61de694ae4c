"""The exporter behind nginx and HAProxy, as they are installed from Debian."""

import re
import subprocess
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.server import serving
from tests.servers import Exporter, exporter, find, free_port, get, prometheus, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.process]

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "x",
    "AWS_SECRET_ACCESS_KEY": "x",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
}
"""An account that cannot be read."""

NGINX = """\
daemon off; pid {folder}/nginx.pid; error_log stderr;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen {address};
    location /exporter/ {{ proxy_pass http://{exporter}{path}; }}
  }}
}}
"""

HAPROXY = """\
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
frontend pages
  bind {address}
  default_backend exporter
backend exporter
  {rewrite}
  option httpchk GET {probe}
  server exporter {exporter} check port {probe_port} inter 200ms
"""


def port_of(address: str) -> int:
    return int(address.rpartition(":")[2])


@contextmanager
def proxy(command: Sequence[str], address: str) -> Iterator[None]:
    """Run a proxy that listens on *address*."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:

        def listens() -> bool:
            assert process.poll() is None, f"{command[0]} has ended"
            return serving.request(port_of(address), "/")[0].status > 0

        wait_until(listens, f"{command[0]} listens")
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def behind(name: str, *, removes_prefix: bool, folder: Path) -> Iterator[tuple[str, Exporter]]:
    """
    Run the exporter behind the proxy *name*, which serves it below /exporter/.

    Yields the URL at which browsers find it, and the exporter.
    """
    address, probes, pages = (f"127.0.0.1:{free_port()}" for _ in range(3))
    program = find(name)
    flags = [
        f"--web.listen-address={pages}",
        f"--web.probe-listen-address={probes}",
        f"--web.external-url=http://{address}/exporter/",
    ]
    if removes_prefix:
        flags.append("--web.route-prefix=/")
    file = folder / f"{name}.conf"
    if name == "nginx":
        path = "/" if removes_prefix else ""
        text = NGINX.format(folder=folder, address=address, exporter=pages, path=path)
        command = [program, "-p", str(folder), "-c", str(file)]
    else:
        rewrite = r"http-request replace-path /exporter(/.*) \1" if removes_prefix else ""
        text = HAPROXY.format(
            address=address,
            rewrite=rewrite,
            probe="/-/healthy",
            exporter=pages,
            probe_port=port_of(probes),
        )
        command = [program, "-db", "-q", "-f", str(file)]
    file.write_text(text)
    with ExitStack() as stack:
        running = stack.enter_context(exporter(*flags, environment=ENVIRONMENT))
        wait_until(lambda: running.log.count("address=") >= 2, "the exporter listens")
        stack.enter_context(proxy(command, address))
        url = f"http://{address}/exporter/"
        wait_until(lambda: get(f"{url}-/healthy"), "the proxy reaches the exporter")
        yield url, running


@pytest.fixture(scope="module", params=["nginx", "haproxy"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(
    scope="module", params=[False, True], ids=["keeps the prefix", "removes the prefix"]
)
def site(
    name: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of an exporter behind a proxy."""
    folder = tmp_path_factory.mktemp(name)
    with behind(name, removes_prefix=request.param, folder=folder) as (url, _):
        yield url


def test_every_link_of_the_landing_page_works(site: str) -> None:
    """Whoever opens the external URL can follow each of its links."""
    links = re.findall(r'href="([^"#]+)"', get(site))
    own = [urllib.parse.urljoin(site, link) for link in links if "://" not in link]

    assert f"{site}metrics" in own
    assert all(url.startswith(site) for url in own)
    for url in own:
        if not url.endswith("/-/ready"):  # it is not: no account can be read
            assert get(url)


def test_the_external_url_without_a_slash_leads_to_the_page(site: str) -> None:
    """Without the slash at its end, the proxy or the exporter leads to the landing page."""
    answer, _ = serving.request(port_of(urllib.parse.urlsplit(site).netloc), "/exporter")
    if answer.status in (301, 302):
        assert urllib.parse.urljoin(site, answer.headers["Location"]) == site
    else:  # HAProxy that removes a prefix passes it on as it is
        assert answer.status == 404


def test_metrics_are_compressed_through_the_proxy(site: str) -> None:
    """What Prometheus accepts arrives as the exporter sends it: gzip, and in the same format."""
    parts = urllib.parse.urlsplit(site)
    answer, body = serving.request(
        port_of(parts.netloc),
        f"{parts.path}metrics",
        Accept="application/openmetrics-text;version=1.0.0",
        Accept_Encoding="gzip",
    )

    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert (answer.headers["Content-Encoding"], body[:2]) == ("gzip", b"\x1f\x8b")


def test_prometheus_scrapes_through_the_proxy(site: str, tmp_path: Path) -> None:
    """A real Prometheus scrapes the exporter below its prefix."""
    parts = urllib.parse.urlsplit(site)
    job = (
        "scrape_configs:\n"
        f"- {{job_name: x, scrape_interval: 1s, metrics_path: {parts.path}metrics,"
        f" static_configs: [{{targets: ['{parts.netloc}']}}]}}\n"
    )
    with prometheus(tmp_path, job) as address:
        query = urllib.parse.quote('up{job="x"} == 1')
        url = f"http://{address}/api/v1/query?query={query}"
        wait_until(lambda: '"value"' in get(url), "it is up")


def test_haproxy_uses_the_probes(tmp_path: Path) -> None:
    """A health check of HAProxy at the address of probes notices when the exporter ends."""
    with behind("haproxy", removes_prefix=False, folder=tmp_path) as (url, running):
        running.end()

        port = port_of(urllib.parse.urlsplit(url).netloc)
        wait_until(
            lambda: serving.request(port, "/exporter/")[0].status == 503, "HAProxy has noticed", 10
        )
