"""The configuration: what is accepted, and how errors are reported."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from exporter.config import Config, ConfigError, load, parse, summarize, warnings_of

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data" / "config"
EXAMPLE = ROOT / "config.example.yaml"
SECRETS = {"PROD_EXTERNAL_ID": "abc", "KEY_ID_SECRET": "0123456789abcdef"}
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def complete_example() -> str:
    """config.example.yaml with the examples that are commented out."""
    return re.sub(r"(?m)^#(?=\S|  )", "", EXAMPLE.read_text())


def load_example(**environment: str) -> Config:
    return parse(complete_example(), "config.yaml", {**SECRETS, **environment})


def read(text: str, **environment: str) -> Config:
    return parse(text, "config.yaml", environment)


def error_of(text: str) -> str:
    """Return the error message for *text*, which must be invalid."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.bad.yaml")), ids=lambda path: path.stem)
def test_an_invalid_file_reports_every_problem(path: Path) -> None:
    """All problems of a file are reported at once, each with file, line and path."""
    expected = path.with_suffix("").with_suffix(".expect.txt").read_text()

    assert error_of(path.read_text()) + "\n" == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accounts: [{account_id: '123'}]", "must be a 12-digit account ID"),
        ("accounts: [{account_id: [1]}]", "must be a string"),
        ("accounts: [{role_arn: 1}]", "must be a string"),
        ("accounts: [{name: ''}]", "must not be empty"),
        ("accounts: [{profile: a, session_name: 'a b'}]", "must be 2 to 64 letters, digits or any"),
        ("accounts: {}", "must be a list"),
        ("aws: {endpoint_urls: {iam: iam.local}}", "must be an http or https URL"),
        ("aws: {use_fips: 1}", "must be true or false"),
        ("collection: {credential_report: on}", "must be 'auto', 'guide', 'off' or 'values'"),
        ("collection: {user_tags: 1}", "must be 'off', 'bulk' or 'per_user'"),
        ("collection: {requests_per_second: a}", "must be a number"),
        ("exemptions: {entries: [{user: a}]}", "is required"),
        ("exemptions: {entries: [{user: a, until: soon}]}", "must be a date such as 2026-12-31"),
        ("exemptions: {entries: [{user: a, until: 20261231}]}", "must be a date such as 2026"),
        ("exemptions: {entries: [{user: 1, until: 2026-12-31}]}", "must be a string"),
        ("collection: {credential_report: values, stale_after: 2h}", "and longer than 6h with"),
        ("a: \x01", "invalid YAML: "),
    ],
)
def test_invalid_values(text: str, message: str) -> None:
    """The message for an invalid value names what is valid."""
    assert message in error_of(text)


def options(section: type[BaseModel], path: str = "") -> set[str]:
    """Return the paths of all options in *section*."""
    paths: set[str] = set()
    for name, field in section.model_fields.items():
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())]
        sections = [c for c in inner if isinstance(c, type) and issubclass(c, BaseModel)]
        here = f"{path}.{name}".lstrip(".")
        paths |= options(sections[0], here) if sections else {here}
    return paths


def paths(value: Any, path: str = "") -> set[str]:
    """Return the paths of all values in *value*, without the indexes of lists."""
    if isinstance(value, dict):
        return set().union(*(paths(v, f"{path}.{k}".lstrip(".")) for k, v in value.items()))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return set().union(*(paths(item, path) for item in value))
    return {path}


def test_the_example_has_every_option() -> None:
    """config.example.yaml has exactly the options of the schema."""
    assert paths(yaml.safe_load(complete_example())) == options(Config)


def test_the_example_loads() -> None:
    """config.example.yaml is a valid configuration."""
    config = load_example()

    assert [account.label for account in config.model_accounts()] == ["prod", "audit"]


def test_the_example_shows_the_defaults() -> None:
    """Sections of config.example.yaml without example values equal the defaults."""
    config = load_example()

    assert (config.collection, config.users) == (Config().collection, Config().users)


def changed(section: BaseModel, path: str = "") -> Iterator[str]:
    """Yield the paths of the options in *section* that do not have their default."""
    for name, field in type(section).model_fields.items():
        here, value = f"{path}.{name}".lstrip("."), getattr(section, name)
        parts = value if isinstance(value, tuple) else (value,)
        sections = [part for part in parts if isinstance(part, BaseModel)]
        for part in sections:
            yield from changed(part, here)
        if not sections and (field.is_required() or value != field.get_default()):
            yield here


def comments(text: str) -> dict[str, str]:
    """Return the comments on and above each option's first line in *text*, by its path."""
    lines, found = text.splitlines(), dict[str, str]()

    def visit(node: yaml.Node, path: str) -> None:
        for child in node.value if isinstance(node, yaml.SequenceNode) else ():
            visit(child, path)
        for key, child in node.value if isinstance(node, yaml.MappingNode) else ():
            here, number = f"{path}.{key.value}".lstrip("."), key.start_mark.line
            own = lines[number].partition(" #")[2]
            above = takewhile(lambda line: line.strip()[:1] == "#", reversed(lines[:number]))
            below = takewhile(lambda line: line.strip()[:1] == "#", lines[number + 1 :])
            found.setdefault(here, " ".join([own, *(below if own else above)]))
            visit(child, here)

    root = yaml.compose(text)
    assert root is not None
    visit(root, "")
    return found


def test_the_example_names_the_other_defaults() -> None:
    """A value of config.example.yaml that is not the default has a comment that names it."""
    config = load_example()
    documented = comments(complete_example())
    documented |= {
        path: documented["aws.endpoint_urls"] for path in documented if "endpoint_urls." in path
    }

    vague = [
        path for path in changed(config) if not re.search("(?i)default|required", documented[path])
    ]
    assert vague == []


@pytest.mark.parametrize("text", ["", "# nothing\n", "collection:\naccounts: []\n"])
def test_the_default_account_is_that_of_the_credentials(text: str) -> None:
    """Without accounts there is one, with the default credentials and an unknown ID."""
    (account,) = read(text).model_accounts()

    assert (account.id, account.role_arn, account.profile) == ("", None, None)


def test_account_id_and_partition_default_to_those_of_the_role() -> None:
    """An account with a role has the ID and the partition of its ARN."""
    config = read("accounts: [{role_arn: 'arn:aws-us-gov:iam::111111111111:role/a/b'}]")

    (account,) = config.model_accounts()

    assert (account.id, account.partition, account.label) == (
        "111111111111",
        "aws-us-gov",
        "111111111111",
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("30s", 30), ("1h30m", 5400), ("7d", 604800), ("0.5s", 0.5)]
)
def test_durations(text: str, seconds: float) -> None:
    """A duration is one or more numbers, each with a unit."""
    config = read(f"collection: {{user_tags_interval: {text}}}")

    assert config.collection.user_tags_interval == timedelta(seconds=seconds)


def test_environment_variables_are_replaced() -> None:
    """${NAME} in a value is replaced by the environment variable NAME."""
    config = read("accounts: [{profile: 'x-${WHO}'}]", WHO="me")

    assert config.accounts[0].profile == "x-me"


def test_an_unquoted_off_is_off() -> None:
    """An unquoted off, which YAML reads as false, is accepted."""
    config = read("collection: {credential_report: off, user_tags: off}")

    assert (config.collection.credential_report, config.collection.user_tags) == ("off", "off")


def test_patterns_match_whole_names_and_exclude_takes_precedence() -> None:
    """A user is read if an include pattern matches the whole name and no exclude pattern does."""
    matches = read("users: {include: ['a.*'], exclude: ['.*z']}").users.matcher()

    names = ["ab", "ba", "abz", "a"]

    assert [name for name in names if matches(name)] == ["ab", "a"]


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    """A file that does not exist is reported like any other problem."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml")

    assert str(caught.value).endswith("none.yaml:1: cannot read file: No such file or directory")


def test_secrets_stay_out_of_the_representation() -> None:
    """repr() does not contain hash_secret."""
    config = read("labels: {access_key_id: hashed, hash_secret: hush-hush-hush-hush}")

    assert "hush" not in repr(config)


@pytest.mark.parametrize(
    "text",
    [
        "accounts: [{role_arn: 'arn:aws:iam::111111111111:role/x', external_id: '${S}'}]",
        "labels: {hash_secret: 1234567890}",
        "labels: ${S}",
        "collection: {interval: '${S}', workers: '${S}'}",
    ],
)
def test_secrets_stay_out_of_errors(text: str) -> None:
    """Errors quote the file, not the values of environment variables, and never a secret."""
    with pytest.raises(ConfigError) as caught:
        read(text, S="hush hush <")

    assert "hush" not in str(caught.value).replace("hash_secret", "")
    assert "1234567890" not in str(caught.value)


def test_a_recursive_alias_is_reported() -> None:
    """An alias for a value that contains it is reported, not followed."""
    assert "config.yaml:1: accounts[0]: recursive alias" in error_of("accounts: &a [*a]")


def test_durations_are_bounded() -> None:
    """A duration of more than ten years is rejected."""
    assert "must not be longer than ten years" in error_of("collection: {interval: 9999999999999d}")


def test_stale_after_must_exceed_the_interval() -> None:
    """A stale_after shorter than the interval, which would drop current data, is rejected."""
    assert "stale_after must be longer" in error_of("collection: {stale_after: 1m}")


def test_inadvisable_settings_are_warned_about() -> None:
    """Too short an interval and too high a rate limit are accepted, each with a warning."""
    config = read("collection: {interval: 1s, requests_per_second: 100}")

    assert len(warnings_of(config, NOW)) == 2


def test_a_summary_is_the_configuration() -> None:
    """A summary shows every option, and is a valid configuration that equals the original."""
    config = load_example()

    summary = summarize(config, "config.yaml")

    assert paths(yaml.safe_load(summary)) == options(Config)
    assert read(_with_secrets(summary)) == config


def _with_secrets(summary: str) -> str:
    for option, secret in (("external_id", "PROD_EXTERNAL_ID"), ("hash_secret", "KEY_ID_SECRET")):
        summary = summary.replace(f"{option}: <hidden>", f"{option}: {SECRETS[secret]}")
    return summary


def test_a_summary_hides_secrets() -> None:
    """External IDs and hash_secret are not shown."""
    config = load_example(PROD_EXTERNAL_ID="hush-1", KEY_ID_SECRET="hush-2-hush-2-hush-2")

    assert "hush" not in summarize(config, "config.yaml")


def test_a_summary_has_the_warnings() -> None:
    """Each warning is a comment of the summary."""
    assert "# Warning: take care\n" in summarize(Config(), "config.yaml", ["take care"])


@pytest.mark.parametrize("text", ["0.5s", "30s", "1h30m", "7d", "1d2h3m4.25s"])
def test_durations_in_a_summary_are_exact(text: str) -> None:
    """A duration is written as it is configured."""
    config = read(f"collection: {{user_tags_interval: {text}}}")

    assert f"user_tags_interval: {text}\n" in summarize(config, "")
