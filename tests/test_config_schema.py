"""The JSON schema of the configuration: what editors accept and refuse."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from exporter.config import ConfigError, parse
from tests import test_config
from tests.config_schema import EXAMPLE, ROOT, schema
from tests.example import complete_example

SCHEMA = schema()
VALIDATOR = Draft7Validator(SCHEMA)

GOOD = [
    "",
    "collection:\nusers:\naws: {endpoint_urls: }",
    "collection: {interval: 1h30m, deadline: 0.5h, stale_after: 1w}",
    "collection: {interval: '${INTERVAL:-15m}', workers: '${WORKERS:-8}', passwords: '${P:-true}'}",
    "collection: {requests_per_second: 0.001, burst: 1000000, workers: 1000}",
    "collection: {credential_report: off, user_tags: 'off'}",
    "collection: {user_tags: per_user}\nlabels: {user_tags: [team]}\ncounts: {by_tags: [team]}",
    "collection: {user_tags: bulk}\nlabels: {user_tags: '${TAGS:-team, owner}'}",
    "accounts:\n- role_arn: arn:aws-cn:iam::111111111111:role/team/x\n  external_id: a:b/c",
    "accounts: [{session_tags: {}, role_chain: [], external_id: , session_name: x@y}]",
    "accounts: [{account_id: '${ID:-111111111111}', name: 'a ${B:-b} c', profile: x}]",
    "accounts: [{role_chain: '${ROLES:-}'}]",
    "labels: {user_tags: '${TAGS:-}', account_tags: '${TAGS:-}'}",
    "accounts: [ ]\nexemptions: {entries: }",
    "accounts:\n-",
    "x-shared: &shared {profile: x}\naccounts: [{<<: *shared, name: a}]",
    "organization: {role_name: a/b, include: {tags: {env: 'a.*', team: [b, c]}, ous: [r-ab12]}}",
    "organization: {role_name: a, exclude: }\nlabels: {account_tags: [env]}",
    "users: {include: , exclude: ['a', '${B:-b}']}",
    "labels: {access_key_id: hashed, hash_secret: '${S:-sixteen characters or more}'}",
    "exemptions: {entries: [{user: a, until: 2027-06-30}, {user: b, until: 2027-W26-3}]}",
    "exemptions: {entries: [{account: b, until: '2027-06-30T12:00Z'}]}",
    "counts: {days: [365, 0]}",
    "counts: {days: '${DAYS:-1, 2}'}",
    "metrics: {exclude: [aws_iam_access_key_active]}",
    "state: {path: ../state.db}",
    "state: {path: x/.hidden, url: }",
    "aws: {endpoint_urls: {iam: 'HTTPS://user:p@[::1]:8443/x'}, use_fips: true}",
    *(f"state: {{url: '{url}'}}" for url in (
        "postgresql://db", "postgresql:///x?host=/run/postgresql", "postgresql://u:p%40@[::1]:5/x",
    )),
]  # fmt: skip
"""What the program and the schema accept."""

BAD = [
    "[]",
    "text",
    "colection: {}",
    "collection: []",
    "collection: {interval: 15}",
    "collection: {interval: 15 minutes}",
    "collection: {interval: 0s}",
    "collection: {interval: '${9}'}",
    "collection: {interval: '${A} ${'}",
    "collection: {workers: '8'}",
    "collection: {workers: 8.5}",
    "collection: {workers: 1001}",
    "collection: {requests_per_second: 0.0001}",
    "collection: {credential_report: on}",
    "collection: {passwords: 'yes'}",
    "accounts: {}",
    "accounts: '${ACCOUNTS:-}'",
    "accounts: [{account_id: 111111111111}]",
    "accounts: [{role_arn: 'arn:aws:iam::111111111111:user/x'}]",
    "accounts: [{external_id: xy}]",
    "organization: {role_name: a, external_id: xy, external_id_file: x}",
    "accounts: [{role_chain: ['arn:aws:iam::111111111111:role/x']}]",
    "accounts: [{role_arn: 'arn:aws:iam::111111111111:role/x', session_tags: {a: ''}}]",
    "organization:",
    "organization: {}",
    "organization: {role_name: 'arn:aws:iam::111111111111:role/x'}",
    "organization: {role_name: a, discovery_external_id: xy}",
    "organization: {role_name: a, include: {ous: [x]}}",
    "organization: {role_name: a, include: {tags: {env: ''}}}",
    "users: {include: []}",
    "users: {exclude: [a, '.*']}",
    "labels: {access_key_id: hashed}",
    "labels: {hash_secret: short}",
    "labels: {user_tags: [team]}",
    "collection: {user_tags: off}\nlabels: {user_tags: [team]}",
    "labels: {account_tags: [env]}",
    "exemptions: {entries: [{until: 2027-06-30}]}",
    "exemptions: {entries: [{user: a}]}",
    "exemptions: {entries: [{user: a, until: tomorrow}]}",
    "exemptions: {entries: [{user: a, until: 2027-6-30}]}",
    "counts: {days: [1, 1]}",
    "counts: {days: [-1]}",
    "metrics: {exclude: [aws_iam_access_key_activ]}",
    "state: {path: 'postgresql://db/x'}",
    "state: {path: ~/x}",
    "state: {path: x/}",
    "state: {path: ':memory:'}",
    "state: {url: sqlite:///x}",
    "state: {url: 'postgresql://u:p@ss@db/x'}",
    "state: {path: x, url: 'postgresql://db/x'}",
    "aws: {endpoint_urls: {iam: iam.example.com}}",
    "aws: {endpoint_urls: {ec2: 'https://ec2.example.com'}}",
]  # fmt: skip
"""What the program and the schema refuse."""

INEXPRESSIBLE = {
    "the environment": "is not set",
    "whether a regular expression is valid": "invalid regular expression",
    "how long a duration is": "must (not )?be (longer|shorter) than|must be at (least 30m|most 1)",
    "equal values in different places": "duplicate |both become the label|but account_id is",
    "values of another option": "in labels.user_tags|access key IDs, which would be shown",
    "aliases of YAML": "recursive alias|is defined twice",
    "numbers that JSON does not have": r"must be a number: \"\.nan",
    "the end of a text, as Python's regular expressions see it": "control characters",
}
"""What a JSON schema cannot express, and the messages of the program about it."""


class EditorsLoader(yaml.SafeLoader):
    """Reads dates as text, as YAML 1.2 and JSON have them."""


EditorsLoader.yaml_implicit_resolvers = {
    first: [resolver for resolver in resolvers if "timestamp" not in resolver[0]]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def as_json(text: str) -> Any:
    """Read YAML as editors do, which know nothing of environment variables."""
    return json.loads(json.dumps(yaml.load(text, EditorsLoader)))  # noqa: S506 it is a safe loader


def refused(text: str) -> list[str]:
    """Return why the schema refuses *text*."""
    return [error.message for error in VALIDATOR.iter_errors(as_json(text))]


def problems(text: str) -> list[str]:
    """Return why the program refuses *text*."""
    try:
        parse(text, "config.yaml", {})
    except ConfigError as error:
        return [problem.text for problem in error.problems]
    return []


def other_tests() -> Iterator[str]:
    """Yield what the tests of the configuration read, but for what is meant to be too large."""
    for name, test in vars(test_config).items():
        if name.startswith("test_") and "hostile" not in name:
            for mark in getattr(test, "pytestmark", ()):
                if re.match("text", str(mark.args[0])) or mark.args[0][0] == "text":
                    yield from (row if isinstance(row, str) else row[0] for row in mark.args[1])
    yield from (path.read_text() for path in sorted(test_config.DATA.glob("*.yaml")))


def is_yaml(text: str) -> bool:
    try:
        as_json(text)
    except yaml.YAMLError:
        return False  # such as a variable without quotes within { }
    return True


OTHERS = [text for text in dict.fromkeys(other_tests()) if is_yaml(text)]


def test_the_schema_is_valid() -> None:
    """The schema is one of draft 7, with which editors understand every keyword."""
    Draft7Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("text", GOOD)
def test_what_is_valid_is_accepted(text: str) -> None:
    """The program and the schema accept it."""
    assert (problems(text), refused(text)) == ([], [])


@pytest.mark.parametrize("text", BAD)
def test_what_is_invalid_is_refused(text: str) -> None:
    """The program and the schema refuse it."""
    assert problems(text)
    assert refused(text)


@pytest.mark.parametrize("text", OTHERS)
def test_the_schema_agrees_with_the_program(text: str) -> None:
    """What the program accepts, the schema accepts; it misses only what it cannot express."""
    found = problems(text)
    expressible = [p for p in found if not re.search("|".join(INEXPRESSIBLE.values()), p)]

    if expressible:
        assert refused(text)
    if not found:
        assert refused(text) == []


def test_every_reason_to_disagree_occurs() -> None:
    """There is no kind of problem of which it is only said that a schema cannot express it."""
    texts = [*OTHERS, "collection: {workers: 1, workers: 2}"]
    found = "\n".join(problem for text in texts for problem in problems(text))

    assert [kind for kind, text in INEXPRESSIBLE.items() if not re.search(text, found)] == []


def test_the_example_is_accepted() -> None:
    """The example is valid as it is, and with everything that is commented out."""
    both = re.compile(r"(?m)^ +(path|\w+_file): .*\n")  # what others exclude

    assert refused(EXAMPLE.read_text()) == []
    assert refused(both.sub("", complete_example())) == []


def test_the_example_names_the_schema() -> None:
    """Editors find the schema through the first line of the example, as the documentation says."""
    first = EXAMPLE.read_text().partition("\n")[0]

    assert first.startswith("# yaml-language-server: $schema=https://")
    assert (ROOT / first.rpartition("/")[2]).exists()
    assert f"\n{first}\n" in (ROOT / "docs/editors.md").read_text()


def options(section: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Yield the path and schema of every option."""
    for name, option in section.get("properties", {}).items():
        yield ".".join((*path, name)), option
        yield from options(option, (*path, name))
        yield from options(option.get("items", {}), (*path, name))


def test_every_option_has_a_description() -> None:
    """Editors show what an option means; for sections that is what their options mean."""
    missing = [
        name
        for name, option in options(SCHEMA)
        if "description" not in option and "properties" not in option
    ]

    assert missing == []


def test_defaults_are_shown_as_they_are_written() -> None:
    """Editors show defaults as the example has them."""
    shown = {name: option["default"] for name, option in options(SCHEMA) if "default" in option}

    assert shown["collection.interval"] == "15m"
    assert shown["labels.access_key_id"] == "full"
    assert shown["counts.days"][:3] == [0, 1, 7]
    assert "accounts.profile" not in shown
