"""docs/metrics.md, docs/configuration.md and docs/flags.md are true and complete."""

import json
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from exporter.cli.flags import EPILOG, variable
from exporter.config import Config, parse
from exporter.metrics import FAMILIES
from exporter.model import Reason
from exporter.server.web_config.guard import HANDLERS
from tests.reference import DOCS, commands, flags_table, options_table, pages
from tests.servers import find

METRICS, CONFIGURATION, FLAGS = (
    (DOCS / f"{name}.md").read_text(encoding="utf-8")
    for name in ("metrics", "configuration", "flags")
)


def section(page: str, heading: str) -> str:
    """Return what a *page* has below a *heading* of the second level."""
    return page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(table: str) -> list[list[str]]:
    """Return the cells of a table, without its header."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]


@pytest.mark.parametrize("name", Config.model_fields)
def test_every_option_is_described(name: str) -> None:
    """Each option has a description, or is within a section that has one."""
    described = {option.strip("`"): text for option, *_, text in rows(options_table(name))}

    vague = [of for of in described if not described[of] and not described[of.partition(".")[0]]]
    assert vague == []


@pytest.mark.parametrize("name", Config.model_fields)
def test_every_section_has_a_heading(name: str) -> None:
    """The options of a section are below its name."""
    assert f"<!-- {name}: begin -->" in section(CONFIGURATION, name)


@pytest.mark.parametrize("name", commands())
def test_every_subcommand_has_a_heading(name: str) -> None:
    """The flags of a subcommand are below its name."""
    assert f"<!-- {name}: begin -->" in section(FLAGS, name)


def test_the_values_of_an_option_are_described_one_by_one() -> None:
    """A comment that goes through the values of an option becomes a line for each."""
    (text,) = (text for option, *_, text in rows(options_table("labels")) if "access_key" in option)

    assert re.findall("<br>(`[a-z]+`: )", text) == ["`full`: ", "`masked`: ", "`hashed`: "]


def test_text_is_not_markup() -> None:
    """An asterisk or a less-than sign in a comment or a help is shown as it is."""
    tables = [options_table(name) for name in Config.model_fields]
    prose = re.sub(r"`[^`]*`|<br>", "", "".join([*tables, *map(flags_table, commands())]))

    assert re.findall(r"(?<!\\)[*<>]", prose) == []


def test_a_page_without_a_block_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table for which a page has no place is an error, and is not left out."""
    for page in DOCS.glob("*.md"):
        text = page.read_text(encoding="utf-8").replace("<!-- users: begin -->", "")
        (tmp_path / page.name).write_text(text, encoding="utf-8")

    with pytest.raises(ValueError, match="'users'"):
        pages(tmp_path)


def test_the_example_of_the_configuration_is_valid() -> None:
    """The YAML document of docs/configuration.md is a valid configuration of two accounts."""
    (text,) = re.findall(r"```yaml\n(.*?)```", CONFIGURATION, re.DOTALL)

    config = parse(text, "configuration.md", {"EXTERNAL_ID": "abc"})

    assert [account.requests_per_second for account in config.accounts] == [2, 2]
    assert "x-shared" in yaml.safe_load(re.sub(r"\$\{.*?\}", "1", text))


def test_environment_variables_are_described_as_in_the_help() -> None:
    """The name of a variable in the page is the one in --help."""
    (name,) = set(re.findall(r"AWS_IAM_KEY_EXPORTER_\w+", section(FLAGS, "Environment variables")))

    assert name in EPILOG
    assert name == variable("--config.file")


def test_every_reason_is_documented() -> None:
    """The table of reasons lists exactly those that exist, in their order."""
    listed = [cells[0].strip("`") for cells in rows(section(METRICS, "Reasons"))]

    assert listed == [str(reason) for reason in Reason]


@pytest.mark.parametrize("handler", ["malformed", *HANDLERS.values()])
def test_handlers_of_refused_requests_are_documented(handler: str) -> None:
    """The help of the counter names the handlers that no route has."""
    (family,) = (of for of in FAMILIES if of.name == "aws_iam_exporter_http_requests_total")

    assert re.search(rf"\b{handler}\b", family.help)


@pytest.mark.process
def test_the_queries_are_valid() -> None:
    """promtool accepts every query, and each metric in them exists."""
    text = section(METRICS, "Queries")
    queries = re.findall(r"```promql\n(.*?)```", text, re.DOTALL)
    rules = [{"record": f"q{n}", "expr": query} for n, query in enumerate(queries)]

    run = subprocess.run(
        [find("promtool"), "check", "rules", "/dev/stdin"],
        input=json.dumps({"groups": [{"name": "g", "rules": rules}]}),
        check=False,
        capture_output=True,
        text=True,
    )

    assert len(queries) == 4
    assert "SUCCESS" in run.stdout
    names = {family.name for family in FAMILIES}
    assert set(re.findall(r"aws_iam_\w+", text)) <= names
