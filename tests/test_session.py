"""Whose credentials sign, and what becomes of credentials that change."""

import threading
from pathlib import Path

import pytest

from exporter.aws import AccountRefresher, Endpoints, Sessions
from exporter.aws.session import REBUILD_AFTER
from exporter.model import Account, AccountSnapshot, Reason, ReportMode
from tests.fake_aws import FakeAws

ID = "111111111111"
MINE = Account("", "mine")


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def a_reader(aws: FakeAws, clock: Clock) -> AccountRefresher:
    sessions = Sessions(
        Endpoints("us-east-1", {"iam": aws.url, "sts": aws.url}),
        requests_per_second=1e6,
        burst=10**6,
        workers=2,
        observe=lambda *_: None,
        stop=threading.Event(),
        clock=clock,
    )
    return AccountRefresher(sessions, report_mode=ReportMode.OFF)


def write_credentials(file: Path, access_key_id: str, secret: str) -> None:
    file.write_text(
        f"[default]\naws_access_key_id = {access_key_id}\naws_secret_access_key = {secret}\n"
    )


def test_credentials_that_were_renewed_in_their_file_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that AWS refuses are looked up anew, without a restart."""
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    clock = Clock()
    with FakeAws() as aws:
        write_credentials(file, "AKIAREVOKEDREVOKED12", "old")
        reader = a_reader(aws, clock)
        refused = reader.read(MINE, AccountSnapshot(MINE))

        write_credentials(file, *aws.credentials(ID))
        clock.seconds = REBUILD_AFTER
        reader.read(MINE, refused)
        renewed = reader.read(MINE, refused)

    assert (refused.failure, renewed.failure) == (Reason.CREDENTIALS, None)


def test_two_entries_for_one_account_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account that two entries turn out to be is read by the first, and the second is down."""
    with FakeAws() as aws:
        for name, value in aws.environment(ID).items():
            monkeypatch.setenv(name, value)
        reader = a_reader(aws, Clock())
        again = Account(ID, "again")

        first = reader.read(MINE, AccountSnapshot(MINE))
        second = reader.read(again, AccountSnapshot(again))

    assert (first.failure, second.failure) == (None, Reason.WRONG_ACCOUNT)
