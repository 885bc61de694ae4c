"""The configuration: what is accepted, and how errors are reported."""

import os
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from exporter.aws.regions import is_region
from exporter.config import Config, ConfigError, load, parse, summarize, warnings_of
from exporter.model import Partition
from tests.example import EXAMPLE, comments, complete_example

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data" / "config"
SECRETS = {
    "DISCOVERY_EXTERNAL_ID": "abc",
    "EXTERNAL_ID": "abc",
    "PROD_EXTERNAL_ID": "abc",
    "KEY_ID_SECRET": "0123456789abcdef",
    "DATABASE_PASSWORD": "xyz",
}
NOW = datetime(2026, 11, 24, tzinfo=UTC)
TAGS = "collection: {user_tags: bulk}\n"


def load_example(**environment: str) -> Config:
    """Load the complete example, but of what exclude each other the database and variables."""
    text = re.sub(r"(?m)^ +(path|\w+_file): .*\n", "", complete_example())
    return parse(text, "config.yaml", {**SECRETS, **environment})


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
        ("changes: {shown_for: 0s}", "must be greater than 0"),
        ("changes: {min_idle: -1d}", "must be a duration such as"),
        ("counts: {days: [1, -1]}", 'counts.days[1]: must be at least 0: "-1"'),
        ("counts: {days: [1.5]}", "counts.days[0]: must be an integer"),
        ("counts: {days: [true]}", "counts.days[0]: must be an integer"),
        ("counts: {days: ['7']}", "counts.days[0]: must be an integer"),
        ("counts: {days: [99999]}", "must be at most 3650"),
        ("counts: {days: 7}", "counts.days: must be a list"),
        ("counts: {days: [7, 1, 7]}", "counts.days: must not have a number twice"),
        (f"counts: {{days: {[*range(21)]}}}", "must have at most 20 numbers"),
        ("counts: {by_tags: [team]}", "counts.by_tags: requires 'team' in labels.user_tags"),
        (
            TAGS + "labels: {user_tags: [a]}\ncounts: {by_tags: [a, b]}",
            "config.yaml:3: counts.by_tags: requires 'b' in labels.user_tags",
        ),
        (
            TAGS + "labels: {user_tags: [a]}\ncounts: {by_tags: [a, a]}",
            "by_tags must not have a tag twice",
        ),
        (
            "metrics: {exclude: [aws_iam_access_keys_info]}",
            "of AWS and of itself; did you mean aws_iam_access_key_info?",
        ),
        (
            "metrics: {exclude: [process_open_fds]}",
            """is none of the exporter's metrics of AWS and of itself: "process_open_fds\"""",
        ),
        ("metrics: {exclude: [1]}", 'metrics.exclude[0]: must be a string: "1"'),
        ("state: {path: /x, url: 'postgresql://db/x'}", "path and url exclude each other"),
        ("state: {path: ~/x.db}", "must not begin with ~, which is not expanded"),
        ("state: {path: ''}", "must be the path of a file"),
        ("state: {path: '/var/lib/'}", "must be the path of a file"),
        ("state: {path: ':memory:'}", "must be the path of a file"),
        ('state: {path: "/x\\n"}', "must not have control characters"),
        ("state: {path: 'sqlite:///x'}", "the URL of a database belongs in state.url"),
        ("state: {path: 1}", "must be a string"),
        ("state: {url: 'mysql://db/x'}", "must be a URL such as postgresql://user:password@host"),
        ("state: {url: 'postgres://db/x'}", "must be a URL such as postgresql://user:password@"),
        ("state: {url: 'postgresql+psycopg://db/x'}", "must be a URL such as postgresql://user"),
        ("state: {url: 'postgresql:db'}", "must be a URL such as postgresql://user:password@host"),
        ("state: {url: 'postgresql://u:p@ss@db/x'}", "(@ is %40)"),
        ("state: {url: 'postgresql://db:port/x'}", "must be a URL such as postgresql://user"),
        ("state: {url: 'postgresql://d b/x'}", "must be a URL such as postgresql://user"),
        ("state: {keep_events: 0d}", "must be greater than 0"),
        (
            "changes: {shown_for: 2d}\nstate: {keep_events: 1d}",
            "config.yaml:2: state.keep_events: must not be shorter than changes.shown_for",
        ),
        ("a: \x01", "invalid YAML: character U+0001 is not allowed"),
        ("users: {include: []}", "include must not be empty: no user would be read"),
        ("users: {include: ['']}", "users.include[0]: must not be empty"),
        ("users: {exclude: [a, '.*']}", "every user: none would be read"),
        ("labels: {hash_secret: fifteen-charact}", "must have at least 16 characters"),
        ("accounts: [{account_id: '\uff11\uff11\uff11\uff11'}]", "must be a 12-digit account ID"),
        ("accounts: [{requests_per_second: 0.0001}]", "must be at least 0.001"),
        ("collection: {requests_per_second: .nan}", "must be a number"),
        ("collection: {requests_per_second: .inf}", "must be a number"),
        ("collection: {workers: '32'}", "must be an integer"),
        ("collection: {interval: ${X-15m}}", "invalid variable: write ${NAME} or ${NAME:-default}"),
        (
            "labels: {access_key_id: masked, user_tags: [akiaiosfodnn7example]}",
            "user_tags must not contain access key IDs",
        ),
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
    if isinstance(value, dict) and value:
        return set().union(*(paths(v, f"{path}.{k}".lstrip(".")) for k, v in value.items()))
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return set().union(*(paths(item, path) for item in value))
    return {path}


def test_the_example_has_every_option() -> None:
    """config.example.yaml has exactly the options of the schema."""
    assert paths(yaml.safe_load(complete_example())) == options(Config)


def test_the_example_can_be_used_as_it_is() -> None:
    """config.example.yaml needs no variable, is the defaults, and has no warnings."""
    config = load(EXAMPLE, {})

    assert config == Config()
    assert warnings_of(config, NOW) == []


def test_the_example_loads() -> None:
    """config.example.yaml is a valid configuration, with its examples too."""
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


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "collection:\naccounts: []\n", "accounts:\nusers: {include: }"]
)
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


@pytest.mark.parametrize(
    ("variables", "profile"), [({}, "d e"), ({"A": ""}, "d e"), ({"A": "a"}, "a")]
)
def test_a_variable_can_have_a_default(variables: dict[str, str], profile: str) -> None:
    """${NAME:-default} is the default if NAME is not set or empty, as in a shell."""
    config = read("accounts: [{profile: ${A:-d e}}]", **variables)

    assert config.accounts[0].profile == profile


def test_numbers_booleans_and_lists_can_be_variables() -> None:
    """A variable is converted to the type of its option, quoted or not, in any style of YAML."""
    config = read(
        "collection: {interval: ${I}, workers: ${N}, burst: '${N}', passwords: ${P}}\n"
        "accounts: [{account_id: ${ID}, requests_per_second: ${R}, profile: ${ID}}]\n"
        "users:\n  include: [${A}, b]\n  exclude: ${LIST}\n"
        "aws: {use_fips: ${NO}}\n",
        I="20m",
        N="7",
        P="yes",
        ID="111111111111",
        R="0.5",
        A="a.*",
        LIST="c, d.*",
        NO="false",
    )

    assert config.collection.interval == timedelta(minutes=20)
    assert (config.collection.workers, config.collection.burst) == (7, 7)
    assert (config.collection.passwords, config.aws.use_fips) == (True, False)
    assert (config.accounts[0].account_id, config.accounts[0].profile) == ("111111111111",) * 2
    assert config.accounts[0].requests_per_second == 0.5
    assert (config.users.include, config.users.exclude) == (("a.*", "b"), ("c", "d.*"))


@pytest.mark.parametrize("days", ["365, 0,7", "[365, 0, 7]"])
def test_days_in_a_variable(days: str) -> None:
    """Numbers of days can be a variable, and are sorted."""
    assert read("counts: {days: ${DAYS}}", DAYS=days).counts.days == (0, 7, 365)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%40@[::1]:5/x?a=b",
        "postgresql:///x?host=/run/postgresql",
        "postgresql://db.example.com",
    ],
)
def test_urls_of_databases(url: str) -> None:
    """Host, port, database and options are optional; without a host it is a local socket."""
    assert read(f"state: {{url: '{url}'}}").state.location() == url


def test_the_state_is_a_file_a_database_or_nowhere() -> None:
    """The location of the state is a path, the URL of a database, or None."""
    assert read("state: {path: '/var/lib/x?/s.db'}").state.location() == Path("/var/lib/x?/s.db")
    assert read("state: {keep_events: 1w}").state.location() is None


def test_postgresql_requires_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg, state.url names the extra to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)

    error = error_of("state: {url: 'postgresql://hush:hush@db/x'}")

    assert "state.url: requires: pip install 'aws-iam-key-exporter[postgres]'" in error
    assert "hush" not in error


def test_a_path_can_replace_the_state_of_the_file() -> None:
    """with_state_path replaces path or url, and keeps everything else."""
    config = read("users: {include: [a]}\nstate: {url: 'postgresql://db/x', keep_events: 30d}")

    replaced = config.with_state_path("/x.db")

    assert replaced == read("users: {include: [a]}\nstate: {path: /x.db, keep_events: 30d}")
    with pytest.raises(ValueError, match=r"^must be the path of a file$"):
        config.with_state_path("/")


def test_a_list_in_a_variable_can_be_yaml() -> None:
    """A list whose values contain commas is written in YAML."""
    config = read("users: {exclude: ${LIST}}", LIST='["a{1,2}", b]')

    assert config.users.exclude == ("a{1,2}", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("collection: {workers: ${V}}", 'must be an integer: "${V}" (environment variable V)'),
        ("collection: {passwords: ${V}}", '"${V}" (environment variable V)'),
        ("collection: {interval: ${V}}", '"${V}" (environment variable V)'),
        ("labels: {hash_secret: ${V}}", "least 16 characters (environment variable V)"),
        ("accounts: [{profile: ${E}}]", '"${E}" (environment variable E, which is empty)'),
        ("collection: {workers: ${E}}", '"${E}" (environment variable E, which is empty)'),
        ("collection: {workers: ${X:-y}}", "(default of environment variable X)"),
        ("collection: {workers: ${X}}", "environment variable X is not set"),
        ("accounts: [{profile: ${U}}]", "are not Unicode (environment variable U)"),
    ],
)
def test_errors_about_a_variable_name_it(text: str, message: str) -> None:
    """An error about the value of a variable names the variable, and says if it is empty."""
    with pytest.raises(ConfigError) as caught:
        read(text, V="wrong", E="", U="\udcff")

    assert message in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_a_value_is_not_syntax() -> None:
    """The value of a variable is never read as YAML."""
    config = read("accounts: [{profile: ${V}}]", V="x, name: y}] # ${W}")

    assert config.accounts[0].profile == "x, name: y}] # ${W}"


MERGED = """
x-shared: &shared {external_id: ${ID}, requests_per_second: 2}
x-other: &other {requests_per_second: 3, burst: 4}
accounts:
  - {<<: *shared, role_arn: "arn:aws:iam::111111111111:role/x", requests_per_second: 5}
  - <<: [*shared, *other]
    role_arn: arn:aws:iam::222222222222:role/x
"""


def test_merge_keys() -> None:
    """<< merges options into a mapping, whose own come first; x- sections are for anchors."""
    first, second = read(MERGED, ID="abc").accounts

    assert (first.external_id, first.requests_per_second) == ("abc", 5)
    assert (second.external_id, second.requests_per_second, second.burst) == ("abc", 2, 4)


def test_what_is_merged_is_checked_where_it_is_used() -> None:
    """A variable that nothing uses need not be set; a problem has the path of its use."""
    unused = "x-unused: {external_id: ${NOT_SET}}\n"

    assert read(unused) == Config()
    assert "accounts[0].external_id: environment variable ID is not set" in error_of(MERGED)


def test_overridden_options_are_not_checked() -> None:
    """What a mapping overrides may be invalid."""
    text = "x-a: &a {workers: ${NOT_SET}, burst: 3}\ncollection: {<<: *a, workers: 1}"

    assert (read(text).collection.workers, read(text).collection.burst) == (1, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("accounts: [&a {<<: *a}]", "recursive alias"),
        ("collection: {<<: 3}", "<< must be an alias of a mapping"),
        ("? [a]\n: b", "the name of an option must be a string"),
        ("collection:\n  x-a: 1", "unknown option"),
    ],
)
def test_invalid_structures(text: str, message: str) -> None:
    """What is neither options nor a merge of them is reported."""
    assert message in error_of(text)


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
        "aws: {endpoint_urls: {iam: 'ftp://hush:hush@iam'}}",
        "aws: {endpoint_urls: 'http://hush:hush@iam'}",
        "aws: {endpoint_urls: {iam: ['http://hush:hush@iam']}}",
        "aws: {endpoint_urls: {iam:http://hush:hush@iam}}",
        "aws: ['http://hush:hush@iam']",
        "labels: {hash_secret:hush}",
        "labels: hash_secret:hush",
        "accounts: [external_id:hush]",
        "labels: {hash_secret: *hush}",
        "labels: {hash_secret: @hush}",
        "labels: {hash_secret: {hush: hush}}",
        "labels: {hash_secret: [hush]}",
        "labels: ${S}",
        "state: {url: 'postgres://hush:hush@db/x'}",
        "state: {url: 'postgresql://db/x?password=hush#'}",
        "state: {url: 'postgresql://hush:hu/sh@db/x'}",
        "state: {path: 'postgresql://hush:hush@db/x'}",
        "state: {url:postgresql://hush:hush@db/x}",
        "state: 'postgresql://hush:hush@db/x'",
        "state: {url: ['postgresql://hush:hush@db/x']}",
        "state: {url: '${S}'}",
        "state: {path: /x, url: 'postgresql://hush:hush@db/x'}",
        "collection: {interval: '${S}', workers: '${S}'}",
    ],
)
def test_secrets_stay_out_of_errors(text: str) -> None:
    """Errors quote the file, not the values of environment variables, and never a secret."""
    with pytest.raises(ConfigError) as caught:
        read(text, S="hush hush <")

    assert "hush" not in str(caught.value).replace("hash_secret", "")
    assert "1234567890" not in str(caught.value)


ALIASES = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 10)}]\n" for n in range(1, 10))
MERGES = "".join(f"x-{n}: &x{n} {{<<: [{', '.join([f'*x{n - 1}'] * 10)}]}}\n" for n in range(1, 10))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"x0: &x0 [a]\n{ALIASES}", "more than 100000 values, counting aliases"),
        (f"x-0: &x0 {{a: b}}\n{MERGES}collection: *x9", "more than 100000 values"),
        ("a: [" + "b, " * 200_001 + "]", "more than 100000 values"),
        (
            "x-a: &a {" + ", ".join(f"k{n}: 1" for n in range(1000)) + "}\n"
            "collection: {<<: [" + ", ".join(["*a"] * 200) + "]}",
            "more than 100000 values",
        ),
        (f"x-s: &s {'A' * 50_000}\nusers: {{include: [{', '.join(['*s'] * 100)}]}}", "characters"),
        ("collection: !!python/object:os.x {}", "unknown tag"),
        ('collection: {workers: !!int ""}', "must be an integer"),
        ('collection: {passwords: !!bool "maybe"}', "must be true or false"),
        ('collection: {interval: !!timestamp "x"}', "must be a duration"),
        ("aws: {endpoint_urls: {sts: 'http://[::1'}}", "must be an http or https URL"),
        ("aws: {endpoint_urls: {sts: 'http://h:port/'}}", "must be an http or https URL"),
        ("aws: {endpoint_urls: {sts: 'http://127.0.0.1:99999/'}}", "must be an http or https URL"),
        ("aws: {endpoint_urls: {sts: 'http://u:a/b@h'}}", "must be an http or https URL"),
        ("aws: {endpoint_urls: {sts: 'http://" + "h" * 64 + "'}}", "must be an http or https URL"),
        ("[" * 5000, "nested more than 50 levels deep"),
        ("{a: " * 5000, "nested more than 50 levels deep"),
        ("- " * 5000, "nested more than 50 levels deep"),
        ("".join(f"x{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 99)), "undefined alias"),
        (
            "x0: &x0 a\n" + "".join(f"x{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 99)),
            "nested more than 50 levels deep",
        ),
        ('users: {include: ["\\ud800"]}', "users.include[0]: has characters that are not Unicode"),
        ('"\\udc00": 1', "has characters that are not Unicode"),
        ('a: "\\UFFFFFFFF"', "invalid YAML: an escape that is not a character"),
        ("collection: {workers: 1000000000}", "must be at most 1000"),
        (f"collection: {{burst: 1{'0' * 400}}}", "must be at most 1000000"),
        (f"collection: {{requests_per_second: 1{'0' * 400}}}", "must be at most 1000000"),
        (f"accounts: [{{burst: 1{'0' * 400}}}]", "must be at most 1000000"),
        (f"accounts: [{{requests_per_second: 1{'0' * 5000}}}]", "must be a number"),
        ("users: {include: ['a{99999999999}']}", "invalid regular expression"),
        (f"users: {{include: ['{'(' * 3000}']}}", "invalid regular expression"),
    ],
    ids=lambda text: text[:30],
)
def test_hostile_documents_are_a_sentence(text: str, message: str) -> None:
    """What would exhaust memory, the stack or a number is refused at once, in short messages."""
    error = error_of(text)

    assert message in error
    assert max(map(len, error.splitlines())) < 300


def test_many_problems_are_cut() -> None:
    """Of a file of another kind, the first hundred problems are listed."""
    lines = error_of("".join(f"option{n}: x\n" for n in range(1000))).splitlines()

    assert lines[0] == "config.yaml: 1000 problems"
    assert len(lines) == 102
    assert lines[-1] == "  and 900 more"


def test_files_that_are_no_files_are_reported(tmp_path: Path) -> None:
    """What has no end, or never begins, is not read."""
    os.mkfifo(tmp_path / "fifo")
    with (tmp_path / "large").open("wb") as large:
        large.truncate(10 * 1024 * 1024 + 1)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    expected = {
        Path("/dev/zero"): "not a regular file",
        tmp_path / "fifo": "not a regular file",
        tmp_path: "Is a directory",
        tmp_path / "large": "larger than 10 MiB",
        tmp_path / "binary": "not UTF-8",
        tmp_path / ("x" * 300): "File name too long",
    }

    for path, reason in expected.items():
        with pytest.raises(ConfigError, match=f":1: cannot read file: {reason}"):
            load(path)


def test_a_recursive_alias_is_reported() -> None:
    """An alias for a value that contains it is reported, not followed."""
    assert "config.yaml:1: accounts[0]: recursive alias" in error_of("accounts: &a [*a]")


def test_durations_are_bounded() -> None:
    """A duration of more than ten years is rejected."""
    assert "must not be longer than ten years" in error_of("collection: {interval: 9999999999999d}")


def test_stale_after_must_exceed_the_interval() -> None:
    """A stale_after shorter than the interval, which would drop current data, is rejected."""
    assert "stale_after must be longer" in error_of("collection: {stale_after: 1m}")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("collection: {interval: 1s}", "collection.interval below 15m has no benefit"),
        ("collection: {requests_per_second: 100}", "AWS is likely to throttle"),
        ("accounts: [{requests_per_second: 100}]", "accounts[0].requests_per_second above 10"),
        (
            "exemptions: {entries: [{user: a, until: 2026-11-01}]}",
            "exemptions.entries[0] has no effect: it ended at 2026-11-02 00:00 UTC",
        ),
        (
            "exemptions: {entries: [{access_key_id: AKIA****MPLE, until: 2027-01-01}]}",
            "exemptions.entries[0] has no effect: access_key_id is not the complete ID",
        ),
        (
            (
                "accounts: [{profile: a, name: prod}]\n"
                "exemptions: {entries: [{account: pord, until: 2027-01-01}]}"
            ),
            "exemptions.entries[0] has no effect: no account has the ID or name 'pord'",
        ),
        (
            (
                "accounts: [{account_id: '111111111111'}]\n"
                "exemptions: {entries: [{account: '222222222222', until: 2027-01-01}]}"
            ),
            "no account has the ID or name '222222222222'",
        ),
        ("exemptions: {tag: until}", "exemptions.tag has no effect"),
        ("changes: {min_idle: 91d}", "AwsIamAccessKeyAwakened will not fire for keys that were"),
        ("changes: {shown_for: 5m}", "changes.shown_for below 10m: Prometheus may miss events"),
        ("counts: {days: [1, 2]}", "counts.days without 0, 7, 30, 45, 60, 90, 180, 365: panels"),
        (
            TAGS + "labels: {user_tags: [a, b, c]}\ncounts: {by_tags: [c, b, a]}",
            "counts.by_tags with 3 tags: each combination of their values in an account is 30",
        ),
        (
            TAGS + "labels: {user_tags: [Owner]}\ncounts: {by_tags: [Owner]}",
            "counts.by_tags with 'Owner': if it has a value per person",
        ),
        (
            "metrics: {exclude: [aws_iam_access_key_info]}",
            "metrics.exclude with aws_iam_access_key_info: shipped alerts need it",
        ),
        ("labels: {hash_secret: 0123456789abcdef}", "labels.hash_secret has no effect"),
        ("aws: {region: eu-west-9}", "aws.region: AWS is not known to have a region 'eu-west-9'"),
    ],
)
def test_what_is_inadvisable_or_has_no_effect_is_a_warning(text: str, warning: str) -> None:
    """Settings that are inadvisable, or without effect, are accepted with one warning each."""
    (given,) = warnings_of(read(text), NOW, region_exists=lambda name: name == "eu-west-1")

    assert warning in given


@pytest.mark.parametrize(
    "text",
    [
        "exemptions: {entries: [{account: '222222222222', until: 2027-01-01}]}",
        (
            "accounts: [{profile: a, name: prod}]\n"
            "exemptions: {entries: [{account: prod, until: 2026-11-24}]}"
        ),
        "exemptions: {entries: [{access_key_id: AKIAIOSFODNN7EXAMPLE, until: 2027-01-01}]}",
        "collection: {user_tags: bulk}\nexemptions: {tag: until}",
        "labels: {access_key_id: hashed, hash_secret: 0123456789abcdef}",
        "aws: {region: eu-west-1}",
        "changes: {min_idle: 90d, shown_for: 10m}",
        "metrics: {exclude: [aws_iam_access_key_last_used_age_seconds]}",
        TAGS + "labels: {user_tags: [a, b]}\ncounts: {by_tags: [a, b]}",
    ],
)
def test_what_may_have_an_effect_is_no_warning(text: str) -> None:
    """An exemption for an account whose ID is unknown, or until today, may have an effect."""
    config = read(text)

    assert warnings_of(config, NOW, region_exists=lambda name: name == "eu-west-1") == []


def test_the_regions_of_aws_exist() -> None:
    """Regions of every partition exist, others do not."""
    names = ["us-east-1", "cn-north-1", "us-gov-west-1", "eu-west-9", "useast1", ""]

    assert [name for name in names if is_region(name)] == names[:3]


def test_a_summary_is_the_configuration() -> None:
    """A summary shows every option, and is a valid configuration that equals the original."""
    config = load_example()

    summary = summarize(config, "config.yaml")

    assert paths(yaml.safe_load(summary)) == options(Config)
    assert read(_with_secrets(summary)) == config


def _with_secrets(summary: str) -> str:
    for option, secret in (("external_id", "PROD_EXTERNAL_ID"), ("hash_secret", "KEY_ID_SECRET")):
        summary = summary.replace(f"{option}: <hidden>", f"{option}: {SECRETS[secret]}")
    return summary.replace("//<hidden>@", f"//exporter:{SECRETS['DATABASE_PASSWORD']}@")


def test_a_summary_hides_secrets() -> None:
    """External IDs, hash_secret and the password of the database are not shown."""
    config = load_example(
        PROD_EXTERNAL_ID="hush-1", KEY_ID_SECRET="hush-2-hush-2-hush-2", DATABASE_PASSWORD="hush-3"
    )

    assert "hush" not in summarize(config, "config.yaml")


def test_a_summary_hides_passwords_in_urls() -> None:
    """User names and passwords of endpoint_urls are not shown."""
    text = "aws: {endpoint_urls: {iam: 'http://hush:hu@sh@iam.local/x', sts: 'https://hush@sts'}}"

    summary = summarize(read(text), "config.yaml")

    assert "iam: http://<hidden>@iam.local/x\n" in summary
    assert "sts: https://<hidden>@sts\n" in summary
    assert "hush" not in summary


def test_a_summary_hides_who_the_database_is_accessed_as() -> None:
    """The user name of state.url is not shown, nor any password in it; the host is."""
    url = "postgresql://hush:hu%40sh@db:5432/x?sslpassword=hush&password=hush&sslmode=require"

    summary = summarize(read(f"state: {{url: '{url}'}}"), "config.yaml")

    assert (
        "url: postgresql://<hidden>@db:5432/x?sslpassword=<hidden>&password=<hidden>"
        "&sslmode=require\n"
    ) in summary
    assert "hu" not in summary.replace("workers: 32", "")


def test_passwords_of_the_database_are_secrets() -> None:
    """secrets() has the password as it is written and in plain, but not a user name alone."""
    config = read("state: {url: 'postgresql://me:p%40ss@db/x?sslpassword=more'}")

    assert {*config.secrets()} == {"me:p%40ss", "p%40ss", "p@ss", "more"}
    assert read("state: {url: 'postgresql://me@db/x'}").secrets() == []


def test_a_summary_says_what_the_options_amount_to() -> None:
    """A summary's comments have the region, labels, counts, state and each account's rate limit."""
    summary = summarize(
        read(
            "collection: {passwords: true, user_tags: bulk, requests_per_second: 3}\n"
            "labels: {access_key_id: masked, user_tags: [Cost Center]}\n"
            "counts: {days: [90, 1], by_tags: [Cost Center]}\n"
            "state: {path: /x.db, keep_events: 30d}\n"
            "accounts:\n"
            "- {name: a, account_id: '111111111111', requests_per_second: 0.5, burst: 2}\n"
            "- {profile: b}\n"
            "aws: {region: eu-west-1}"
        ),
        "config.yaml",
    )

    assert [line for line in summary.splitlines() if line.startswith("# ")][1:] == [
        "# Region: eu-west-1",
        "# Labels: access key IDs masked; user tags: tag_Cost_Center (Cost Center)",
        "# Passwords: exported",
        "# Counts: after 1, 90 days; by account, tag_Cost_Center",
        "# State: in the file /x.db; events kept for 30d",
        "# Account a (111111111111): 0.5 requests per second, burst 2",
        "# Account b (ID unknown): 3 requests per second, burst 10",
    ]


def test_a_summary_of_hostile_names_is_yaml() -> None:
    """A name with line breaks or control characters cannot end a comment."""
    config = read('accounts: [{name: "a\\nb: c\\r\\u2028\\e[0m", profile: p}]')

    assert read(summarize(config, "x\ny: z")) == config


def test_a_summary_has_the_warnings() -> None:
    """Each warning is a comment of the summary."""
    assert "# Warning: take care\n" in summarize(Config(), "config.yaml", ["take care"])


@pytest.mark.parametrize("text", ["0.5s", "30s", "1h30m", "7d", "1d2h3m4.25s"])
def test_durations_in_a_summary_are_exact(text: str) -> None:
    """A duration is written as it is configured."""
    config = read(f"collection: {{user_tags_interval: {text}}}")

    assert f"user_tags_interval: {text}\n" in summarize(config, "")


# -- organization --------------------------------------------------------------------------------


def test_an_organization_needs_no_account() -> None:
    """With an organization and no accounts, no account is configured: they are discovered."""
    config = read("organization: {role_name: reader}")

    assert config.model_accounts() == []


def test_who_asks_organizations() -> None:
    """Organizations is asked with the discovery role, or with the base credentials."""
    arn = "arn:aws-us-gov:iam::111111111111:role/discovery"
    text = f"discovery_role_arn: '{arn}', discovery_external_id: abc, profile: audit"
    config = read(f"organization: {{role_name: reader, {text}}}")
    assert config.organization is not None

    caller = config.organization.caller()

    assert (caller.id, caller.partition, str(caller.role_arn)) == (
        "111111111111",
        Partition.US_GOV,
        arn,
    )
    assert (caller.role_session.external_id, caller.profile) == ("abc", "audit")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("organization: {}", "role_name"),
        ("organization: {role_name: 'arn:aws:iam::111111111111:role/a'}", "not its ARN"),
        ("organization: {role_name: a, include: {ous: [root]}}", "must be the ID of an organ"),
        ("organization: {role_name: a, exclude: {accounts: [1]}}", "must be quoted"),
        ("organization: {role_name: a, include: {names: ['(']}}", "invalid regular expression"),
        ("organization: {role_name: a, include: {tags: {env: '('}}}", "invalid regular express"),
        ("organization: {role_name: a, discovery_external_id: abc}", "discovery_role_arn"),
        ("labels: {account_tags: [env]}", "requires organization"),
        ("labels: {account_tags: [a.b, a_b]}", "both become the label"),
    ],
)
def test_what_is_wrong_with_an_organization(text: str, error: str) -> None:
    """Each mistake has an error that says what is valid."""
    assert error in error_of(text)


def test_tags_may_have_one_pattern() -> None:
    """A tag is compared with one pattern or with several."""
    config = read("organization: {role_name: a, include: {tags: {env: prod, team: [a, b]}}}")
    assert config.organization is not None

    assert config.organization.include.tags == {"env": ("prod",), "team": ("a", "b")}


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("session_duration: 15m", "at least 30m"),
        ("session_duration: 13h", "at most 12h"),
        ("session_duration: 2h, role_chain: ['arn:aws:iam::222222222222:role/x']", "at most 1h"),
        ("source_identity: 'a b'", "must be 2 to 64"),
        ("role_chain: [x]", "not the ARN"),
    ],
)
def test_what_is_wrong_with_a_session(options: str, error: str) -> None:
    """Sessions that AWS would refuse, or that would be renewed all the time, are errors."""
    role = "role_arn: 'arn:aws:iam::111111111111:role/x'"
    assert error in error_of(f"accounts: [{{{role}, {options}}}]")


def test_session_options_require_a_role() -> None:
    """What says how a role is assumed is an error without one."""
    assert "requires role_arn" in error_of("accounts: [{profile: a, session_tags: {a: b}}]")


def test_how_a_role_is_assumed() -> None:
    """All options about a session reach the account."""
    chain = "arn:aws:iam::222222222222:role/hub"
    options = f"session_name: audit, session_tags: {{a: b}}, role_chain: ['{chain}']"
    role = "role_arn: 'arn:aws:iam::111111111111:role/x', source_identity: me"
    [account] = read(f"accounts: [{{{role}, {options}}}]").model_accounts()

    session = account.role_session

    assert (session.name, session.tags, session.source_identity) == ("audit", (("a", "b"),), "me")
    assert [str(arn) for arn in session.via] == [chain]


def test_an_empty_organization_is_an_error() -> None:
    """A section whose options are all commented out does not silently read one account only."""
    assert "organization: is empty" in error_of("organization:\n#  role_name: reader\n")


def test_a_summary_without_organization_is_valid() -> None:
    """What --config.check prints is a valid configuration, without an organization too."""
    assert read(summarize(Config(), "")) == Config()


def test_problems_of_other_options_hide_nothing() -> None:
    """What depends on two sections is checked although another of their options is invalid."""
    text = "counts: {days: [-1], by_tags: [a]}\nstate: {keep_events: 1h, path: ''}\n"

    error = error_of(text)

    assert "counts.by_tags: requires 'a' in labels.user_tags" in error
    assert "state.keep_events: must not be shorter" in error
