"""What the chart renders, started: two shards with TLS and a password, scraped by a Prometheus."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import bcrypt
import pytest
import trustme
import yaml

from tests.builders import MONITORING, ROLE
from tests.fake_aws import FakeAws
from tests.helm.charts import MOUNTED, Manifest, Rendered, render
from tests.servers import Exporter, exporter, free_port, get, prometheus, wait_until

pytestmark = [pytest.mark.process, pytest.mark.slow, pytest.mark.xdist_group("helm_live")]

ACCOUNTS = [str(number) * 12 for number in range(5, 10)]
"""Shard 1 has the last one, shard 0 all others."""

PASSWORD = "secret"  # noqa: S105 (of a test)
OPERATOR = {"namespace": "monitoring", "service": "release", "pod": "p", "endpoint": "http"}
"""Target labels that the Prometheus Operator adds."""


def values() -> dict[str, Any]:
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    roles = [{"role_arn": f"arn:aws:iam::{id}:role/{ROLE}", "name": f"n{id}"} for id in ACCOUNTS]
    return {
        "nameOverride": "other",
        "sharding": {"enabled": True, "shards": 2},
        "config": {"collection": {"interval": "1s", "burst": 100}, "accounts": roles},
        "configReload": {"interval": "0.5s"},
        "webConfiguration": {
            "tls_server_config": {
                "cert_file": f"{MOUNTED}/secrets/exporter-tls/tls.crt",
                "key_file": f"{MOUNTED}/secrets/exporter-tls/tls.key",
            },
            "basic_auth_users": {"prometheus": hashed},
        },
        "existingSecrets": ["exporter-tls"],
        "serviceMonitor": {
            "enabled": True,
            "interval": "1s",
            "sampleLimit": 100000,
            "bodySizeLimit": "100MB",
            "basicAuth": {"username": {"name": "p", "key": "u"}},
            "tlsConfig": {"serverName": "localhost"},
        },
        "prometheusRule": {"enabled": True},
    }


def mount(folder: Path, name: str, text: str) -> None:
    """Write a file as the kubelet does: all files of a volume are replaced by renaming a link."""
    version = folder / f"..{len([*folder.glob('..2*')]) + 2000}"
    version.mkdir(parents=True)
    (version / name).write_text(text)
    link = folder / "..data_tmp"
    link.symlink_to(version.name)
    link.rename(folder / "..data")
    if not (folder / name).is_symlink():
        (folder / name).symlink_to(f"..data/{name}")


@dataclass(frozen=True, slots=True)
class Pod:
    exporter: Exporter
    address: str
    probes: str


@dataclass(frozen=True, slots=True)
class Scene:
    pods: list[Pod]
    prometheus: str
    folder: Path

    def query(self, text: str) -> list[dict[str, Any]]:
        answer = json.loads(get(f"http://{self.prometheus}/api/v1/query?query={quote(text)}"))
        return list(answer["data"]["result"])

    def number(self, text: str) -> float | None:
        """The value of the only result. None: there is none."""
        results = self.query(text)
        return float(results[0]["value"][1]) if results else None


def scrape_configuration(monitor: Manifest, pods: list[Pod], folder: Path) -> dict[str, Any]:
    """What the Prometheus Operator makes of a ServiceMonitor, as far as this one goes."""
    (endpoint,) = monitor["spec"]["endpoints"]
    return {
        "job_name": "serviceMonitor/monitoring/release/0",
        "scheme": endpoint["scheme"],
        "metrics_path": endpoint["path"],
        "scrape_interval": endpoint["interval"],
        "scrape_timeout": endpoint["interval"],
        "honor_labels": endpoint["honorLabels"],
        "sample_limit": monitor["spec"]["sampleLimit"],
        "body_size_limit": monitor["spec"]["bodySizeLimit"],
        "basic_auth": {"username": "prometheus", "password": PASSWORD},
        "tls_config": {
            "ca_file": str(folder / "ca.pem"),
            "server_name": endpoint["tlsConfig"]["serverName"],
        },
        "static_configs": [{"targets": [pod.address for pod in pods], "labels": OPERATOR}],
        "relabel_configs": [_snake_case(rule) for rule in endpoint["relabelings"]],
    }


def _snake_case(rule: dict[str, Any]) -> dict[str, Any]:
    names = {"targetLabel": "target_label", "sourceLabels": "source_labels"}
    return {names.get(key, key): value for key, value in rule.items()}


@contextmanager
def a_pod(rendered: Rendered, folder: Path, aws: FakeAws, ordinal: int) -> Iterator[Pod]:
    """Run the container of the pod with this *ordinal*."""
    addresses = {port: f"127.0.0.1:{free_port()}" for port in (":10064", ":10065")}
    flags = []
    for argument in rendered.container["args"]:
        name, _, value = argument.partition("=")
        flags.append(f"{name}={addresses.get(value, value).replace(MOUNTED, str(folder))}")
    environment = {
        **aws.environment(MONITORING),
        "POD_NAME": f"{rendered.workload['metadata']['name']}-{ordinal}",
        "STATE_DIRECTORY": str(folder / f"state-{ordinal}"),
    }
    (folder / f"state-{ordinal}").mkdir()
    with exporter(*flags, environment=environment) as running:
        wait_until(lambda: get(f"http://{addresses[':10065']}/-/ready"), "ready")
        yield Pod(running, *addresses.values())


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("helm")
    file = folder / "values.yaml"
    file.write_text(yaml.safe_dump(values()))
    rendered = render(file)
    for directory, name in (("config", "config.yaml"), ("web", "web-config.yaml")):
        text = str(rendered.config(name)).replace(MOUNTED, str(folder))
        mount(folder / directory, name, text)
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    secret = folder / "secrets" / "exporter-tls"
    secret.mkdir(parents=True)
    certificate.private_key_pem.write_to_path(secret / "tls.key")
    for pem in certificate.cert_chain_pems:
        pem.write_to_path(secret / "tls.crt", append=True)
    with ExitStack() as stack:
        aws = stack.enter_context(FakeAws())
        now = datetime.now(UTC)
        for id in ACCOUNTS:
            aws.account(id).role(ROLE)
            user = aws.account(id).add_user("ci", created=now - timedelta(days=500))
            key = user.add_key(created=now - timedelta(days=400))
            key.use("s3", "eu-west-1", at=now - timedelta(days=100))
        pods = [stack.enter_context(a_pod(rendered, folder, aws, number)) for number in range(2)]
        (rule,) = rendered.of("PrometheusRule")
        (folder / "rules.yaml").write_text(yaml.safe_dump(rule["spec"]))
        (monitor,) = rendered.of("ServiceMonitor")
        configuration = {
            "scrape_configs": [scrape_configuration(monitor, pods, folder)],
            "rule_files": [str(folder / "rules.yaml")],
        }
        (folder / "prometheus").mkdir()
        server = prometheus(folder / "prometheus", yaml.safe_dump(configuration))
        scene = Scene(pods, stack.enter_context(server), folder)
        wait_until(lambda: scene.number("sum(up)") == len(pods), "both pods were scraped")
        yield scene


def test_the_shards_have_all_accounts(scene: Scene) -> None:
    """Each account is in one shard, whose number comes from the name of the pod."""
    assert scene.number("count(aws_iam_exporter_account_up == 1)") == len(ACCOUNTS)
    assert scene.number("count(count by (account_id) (aws_iam_access_key_info))") == len(ACCOUNTS)
    assert scene.number("count(count by (shard_ordinal) (aws_iam_exporter_shard_ordinal))") == 2


def test_labels_keep_their_names(scene: Scene) -> None:
    """The service label of the operator does not rename that of the exporter."""
    assert scene.query('{exported_service=~".+"} or {exported_region=~".+"}') == []
    services = scene.query("count by (service) (aws_iam_access_key_last_used_age_seconds)")
    assert [of["metric"]["service"] for of in services] == ["s3"]


def test_the_job_is_what_alerts_and_dashboards_expect(scene: Scene) -> None:
    """Whatever the release, the chart and the monitor are called."""
    assert scene.number('sum(up{job="aws-iam-key-exporter"})') == 2


def test_prometheus_has_the_rules(scene: Scene) -> None:
    """All groups are loaded and evaluated."""
    groups = json.loads(get(f"http://{scene.prometheus}/api/v1/rules"))["data"]["groups"]

    assert {group["name"] for group in groups} == {
        "aws-iam-exporter",
        "aws-iam-hygiene",
        "aws-iam-security",
    }


def test_probes_need_neither_tls_nor_password(scene: Scene) -> None:
    """The kubelet gets answers on the port of the probes, metrics need the password."""
    for pod in scene.pods:
        assert get(f"http://{pod.probes}/-/healthy")
        assert "TLS is enabled" in pod.exporter.log


def test_a_change_of_the_configmap_is_applied(scene: Scene) -> None:
    """The exporter reads the configuration again when the kubelet has replaced it."""
    text = (scene.folder / "config" / "config.yaml").read_text()
    mount(scene.folder / "config", "config.yaml", text.replace("name: n", "name: renamed-"))

    renamed = 'count(aws_iam_exporter_account_up{account=~"renamed-.+"})'
    wait_until(lambda: scene.number(renamed) == len(ACCOUNTS), "the new names are scraped")
    for pod in scene.pods:
        assert "configuration reloaded" in pod.exporter.log
