"""The documentation is true and complete."""

import pkgutil
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

import pytest
import yaml
from botocore.session import get_session

from exporter import __version__, demo
from exporter.__main__ import run
from exporter.aws import Operation
from exporter.cli.flags import parse_flags
from exporter.config import parse
from exporter.model import EventKind
from exporter.report import Order, Output
from exporter.server.web_config import document
from tests.documents.markdown import ROOT, Block, blocks, documents, read

README = read("README.md")


def section(path: str, heading: str) -> str:
    """Return what the document at *path* has under *heading*, which is of the second level."""
    found = read(path).partition(f"\n## {heading}\n")[2]
    assert found
    return found.partition("\n## ")[0]


def first_cells(text: str) -> list[str]:
    """Return the first cells of the first table in *text*, without its header."""
    table = re.search(r"\n(\|.*?)\n(\n|$)", text, re.DOTALL)
    assert table is not None
    return [line.split("|")[1].strip().strip("`") for line in table.group(1).splitlines()[2:]]


def test_every_output_and_order_of_a_report_is_documented() -> None:
    """The page about reports names every value of --output and --sort."""
    report = section("docs/events-and-reports.md", "A report")

    assert {f"`{value}`" for value in (*Order, *Output)} <= set(re.findall(r"`\w+`", report))


def test_every_kind_of_event_is_documented() -> None:
    """The page about events names every kind of event."""
    changed = section("docs/events-and-reports.md", "What changed")

    assert {f"`{kind}`" for kind in EventKind} <= set(re.findall(r"`\w+`", changed))


def test_every_source_of_credentials_is_documented() -> None:
    """The table of credentials has what botocore looks for, in its order."""
    sources = {
        "env": "environment",
        "assume-role": "profile with a role",
        "assume-role-with-web-identity": "web identity, such as EKS IRSA",
        "sso": "IAM Identity Center (SSO)",
        "shared-credentials-file": "profile with an access key",
        "login": "aws login",
        "custom-process": "a program",
        "container-role": "ECS task role, EKS Pod Identity",
        "iam-role": "EC2 instance profile",
    }
    others = {"config-file", "ec2-credentials-file", "boto-config"}  # old places of access keys
    providers = get_session().get_component("credential_provider").providers

    found = [provider.METHOD for provider in providers if provider.METHOD not in others]
    assert [sources[method] for method in found] == first_cells(
        section("docs/accounts.md", "Credentials")
    )


@pytest.mark.parametrize(
    "name",
    [
        *("HTTPS_PROXY", "NO_PROXY", "AWS_CA_BUNDLE"),
        *("`aws`", "`aws-cn`", "`aws-us-gov`", "`aws-eusc`", "`aws-iso*`"),
        *(f"`aws.{option}`" for option in ("region", "use_fips", "use_dualstack", "endpoint_urls")),
        *("external_id", "session_name", "session_tags", "source_identity", "role_chain"),
    ],
)
def test_how_aws_is_reached_is_documented(name: str) -> None:
    """The section about credentials names each partition, option and variable."""
    assert name in section("docs/accounts.md", "Credentials")


@pytest.mark.parametrize("operation", [o for o in Operation if o != "GetCallerIdentity"])
def test_every_permission_is_documented(operation: Operation) -> None:
    """Each operation that needs a permission is documented."""
    assert f"{operation.service}:{operation}" in section("docs/accounts.md", "Permissions")


CONFIGURATIONS = [
    block
    for path in documents()
    for block in blocks(path)
    if block.language == "yaml"
    and re.search("^(accounts|organization|collection|labels):", block.text, re.MULTILINE)
]


@pytest.mark.parametrize("block", CONFIGURATIONS, ids=lambda each: f"{each.document}:{each.line}")
def test_configurations_are_valid(block: Block) -> None:
    """Each configuration that a document shows is valid."""
    assert parse(block.text, block.document, {"EXTERNAL_ID": "abc", "PROD_EXTERNAL_ID": "abc"})


def test_the_web_configuration_is_valid() -> None:
    """The web configuration that docs/web.md shows is valid, with the hash of a password."""
    (text,) = (each.text for each in blocks("docs/web.md") if "basic_auth_users" in each.text)

    _, problems = document.parse(text.replace("$2y$12$...", f"$2y$12${'a' * 53}").encode())

    assert problems == []


def test_the_demo_listens_where_prometheus_scrapes() -> None:
    """`make demo`, the default port and the scrape configuration name the same address."""
    listen = re.search(r"^LISTEN \?= (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    scraping = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    (target,) = scraping["scrape_configs"][0]["static_configs"][0]["targets"]

    assert listen is not None
    assert listen.group(1) == target == demo.TARGET
    assert target in README


def test_the_number_of_alerts_is_right() -> None:
    """The README says how many alerts there are."""
    rules = (ROOT / "deploy/prometheus/rules").glob("*.yaml")
    alerts = re.findall(r"^ *- alert:", "".join(file.read_text() for file in rules), re.MULTILINE)

    assert f"[{len(alerts)} alert rules]" in README


def test_the_changelog_has_this_version() -> None:
    """The changelog starts with unreleased changes or those of this version."""
    heading = re.search(r"^## (.*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert heading is not None
    assert heading.group(1) == "Unreleased" or heading.group(1).startswith(__version__)


@pytest.mark.process
def test_hadolint_reports_nothing() -> None:
    """hadolint reports no problem with the Dockerfile."""
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"

    result = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], check=False, capture_output=True, text=True, timeout=60
    )

    assert (result.returncode, result.stdout) == (0, "")


def dockerfile(instruction: str) -> list[str]:
    """Return the arguments of each *instruction* in the last stage of the Dockerfile."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").split("\nFROM ")[-1]
    return re.findall(rf"^{instruction}\s+(.*)", text, re.MULTILINE)


def test_the_image_runs_as_a_numeric_user() -> None:
    """The user is numeric, so that Kubernetes can verify that it is not root."""
    assert dockerfile("USER") == ["65534:65534"]


def test_the_image_needs_no_shell() -> None:
    """Entry point and health check are in exec form, and the last stage runs no command."""
    assert all(word.startswith("[") for word in dockerfile("ENTRYPOINT"))
    assert "CMD [" in dockerfile("HEALTHCHECK")[0]
    assert dockerfile("RUN") == []


def test_the_build_context_is_what_is_copied() -> None:
    """.dockerignore allows exactly what the Dockerfile copies from the project."""
    copied = re.findall(r"^COPY (?!--from)(.*)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {word for line in copied for word in line.split()[:-1]}
    allowed = re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert sources == set(allowed)


def test_the_image_exposes_the_default_port() -> None:
    """The exposed port and the default port are the same."""
    assert parse_flags([], {}).web_listen_address == [":10064"]
    assert dockerfile("EXPOSE") == ["10064"]


def test_the_image_has_the_version_of_the_package() -> None:
    """The version label is the version of the package."""
    assert f"VERSION={__version__}" in dockerfile("ARG")


def package_files(root: Path) -> set[Path]:
    """Return the files of the package under *root*, without bytecode."""
    files = (path for path in (root / "exporter").rglob("*") if path.is_file())
    return {path.relative_to(root) for path in files if path.suffix != ".pyc"}


def test_the_console_script_runs_the_program() -> None:
    """The console script runs what ``python -m exporter`` runs."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]

    assert pkgutil.resolve_name(scripts["aws-iam-key-exporter"]) is run


@pytest.mark.process
@pytest.mark.slow
def test_the_image_has_a_package_that_runs(tmp_path: Path) -> None:
    """What the Dockerfile copies installs every module and data file, and starts."""
    context, target = tmp_path / "context", tmp_path / "target"
    context.mkdir()
    for name in re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text(), re.MULTILINE):
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, context / name)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    subprocess.run([*pip, "--target", target, context], check=True, timeout=110)

    result = subprocess.run(
        [sys.executable, "-B", "-m", "exporter", "--version"],
        check=False,
        cwd=target,
        env={"HOME": "/nonexistent", "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
    )

    assert result.stdout.startswith("aws-iam-key-exporter, version")
    assert package_files(ROOT) == package_files(target)


REGISTRIES = (
    r"pypi\.org",
    r"pythonhosted\.org",
    r"registry\.npmjs",
    r"registry\.yarnpkg",
    r"proxy\.golang",
    r"crates\.io",
    r"rubygems\.org",
    r"index\.docker\.io",
    r"registry-1\.docker",
)
"""Hosts of package registries, for which mirrors are configured where they are needed."""


@pytest.mark.process
def test_no_file_names_a_local_path_or_a_registry() -> None:
    """No file contains paths or hosts of one machine, or the host of a package registry."""
    result = subprocess.run(
        [
            "git",
            "grep",
            "--untracked",
            "-nIiE",
            "|".join((r"/(home|work)/", *REGISTRIES)),
            "--",
            ":!tests/test_docs.py",
        ],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert result.stdout == ""
