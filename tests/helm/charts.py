"""helm, and what it renders of the chart."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.helm.values import CHART, ROOT

Manifest = dict[str, Any]

DATA = ROOT / "tests" / "data" / "helm"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
GOOD = [*EXAMPLES, *sorted((DATA / "good").glob("*.yaml"))]
BAD = sorted((DATA / "bad").glob("*.yaml"))

CUSTOM = {
    "Certificate",
    "GrafanaDashboard",
    "HTTPRoute",
    "PodMonitor",
    "PrometheusRule",
    "ServiceMonitor",
}
"""Kinds that Kubernetes itself does not have."""

RELEASE, NAMESPACE = "release", "monitoring"

MOUNTED = "/etc/aws-iam-key-exporter"
"""Where the container has its files."""


def helm_tools() -> Path:
    """Return the directory that `.ci/helm` writes, which may not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HELM_TOOLS") or Path(cache, "aws-iam-key-exporter", "helm"))


def missing(text: str) -> None:
    """Skip the test, or fail it with REQUIRE_REAL_SERVERS=1."""
    if os.environ.get("REQUIRE_REAL_SERVERS") == "1":
        pytest.fail(text)
    pytest.skip(text)


@lru_cache
def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run helm; its result, whatever that is. Skips the test if there is no helm."""
    program = shutil.which("helm", path=helm_tools()) or shutil.which("helm")
    if program is None:
        missing(f"{helm_tools()} has no helm: run .ci/helm, or set HELM_TOOLS")
    return subprocess.run([str(program), *arguments], check=False, capture_output=True, text=True)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What the chart becomes with some values."""

    manifests: tuple[Manifest, ...]

    def of(self, *kinds: str) -> list[Manifest]:
        return [manifest for manifest in self.manifests if manifest["kind"] in kinds]

    @property
    def workload(self) -> Manifest:
        (workload,) = self.of("Deployment", "StatefulSet")
        return workload

    @property
    def pod(self) -> Manifest:
        """The specification of the exporter's pods."""
        return dict(self.workload["spec"]["template"]["spec"])

    @property
    def container(self) -> Manifest:
        (container,) = (of for of in self.pod["containers"] if of["name"] == "exporter")
        return dict(container)

    def config(self, key: str = "config.yaml") -> str | None:
        """The text of a file that the chart writes for the exporter. None: it does not."""
        for manifest in self.of("ConfigMap", "Secret"):
            data = manifest.get("data", {}) | manifest.get("stringData", {})
            if key in data:
                return str(data[key])
        return None


@lru_cache
def render(*files: Path, release: str = RELEASE) -> Rendered:
    """Render the chart with the values of *files*, which are good and do not change."""
    values = [f"--values={file}" for file in files]
    run = helm("template", release, str(CHART), f"--namespace={NAMESPACE}", *values)
    assert run.returncode == 0, run.stderr
    documents = yaml.load_all(run.stdout, yaml.CSafeLoader)
    return Rendered(tuple(document for document in documents if document))


def problems(file: Path) -> list[str]:
    """What helm says about bad values, one line for each problem, sorted."""
    run = helm("template", RELEASE, str(CHART), f"--values={file}")
    assert run.returncode == 1
    assert run.stdout == ""
    return sorted(re.findall(r"^ *- (.+)", run.stderr, re.MULTILINE))


def example(name: str) -> Rendered:
    return render(CHART / "examples" / f"{name}.yaml")


def with_values(folder: Path, text: str, release: str = "release") -> Rendered:
    """Render the chart with the values in *text*."""
    file = folder / f"{sha256(text.encode()).hexdigest()}.yaml"  # what is rendered is cached
    file.write_text(text, encoding="utf-8")
    return render(file, release=release)
