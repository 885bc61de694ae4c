"""The container image, built from the Dockerfile by `.ci/image`, run as Kubernetes would run it."""

import json
import os
import re
import signal
import struct
import subprocess
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import yaml

from exporter import __version__
from tests.builders import PROD, add_users
from tests.deploy.container import PACKAGE, Image
from tests.fake_aws import FakeAws
from tests.server.web_files import Certificates
from tests.servers import Exporter, Release, exporter, free_port, get, prometheus, wait_until

STATE = "/var/lib/aws-iam-key-exporter"
CONFIGURATION = "/srv"  # exists in the image: bubblewrap cannot create it on a read-only root
PROBES = "AWS_IAM_KEY_EXPORTER_WEB_PROBE_LISTEN_ADDRESS"
UNCHECKED = 1
"""The flags in the header of bytecode that is used without looking at its source (PEP 552)."""

pytestmark = [pytest.mark.slow, pytest.mark.process]


@pytest.fixture(scope="module")
def image() -> Image:
    return Image.built()


@pytest.fixture
def state(tmp_path: Path, image: Image) -> Path:
    """The volume, which is created as Docker creates it: as the directory is in the image."""
    folder = tmp_path / "state"
    folder.mkdir()
    owner = (image.root / STATE.lstrip("/")).stat()
    os.chown(folder, owner.st_uid, owner.st_gid)
    return folder


@pytest.fixture
def account() -> Iterator[FakeAws]:
    """The simulated AWS with three keys in an account."""
    with FakeAws() as aws:
        add_users(aws.account(PROD), 3, keys=3)
        yield aws


@dataclass(frozen=True, slots=True)
class Container:
    """
    A running container.

    Attributes:
        probes: The address of the probes.
    """

    image: Image
    running: Exporter
    volumes: Mapping[str, Path]
    probes: str

    @property
    def pid(self) -> int:
        """The exporter, whose parent is bubblewrap."""
        parent = self.running.process.pid
        wait_until(lambda: self._children(parent), "it was started")
        return int(self._children(parent))

    def _children(self, pid: int) -> str:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").strip()

    def stop(self) -> int:
        """Send SIGTERM, as a container engine does; the exit code."""
        if self.running.process.poll() is None:
            os.kill(self.pid, signal.SIGTERM)
        return self.running.process.wait(20)

    def health(self) -> int:
        """Run the health check of the image in the container; its exit code."""
        test = self.image.config["Healthcheck"]["Test"]
        assert test[0] == "CMD"
        environment = {PROBES: self.probes}
        command = self.image.command(*test[1:], volumes=self.volumes, environment=environment)
        return subprocess.run(
            command, check=False, stderr=subprocess.DEVNULL, timeout=30
        ).returncode


@contextmanager
def container(image: Image, aws: FakeAws, *flags: str, **volumes: Path) -> Iterator[Container]:
    """
    Run the image.

    Args:
        volumes: ``state``, and ``configuration`` if there is one.
    """
    paths = {"state": STATE, "configuration": CONFIGURATION}
    mounted = {paths[name]: folder for name, folder in volumes.items()}
    probes = f"127.0.0.1:{free_port()}"
    environment = {**aws.environment(PROD), PROBES: probes}
    entry_point = image.config["Entrypoint"]
    program = image.command(*entry_point, volumes=mounted, environment=environment)
    with exporter(*flags, program=program) as running:
        started = Container(image, running, mounted, probes)
        try:
            yield started
        finally:
            started.stop()


def test_the_image_describes_itself(image: Image) -> None:
    """The labels have the version and the commit, and the program reports the same."""
    labels = image.config["Labels"]
    command = image.command(*image.config["Entrypoint"], "--version", volumes={}, environment={})
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout

    assert labels["org.opencontainers.image.version"] == __version__
    assert f"version {__version__} (branch: " in output
    assert f"revision: {labels['org.opencontainers.image.revision']})" in output


def test_the_bytecode_is_used_whatever_the_time_stamps_are(image: Image) -> None:
    """Each module has bytecode that is not compared with the time stamp of its source."""
    package = image.root / PACKAGE
    modules = list(package.rglob("*.py"))
    headers = [
        (module.parent / "__pycache__" / f"{module.stem}.cpython-313.pyc").read_bytes()[:8]
        for module in modules
    ]

    assert len(modules) > 50
    assert {struct.unpack("<4xI", header)[0] for header in headers} == {UNCHECKED}


def test_it_runs_without_any_privilege(image: Image, account: FakeAws, state: Path) -> None:
    """As user 65534, without capabilities and on a read-only root, it writes to its volume."""
    with container(image, account, state=state) as started:
        running = started.running
        running.wait_until_ready()
        status = Path(f"/proc/{started.pid}/status").read_text()
        code = started.stop()

    fields = dict(re.findall(r"^(\w+):\t(.*)$", status, re.MULTILINE))
    assert fields["Uid"].split() == fields["Gid"].split() == ["65534"] * 4
    assert {int(fields[name], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert fields["NoNewPrivs"] == "1"
    assert code == 0
    assert (state / "state.db").stat().st_uid == 65534
    assert "level=error" not in running.log
    assert "level=warn" not in running.log


def test_what_it_knows_survives_a_new_container(
    image: Image, account: FakeAws, state: Path
) -> None:
    """Another container with the same volume serves the keys at once, without AWS."""
    with container(image, account, state=state) as first:
        first.running.wait_until_ready()
    account.account(PROD).deny("ListUsers")

    with container(image, account, state=state) as second:
        page = second.running.get("/metrics")

    assert len(re.findall(r"(?m)^aws_iam_access_key_active\{", page)) == 3


def test_a_state_that_it_cannot_write_is_reported(
    image: Image, account: FakeAws, tmp_path: Path
) -> None:
    """In a volume of root's, it works without a state, and says so."""
    (tmp_path / "root").mkdir(mode=0o755)
    with container(image, account, state=tmp_path / "root") as started:
        started.running.wait_until_ready()
        page = started.running.get("/metrics")

    assert "aws_iam_exporter_store_up 0" in page
    assert "level=error" in started.running.log or "level=warn" in started.running.log


def scrape(address: str, folder: Path, release: Release, **job: Any) -> list[dict[str, Any]]:
    """Let a real Prometheus scrape *address*; the samples of `up` and of the keys."""
    job |= {"job_name": "image", "scrape_interval": "1s", "scrape_timeout": "1s"}
    job["static_configs"] = [{"targets": [address]}]
    query = urllib.parse.quote('{__name__=~"up|aws_iam_access_key_active"}')
    with prometheus(folder, yaml.safe_dump({"scrape_configs": [job]}), release) as server:

        def samples() -> list[dict[str, Any]]:
            answer = json.loads(get(f"http://{server}/api/v1/query?query={query}"))
            return list(answer["data"]["result"])

        wait_until(lambda: len(samples()) == 4, "the three keys were scraped")
        return samples()


def test_prometheus_scrapes_it(
    image: Image, account: FakeAws, state: Path, tmp_path: Path, release: Release
) -> None:
    """A real Prometheus scrapes the keys, and the health check succeeds."""
    with container(image, account, state=state) as started:
        started.running.wait_until_ready()
        samples = scrape(started.running.address, tmp_path, release)

        assert {sample["value"][1] for sample in samples} == {"1"}
        assert started.health() == 0


def test_the_health_check_does_not_depend_on_the_web_configuration(
    image: Image, account: FakeAws, state: Path, tmp_path: Path
) -> None:
    """With TLS, a password and a route prefix, Prometheus scrapes it, and the check succeeds."""
    folder = tmp_path / "configuration"
    folder.mkdir()
    Certificates(folder)
    password = bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
    tls = {"cert_file": "server.crt", "key_file": "server.key"}
    web = {"tls_server_config": tls, "basic_auth_users": {"prometheus": password}}
    (folder / "web.yaml").write_text(yaml.safe_dump(web))
    for file in folder.iterdir():
        file.chmod(0o644)
    flags = f"--web.config.file={CONFIGURATION}/web.yaml", "--web.route-prefix=/keys"

    with container(image, account, *flags, state=state, configuration=folder) as started:
        wait_until(lambda: get(f"http://{started.probes}/-/ready"), "it is ready")
        samples = scrape(
            started.running.address,
            tmp_path,
            Release.INSTALLED,
            scheme="https",
            metrics_path="/keys/metrics",
            tls_config={"ca_file": str(folder / "ca.crt")},
            basic_auth={"username": "prometheus", "password": "secret"},
        )

        assert {sample["value"][1] for sample in samples} == {"1"}
        assert started.health() == 0


def test_the_health_check_fails_when_nothing_answers(
    image: Image, account: FakeAws, state: Path
) -> None:
    """Once the exporter has ended, the health check fails."""
    with container(image, account, state=state) as started:
        started.running.wait_until_ready()
        before = started.health()
        started.stop()

        assert (before, started.health()) == (0, 1)
