"""What the chart renders: objects that Kubernetes accepts, that fit together, and are secure."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.helm.charts import CUSTOM, EXAMPLES, GOOD, MOUNTED, NAMESPACE, Rendered, render
from tests.helm.values import CHART, ROOT

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("helm")]

KUBERNETES = ("1.27", "1.37")
"""The oldest version that the chart supports, and the newest one with a schema."""


def test_the_oldest_version_is_in_the_chart() -> None:
    """helm refuses older clusters than those whose schema is tested."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))

    assert chart["kubeVersion"] == f">={KUBERNETES[0]}.0-0"


NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
LABEL = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)
LABEL_NAME = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", re.ASCII)

LONG = "r" * 53
"""helm accepts no longer name of a release."""


@pytest.fixture(params=GOOD, ids=lambda file: file.stem)
def rendered(request: pytest.FixtureRequest) -> Rendered:
    return render(request.param)


@pytest.mark.parametrize("version", KUBERNETES)
def test_kubernetes_knows_every_field(rendered: Rendered, version: str) -> None:
    """Every object is valid, and has no field that Kubernetes does not know."""
    for manifest in rendered.manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_is_found() -> None:
    """The validation above refuses what the API server would drop or refuse."""
    manifest = {"apiVersion": "v1", "kind": "Service", "spec": {"portz": []}}

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, KUBERNETES[-1], strict=True)


def labels(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield all labels within *value*, wherever they are."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("labels", "matchLabels") and isinstance(item, dict):
                yield from item.items()
            else:
                yield from labels(item)
    elif isinstance(value, list):
        for item in value:
            yield from labels(item)


def check_names(rendered: Rendered) -> None:
    """Fail if a name or label is not what the API server accepts, or two objects have one name."""
    names = [
        (of["kind"], of["metadata"].get("namespace"), of["metadata"]["name"])
        for of in rendered.manifests
    ]
    assert len({*names}) == len(names)
    for kind, _, name in names:
        longest = {"Service": 63, "StatefulSet": 52}.get(kind, 253)
        assert NAME.fullmatch(name), name
        assert len(name) <= longest, name
    for manifest in rendered.manifests:
        if manifest["kind"] != "PrometheusRule":
            for key, value in labels(manifest):
                assert LABEL_NAME.fullmatch(key), key
                assert isinstance(value, str), (key, value)
                assert LABEL.fullmatch(value), (key, value)


def test_names(rendered: Rendered) -> None:
    """Names and labels are valid, and names unique."""
    check_names(rendered)


@pytest.mark.parametrize(
    ("release", "values"),
    [
        (LONG, {}),
        (LONG[:32], {}),  # 53 characters with the name of the chart
        (LONG, {"nameOverride": "a" + "-b" * 40}),
        (LONG, {"fullnameOverride": "f-" * 40 + "f"}),
    ],
)
@pytest.mark.parametrize("file", ["sharded", "kube-prometheus-stack"])
def test_long_names(file: str, release: str, values: dict[str, str], tmp_path: Path) -> None:
    """The longest name of a release, and longer ones in the values, become valid names."""
    overrides = tmp_path / "overrides.yaml"
    overrides.write_text(yaml.safe_dump(values))

    check_names(render(CHART / "examples" / f"{file}.yaml", overrides, release=release))


def test_long_names_differ() -> None:
    """Releases whose long names differ at the end do not have the same objects."""
    one, other = (render(release=f"{LONG[:-1]}{end}") for end in "ab")

    assert one.workload["metadata"]["name"] != other.workload["metadata"]["name"]


def references(rendered: Rendered) -> set[tuple[str, str]]:
    """The objects that the pods refer to."""
    found = {("ServiceAccount", rendered.pod["serviceAccountName"])}
    for volume in rendered.pod["volumes"]:
        if "configMap" in volume:
            found.add(("ConfigMap", volume["configMap"]["name"]))
        if "secret" in volume:
            found.add(("Secret", volume["secret"]["secretName"]))
        if "persistentVolumeClaim" in volume:
            found.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
    for variable in rendered.container["env"]:
        if "secretKeyRef" in variable.get("valueFrom", {}):
            found.add(("Secret", variable["valueFrom"]["secretKeyRef"]["name"]))
    if rendered.workload["kind"] == "StatefulSet":
        found.add(("Service", rendered.workload["spec"]["serviceName"]))
    return found


ELSEWHERE = {
    "a.b-c",
    "company-ca",
    "default",
    "exporter-aws",
    "exporter-database",
    "exporter-tls",
    "external-ids",
    "mine",
    "my-ca",
    "my-claim",
    "my-config",
    "my-keys",
    "my-web-config",
}
"""Objects that the values name, and that the chart does not create."""


def test_references(rendered: Rendered) -> None:
    """What pods refer to is rendered too, in their namespace, or is named by the values."""
    created = {
        (of["kind"], of["metadata"]["name"])
        for of in rendered.manifests
        if of["metadata"].get("namespace") == NAMESPACE
    }
    absent = references(rendered) - created

    assert {name for _, name in absent} <= ELSEWHERE


def test_mounts(rendered: Rendered) -> None:
    """Each mount of the exporter has its volume, each volume is mounted, and ports have names."""
    workload = rendered.workload["spec"]
    volumes = {volume["name"] for volume in rendered.pod["volumes"]}
    volumes |= {claim["metadata"]["name"] for claim in workload.get("volumeClaimTemplates", ())}
    mounts = {mount["name"] for mount in rendered.container["volumeMounts"]}
    paths = [mount["mountPath"] for mount in rendered.container["volumeMounts"]]

    assert volumes == mounts
    assert len({*paths}) == len(paths)
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        port = rendered.container.get(probe, {}).get("httpGet", {}).get("port", "probes")
        assert port in {of["name"] for of in rendered.container["ports"]}


def test_files(rendered: Rendered) -> None:
    """Files that flags, environment and configurations name are where something is mounted."""
    mounts = {Path(mount["mountPath"]) for mount in rendered.container["volumeMounts"]}
    texts = [
        *rendered.container["args"],
        *(str(variable.get("value")) for variable in rendered.container["env"]),
        *(rendered.config(name) or "" for name in ("config.yaml", "web-config.yaml")),
    ]
    files = re.findall(rf"{MOUNTED}/[\w./-]+", "\n".join(texts))

    assert files
    assert {Path(file).parent for file in files} <= mounts


def test_selectors(rendered: Rendered) -> None:
    """Services, monitors and budgets select the pods, or the Service that selects them."""
    of_pods = rendered.workload["spec"]["template"]["metadata"]["labels"].items()
    for manifest in rendered.of("Service"):
        assert manifest["spec"]["selector"].items() <= of_pods
    for manifest in rendered.of("Deployment", "StatefulSet", "PodDisruptionBudget", "PodMonitor"):
        assert manifest["spec"]["selector"]["matchLabels"].items() <= of_pods
    for manifest in rendered.of("NetworkPolicy"):
        assert manifest["spec"]["podSelector"]["matchLabels"].items() <= of_pods
    for manifest in rendered.of("ServiceMonitor"):
        wanted = manifest["spec"]["selector"]["matchLabels"].items()
        selected = [
            of for of in rendered.of("Service") if wanted <= of["metadata"]["labels"].items()
        ]
        (service,) = selected  # not the headless one as well
        assert service["spec"].get("clusterIP") is None
        assert manifest["spec"]["namespaceSelector"]["matchNames"] == [NAMESPACE]


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_pods_are_restricted(file: Path) -> None:
    """Pods meet the strictest of Kubernetes' Pod Security Standards, and mount no API token."""
    rendered = render(file)
    for pod in (rendered.pod, *(of["spec"] for of in rendered.of("Pod"))):
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context.get("runAsUser", 65534) == context.get("fsGroup", 65534) == 65534
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        for container in pod["containers"]:
            assert (
                container["securityContext"].items()
                >= {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                }.items()
            )


def test_the_user_is_that_of_the_image() -> None:
    """The user, and the directory that is writable, are those of the image."""
    rendered = render()
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    (state,) = (of for of in rendered.container["volumeMounts"] if of["name"] == "state")

    assert "\nUSER 65534:65534\n" in dockerfile
    assert rendered.pod["securityContext"]["runAsUser"] == 65534
    assert f"STATE_DIRECTORY={state['mountPath']}" in dockerfile


def test_sizes(rendered: Rendered) -> None:
    """No object is larger than Kubernetes or the Prometheus Operator accepts."""
    limits = {"PrometheusRule": 512, "GrafanaDashboard": 1024}
    for manifest in rendered.manifests:
        size = len(yaml.dump(manifest, Dumper=yaml.CSafeDumper, width=10**9))
        assert size < limits.get(manifest["kind"], 1024) * 1024, manifest["metadata"]["name"]
        # kubectl apply keeps what it has applied in an annotation.
        assert size < 256 * 1024, manifest["metadata"]["name"]
