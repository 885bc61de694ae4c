"""SECURITY.md is true where a test can tell."""

import json
import re
from collections.abc import Iterator

import pytest

from exporter.aws import Operation
from exporter.cli.flags import make_parser
from tests.config_schema import schema
from tests.test_config_schema import options
from tests.test_development import PHONY, ROOT

SECURITY = (ROOT / "SECURITY.md").read_text()
READS = re.compile(r"(Get|List)[A-Z]\w+")
OTHER_CALLS = {"AssumeRole", "GenerateCredentialReport", "TagSession"}
"""What the exporter does besides reading."""


def allowed() -> Iterator[str]:
    """Yield the actions that the shipped policies of the exporter and of its roles allow."""
    for path in sorted((ROOT / "deploy/iam").glob("*.json")):
        for statement in json.loads(path.read_text())["Statement"]:
            if "Principal" not in statement:
                yield from statement["Action"]


def test_policies_only_allow_reading() -> None:
    """No policy allows a change, but for the credential report that AWS generates."""
    actions = {action.partition(":")[2] for action in allowed()}

    assert "ListUsers" in actions
    assert {action for action in actions if not READS.fullmatch(action)} <= OTHER_CALLS


def test_calls_only_read() -> None:
    """The exporter has no operation that changes anything, but for the credential report."""
    names = {operation.value for operation in Operation}

    assert "ListUsers" in names
    assert {name for name in names if not READS.fullmatch(name)} <= OTHER_CALLS


def test_what_is_named_exists() -> None:
    """Flags, options, make targets and files that SECURITY.md names exist."""
    flags = set(make_parser()._option_string_actions)
    known = {name for name, _ in options(schema())}
    named = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)`", SECURITY)
    named_options = {name for name in named if not (ROOT / name).exists()}
    named_flags = set(re.findall(r"`(--[a-z.-]+)", SECURITY))

    assert "--web.disable-pages" in named_flags
    assert named_flags <= flags
    assert "labels.access_key_id" in named_options
    assert named_options <= known
    assert set(re.findall(r"make (\w+)", SECURITY)) <= set(PHONY)


@pytest.mark.parametrize(
    "path", re.findall(r"`([\w./-]+\.(?:lock|json|yml)|deploy/\w+)`", SECURITY)
)
def test_files_exist(path: str) -> None:
    """Files that SECURITY.md names exist."""
    assert (ROOT / path).exists()
