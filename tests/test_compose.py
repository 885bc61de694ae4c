"""deploy/compose: what it mounts, publishes and connects."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from exporter.cli.flags import parse_flags
from tests.servers import Release, find

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "compose"
STATE = "/var/lib/aws-iam-key-exporter"


def services() -> dict[str, dict[str, Any]]:
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text)["services"])


def test_mounts_exist() -> None:
    """What is mounted is in the repository, or a volume that the file declares."""
    volumes = yaml.safe_load((FOLDER / "compose.yaml").read_text())["volumes"]
    for service in services().values():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            if source.startswith("."):
                assert (FOLDER / source).resolve().exists(), mount
            else:
                assert source in volumes, mount


def test_the_state_is_where_the_image_keeps_it() -> None:
    """A volume is mounted where the image has one, and the exporter keeps its state there."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    flags = parse_flags([], {"STATE_DIRECTORY": STATE})

    assert f"exporter:{STATE}" in services()["exporter"]["volumes"]
    assert f'\nVOLUME ["{STATE}"]\n' in dockerfile
    assert f"\nCOPY --from=build --chown=65534:65534 /state {STATE}\n" in dockerfile
    assert re.search(rf"(?m)^ +STATE_DIRECTORY={STATE}( \\\\)?$", dockerfile)
    assert flags.default_state_path == f"{STATE}/state.db"


def test_nothing_is_published_beyond_this_machine() -> None:
    """Ports are published on loopback, images are pinned."""
    for name, service in services().items():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        assert set(service.get("depends_on", ())) <= set(services()), name


def test_services_find_each_other() -> None:
    """Addresses name a service, with the port that it publishes."""
    ports = {name: service["ports"][0].split(":")[-1] for name, service in services().items()}
    source = ROOT / "grafana/provisioning/datasources/prometheus.yaml"
    text = (FOLDER / "prometheus.yml").read_text() + source.read_text()
    addresses = re.findall(r'(?:"|//)([a-z]+):(\d+)', text)

    assert sorted(addresses) == sorted(
        (name, ports[name]) for name in ("alertmanager", "exporter", "prometheus")
    )
    assert f":{ports['exporter']}" in " ".join(services()["exporter"]["command"])


@pytest.mark.process
def test_prometheus_accepts_its_configuration(release: Release) -> None:
    """promtool accepts it, and it scrapes as deploy/prometheus/prometheus.yml does."""
    file = FOLDER / "prometheus.yml"
    command = [find("promtool", release), "check", "config", "--syntax-only", str(file)]
    subprocess.run(command, check=True, capture_output=True)
    example = ROOT / "deploy" / "prometheus" / "prometheus.yml"
    ours = yaml.safe_load(file.read_text())["scrape_configs"][0]
    other = yaml.safe_load(example.read_text())["scrape_configs"][0]
    ours.pop("static_configs")
    other.pop("static_configs")

    assert ours == other


def test_grafana_finds_the_dashboards() -> None:
    """The dashboards are mounted where the provider looks for them."""
    provider = ROOT / "grafana/provisioning/dashboards/aws-iam-keys.yaml"
    path = yaml.safe_load(provider.read_text())["providers"][0]["options"]["path"]

    assert f"../../grafana/dashboards:{path}:ro" in services()["grafana"]["volumes"]


class Loader(yaml.SafeLoader):
    """Accepts the tag with which Compose replaces a list instead of adding to it."""


def _sequence(loader: Loader, node: yaml.SequenceNode) -> list[Any]:
    return loader.construct_sequence(node)


Loader.add_constructor("!override", _sequence)


def with_accounts() -> dict[str, Any]:
    text = (FOLDER / "accounts.yaml").read_text(encoding="utf-8")
    document = yaml.load(text, Loader)  # noqa: S506 (a SafeLoader)
    return dict(document["services"]["exporter"])


def test_real_accounts_are_read_by_whoever_may_read_the_credentials() -> None:
    """With accounts.yaml, the exporter runs as the user, and finds ~/.aws where AWS tools look."""
    service = with_accounts()
    mounts = dict(mount.split(":")[:2] for mount in service["volumes"])

    assert service["user"].startswith("${EXPORTER_USER:?")
    assert f"HOME={mounts['${HOME}/.aws'].removesuffix('/.aws')}" in service["environment"]
    assert f"--config.file={mounts['./config.yaml']}" in service["command"]
    writable = [mount for mount in service["volumes"] if not mount.endswith(":ro")]
    assert writable == [f"./state:{STATE}"]
    assert (FOLDER / "state" / ".gitignore").exists()


def test_the_flags_of_the_compose_files_exist() -> None:
    """The exporter accepts the flags that both files give it, on the port that is published."""
    for service in (services()["exporter"], with_accounts()):
        flags = parse_flags(service["command"], {})

        assert list(flags.web_listen_address) == ["0.0.0.0:10064"]
