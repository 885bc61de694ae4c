"""Which keys are exempt, and until when."""

import logging
from datetime import UTC, datetime

import pytest

from exporter.exemptions import Exemption, Exemptions
from exporter.model import AccountSnapshot, parse_expiry
from tests.facts import a_key, a_snapshot, a_user, an_account

TAG = "key-exporter:exempt-until"
JULY = datetime(2027, 7, 1, tzinfo=UTC)

MALFORMED = ["next summer", "0001-01-01T00:00:00+14:00", ""]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2027-06-30", JULY),
        ("20270630", JULY),
        ("9999-12-31", datetime(9999, 12, 31, tzinfo=UTC)),
        ("2027-07-01T00:00:00", JULY),
        ("2027-07-01T02:00:00+02:00", JULY),
    ],
)
def test_a_date_lasts_until_its_end(text: str, expected: datetime) -> None:
    """A date expires at the following midnight UTC; a time is used as it is."""
    assert parse_expiry(text) == expected


@pytest.mark.parametrize("value", ["2027-06-30", " 2027-06-30 "])
def test_a_tag_exempts_the_keys_of_its_user(value: str) -> None:
    """The tag of a user exempts the user's keys, with or without spaces around the date."""
    user = a_user(tags=((TAG, value),))

    assert Exemptions(TAG).until(an_account(), user, a_key()) == JULY


def test_by_default_a_key_is_not_exempt() -> None:
    """A key without a tag or an entry is not exempt."""
    assert Exemptions(TAG).until(an_account(), a_user(), a_key()) is None


def test_without_a_tag_name_no_tag_exempts() -> None:
    """If no tag is configured, not even a tag without a name is looked at."""
    user = a_user(tags=(("", "2027-06-30"),))

    assert Exemptions().until(an_account(), user, a_key()) is None


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_tag_exempts_nothing(value: str, caplog: pytest.LogCaptureFixture) -> None:
    """A tag that is not a date is ignored; only `check` reports it."""
    user = a_user(tags=((TAG, value),))

    assert Exemptions(TAG).until(an_account(), user, a_key()) is None
    assert caplog.records == []


@pytest.mark.parametrize(
    ("entry", "matches"),
    [
        (Exemption(JULY, user="ali.*"), True),
        (Exemption(JULY, user="ali"), False),
        (Exemption(JULY, access_key_id="AKIAALICEALICEALICE1"), True),
        (Exemption(JULY, access_key_id="AKIAALICEALICEALICE2"), False),
        (Exemption(JULY, account="prod"), True),
        (Exemption(JULY, account="111111111111"), True),
        (Exemption(JULY, account="test", user="alice"), False),
        (Exemption(JULY, account="prod", user="alice"), True),
    ],
)
def test_an_entry_applies_if_everything_it_names_matches(entry: Exemption, matches: bool) -> None:
    """An entry exempts a key if user, id and account match, as far as it names them."""
    until = Exemptions(entries=[entry]).until(an_account(), a_user(), a_key())

    assert until == (JULY if matches else None)


def test_the_last_expiry_counts() -> None:
    """If several exemptions apply to a key, the last to expire counts."""
    entry = Exemption(datetime(2028, 1, 1, tzinfo=UTC), user="alice")
    user = a_user(tags=((TAG, "2027-06-30"),))

    assert Exemptions(TAG, [entry]).until(an_account(), user, a_key()) == entry.until


def tagged(**values: str) -> AccountSnapshot:
    """Create a snapshot of users with the exemption tag, whose values are given by user name."""
    return a_snapshot(users=tuple(a_user(name, tags=((TAG, v),)) for name, v in values.items()))


@pytest.mark.parametrize("value", MALFORMED)
def test_a_malformed_tag_is_reported_once(value: str, caplog: pytest.LogCaptureFixture) -> None:
    """A malformed value is logged after the first refresh that finds it, with who has it."""
    exemptions = Exemptions(TAG)

    for _ in range(3):
        exemptions.check(tagged(alice=value, bob="2027-06-30"))

    (record,) = caplog.records
    facts = {name: vars(record)[name] for name in ("account", "user", "tag", "value")}
    assert facts == {"account": "prod", "user": "alice", "tag": TAG, "value": value}
    assert record.levelno == logging.WARNING


def test_each_malformed_value_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Another user, or another value of the same user, is reported as well."""
    exemptions = Exemptions(TAG)

    exemptions.check(tagged(alice="soon"))
    exemptions.check(tagged(alice="later", bob="soon"))

    reported = [(vars(record)["user"], vars(record)["value"]) for record in caplog.records]
    assert reported == [("alice", "soon"), ("alice", "later"), ("bob", "soon")]
