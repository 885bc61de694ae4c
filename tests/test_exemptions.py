"""Which keys are exempt, and until when."""

import logging
from datetime import UTC, datetime

import pytest

from exporter.exemptions import Exemption, Exemptions
from exporter.model import parse_expiry
from tests.facts import a_key, a_user, an_account

TAG = "key-exporter:exempt-until"
JULY = datetime(2027, 7, 1, tzinfo=UTC)


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
    """A date ends at midnight UTC after it; a time is taken as it stands."""
    assert parse_expiry(text) == expected


def test_a_tag_exempts_the_users_keys() -> None:
    """The tag of a user holds for their keys."""
    user = a_user(tags=((TAG, "2027-06-30"),))

    assert Exemptions(TAG).until(an_account(), user, a_key()) == JULY


def test_without_tag_and_entry_nothing_is_exempt() -> None:
    """A key that nothing names is not exempt."""
    assert Exemptions(TAG).until(an_account(), a_user(), a_key()) is None


@pytest.mark.parametrize("text", ["next summer", "0001-01-01T00:00:00+14:00", ""])
def test_a_malformed_tag_is_no_exemption(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """A tag that is no date exempts nothing, and is reported once."""
    user = a_user(tags=((TAG, text),))
    exemptions = Exemptions(TAG)

    with caplog.at_level(logging.WARNING):
        ends = [exemptions.until(an_account(), user, a_key()) for _ in range(3)]

    assert (ends, len(caplog.records)) == ([None] * 3, 1)


@pytest.mark.parametrize(
    ("entry", "fits"),
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
def test_an_entry_holds_where_all_that_it_names_fits(entry: Exemption, fits: bool) -> None:
    """An entry exempts a key if its user, id and account fit, as far as it names them."""
    until = Exemptions(entries=[entry]).until(an_account(), a_user(), a_key())

    assert until == (JULY if fits else None)


def test_the_latest_end_counts() -> None:
    """Where several exemptions hold, the longest does."""
    entry = Exemption(datetime(2028, 1, 1, tzinfo=UTC), user="alice")
    user = a_user(tags=((TAG, "2027-06-30"),))

    assert Exemptions(TAG, [entry]).until(an_account(), user, a_key()) == entry.until
