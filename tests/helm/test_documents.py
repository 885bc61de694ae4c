"""The chart's README, examples and notes, and `.ci/helm`."""

import base64
import gzip
import json
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from exporter.cli.flags import parse_flags
from tests.helm.charts import (
    EXAMPLES,
    GOOD,
    MOUNTED,
    NAMESPACE,
    RELEASE,
    Rendered,
    helm,
    helm_tools,
    missing,
    render,
)
from tests.helm.values import CHART, ROOT

README = (CHART / "README.md").read_text(encoding="utf-8")

of_helm = [pytest.mark.process, pytest.mark.xdist_group("helm")]


def test_every_example_is_in_the_readme() -> None:
    """The table has each file once, and only files that exist."""
    assert sorted(re.findall(r"\(examples/(.+?)\)", README)) == [file.name for file in EXAMPLES]


def test_links_lead_somewhere() -> None:
    """What the README links to in the repository exists."""
    for path in re.findall(r"/(?:blob|tree)/main/([\w./-]+)\)", README):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_examples_say_what_they_are_for(file: Path) -> None:
    """An example begins with a comment."""
    assert file.read_text(encoding="utf-8").startswith("# ")


def notes(*files: Path) -> str:
    """What helm prints after an installation with the values of *files*."""
    values = [f"--values={file}" for file in files]
    options = [f"--namespace={NAMESPACE}", "--dry-run=client", *values]
    run = helm("install", RELEASE, str(CHART), *options)
    assert run.returncode == 0, run.stderr
    return run.stdout.partition("\nNOTES:\n")[2]


@pytest.mark.parametrize(
    ("variables", "directory"),
    [
        ({"HELM_TOOLS": "/opt/helm", "XDG_CACHE_HOME": "/cache"}, "/opt/helm"),
        ({"XDG_CACHE_HOME": "/cache"}, "/cache/aws-iam-key-exporter/helm"),
        ({"HOME": "/var/ada"}, "/var/ada/.cache/aws-iam-key-exporter/helm"),
    ],
)
def test_directory_of_the_tools(
    variables: dict[str, str], directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is HELM_TOOLS, or a directory in the user's cache."""
    for name in ("HELM_TOOLS", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    assert helm_tools() == Path(directory)


def test_a_missing_program_skips_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where real servers are required, the test fails instead."""
    monkeypatch.delenv("REQUIRE_REAL_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"run \.ci/helm"):
        missing("no helm: run .ci/helm")
    monkeypatch.setenv("REQUIRE_REAL_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match=r"run \.ci/helm"):
        missing("no helm: run .ci/helm")


@pytest.mark.process
def test_without_network_the_download_ends_with_one_sentence(tmp_path: Path) -> None:
    """`.ci/helm` says what npm reported and what to do instead, and leaves nothing."""
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho npm error network >&2\nexit 1\n", encoding="utf-8")
    npm.chmod(0o755)
    directory = tmp_path / "tools"
    directory.mkdir()

    run = subprocess.run(
        [ROOT / ".ci" / "helm", directory],
        env={**os.environ, "PATH": f"{npm.parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    (line,) = run.stderr.splitlines()
    assert "(npm error network)" in line
    assert line.endswith("and set HELM_TOOLS to it.")
    assert list(directory.iterdir()) == []


class TestHelm:
    """What helm prints and stores."""

    pytestmark = of_helm

    @pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
    def test_notes_name_what_is_there(self, file: Path) -> None:
        """The notes name the workload and the service, and have no value that is missing."""
        rendered, text = render(file), notes(file)
        workload = rendered.workload

        name = workload["metadata"]["name"]
        assert f"the {workload['kind'].lower()} {name} in the namespace {NAMESPACE}." in text
        assert f"port-forward service/{name} 10064:{_port(rendered)}\n" in text
        assert "<no value>" not in text
        assert "\n\n\n" not in text

    def test_notes_say_what_is_missing(self) -> None:
        """With default values everything is missing; with an example, what it does not have."""
        everything = notes()
        for text in ("Credentials:", "Accounts:", "does not scrape", "dashboards yet", "is lost"):
            assert text in everything
        stack = notes(CHART / "examples" / "kube-prometheus-stack.yaml")
        for text in ("does not scrape", "alerts yet", "dashboards yet", "is lost"):
            assert text not in stack
        assert "Credentials:" not in notes(CHART / "examples" / "irsa.yaml")
        assert "WARNING" in notes(CHART / "examples" / "gateway.yaml")
        assert "WARNING" not in everything

    def test_notes_ask_for_an_image(self, tmp_path: Path) -> None:
        """The notes say that none is published, unless the values name another registry."""
        own = tmp_path / "values.yaml"
        own.write_text("image: {registry: registry.example.com}", encoding="utf-8")

        assert "Image: none is published" in notes()
        assert "Image:" not in notes(own)

    def test_notes_are_true(self, tmp_path: Path) -> None:
        """They name what is served, what is kept, and who can reach it."""
        values = tmp_path / "values.yaml"
        values.write_text(
            "service: {type: LoadBalancer}\nweb: {disablePages: true}\nnamespaceOverride: other\n"
            "config: {state: {url: 'postgresql://db/x'}}\n"
        )
        text = notes(values)

        assert "http://localhost:10064/metrics\n" in text
        assert "is lost" not in text
        assert "WARNING: the metrics name" in text
        assert "--logs" not in text  # helm looks for them in the namespace of the release

    def test_commands_in_the_notes(self) -> None:
        """The exporter's command that the notes show is valid."""
        text = notes().replace("\\\n", " ")
        (command,) = re.findall(r"-- +/app/bin/aws-iam-key-exporter (.+)", text)

        flags = parse_flags(shlex.split(command), {})

        assert flags.config_file == f"{MOUNTED}/config/config.yaml"

    def test_the_release_fits_into_a_secret(self, tmp_path: Path) -> None:
        """helm keeps the chart and what it has rendered in a Secret, of at most 1 MiB."""
        switches = tmp_path / "values.yaml"
        both = "dashboards: {enabled: true, grafanaOperator: {enabled: true}}"
        switches.write_text(f"{both}\nprometheusRule: {{enabled: true}}\n")
        manifest = helm("template", RELEASE, str(CHART), f"--values={switches}").stdout
        files = [
            {"name": str(path), "data": base64.b64encode(path.read_bytes()).decode()}
            for path in sorted(CHART.rglob("*.*"))
            if path.is_file()
        ]

        stored = gzip.compress(json.dumps({"chart": files, "manifest": manifest}).encode())

        assert len(base64.b64encode(stored)) < 512 * 1024


def _port(rendered: Rendered) -> int:
    (service,) = (of for of in rendered.of("Service") if of["spec"].get("clusterIP") != "None")
    return int(service["spec"]["ports"][0]["port"])
