"""What the documentation says is so."""

import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from exporter import __version__
from exporter.aws import OPERATIONS
from exporter.cli.flags import make_parser
from exporter.metrics import FAMILIES
from exporter.metrics.families import ACCOUNT, KEY, Family
from exporter.model import Reason

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BEGIN, END = "<!-- metrics: begin -->\n", "<!-- metrics: end -->"


def labels(family: Family) -> str:
    """Write the labels of *family* as the README does."""
    if family.labels[:4] == KEY:
        return ", ".join(["`K`", *(f"`{label}`" for label in family.labels[4:])])
    if family.labels[:2] == ACCOUNT:
        return ", ".join(["`A`", *(f"`{label}`" for label in family.labels[2:])])
    return ", ".join(f"`{label}`" for label in family.labels)


def metric_table() -> str:
    """Write the table of metrics."""
    lines = ["| metric | labels | |", "|---|---|---|"]
    lines += [f"| `{f.name}` ({f.kind}) | {labels(f)} | {f.help} |" for f in FAMILIES]
    return "\n".join(lines) + "\n"


def first_cells(heading: str) -> list[str]:
    """List the first cells of the table that follows *heading*, without its head."""
    table = re.search(rf"{re.escape(heading)}.*?\n\n?(\|.*?)\n\n", README, re.DOTALL)
    assert table is not None
    return [line.split("|")[1].strip().strip("`") for line in table.group(1).splitlines()[2:]]


def test_the_metric_table_is_the_table_of_families() -> None:
    """The README's table of metrics is made from the code's."""
    table = README.partition(BEGIN)[2].partition(END)[0]

    assert table == metric_table()


def test_every_flag_is_documented() -> None:
    """The README's table of flags has just those that there are."""
    flags = [a.option_strings[-1] for a in make_parser()._actions if a.option_strings]

    assert set(first_cells("path.\n")) == set(flags) - {"--help"}


def test_every_reason_is_documented() -> None:
    """The README's table of reasons has just those that there are, in their order."""
    assert first_cells("### Reasons") == [str(reason) for reason in Reason]


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o != "GetCallerIdentity"])
def test_every_permission_is_documented(operation: str) -> None:
    """Each operation that needs a permission is named with it."""
    service = "sts" if operation == "AssumeRole" else "iam"

    assert f"{service}:{operation}" in README


def test_the_changelog_speaks_of_this_version() -> None:
    """The changelog has unreleased changes, or those of this version, on top."""
    heading = re.search(r"^## (.*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert heading is not None
    assert heading.group(1) == "Unreleased" or heading.group(1).startswith(__version__)


def test_links_lead_somewhere() -> None:
    """Each relative link of the README is a file."""
    targets = re.findall(r"\]\((?!http|#)([^)#]+)", README)

    assert [target for target in targets if not (ROOT / target).exists()] == []


def test_hadolint_has_nothing_to_say() -> None:
    """hadolint finds no fault with the Dockerfile."""
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"

    result = subprocess.run(
        [hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, timeout=60
    )

    assert (result.returncode, result.stdout) == (0, "")


def dockerfile(instruction: str) -> list[str]:
    """List the arguments of each *instruction* of the Dockerfile's last stage."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").split("\nFROM ")[-1]
    return re.findall(rf"^{instruction}\s+(.*)", text, re.MULTILINE)


def test_the_image_runs_as_a_numeric_nobody() -> None:
    """The user is a number, so that Kubernetes can see that it is not root."""
    assert dockerfile("USER") == ["65534:65534"]


def test_the_image_needs_no_shell() -> None:
    """Entry point and health check are lists, and the stage runs nothing."""
    assert all(word.startswith("[") for word in dockerfile("ENTRYPOINT"))
    assert "CMD [" in dockerfile("HEALTHCHECK")[0]
    assert dockerfile("RUN") == []


def test_the_image_is_given_what_it_copies() -> None:
    """.dockerignore lets through just what the Dockerfile copies from the project."""
    copied = re.findall(r"^COPY (?!--from)(.*)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    sources = {word for line in copied for word in line.split()[:-1]}
    allowed = re.findall(r"^!(.*)", (ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert sources == set(allowed)


def test_the_image_listens_where_it_says() -> None:
    """Exposed port, health check and default address are the same."""
    (health,) = dockerfile("HEALTHCHECK")

    assert dockerfile("EXPOSE") == ["10064"]
    assert "'127.0.0.1', 10064" in health


def test_the_image_has_the_packages_version() -> None:
    """The label's version is the package's."""
    assert f"VERSION={__version__}" in dockerfile("ARG")


def test_the_image_gets_a_package_that_runs(tmp_path: Path) -> None:
    """What the Dockerfile copies makes a package that has every module, and starts."""
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
        cwd=target,
        env={"HOME": "/nonexistent", "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
    )

    modules = {path.relative_to(ROOT) for path in (ROOT / "exporter").rglob("*.py")}
    assert result.stdout.startswith("aws-iam-key-exporter, version")
    assert modules == {path.relative_to(target) for path in (target / "exporter").rglob("*.py")}


def test_nothing_is_said_of_other_machines() -> None:
    """No file names a place that only one machine has."""
    result = subprocess.run(
        [
            "git",
            "grep",
            "-nIE",
            r"/(home|work)/|pypi\.org|registry\.npmjs",
            "--",
            ":!tests/test_docs.py",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    assert result.stdout == ""
