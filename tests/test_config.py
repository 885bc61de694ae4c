"""The configuration: what it understands, and what it says when it does not."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from exporter.config import Config, ConfigError, load, parse

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data" / "config"
EXAMPLE = ROOT / "config.example.yaml"


def read(text: str, **environment: str) -> Config:
    return parse(text, "config.yaml", environment)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text)
    return str(caught.value)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.bad.yaml")), ids=lambda path: path.stem)
def test_a_bad_file_gets_exactly_its_sentences(path: Path) -> None:
    """Every problem of a bad file is told at once, with file, line and path."""
    expected = path.with_suffix("").with_suffix(".expect.txt").read_text()

    assert refusal(path.read_text()) + "\n" == expected


def options(section: type[BaseModel], path: str = "") -> set[str]:
    """List the paths of all options in *section*."""
    found: set[str] = set()
    for name, field in section.model_fields.items():
        inner = [field.annotation, *getattr(field.annotation, "__args__", ())]
        sections = [c for c in inner if isinstance(c, type) and issubclass(c, BaseModel)]
        here = f"{path}.{name}".lstrip(".")
        found |= options(sections[0], here) if sections else {here}
    return found


def paths(value: Any, path: str = "") -> set[str]:
    """List the paths of all values in *value*, items of lists without their number."""
    if isinstance(value, dict):
        return set().union(*(paths(v, f"{path}.{k}".lstrip(".")) for k, v in value.items()))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return set().union(*(paths(item, path) for item in value))
    return {path}


def test_the_example_names_every_option() -> None:
    """The example has every option that there is, and no other."""
    assert paths(yaml.safe_load(EXAMPLE.read_text())) == options(Config)


def test_the_example_loads() -> None:
    """The example is a good configuration."""
    config = load(EXAMPLE, {"PROD_EXTERNAL_ID": "abc", "KEY_ID_SECRET": "xyz"})

    assert [account.label for account in config.model_accounts()] == ["prod", "audit"]


def test_the_examples_defaults_are_the_defaults() -> None:
    """Sections of the example that name no example values equal the defaults."""
    config = load(EXAMPLE, {"PROD_EXTERNAL_ID": "abc", "KEY_ID_SECRET": "xyz"})

    assert (config.collection, config.users) == (Config().collection, Config().users)


@pytest.mark.parametrize("text", ["", "# nothing\n", "collection:\naccounts: []\n"])
def test_nothing_configured_reads_the_account_of_the_credentials(text: str) -> None:
    """Without accounts there is one, whose id the credentials will tell."""
    (account,) = read(text).model_accounts()

    assert (account.id, account.role_arn, account.profile) == ("", None, None)


def test_a_role_tells_account_and_partition() -> None:
    """The account's id and partition are those of its role."""
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
    """A duration is a number and a unit, once or several times."""
    config = read(f"collection: {{user_tags_interval: {text}}}")

    assert config.collection.user_tags_interval == timedelta(seconds=seconds)


def test_variables_are_replaced() -> None:
    """${NAME} stands for a variable of the environment."""
    config = read("accounts: [{profile: 'x-${WHO}'}]", WHO="me")

    assert config.accounts[0].profile == "x-me"


def test_a_bare_off_is_off() -> None:
    """YAML's false for a bare off is understood."""
    config = read("collection: {credential_report: off, user_tags: off}")

    assert (config.collection.credential_report, config.collection.user_tags) == ("off", "off")


def test_patterns_fit_whole_names_and_exclude_wins() -> None:
    """A user is read if an include fits the whole name and no exclude does."""
    matches = read("users: {include: ['a.*'], exclude: ['.*z']}").users.matcher()

    names = ["ab", "ba", "abz", "a"]

    assert [name for name in names if matches(name)] == ["ab", "a"]


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    """A file that is not there is a problem like any other."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "none.yaml")

    assert str(caught.value).endswith("none.yaml:1: cannot be read: No such file or directory")


def test_secrets_stay_out_of_the_representation() -> None:
    """The secret of hashed ids is not shown."""
    config = read("labels: {access_key_id: hashed, hash_secret: hush}")

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
    """Errors quote what is written in the file, not what variables bring, and no secrets."""
    with pytest.raises(ConfigError) as caught:
        read(text, S="hush hush <")

    assert "hush" not in str(caught.value).replace("hash_secret", "")
    assert "1234567890" not in str(caught.value)


def test_an_alias_of_itself_is_a_problem() -> None:
    """A document that contains itself is told, not followed."""
    assert "config.yaml:1: accounts[0]: an alias for what it is part of" in refusal(
        "accounts: &a [*a]"
    )


def test_durations_are_bounded() -> None:
    """A duration of more than ten years is a mistake."""
    assert "longer than ten years" in refusal("collection: {interval: 9999999999999d}")


def test_facts_must_live_longer_than_it_takes_to_confirm_them() -> None:
    """stale_after that is shorter than a round would show accounts without their keys."""
    assert "stale_after must be longer" in refusal("collection: {stale_after: 1m}")


def test_what_is_accepted_but_unwise_is_warned_of() -> None:
    """A quicker interval or pace than helps is accepted, with a warning each."""
    config = read("collection: {interval: 1s, requests_per_second: 100}")

    assert len(config.warnings()) == 2
