"""What the values of the chart do: workloads, services, access."""

from pathlib import Path

import pytest

from tests.helm.charts import (
    GOOD,
    NAMESPACE,
    RELEASE,
    Manifest,
    example,
    helm,
    render,
    with_values,
)
from tests.helm.values import CHART

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("helm")]

# -- workloads ---------------------------------------------------------------------------------


def test_one_replica_is_replaced_after_it_has_ended() -> None:
    """Two exporters at the same time would be duplicate series, and share a volume."""
    spec = render().workload["spec"]

    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate", "rollingUpdate": None}


def test_shards() -> None:
    """A StatefulSet, whose pods know their number from their name, and start at the same time."""
    rendered = example("sharded")

    assert rendered.workload["kind"] == "StatefulSet"
    assert rendered.workload["spec"]["replicas"] == 3
    assert rendered.workload["spec"]["podManagementPolicy"] == "Parallel"
    assert "--total-shards=3" in rendered.container["args"]
    assert not any(arg.startswith("--shard=") for arg in rendered.container["args"])
    assert {
        "name": "POD_NAME",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
    } in rendered.container["env"]
    headless = [of for of in rendered.of("Service") if of["spec"].get("clusterIP") == "None"]
    assert [of["metadata"]["name"] for of in headless] == [rendered.workload["spec"]["serviceName"]]


def test_one_shard() -> None:
    """A release of one shard is a Deployment that is given its number."""
    rendered = example("shard-0-of-2")

    assert rendered.workload["kind"] == "Deployment"
    assert rendered.workload["spec"]["replicas"] == 1
    assert {"--shard=0", "--total-shards=2"} <= {*rendered.container["args"]}


def test_replicas_have_a_volume_each() -> None:
    """Each of several replicas with volumes has its own, and they share no accounts."""
    rendered = example("high-availability")

    assert rendered.workload["kind"] == "StatefulSet"
    assert rendered.workload["spec"]["replicas"] == 2
    assert len(rendered.workload["spec"]["volumeClaimTemplates"]) == 1
    assert not any("shard" in arg for arg in rendered.container["args"])


def checksum(folder: Path, text: str) -> str:
    template = with_values(folder, text).workload["spec"]["template"]
    return str(template["metadata"]["annotations"]["checksum/config"])


def test_what_is_reloaded_does_not_restart_pods(tmp_path: Path) -> None:
    """Pods are restarted for options that require it, and for every change without reload."""
    before = checksum(tmp_path, "{}")

    assert checksum(tmp_path, "config: {collection: {interval: 5m}}") == before
    assert checksum(tmp_path, "config: {state: {keep_events: 30d}}") == before
    assert checksum(tmp_path, "config: {aws: {use_fips: true}}") != before
    assert checksum(tmp_path, "config: {state: {path: /x/y.db}}") != before
    assert checksum(tmp_path, "config: {state: {url: 'postgresql://a'}}") != before
    assert checksum(tmp_path, "database: {existingSecret: x}") != before
    off = "configReload: {enabled: false}"
    changed = checksum(tmp_path, f"{off}\nconfig: {{collection: {{interval: 5m}}}}")
    assert changed != checksum(tmp_path, off)


def test_the_image(tmp_path: Path) -> None:
    """The digest wins over the tag, and the registry can be replaced."""
    digest = f"sha256:{'0' * 64}"

    def image(text: str) -> object:
        return with_values(tmp_path, text).container["image"]

    name = "aws-iam-key-exporter/aws-iam-key-exporter"
    assert image("image: {tag: 1.2.3}") == f"ghcr.io/{name}:1.2.3"
    assert image(f"image: {{tag: 1.2.3, digest: '{digest}'}}") == f"ghcr.io/{name}@{digest}"
    assert image("image: {tag: x}\nglobal: {imageRegistry: mirror}") == f"mirror/{name}:x"
    assert image("image: {registry: '', repository: a, tag: '1.0'}") == "a:1.0"


# -- web server --------------------------------------------------------------------------------


def test_probes_need_no_password() -> None:
    """With TLS and passwords, probes use the port that has neither."""
    rendered = example("tls")
    port = {of["name"]: of["containerPort"] for of in rendered.container["ports"]}["probes"]

    assert f"--web.probe-listen-address=:{port}" in rendered.container["args"]
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert rendered.container[probe]["httpGet"]["port"] == "probes"


@pytest.mark.parametrize(
    ("web", "path"),
    [
        ("{}", "/metrics"),
        ("{telemetryPath: /m}", "/m"),
        ("{routePrefix: /a/}", "/a/metrics"),
        ("{externalUrl: 'https://example.com/b/c'}", "/b/c/metrics"),
        ("{externalUrl: 'https://example.com/b', routePrefix: /}", "/metrics"),
    ],
)
def test_the_path_of_the_metrics(web: str, path: str, tmp_path: Path) -> None:
    """The monitor knows where the flags put the metrics."""
    rendered = with_values(tmp_path, f"web: {web}\nserviceMonitor: {{enabled: true}}")
    (monitor,) = rendered.of("ServiceMonitor")

    assert monitor["spec"]["endpoints"][0]["path"] == path


def test_the_scheme_is_that_of_the_web_server() -> None:
    """Prometheus uses TLS if the web configuration of the chart does."""
    (tls,), (plain,) = (example(of).of("ServiceMonitor") for of in ("tls", "sharded"))

    assert tls["spec"]["endpoints"][0]["scheme"] == "https"
    assert plain["spec"]["endpoints"][0]["scheme"] == "http"


def egress(manifest: Manifest) -> set[object]:
    return {port["port"] for rule in manifest["spec"]["egress"] for port in rule["ports"]}


def test_the_network_policy_has_what_the_values_need(tmp_path: Path) -> None:
    """DNS, AWS and EKS Pod Identity; and proxies and the database, where there are some."""
    (usual,) = render().of("NetworkPolicy")
    assert egress(usual) == {53, 5353, 443, 80}
    (with_database,) = example("sharded").of("NetworkPolicy")
    assert egress(with_database) == {53, 5353, 443, 80, 5432}
    for url, port in {
        "http://proxy:3128": 3128,
        "http://user:word@[fd00::1]:8080/": 8080,
        "https://proxy": 443,
        "http://proxy": 80,
    }.items():
        (of_proxy,) = with_values(tmp_path, f"proxy: {{httpsProxy: '{url}'}}").of("NetworkPolicy")
        assert port in {rule["ports"][0]["port"] for rule in of_proxy["spec"]["egress"][3:]}


def test_redirects_have_no_backend() -> None:
    """A route that redirects to HTTPS does not forward as well."""
    rendered = next(render(file) for file in GOOD if file.stem == "strange")
    routes = {of["metadata"]["name"]: of["spec"]["rules"] for of in rendered.of("HTTPRoute")}

    (redirect,) = routes["release-x-y-redirect"]
    assert redirect["filters"][0]["requestRedirect"] == {"scheme": "https", "statusCode": 301}
    assert not redirect.get("backendRefs")
    assert [rule["backendRefs"][0]["name"] for rule in routes["release-x-y"]] == ["release-x-y"]


def test_role_of_the_service_account() -> None:
    """IRSA reads an annotation, whose value can be a template."""
    (account,) = example("irsa").of("ServiceAccount")
    role = "arn:aws:iam::111111111111:role/exporter"
    assert account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] == role
    strange = next(render(file) for file in GOOD if file.stem == "strange")
    (account,) = strange.of("ServiceAccount")
    assert account["metadata"]["annotations"] == {"role": f"arn:{NAMESPACE}", "flag": "true"}


# -- names and monitoring ----------------------------------------------------------------------


@pytest.mark.parametrize("release", ["1st", "a.b"])
def test_names_that_a_service_cannot_have(release: str) -> None:
    """helm accepts such releases, Kubernetes would refuse their Service."""
    run = helm("template", release, str(CHART))

    assert run.returncode == 1
    assert "set fullnameOverride" in run.stderr


def test_the_label_of_the_release(tmp_path: Path) -> None:
    """With releaseLabel, every object has the label; by default, none."""
    labelled = with_values(tmp_path, "releaseLabel: true").manifests

    assert {of["metadata"]["labels"].get("release") for of in labelled} == {RELEASE}
    assert not any("release" in of["metadata"]["labels"] for of in render().manifests)


def test_empty_settings_of_tls_are_none(tmp_path: Path) -> None:
    """The exporter serves plain HTTP with an empty tls_server_config, and so it is scraped."""
    text = "webConfiguration: {tls_server_config: {}}\nserviceMonitor: {enabled: true}"
    (monitor,) = with_values(tmp_path, text).of("ServiceMonitor")

    assert monitor["spec"]["endpoints"][0]["scheme"] == "http"


def test_durations_are_texts(tmp_path: Path) -> None:
    """The operator's schema refuses the number that an unquoted 0 would be."""
    (monitor,) = with_values(
        tmp_path, 'serviceMonitor: {enabled: true, interval: "0", scrapeTimeout: "0"}'
    ).of("ServiceMonitor")

    assert monitor["spec"]["endpoints"][0]["interval"] == "0"


def test_a_scrape_may_take_the_whole_interval(tmp_path: Path) -> None:
    """Durations are compared by their length, not as texts."""
    text = "serviceMonitor: {enabled: true, interval: 1m30s, scrapeTimeout: 90s}"

    assert with_values(tmp_path, text).of("ServiceMonitor")


def test_the_network_policy_allows_what_the_configuration_names(tmp_path: Path) -> None:
    """The ports of state.url and of aws.endpoint_urls are allowed as well."""
    state = "state: {url: 'postgresql://user:pass:word@[fd00::1]:6432/x?sslmode=require'}"
    endpoints = "aws: {endpoint_urls: {iam: 'http://vpce:8080', sts: 'https://vpce'}}"
    (policy,) = with_values(tmp_path, f"config: {{{state}, {endpoints}}}").of("NetworkPolicy")

    assert egress(policy) == {53, 5353, 443, 80, 6432, 8080}
    (usual,) = with_values(tmp_path, "config: {state: {url: 'postgresql://db/x'}}").of(
        "NetworkPolicy"
    )
    assert egress(usual) == {53, 5353, 443, 80, 5432}
