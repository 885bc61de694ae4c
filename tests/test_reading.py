"""
One account is read right, with the fewest calls that AWS allows.

Against the fake AWS, through the real clients.
"""

import csv
import io
import logging
import re
import threading
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.aws.account_session import SESSION_SECONDS
from exporter.aws.api import MAX_ATTEMPTS, MAX_CONSECUTIVE_FAILURES, AccountApi
from exporter.aws.credential_report import POLLS, parse
from exporter.aws.rate_limiter import MIN_RATE_SHARE, RECOVERY_SECONDS, RateLimiter
from exporter.model import (
    NEVER,
    UNKNOWN,
    AccessKey,
    AccountSnapshot,
    LastUse,
    ReadError,
    Reason,
    ReportMode,
    Stopped,
    TagSource,
    User,
    latest,
)
from tests import fake_aws
from tests.builders import (
    MONITORING,
    NOON,
    PROD,
    ROLE,
    TEST,
    Clock,
    Refreshes,
    Sleepless,
    Ticker,
    Waiting,
    a_reader,
    a_role_account,
    an_account,
    environment,
    meanwhile,
    some_sessions,
    told,
    truth,
    with_swapped_slots,
)
from tests.fake_aws import FakeAws, Fault

QUARTER = timedelta(minutes=15)
FOREIGN = "User: x is not authorized to perform iam:GetAccessKeyLastUsed on resource: access key "

GUIDED = pytest.mark.parametrize("report_mode", [ReportMode.GUIDE, ReportMode.VALUES])
ALL_MODES = pytest.mark.parametrize("report_mode", list(ReportMode))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def aws(clock: Clock) -> Iterator[FakeAws]:
    with FakeAws(now=clock) as aws, environment(aws.environment(PROD)):
        yield aws


@pytest.fixture
def prod(aws: FakeAws) -> fake_aws.Account:
    """An account whose report is made at once, and whose credentials are at hand."""
    account = aws.account(PROD)
    account.report.instant = True
    return account


Reads = Callable[..., Refreshes]


@pytest.fixture
def reads(aws: FakeAws, clock: Clock, prod: fake_aws.Account) -> Reads:
    """Makes the readings of prod, or of another account, with options of the reader."""

    def make(account: Any = None, **options: Any) -> Refreshes:
        return Refreshes(aws, a_reader(aws, clock, **options), account or an_account())

    return make


def a_key(
    account: fake_aws.Account, user: str = "alice", *, used: datetime | None = NOON, **facts: Any
) -> fake_aws.AccessKey:
    """A key made a day ago; *used* None: never."""
    owner = account.find_user(user) or account.add_user(user)
    key = owner.add_key(**{"created": NOON - timedelta(days=1), **facts})
    if used is not None:
        key.use("s3", "eu-west-1", at=used)
    return key


def some_users(account: fake_aws.Account, count: int, *, keys: int = 0) -> None:
    """Users user-0000 and so on, the first *keys* of them with a used key each."""
    for number in range(count):
        user = account.add_user(f"user-{number:04}")
        if number < keys:
            user.add_key().use("ec2", "us-east-1", at=NOON - timedelta(days=number))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def names(snapshot: AccountSnapshot) -> list[str]:
    return [user.name for user in snapshot.users]


class TestPlainReading:
    @ALL_MODES
    def test_every_key_with_its_last_use(
        self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode
    ) -> None:
        """Every key of every user is read with its last use, and the account is up."""
        for user in ("alice", "bob", "carol"):
            a_key(prod, user)
        snapshot = reads(report_mode=report_mode)()

        assert {key.id: key.last_use for key in snapshot.keys} == truth(prod)
        assert snapshot.up
        assert snapshot.read_at == NOON

    @ALL_MODES
    def test_pages(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode
    ) -> None:
        """Users on many short pages are all read."""
        aws.max_page = 2
        some_users(prod, 7, keys=7)
        read = reads(report_mode=report_mode)
        read()

        assert read.uses == truth(prod)
        assert len(read.latest.users) == 7

    def test_pages_of_keys(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """The keys of one user on several pages are all read."""
        aws.max_page = 1
        for _ in range(3):
            a_key(prod)
        read = reads(report_mode=ReportMode.OFF)
        read()

        assert read.uses == truth(prod)

    def test_empty_page(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """A page without users that is not the last one does not end the list."""
        a_key(prod)
        with_one = "<IsTruncated>true</IsTruncated><Marker>bGlzdA</Marker>"
        aws.fault(Fault(operation="ListUsers", times=1, body=a_page("", with_one)))
        # The second page is asked for with a marker that the fake does not know.
        aws.fault(Fault(operation="ListUsers", times=1, body=a_page(a_user("alice"), "")))
        read = reads(report_mode=ReportMode.OFF)
        read()

        assert read.uses == truth(prod)

    @pytest.mark.parametrize("status", ["Inactive", "Expired"])
    @ALL_MODES
    def test_status(
        self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode, status: Any
    ) -> None:
        """The status is IAM's word, and only Active is active."""
        a_key(prod, status=status)
        (key,) = reads(report_mode=report_mode)().keys

        assert (key.status, key.active) == (status, False)

    @pytest.mark.parametrize("path", ["/", "/staff/", "/a,b/:user/c d/".replace(" ", "_")])
    @ALL_MODES
    def test_path(
        self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode, path: str
    ) -> None:
        """A user's path is known in every mode."""
        prod.add_user("alice", path)
        (user,) = reads(report_mode=report_mode)().users

        assert user.path == path

    @ALL_MODES
    def test_unwanted_users(
        self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode
    ) -> None:
        """Users that are not wanted are neither known nor asked about."""
        a_key(prod, "alice")
        a_key(prod, "bob")
        read = reads(report_mode=report_mode, include_user=lambda name: name == "alice")
        read()

        assert names(read.latest) == ["alice"]
        assert read.asked["ListAccessKeys"] == 1

    def test_account_without_users(self, reads: Reads) -> None:
        """An account without users is read well."""
        snapshot = reads()()

        assert (snapshot.users, snapshot.keys, snapshot.up) == ((), (), True)


class TestCallCounts:
    def test_steady_state(self, prod: fake_aws.Account, clock: Clock, reads: Reads) -> None:
        """Guided, a reading costs a call per page of users and one per active key."""
        some_users(prod, 5, keys=3)
        a_key(prod, "user-0000", status="Inactive")
        a_key(prod, "user-0001", status="Expired")
        read = reads()
        read()
        clock.advance(minutes=15)
        read()

        assert read.asked == {"ListUsers": 1, "GetAccessKeyLastUsed": 3}

    def test_first_reading(self, prod: fake_aws.Account, reads: Reads) -> None:
        """Guided, the first reading lists the keys of those users only who have some."""
        some_users(prod, 5, keys=3)
        a_key(prod, "user-0000", status="Inactive")
        read = reads()
        read()

        assert read.asked == {
            "ListUsers": 1,
            "GenerateCredentialReport": 2,
            "GetCredentialReport": 1,
            "ListAccessKeys": 3,
            "GetAccessKeyLastUsed": 4,
        }

    def test_report_every_four_hours(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """In a day of readings the report costs three calls for each that AWS makes."""
        some_users(prod, 2, keys=2)
        read = reads()
        total: Counter[str] = Counter()
        for _ in range(96):
            read()
            total += read.asked
            clock.advance(minutes=15)

        assert total == {
            "ListUsers": 96,
            "ListAccessKeys": 2,
            "GetAccessKeyLastUsed": 2 * 96,
            "GenerateCredentialReport": 2 * 6,
            "GetCredentialReport": 6,
        }

    def test_off(self, prod: fake_aws.Account, clock: Clock, reads: Reads) -> None:
        """Without a report a reading costs a call per page, per user and per active key."""
        some_users(prod, 5, keys=3)
        a_key(prod, "user-0000", status="Inactive")
        read = reads(report_mode=ReportMode.OFF)
        read()
        clock.advance(minutes=15)
        read()

        assert read.asked == {"ListUsers": 1, "ListAccessKeys": 5, "GetAccessKeyLastUsed": 3}

    def test_values_between_reports(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """With values from the report, readings between two reports ask nothing."""
        some_users(prod, 5, keys=3)
        a_key(prod, "user-0000", status="Inactive")
        read = reads(report_mode=ReportMode.VALUES)
        read()
        clock.advance(hours=4)
        read()

        assert read.asked == {}

    def test_values_with_a_new_report(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """With values from the report, a new report costs three calls and nothing else."""
        some_users(prod, 5, keys=3)
        a_key(prod, "user-0000", status="Inactive")
        read = reads(report_mode=ReportMode.VALUES)
        read()
        clock.advance(hours=5)
        next(prod.keys).use()
        read()

        assert read.asked == {"GenerateCredentialReport": 2, "GetCredentialReport": 1}
        assert read.uses == truth(prod)

    @pytest.mark.parametrize("status", ["Inactive", "Expired"])
    @ALL_MODES
    def test_key_that_stops_being_active(
        self,
        prod: fake_aws.Account,
        clock: Clock,
        reads: Reads,
        report_mode: ReportMode,
        status: Any,
    ) -> None:
        """A key is asked once more when it stops being active, and then keeps its fact."""
        key = a_key(prod)
        read = reads(report_mode=report_mode)
        read()
        key.use("ec2", "us-east-1", at=NOON + timedelta(minutes=1))
        key.status = status
        clock.advance(hours=5)
        read()
        flipped = read.asked["GetAccessKeyLastUsed"]
        clock.advance(hours=5)
        read()

        assert (flipped, read.asked["GetAccessKeyLastUsed"]) == (1, 0)
        assert read.uses == truth(prod)

    @ALL_MODES
    def test_key_that_wakes_up(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A key that becomes active again is asked again."""
        key = a_key(prod, status="Inactive")
        read = reads(report_mode=report_mode)
        read()
        clock.advance(hours=5)
        key.status = "Active"
        key.use()
        read()

        assert read.uses == {key.id: told(key)}

    def test_inactive_key_is_asked_once_a_day(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """Without a report an inactive key is asked daily: it may have been woken for a moment."""
        key = a_key(prod, status="Inactive")
        read = reads(report_mode=ReportMode.OFF)
        read()
        key.use("ec2", "us-east-1", at=NOON + timedelta(minutes=1))
        asked = []
        for _ in range(3):
            clock.advance(hours=12)
            read()
            asked.append(read.asked["GetAccessKeyLastUsed"])

        assert asked == [0, 1, 0]
        assert read.uses == {key.id: told(key)}

    def test_accounts_do_not_ask_for_reports_together(
        self, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """Up to a quarter of an hour of chance lies between the reports of two accounts."""
        early, late = (reads(chance=partial(float, chance))() for chance in (0, 1))

        assert early.report is not None
        assert late.report is not None
        assert late.report.next_at - early.report.next_at == QUARTER


def a_denied_report(aws: FakeAws, prod: fake_aws.Account) -> None:
    prod.report.denied = True


def no_capacity(aws: FakeAws, prod: fake_aws.Account) -> None:
    prod.report.limit_exceeded = 1000


def an_expired_report(aws: FakeAws, prod: fake_aws.Account) -> None:
    aws.fault(Fault(operation="GetCredentialReport", code="ReportExpired"))


def an_absent_report(aws: FakeAws, prod: fake_aws.Account) -> None:
    aws.fault(Fault(operation="GetCredentialReport", code="ReportNotPresent"))


def a_slow_report(aws: FakeAws, prod: fake_aws.Account) -> None:
    prod.report.instant, prod.report.delay = False, 1000


def a_report_of_nonsense(aws: FakeAws, prod: fake_aws.Account) -> None:
    prod.report.content = b"\xff\xfe nonsense"


def an_empty_report(aws: FakeAws, prod: fake_aws.Account) -> None:
    prod.report.content = b""


def a_report_without_rows(aws: FakeAws, prod: fake_aws.Account) -> None:
    prod.report.content = fake_aws.report.content(prod, quoted=True).splitlines()[0]


def a_report_cut_short(aws: FakeAws, prod: fake_aws.Account) -> None:
    prod.report.content = fake_aws.report.content(prod, quoted=True)[:-40]


def a_report_without_columns(aws: FakeAws, prod: fake_aws.Account) -> None:
    prod.report.content = b"user,arn\n<root_account>,arn:aws:iam::1:root\nalice,x"


def a_report_without_time(aws: FakeAws, prod: fake_aws.Account) -> None:
    answer = "<Content>dXNlcg==</Content>"
    body = (
        f"<GetCredentialReportResponse><GetCredentialReportResult>{answer}"
        "</GetCredentialReportResult></GetCredentialReportResponse>"
    )
    aws.fault(Fault(operation="GetCredentialReport", body=body))


def a_report_in_no_base64(aws: FakeAws, prod: fake_aws.Account) -> None:
    answer = "<Content>*</Content><GeneratedTime>2026-11-23T12:00:00Z</GeneratedTime>"
    body = (
        f"<GetCredentialReportResponse><GetCredentialReportResult>{answer}"
        "</GetCredentialReportResult></GetCredentialReportResponse>"
    )
    aws.fault(Fault(operation="GetCredentialReport", body=body))


def broken_xml(aws: FakeAws, prod: fake_aws.Account) -> None:
    aws.fault(Fault(operation="GetCredentialReport", truncate=True))


def a_throttled_report(aws: FakeAws, prod: fake_aws.Account) -> None:
    aws.fault(Fault(operation="GenerateCredentialReport", code="Throttling"))


REPORT_TROUBLES = pytest.mark.parametrize(
    "trouble",
    [
        a_denied_report,
        no_capacity,
        an_expired_report,
        an_absent_report,
        a_slow_report,
        a_report_of_nonsense,
        an_empty_report,
        a_report_without_rows,
        a_report_cut_short,
        a_report_without_columns,
        a_report_without_time,
        a_report_in_no_base64,
        broken_xml,
        a_throttled_report,
    ],
)


class TestReportTrouble:
    @REPORT_TROUBLES
    @GUIDED
    def test_falls_back_to_asking_user_by_user(
        self,
        aws: FakeAws,
        prod: fake_aws.Account,
        reads: Reads,
        report_mode: ReportMode,
        trouble: Any,
    ) -> None:
        """Without a report the account is read user by user, and the reading succeeds."""
        some_users(prod, 3, keys=2)
        trouble(aws, prod)
        read = reads(report_mode=report_mode)
        read()

        assert read.latest.up
        assert read.uses == truth(prod)
        assert read.asked["ListAccessKeys"] == 3

    @REPORT_TROUBLES
    def test_is_told(
        self,
        aws: FakeAws,
        prod: fake_aws.Account,
        reads: Reads,
        caplog: pytest.LogCaptureFixture,
        trouble: Any,
    ) -> None:
        """That there is no report is a fact of the reading, and one line in the log."""
        some_users(prod, 3, keys=2)
        trouble(aws, prod)
        report = reads()().report

        assert report is not None
        assert not report.usable
        assert warnings(caplog) == ["no credential report; asking user by user"]

    @GUIDED
    def test_goes_by_the_last_report_while_that_is_young(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A report of less than six hours is good enough when there is no new one."""
        some_users(prod, 3, keys=2)
        read = reads(report_mode=report_mode)
        read()
        prod.report.denied = True
        clock.advance(hours=5)
        read()

        assert read.asked["ListAccessKeys"] == 0
        assert read.latest.report is not None
        assert read.latest.report.usable

    @GUIDED
    def test_goes_by_no_old_report(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A report of six hours is no guide any more."""
        some_users(prod, 3, keys=2)
        read = reads(report_mode=report_mode)
        read()
        prod.report.denied = True
        clock.advance(hours=6)
        next(prod.keys).use()
        read()

        assert read.asked["ListAccessKeys"] == 3
        assert read.uses == truth(prod)

    def test_is_not_asked_for_at_each_reading(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """A report that was refused is not asked for again at the next reading."""
        prod.report.denied = True
        read = reads()
        read()
        clock.advance(minutes=15)
        read()

        assert read.asked["GenerateCredentialReport"] == 0

    @GUIDED
    def test_mends_by_itself(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """When there is a report again, readings go by it again."""
        some_users(prod, 3, keys=2)
        prod.report.denied = True
        read = reads(report_mode=report_mode)
        read()
        prod.report.denied = False
        clock.advance(hours=1)
        read()
        clock.advance(minutes=15)
        read()

        assert read.latest.report is not None
        assert read.latest.report.usable
        assert read.asked["ListAccessKeys"] == 0

    def test_deadline_shorter_than_the_report_takes(
        self, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """A report that takes longer than the whole reading may is done without."""
        prod.report.instant, prod.report.delay = False, 1000
        some_users(prod, 3, keys=2)
        read = reads(deadline=20.0)
        read()

        assert read.latest.up
        assert read.uses == truth(prod)

    @given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
    def test_anything_may_come(self, content: bytes) -> None:
        """Whatever AWS sends as a report is one, or is said not to be."""
        header = ",".join(fake_aws.report.COLUMNS).encode()
        for text in (content, header + b"\n" + content):
            try:
                parse(text, NOON)
            except ReadError as error:
                assert error.reason is Reason.MALFORMED  # noqa: PT017

    @given(st.lists(st.sampled_from(["x", "N/A", "", "true", "0001-01-01T00:00:00+23:00"])))
    def test_any_fields_may_come(self, fields: list[str]) -> None:
        """Whatever stands in the columns is a row, or makes it no report."""
        row = ["alice", "arn:aws:iam::1:user/alice", "2026-01-01T00:00:00Z", *fields]
        lines = [fake_aws.report.COLUMNS, [*row, *["N/A"] * 22][:22]]
        text = io.StringIO()
        csv.writer(text).writerows(lines)
        try:
            parse(text.getvalue().encode(), NOON)
        except ReadError as error:
            assert error.reason is Reason.MALFORMED  # noqa: PT017


class TestReportJoin:
    def test_keys_in_the_other_order(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """Slots go to keys by the time of creation: the report has the active key first."""
        old = a_key(prod, created=NOON - timedelta(days=9), status="Inactive")
        young = a_key(prod, used=NOON + timedelta(minutes=1))
        read = reads(report_mode=ReportMode.VALUES)
        read()
        clock.advance(hours=5)
        young.use()
        read()

        assert read.uses == {old.id: told(old), young.id: told(young)}

    def test_only_key_in_the_second_slot(self, prod: fake_aws.Account, reads: Reads) -> None:
        """A user's only key can be in the second slot."""
        key = a_key(prod)
        content = fake_aws.report.content(prod, quoted=True)
        prod.report.content = with_swapped_slots(content)
        read = reads(report_mode=ReportMode.VALUES)
        read()

        assert read.uses == {key.id: told(key)}
        assert read.asked["GetAccessKeyLastUsed"] == 0

    def test_two_keys_of_the_same_second(self, prod: fake_aws.Account, reads: Reads) -> None:
        """The slots of two active keys of the same second cannot be told apart: AWS is asked."""
        first, second = a_key(prod), a_key(prod, used=None)
        read = reads(report_mode=ReportMode.VALUES)
        read()

        assert read.asked["GetAccessKeyLastUsed"] == 2
        assert read.uses == {first.id: told(first), second.id: NEVER}

    def test_two_keys_of_the_same_second_and_different_status(
        self, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """The slots of two keys of the same second are told apart by the status."""
        first, second = a_key(prod, status="Inactive"), a_key(prod, used=NOON - QUARTER)
        read = reads(report_mode=ReportMode.VALUES)
        read()

        assert read.asked["GetAccessKeyLastUsed"] == 1  # the inactive one, once
        assert read.uses == {first.id: told(first), second.id: told(second)}

    @GUIDED
    def test_key_made_since_the_report(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A second key that was made since the report is found with the next one at the latest."""
        a_key(prod)
        read = reads(report_mode=report_mode)
        read()
        clock.advance(minutes=15)
        prod.users["alice"].add_key().use()
        clock.advance(hours=5)
        read()

        assert read.uses == truth(prod)

    @GUIDED
    def test_key_made_between_report_and_first_reading(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A user's keys are listed at first sight: one that the report has not is found too."""
        a_key(prod)
        prod.report.generate()
        clock.advance(hours=1)
        prod.users["alice"].add_key().use()
        read = reads(report_mode=report_mode)
        read()

        assert read.uses == truth(prod)

    def test_key_made_since_the_report_without_a_report(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """Without a guide a new key is found at the next reading."""
        a_key(prod)
        read = reads(report_mode=ReportMode.OFF)
        read()
        clock.advance(minutes=15)
        prod.users["alice"].add_key()
        read()

        assert read.uses == truth(prod)

    @ALL_MODES
    def test_three_keys(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A third key, which the report does not cover, is known and kept up to date."""
        a_key(prod, created=NOON - timedelta(days=3))
        a_key(prod, created=NOON - timedelta(days=2))
        third = a_key(prod, created=NOON - timedelta(days=1), used=None)
        prod.report.generate()
        clock.advance(minutes=1)
        read = reads(report_mode=report_mode)
        read()
        clock.advance(minutes=15)
        third.use()
        read()

        assert read.uses == truth(prod)

    @GUIDED
    def test_third_key_is_found_at_the_next_reading(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """The keys of a user whom the report does not cover whole are listed every time."""
        for days in (3, 2, 1):
            a_key(prod, created=NOON - timedelta(days=days))
        read = reads(report_mode=report_mode)
        read()
        clock.advance(minutes=15)
        prod.users["alice"].add_key()
        read()

        assert read.uses == truth(prod)

    @pytest.mark.parametrize("report_mode", [ReportMode.GUIDE, ReportMode.OFF])
    def test_user_made_again(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A user deleted and made again under the same name is another, with other keys."""
        a_key(prod)
        read = reads(report_mode=report_mode)
        read()
        clock.advance(minutes=15)
        prod.users["alice"].delete()
        key = prod.add_user("alice").add_key()
        read()

        assert read.uses == {key.id: NEVER}

    def test_user_made_again_in_values(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """With values from the report the other user of the same name comes with the next one."""
        a_key(prod)
        read = reads(report_mode=ReportMode.VALUES)
        read()
        clock.advance(hours=5)
        prod.users["alice"].delete()
        key = prod.add_user("alice").add_key()
        read()

        assert read.uses == {key.id: NEVER}

    @GUIDED
    def test_user_made_again_since_the_report(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """What the report tells of the former user is not taken for the later one's."""
        a_key(prod)
        read = reads(report_mode=report_mode)
        prod.report.generate()
        clock.advance(minutes=15)
        prod.users["alice"].delete()
        key = prod.add_user("alice").add_key()
        read()

        assert read.uses == {key.id: NEVER}

    def test_user_made_again_is_not_in_the_report(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """The keys of a user made since the report are listed, whoever had the name before."""
        alice = prod.add_user("alice")
        prod.report.generate()
        clock.advance(minutes=15)
        alice.delete()
        alice = prod.add_user("alice")
        read = reads()
        read()
        clock.advance(minutes=15)
        key = alice.add_key()
        read()

        assert read.uses == {key.id: NEVER}

    @pytest.mark.parametrize("report_mode", [ReportMode.GUIDE, ReportMode.OFF])
    def test_user_moved(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A user moved to another path keeps the keys, and has the path at once."""
        a_key(prod)
        read = reads(report_mode=report_mode)
        read()
        clock.advance(minutes=15)
        prod.users["alice"].move("/staff/")
        read()

        assert read.latest.users[0].path == "/staff/"
        assert read.uses == truth(prod)

    def test_user_moved_in_values(self, prod: fake_aws.Account, clock: Clock, reads: Reads) -> None:
        """With values from the report the new path comes with the next one, and lists no keys."""
        a_key(prod)
        read = reads(report_mode=ReportMode.VALUES)
        read()
        prod.users["alice"].move("/staff/")
        clock.advance(hours=5)
        read()

        assert read.latest.users[0].path == "/staff/"
        assert read.asked["ListAccessKeys"] == 0

    @pytest.mark.parametrize("quoted", [True, False])
    @GUIDED
    def test_row_with_commas(
        self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode, quoted: bool
    ) -> None:
        """Commas in a name are no separators, whether AWS quotes them or not."""
        prod.report.quoted = quoted
        a_key(prod, "alice,of,arn", used=NOON)
        a_key(prod, "bob")
        read = reads(report_mode=report_mode)
        read()
        read()

        assert read.uses == truth(prod)
        assert read.asked["ListAccessKeys"] == 0

    def test_names_in_any_order(self, prod: fake_aws.Account, clock: Clock, reads: Reads) -> None:
        """The rows of the report can stand in any order."""
        some_users(prod, 4, keys=4)
        header, *rows = fake_aws.report.content(prod, quoted=True).splitlines()
        prod.report.content = b"\n".join([header, *reversed(rows)])
        read = reads()
        read()
        clock.advance(minutes=15)
        read()

        assert read.asked["ListAccessKeys"] == 0
        assert read.uses == truth(prod)

    @pytest.mark.parametrize("style", ["Z", "+00:00", "TRUE"])
    def test_dialects(self, prod: fake_aws.Account, clock: Clock, reads: Reads, style: str) -> None:
        """Dates end in Z or +00:00, and booleans are in either case."""
        a_key(prod)
        text = fake_aws.report.content(prod, quoted=True).decode()
        if style == "+00:00":
            text = re.sub(r"(\d)Z\b", r"\1+00:00", text)
        if style == "TRUE":
            text = text.replace("true", "TRUE").replace("false", "FALSE")
        prod.report.content = text.encode()
        read = reads(report_mode=ReportMode.VALUES)
        read()

        assert read.uses == truth(prod)
        assert read.asked["GetAccessKeyLastUsed"] == 0

    def test_unknown_columns(self, prod: fake_aws.Account, reads: Reads) -> None:
        """Columns are found by name, and those that nobody knows do no harm."""
        a_key(prod)
        lines = fake_aws.report.content(prod, quoted=True).splitlines()
        prod.report.content = b"\n".join(b"new," + line for line in lines)
        read = reads(report_mode=ReportMode.VALUES)
        read()

        assert read.uses == truth(prod)
        assert read.asked["GetAccessKeyLastUsed"] == 0

    def test_inactive_key_that_the_report_calls_unused(
        self, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """An inactive key that the report calls unused may have been used: AWS is asked."""
        key = a_key(prod, status="Inactive")
        use, key.last_use = key.last_use, None
        prod.report.generate()
        key.last_use = use
        read = reads(report_mode=ReportMode.VALUES)
        read()

        assert read.uses == {key.id: told(key)}

    def test_report_older_than_what_is_known(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """A report that is older than a fact takes nothing from it."""
        key = a_key(prod, used=None)
        prod.report.generate()
        prod.report.denied = True
        clock.advance(hours=1)
        key.use()
        read = reads(report_mode=ReportMode.VALUES)
        read()
        prod.report.denied = False
        clock.advance(hours=1)
        read()

        assert read.uses == {key.id: told(key)}


class TestRoot:
    def test_comes_from_the_report(self, prod: fake_aws.Account, reads: Reads) -> None:
        """Root's access keys and last uses come from its row, for no call."""
        prod.root_password_last_used = NOON - timedelta(days=9)
        prod.add_root_key().use(at=NOON - timedelta(days=8))
        prod.add_root_key(status="Inactive").use(at=NOON - timedelta(days=7))
        read = reads()
        root = read().root

        assert root is not None
        assert root.access_keys == 1
        assert root.password_last_used == NOON - timedelta(days=9)
        assert root.access_key_last_used == NOON - timedelta(days=7)
        assert read.asked["GetAccountSummary"] == 0

    @GUIDED
    def test_is_no_user(
        self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode
    ) -> None:
        """Root is none of the users, and is never asked for keys."""
        prod.add_root_key()
        read = reads(report_mode=report_mode)
        read()

        assert read.latest.users == ()
        assert read.asked["ListAccessKeys"] == 0

    def test_comes_from_the_summary_else(self, prod: fake_aws.Account, reads: Reads) -> None:
        """Without a report the summary tells whether root has keys."""
        prod.add_root_key()
        root = reads(report_mode=ReportMode.OFF)().root

        assert root is not None
        assert root.access_keys == 1

    def test_summary_is_asked_rarely(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """The summary is asked no more often than a report would be."""
        read = reads(report_mode=ReportMode.OFF)
        read()
        clock.advance(hours=3)
        read()

        assert read.asked["GetAccountSummary"] == 0

    def test_denied_summary(self, prod: fake_aws.Account, reads: Reads) -> None:
        """Without the permission nothing is known of root, and nothing fails."""
        prod.deny("iam:GetAccountSummary")
        snapshot = reads(report_mode=ReportMode.OFF)()

        assert snapshot.up
        assert snapshot.root is not None
        assert snapshot.root.access_keys is None

    def test_summary_that_fails(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """What is known of root outlives a summary that fails, and is asked again soon."""
        prod.add_root_key()
        read = reads(report_mode=ReportMode.OFF)
        read()
        clock.advance(hours=5)
        fault = aws.fault(Fault(operation="GetAccountSummary", code="ServiceFailure"))
        root = read().root
        aws.remove_fault(fault)
        clock.advance(minutes=15)
        read()

        assert root is not None
        assert root.access_keys == 1
        assert read.asked["GetAccountSummary"] == 1


class TestTruth:
    @ALL_MODES
    def test_never(self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode) -> None:
        """A key without a date of its last use was never used."""
        a_key(prod, used=None)

        assert [key.last_use for key in reads(report_mode=report_mode)().keys] == [NEVER]

    @ALL_MODES
    def test_region_not_applicable(
        self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A used key can have no region, which is shown as AWS gives it."""
        a_key(prod).use("s3", "N/A", at=NOON)

        assert [key.last_use for key in reads(report_mode=report_mode)().keys] == [
            LastUse(NOON, "s3", "N/A")
        ]

    def test_unknown(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """A key whose first call fails is there, its last use unknown."""
        key = a_key(prod)
        aws.fault(Fault(key=key.id, code="ServiceFailure"))
        snapshot = reads(report_mode=ReportMode.OFF)()

        assert [key.last_use for key in snapshot.keys] == [UNKNOWN]
        assert (snapshot.up, snapshot.unknown) == (False, 1)
        assert snapshot.failure is Reason.SERVICE_FAILURE

    def test_failed_call_keeps_the_fact(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """A call that fails for one key costs only that key its freshness."""
        stale, fresh = a_key(prod, "alice"), a_key(prod, "bob")
        read = reads()
        read()
        before = told(stale)
        aws.fault(Fault(key=stale.id, code="ServiceFailure"))
        clock.advance(minutes=15)
        stale.use()
        fresh.use()
        read()

        assert read.uses == {stale.id: before, fresh.id: told(fresh)}
        assert read.latest.read_at == NOON
        assert not read.latest.up

    def test_facts_never_go_backwards(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """An answer that is older than what is known changes nothing."""
        key = a_key(prod)
        read = reads(report_mode=ReportMode.OFF)
        read()
        older = "<LastUsedDate>2026-01-01T00:00:00Z</LastUsedDate>"
        aws.fault(Fault(key=key.id, body=a_last_use(older + "<ServiceName>ec2</ServiceName>")))
        clock.advance(minutes=15)
        read()

        assert read.uses == {key.id: told(key)}

    def test_a_use_is_not_forgotten(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """A key that was used cannot become one that never was."""
        key = a_key(prod)
        read = reads(report_mode=ReportMode.OFF)
        read()
        aws.fault(Fault(key=key.id, body=a_last_use("<ServiceName>N/A</ServiceName>")))
        clock.advance(minutes=15)
        read()

        assert read.uses == {key.id: told(key)}

    def test_older_report_after_newer_answer(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """What the report tells of a key never replaces a later use that AWS has told."""
        key = a_key(prod, used=NOON - timedelta(days=3))
        prod.report.generate()
        clock.advance(minutes=15)
        key.use()
        key.status = "Inactive"
        read = reads(report_mode=ReportMode.OFF)
        read()
        read.reader = replace(read.reader, report_mode=ReportMode.VALUES)
        read()

        assert read.uses == {key.id: told(key)}

    def test_later_of_two_answers(self) -> None:
        """Of two answers the later use counts, and any answer counts more than none."""
        early, late = (LastUse(NOON + QUARTER * n, "s3", "N/A") for n in (0, 1))

        assert [
            [latest(before, after) for after in (UNKNOWN, NEVER, early, late)]
            for before in (UNKNOWN, NEVER, early, late)
        ] == [
            [UNKNOWN, NEVER, early, late],
            [NEVER, NEVER, early, late],
            [early, early, early, late],
            [late, late, late, late],
        ]


class TestVanishing:
    @ALL_MODES
    def test_key_deleted_after_it_was_listed(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A key deleted between list and question is no failure, and is gone."""
        # Keys of the same second have to be asked in every mode.
        gone, stays = a_key(prod), a_key(prod)
        read = reads(report_mode=report_mode)
        with meanwhile(aws, "GetAccessKeyLastUsed", gone.delete, AccessKeyId=gone.id):
            read()

        assert read.latest.up
        assert read.uses == {stays.id: told(stays)}

    def test_key_deleted_since_the_last_reading(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """A known key that AWS denies is looked for once, and dropped."""
        gone, stays = a_key(prod), a_key(prod)
        read = reads()
        read()
        gone.delete()
        clock.advance(minutes=15)
        read()

        assert read.latest.up
        assert read.uses == {stays.id: told(stays)}
        assert read.asked["ListAccessKeys"] == 1

    def test_user_deleted_before_keys_are_listed(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """A user deleted before the keys are listed is no failure, and is gone."""
        a_key(prod, "alice")
        a_key(prod, "bob")
        delete = prod.users["alice"].delete
        read = reads()
        with meanwhile(aws, "ListAccessKeys", delete, UserName="alice"):
            read()

        assert read.latest.up
        assert names(read.latest) == ["bob"]
        assert read.uses == truth(prod)

    def test_user_deleted_after_keys_are_listed(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """A user deleted before a key is asked is no failure, and is gone."""
        key = a_key(prod, "alice")
        a_key(prod, "bob")
        delete = prod.users["alice"].delete
        read = reads()
        with meanwhile(aws, "GetAccessKeyLastUsed", delete, AccessKeyId=key.id):
            read()

        assert read.latest.up
        assert names(read.latest) == ["bob"]
        assert read.uses == truth(prod)

    @ALL_MODES
    def test_user_deleted_since_the_last_reading(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A deleted user is gone, with all keys."""
        a_key(prod)
        read = reads(report_mode=report_mode)
        read()
        prod.users["alice"].delete()
        clock.advance(hours=5)
        snapshot = read()

        assert (snapshot.users, snapshot.keys, snapshot.up) == ((), (), True)

    @pytest.mark.parametrize("code", ["NoSuchEntity", "ValidationError"])
    def test_other_words_for_a_deleted_key(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, code: str
    ) -> None:
        """Other services that speak IAM have other codes for a key that is gone."""
        key = a_key(prod)
        aws.fault(Fault(key=key.id, code=code))
        read = reads(report_mode=ReportMode.OFF)
        with meanwhile(aws, "GetAccessKeyLastUsed", key.delete):
            read()

        assert read.latest.up
        assert read.uses == {}

    def test_denied_key_that_is_still_there(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """A key that is denied like a deleted one, but still listed, is a failure."""
        key = a_key(prod)
        aws.fault(Fault(key=key.id, code="AccessDenied", message=FOREIGN + key.id))
        read = reads(report_mode=ReportMode.OFF)
        read()

        assert read.latest.failure is Reason.ACCESS_DENIED
        assert read.uses == {key.id: UNKNOWN}
        assert read.asked["ListAccessKeys"] == 2

    def test_missing_permission(self, prod: fake_aws.Account, reads: Reads) -> None:
        """A permission that is missing is a failure, and looks for no deleted keys."""
        key = a_key(prod)
        prod.deny("iam:GetAccessKeyLastUsed")
        read = reads(report_mode=ReportMode.OFF)
        read()

        assert read.latest.failure is Reason.ACCESS_DENIED
        assert read.uses == {key.id: UNKNOWN}
        assert read.asked["ListAccessKeys"] == 1

    def test_relisting_that_fails(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """A key that may be deleted stays as it is as long as nobody can confirm it."""
        key = a_key(prod)
        read = reads()
        read()
        use = told(key)
        key.delete()
        prod.deny("iam:ListAccessKeys")
        clock.advance(minutes=15)
        read()

        assert read.latest.failure is Reason.ACCESS_DENIED
        assert read.uses == {key.id: use}

    def test_key_made_while_another_vanishes(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """A key that takes the place of a deleted one is found at once."""
        old = a_key(prod)
        read = reads()
        read()
        clock.advance(minutes=15)
        old.delete()
        new = prod.users["alice"].add_key()
        read()

        assert read.uses == {new.id: NEVER}


class TestRenaming:
    def test_facts_follow_the_key(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """What is known of a key stays when its user is renamed, even if it cannot be asked."""
        key = a_key(prod)
        key.use()
        read = reads(report_mode=ReportMode.OFF)
        read()
        before = read.uses[key.id]
        key.user.rename("somebody-else")
        aws.fault(Fault(operation="GetAccessKeyLastUsed", code="AccessDenied", message="no"))
        clock.advance(minutes=15)
        read()

        assert [(known.user, known.last_use) for known in read.latest.keys] == [
            ("somebody-else", before)
        ]


class TestManyFailuresAtOnce:
    """
    User 3's list is denied, key 5 throttled to the end, key 7 and user 9 were deleted meanwhile.

    Every user has one key of the same number.
    """

    @pytest.fixture
    def keys(self, prod: fake_aws.Account) -> list[fake_aws.AccessKey]:
        return [a_key(prod, f"user-{number}") for number in range(10)]

    def spoil(
        self, aws: FakeAws, prod: fake_aws.Account, keys: list[fake_aws.AccessKey], read: Refreshes
    ) -> None:
        prod.deny("iam:ListAccessKeys", user="user-3")
        aws.fault(Fault(key=keys[5].id, code="Throttling"))
        with (
            meanwhile(aws, "GetAccessKeyLastUsed", keys[7].delete, AccessKeyId=keys[7].id),
            meanwhile(aws, "ListAccessKeys", keys[9].user.delete, UserName="user-9"),
        ):
            read()

    def test_first_reading(
        self,
        aws: FakeAws,
        prod: fake_aws.Account,
        reads: Reads,
        keys: list[fake_aws.AccessKey],
    ) -> None:
        """At first sight: no key of user 3, key 5 unknown, key 7 and user 9 gone."""
        read = reads(report_mode=ReportMode.OFF)
        self.spoil(aws, prod, keys, read)
        snapshot = read.latest

        expected = {key.id: told(key) for n, key in enumerate(keys) if n not in (3, 7, 9)}
        assert read.uses == {**expected, keys[5].id: UNKNOWN}
        assert names(snapshot) == [f"user-{n}" for n in range(9)]
        assert (snapshot.up, snapshot.unknown, snapshot.read_at) == (False, 1, None)
        assert snapshot.failures == {Reason.ACCESS_DENIED: 1}
        assert snapshot.error.endswith("(and 1 more)")
        assert snapshot.throttles == MAX_ATTEMPTS

    @pytest.mark.parametrize("report_mode", [ReportMode.OFF, ReportMode.GUIDE])
    def test_reading_after_a_good_one(
        self,
        aws: FakeAws,
        prod: fake_aws.Account,
        clock: Clock,
        reads: Reads,
        keys: list[fake_aws.AccessKey],
        report_mode: ReportMode,
    ) -> None:
        """Later: keys 3 and 5 keep what was known, all others are fresh, 7 and 9 are gone."""
        read = reads(report_mode=report_mode)
        read()
        clock.advance(hours=5)
        for n, key in enumerate(keys):
            if n != 5:
                key.use()
        before = LastUse(NOON, "s3", "eu-west-1")
        if report_mode is ReportMode.GUIDE:  # all are to be listed
            for n in (3, 9):
                keys[n].user.add_key(created=NOON).status = "Inactive"
        self.spoil(aws, prod, keys, read)
        snapshot = read.latest

        expected = {key.id: told(key) for n, key in enumerate(keys) if n not in (7, 9)}
        assert read.uses == {**expected, keys[5].id: before}
        assert names(snapshot) == [f"user-{n}" for n in range(9)]
        assert (snapshot.up, snapshot.unknown, snapshot.read_at) == (False, 0, NOON)
        assert snapshot.failures == {Reason.ACCESS_DENIED: 1}

    def test_mends_by_itself(
        self,
        aws: FakeAws,
        prod: fake_aws.Account,
        clock: Clock,
        reads: Reads,
        keys: list[fake_aws.AccessKey],
    ) -> None:
        """When nothing fails any more, all is known again."""
        read = reads()
        self.spoil(aws, prod, keys, read)
        aws.clear_faults()
        prod.allow("iam:ListAccessKeys", user="user-3")
        clock.advance(minutes=15)
        read()

        assert read.latest.up
        assert read.uses == truth(prod)


class TestWayIn:
    @pytest.fixture(autouse=True)
    def from_monitoring(self, aws: FakeAws) -> Iterator[None]:
        with environment(aws.environment(MONITORING)):
            yield

    def test_role(self, prod: fake_aws.Account, reads: Reads) -> None:
        """An account is read with the credentials of its role."""
        prod.role(ROLE)
        key = a_key(prod)
        read = reads(a_role_account())
        read()

        assert read.uses == {key.id: told(key)}

    def test_external_id(self, prod: fake_aws.Account, reads: Reads) -> None:
        """The external id goes along."""
        prod.role(ROLE, external_id="secret")

        assert reads(a_role_account(external_id="secret"))().up

    @pytest.mark.parametrize("external_id", [None, "wrong"])
    def test_role_that_cannot_be_assumed(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, external_id: str | None
    ) -> None:
        """A role that cannot be assumed has a reason of its own, and nothing is asked instead."""
        prod.role(ROLE, external_id="secret")
        snapshot = reads(a_role_account(external_id=external_id))()

        assert (snapshot.up, snapshot.failure) == (False, Reason.ASSUME_ROLE)
        assert set(aws.calls_by_operation) == {"AssumeRole"}

    def test_role_is_assumed_once(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """A role is assumed once for many readings."""
        prod.role(ROLE)
        read = reads(a_role_account())
        read()
        read()

        assert aws.count("AssumeRole") == aws.count("GetCallerIdentity") == 1

    def test_session_that_ended(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """A session that ended fails one reading, once asked; the next signs in anew."""
        prod.role(ROLE)
        a_key(prod)
        read = reads(a_role_account())
        read()
        aws.revoke(PROD)
        failed = read()
        asked = read.asked
        read()

        assert failed.failure is Reason.CREDENTIALS
        assert asked == {"ListUsers": 1}
        assert read.latest.up

    def test_session_is_renewed_in_time(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """A session is renewed before it ends, in the middle of a reading too."""
        prod.role(ROLE)
        sessions = some_sessions(aws.url)
        now = [0.0]
        calls = AccountApi(sessions, a_role_account(), seconds=1e6, clock=lambda: now[0])
        for _ in range(5):
            calls.call("ListUsers", expect="Users")
            clock.advance(seconds=SESSION_SECONDS / 2)
            now[0] += SESSION_SECONDS / 2

        assert aws.errors == {}
        assert aws.count("AssumeRole") == 3

    def test_wrong_account(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """Credentials of another account than the configured one are not used."""
        aws.account(MONITORING).add_user("intruder").add_key()
        snapshot = reads(an_account(PROD))()

        assert (snapshot.failure, snapshot.users) == (Reason.WRONG_ACCOUNT, ())
        assert set(aws.calls_by_operation) == {"GetCallerIdentity"}

    def test_account_found_by_its_credentials(self, aws: FakeAws, reads: Reads) -> None:
        """An account without an id has the one that its credentials belong to."""
        snapshot = reads(an_account(""))()

        assert snapshot.account.id == MONITORING

    def test_same_account_twice(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """An account that is read already is not read under a second name."""
        prod.role(ROLE)
        first, second = a_role_account(name="one"), a_role_account(name="two")
        sessions = some_sessions(aws.url)

        assert reads(first, sessions=sessions)().up
        assert reads(second, sessions=sessions)().failure is Reason.WRONG_ACCOUNT

    def test_no_credentials(self, reads: Reads) -> None:
        """Without credentials the account is down for that reason."""
        with environment({"AWS_EC2_METADATA_DISABLED": "true"}):
            snapshot = reads()()

        assert snapshot.failure is Reason.CREDENTIALS

    def test_failed_role_keeps_the_facts(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """When a role cannot be assumed any more, all that was known stays."""
        prod.role(ROLE)
        key = a_key(prod)
        read = reads(a_role_account())
        before = read()
        prod.remove_role(ROLE)
        read.reader = replace(read.reader, sessions=some_sessions(aws.url))
        clock.advance(minutes=15)
        after = read()

        assert (after.users, after.keys, after.read_at) == (before.users, before.keys, NOON)
        assert read.uses == {key.id: told(key)}
        assert not after.up


RETRIED: dict[str, dict[str, Any]] = {
    "Throttling": {"code": "Throttling"},
    "ThrottlingException": {"code": "ThrottlingException"},
    "TooManyRequestsException": {"code": "TooManyRequestsException"},
    "RequestLimitExceeded": {"code": "RequestLimitExceeded"},
    "BandwidthLimitExceeded": {"code": "BandwidthLimitExceeded", "status": 509},
    "PriorRequestNotComplete": {"code": "PriorRequestNotComplete"},
    "RequestTimeout": {"code": "RequestTimeout"},
    "ServiceFailure": {"code": "ServiceFailure"},
    "InternalFailure": {"code": "InternalFailure"},
    "ServiceUnavailable": {"code": "ServiceUnavailable"},
    "429": {"code": "Strange", "status": 429},
    "500": {"code": "Strange", "status": 500},
    "502": {"body": "<html>bad gateway</html>", "status": 502},
    "503": {"body": "", "status": 503},
    "504": {"body": "no answer in time", "status": 504},
    "reset": {"reset": True},
    "broken XML": {"truncate": True},
    "no XML": {"body": "out of order"},
    "other XML": {"body": "<html>sign in to the hotel's network</html>"},
    "nothing": {"body": ""},
}
NOT_RETRIED = {
    "AccessDenied": Reason.ACCESS_DENIED,
    "ExpiredToken": Reason.CREDENTIALS,
    "InvalidClientTokenId": Reason.CREDENTIALS,
    "SignatureDoesNotMatch": Reason.CREDENTIALS,
    "RequestExpired": Reason.CREDENTIALS,
    "OptInRequired": Reason.CREDENTIALS,
    "NoSuchEntity": Reason.INVALID_REQUEST,
    "ValidationError": Reason.INVALID_REQUEST,
    "InvalidInput": Reason.INVALID_REQUEST,
    "LimitExceeded": Reason.SERVICE_FAILURE,
    "Strange": Reason.UNEXPECTED,
}


class TestRetries:
    @pytest.mark.parametrize("fault", RETRIED)
    def test_what_passes_by_itself(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, fault: str
    ) -> None:
        """What can pass by itself is asked again, and fails nothing."""
        key = a_key(prod)
        aws.fault(Fault(operation="ListUsers", times=2, **RETRIED[fault]))
        read = reads(report_mode=ReportMode.OFF)
        read()

        assert read.latest.up
        assert read.uses == {key.id: told(key)}
        assert read.asked["ListUsers"] == 3

    @pytest.mark.parametrize("code", NOT_RETRIED)
    def test_what_does_not(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, code: str
    ) -> None:
        """What does not pass by itself is asked once, and has its reason."""
        aws.fault(Fault(operation="ListUsers", code=code))
        read = reads(report_mode=ReportMode.OFF)
        read()

        assert read.latest.failure is NOT_RETRIED[code]
        assert read.asked["ListUsers"] == 1

    @pytest.mark.parametrize("fault", ["Throttling", "500", "503", "reset", "broken XML"])
    def test_one_attempt_by_botocore(
        self, aws: FakeAws, prod: fake_aws.Account, fault: str
    ) -> None:
        """A request is one request: the retries are ours alone."""
        sessions = some_sessions(aws.url)
        signer, region = sessions.base(an_account())
        aws.fault(Fault(**RETRIED[fault]))
        with pytest.raises(ReadError):
            sessions.request("iam", "ListUsers", {}, signer=signer, region=region, expect="Users")

        assert aws.count() == 1

    @pytest.mark.parametrize("fault", ["Throttling", "500", "reset", "broken XML"])
    def test_an_end_to_retries(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, fault: str
    ) -> None:
        """What does not pass after all attempts is a failure."""
        aws.fault(Fault(operation="ListUsers", **RETRIED[fault]))
        read = reads(report_mode=ReportMode.OFF)
        read()

        assert not read.latest.up
        assert read.asked["ListUsers"] == MAX_ATTEMPTS

    def test_giving_up(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """When question after question gets no answer, no more are asked."""
        some_users(prod, 20, keys=20)
        aws.fault(Fault(operation="ListAccessKeys", code="ServiceFailure"))
        read = reads(report_mode=ReportMode.OFF)
        read()

        assert read.asked["ListAccessKeys"] == MAX_CONSECUTIVE_FAILURES * MAX_ATTEMPTS

    def test_stale_connection(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """A connection of the pool that AWS has closed meanwhile fails nothing."""
        key = a_key(prod)
        read = reads(report_mode=ReportMode.OFF)
        read()
        for connection in tuple(aws._server._connections if aws._server else ()):
            aws._server._loop.call_soon_threadsafe(connection.close)  # type: ignore[union-attr]
        read()

        assert read.latest.up
        assert read.uses == {key.id: told(key)}

    def test_jitter(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """No two accounts wait equally long between attempts."""
        stop = Sleepless()
        aws.fault(Fault(operation="ListUsers", code="ServiceFailure"))
        reads(report_mode=ReportMode.OFF, sessions=some_sessions(aws.url, stop=stop))()
        waits = [wait for wait in stop.waits if wait > 0.001]

        assert len(set(waits)) == MAX_ATTEMPTS - 1

    @pytest.mark.parametrize("error", [Reason.ACCESS_DENIED, Reason.THROTTLED])
    def test_sign_in(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, error: Reason
    ) -> None:
        """A role is tried again only if it can help."""
        code = {Reason.ACCESS_DENIED: "AccessDenied", Reason.THROTTLED: "Throttling"}[error]
        aws.fault(Fault(operation="AssumeRole", code=code))
        reads(a_role_account())()

        assert aws.count("AssumeRole") == (1 if error is Reason.ACCESS_DENIED else MAX_ATTEMPTS)


class TestPace:
    @pytest.fixture
    def ticker(self) -> Ticker:
        return Ticker()

    @pytest.fixture
    def pace(self, ticker: Ticker) -> RateLimiter:
        return RateLimiter(5.0, 10, wait=ticker.wait, clock=ticker)

    def test_burst(self, pace: RateLimiter, ticker: Ticker) -> None:
        """A burst goes at once."""
        for _ in range(10):
            pace.take()

        assert ticker.seconds == 0

    def test_rate(self, pace: RateLimiter, ticker: Ticker) -> None:
        """After the burst requests go at the configured rate."""
        for _ in range(10 + 50):
            pace.take()

        assert ticker.seconds == pytest.approx(10)

    def test_idle(self, pace: RateLimiter, ticker: Ticker) -> None:
        """However long nothing was asked, no more than the burst goes at once."""
        ticker.seconds += 3600
        for _ in range(11):
            pace.take()

        assert ticker.seconds == pytest.approx(3600.2)

    def test_throttled(self, pace: RateLimiter) -> None:
        """Every throttling halves the rate, and ends the burst."""
        pace.throttled()

        assert pace.rate == pytest.approx(2.5)
        assert pace.delay() == pytest.approx(0.4)

    def test_slowest(self, pace: RateLimiter) -> None:
        """However often AWS throttles, it is asked now and then."""
        for _ in range(100):
            pace.throttled()

        assert pace.rate == pytest.approx(5 * MIN_RATE_SHARE)

    def test_recovery(self, pace: RateLimiter, ticker: Ticker) -> None:
        """The rate recovers slowly, and no higher than it was."""
        pace.throttled()
        rates = []
        for _ in range(3):
            ticker.seconds += RECOVERY_SECONDS / 4
            rates.append(pace.rate)

        assert rates == pytest.approx([3.75, 5, 5])

    def test_clock_that_goes_back(self, pace: RateLimiter, ticker: Ticker) -> None:
        """A clock that goes back costs nothing."""
        ticker.seconds -= 100

        assert pace.delay() == 0

    def test_stop(self, pace: RateLimiter, ticker: Ticker) -> None:
        """Waiting ends when the exporter is to stop."""
        ticker.stopped = True

        with pytest.raises(Stopped):
            pace.take()

    def test_of_a_reading(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """A whole reading keeps to the pace, whatever it asks."""
        some_users(prod, 50, keys=50)
        ticker = Ticker()
        sessions = some_sessions(
            aws.url, requests_per_second=5.0, burst=10, clock=ticker, stop=Waiting(ticker)
        )
        reads(report_mode=ReportMode.OFF, sessions=sessions)()

        calls = 1 + 50 + 50 + 1
        assert ticker.seconds == pytest.approx((calls - 10) / 5)

    def test_of_one_account(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """An account can have a pace of its own."""
        some_users(prod, 50, keys=50)
        ticker = Ticker()
        sessions = some_sessions(
            aws.url, requests_per_second=5.0, burst=10, clock=ticker, stop=Waiting(ticker)
        )
        account = an_account(requests_per_second=1.0, burst=2)
        reads(account, report_mode=ReportMode.OFF, sessions=sessions)()

        assert ticker.seconds == pytest.approx(1 + 50 + 50 + 1 - 2)

    def test_yields_to_aws(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """An account that AWS throttles is asked at half the rate for a while."""
        some_users(prod, 10, keys=10)
        ticker = Ticker()
        sessions = some_sessions(
            aws.url, requests_per_second=100.0, burst=1, clock=ticker, stop=Waiting(ticker)
        )
        aws.fault(Fault(operation="ListUsers", code="Throttling", times=1))
        snapshot = reads(report_mode=ReportMode.OFF, sessions=sessions)()

        assert snapshot.up
        assert snapshot.throttles == 1
        assert 50 <= sessions.door(an_account()).pace.rate <= 52

    def test_stop_in_a_reading(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """A reading that waits for its turn ends when the exporter is to stop."""
        stop = threading.Event()
        sessions = some_sessions(aws.url, requests_per_second=0.001, burst=1, stop=stop)
        threading.Timer(0.05, stop.set).start()

        with pytest.raises(Stopped):
            reads(report_mode=ReportMode.OFF, sessions=sessions)()


class TestDeadline:
    def test_ends_a_reading(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """A reading that would wait beyond its deadline ends, and keeps what was known."""
        some_users(prod, 20, keys=20)
        read = reads(report_mode=ReportMode.OFF)
        read()
        sessions = some_sessions(aws.url, requests_per_second=0.01, burst=5)
        read.reader = replace(read.reader, sessions=sessions, deadline=10.0)
        clock.advance(minutes=15)
        read()

        assert read.latest.failure is Reason.DEADLINE
        assert sum(read.asked.values()) == 5
        assert read.uses == truth(prod)

    def test_ends_retries(self, aws: FakeAws, prod: fake_aws.Account, reads: Reads) -> None:
        """No retry begins after the deadline."""
        aws.fault(Fault(operation="ListUsers", latency=0.05, code="ServiceFailure"))
        read = reads(report_mode=ReportMode.OFF, deadline=0.06)
        read()

        assert read.latest.failure is Reason.DEADLINE
        assert read.asked["ListUsers"] <= 2


class TestTags:
    BOTH = pytest.mark.parametrize("tags", [TagSource.BULK, TagSource.PER_USER])

    @BOTH
    def test_wanted_tags(self, prod: fake_aws.Account, reads: Reads, tags: TagSource) -> None:
        """Of a user's tags the wanted ones are kept."""
        prod.add_user("alice", tags={"team": "red", "cost": "7", "owner": "bob"})
        (user,) = reads(tag_source=tags, keep_tag=lambda name: name != "cost")().users

        assert user.tags == (("owner", "bob"), ("team", "red"))

    @BOTH
    def test_pages(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, tags: TagSource
    ) -> None:
        """Tags on many short pages are all read."""
        aws.max_page = 1
        for name in ("alice", "bob", "carol"):
            prod.add_user(name, tags={"name": name, "team": "red"})
        snapshot = reads(tag_source=tags)()

        assert [dict(user.tags)["name"] for user in snapshot.users] == ["alice", "bob", "carol"]

    @pytest.mark.parametrize(
        ("tags", "calls"),
        [
            (TagSource.OFF, {}),
            (TagSource.BULK, {"GetAccountAuthorizationDetails": 1}),
            (TagSource.PER_USER, {"ListUserTags": 5}),
        ],
    )
    def test_calls(
        self, prod: fake_aws.Account, reads: Reads, tags: TagSource, calls: dict[str, int]
    ) -> None:
        """In bulk, tags cost a call per page of users; else one per user, or none."""
        some_users(prod, 5)
        read = reads(tag_source=tags)
        read()
        of_tags = ("GetAccountAuthorizationDetails", "ListUserTags")

        assert {name: read.asked[name] for name in of_tags if read.asked[name]} == calls

    @BOTH
    def test_interval(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, tags: TagSource
    ) -> None:
        """Tags are read once an hour, and kept in between."""
        prod.add_user("alice", tags={"team": "red"})
        read = reads(tag_source=tags)
        read()
        clock.advance(minutes=15)
        kept = read().users[0].tags
        asked = read.asked
        prod.users["alice"].tags = {"team": "blue"}
        clock.advance(minutes=45)
        read()

        assert kept == (("team", "red"),)
        assert asked == {"ListUsers": 1}
        assert read.latest.users[0].tags == (("team", "blue"),)

    @BOTH
    def test_denied(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, tags: TagSource
    ) -> None:
        """Tags that are denied fail the reading, and cost nothing that was known."""
        key = a_key(prod)
        prod.users["alice"].tags = {"team": "red"}
        read = reads(tag_source=tags)
        read()
        prod.deny("iam:*Tags")
        prod.deny("iam:GetAccountAuthorizationDetails")
        clock.advance(hours=1)
        key.use()
        read()

        assert read.latest.failure is Reason.ACCESS_DENIED
        assert read.latest.users[0].tags == (("team", "red"),)
        assert read.uses == {key.id: told(key)}

    @BOTH
    def test_user_deleted_meanwhile(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, tags: TagSource
    ) -> None:
        """A user deleted before the tags are read is no failure."""
        alice = prod.add_user("alice", tags={"team": "red"})
        bulk = tags is TagSource.BULK
        operation = "GetAccountAuthorizationDetails" if bulk else "ListUserTags"
        with meanwhile(aws, operation, alice.delete):
            snapshot = reads(tag_source=tags, report_mode=ReportMode.OFF)()

        assert snapshot.up
        assert snapshot.users == ()

    @BOTH
    def test_user_made_again(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, tags: TagSource
    ) -> None:
        """A later user of the same name does not inherit tags."""
        prod.add_user("alice", tags={"team": "red"})
        read = reads(tag_source=tags)
        read()
        clock.advance(minutes=15)
        prod.users["alice"].delete()
        prod.add_user("alice")
        read()

        assert read.latest.users[0].tags == ()


class TestPasswords:
    @ALL_MODES
    def test_last_use(self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode) -> None:
        """The last use of a console password comes along, in every mode."""
        prod.add_user("alice", password_last_used=NOON - QUARTER)
        (user,) = reads(report_mode=report_mode)().users

        assert user.password_last_used == NOON - QUARTER

    @ALL_MODES
    def test_none(self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode) -> None:
        """A password that was never used, and none at all, have no last use."""
        prod.add_user("alice", password_enabled=True)
        prod.add_user("bob")

        users = reads(report_mode=report_mode)().users
        assert [user.password_last_used for user in users] == [None, None]

    def test_never_goes_backwards(self, prod: fake_aws.Account, clock: Clock, reads: Reads) -> None:
        """A password's last use never goes backwards."""
        alice = prod.add_user("alice", password_last_used=NOON)
        read = reads()
        read()
        alice.password_last_used = NOON - QUARTER
        clock.advance(minutes=15)
        read()

        assert read.latest.users[0].password_last_used == NOON


class TestStale:
    def known(self, **facts: Any) -> AccessKey:
        day = datetime(2026, 11, 1, tzinfo=UTC)
        chosen = {"last_use": LastUse(day, "s3", "N/A"), "as_of": NOON, **facts}
        return AccessKey("AKIA1", "alice", "Active", day, **chosen)

    def snapshot(self, key: AccessKey, *, listed_at: datetime) -> AccountSnapshot:
        alice = User("alice", "/", key.created, keys_at=listed_at)
        return AccountSnapshot(an_account(), users=(alice,), keys=(key,), listed_at=listed_at)

    def test_old_facts_are_dropped(self) -> None:
        """A last use that was confirmed too long ago is not known any more; the key is."""
        snapshot = self.snapshot(self.known(), listed_at=NOON + QUARTER)

        (key,) = snapshot.without_facts_before(NOON + QUARTER).keys
        assert (key.last_use, key.as_of) == (UNKNOWN, None)

    def test_young_facts_stay(self) -> None:
        """A fact that is exactly as old as allowed stays."""
        snapshot = self.snapshot(self.known(), listed_at=NOON)

        assert snapshot.without_facts_before(NOON) == snapshot

    def test_settled_facts_stay(self) -> None:
        """The last use of a key that cannot be used any more does not age."""
        key = self.known(final=True)
        snapshot = self.snapshot(key, listed_at=NOON + QUARTER)

        assert snapshot.without_facts_before(NOON + QUARTER) == snapshot

    def test_old_lists_are_dropped(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """What was listed too long ago is dropped whole; the last success stays."""
        a_key(prod)
        prod.add_root_key()
        snapshot = reads()().without_facts_before(NOON + timedelta(seconds=1))

        assert (snapshot.users, snapshot.keys, snapshot.root) == ((), (), None)
        assert snapshot.read_at == NOON

    @ALL_MODES
    def test_reading_after_dropping(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads, report_mode: ReportMode
    ) -> None:
        """After all was dropped the account is read from the start."""
        a_key(prod)
        read = reads(report_mode=report_mode)
        read()
        clock.advance(days=8)
        read.latest = read.latest.without_facts_before(NOON + timedelta(days=1))
        read()

        assert read.uses == truth(prod)
        assert read.latest.up

    @ALL_MODES
    def test_unknown_is_asked_again(
        self,
        aws: FakeAws,
        prod: fake_aws.Account,
        clock: Clock,
        reads: Reads,
        report_mode: ReportMode,
    ) -> None:
        """A fact that was dropped for its age comes back with the next answer."""
        key = a_key(prod)
        read = reads(report_mode=report_mode)
        read()
        (known,) = read.latest.keys
        read.latest = replace(read.latest, keys=(replace(known, last_use=UNKNOWN, as_of=None),))
        clock.advance(minutes=15)
        read()

        assert read.uses == {key.id: told(key)}


class TestPeerDefects:
    """The defects of other tools that concern reading, by their number in our list."""

    @pytest.mark.parametrize("number", [1, 2, 3])
    @ALL_MODES
    def test_peer_defect_1_2_3_never_used_key_passes(
        self, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode, number: int
    ) -> None:
        """An active, never-used, 400-day-old key is told as such: active, old and never used."""
        made = NOON - timedelta(days=400)
        a_key(prod, created=made, used=None)
        (key,) = reads(report_mode=report_mode)().keys

        assert (key.active, key.last_use, key.created) == (True, NEVER, made)

    def test_peer_defect_4_slots_joined_by_position(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """After the first key is deleted the second one keeps its own last use."""
        first = a_key(prod, created=NOON - timedelta(days=2), used=NOON - timedelta(hours=1))
        second = a_key(prod, created=NOON - timedelta(days=1), used=NOON - timedelta(hours=2))
        read = reads(report_mode=ReportMode.VALUES)
        read()
        first.delete()
        clock.advance(hours=5)
        read()

        assert read.uses == {second.id: told(second)}

    @ALL_MODES
    def test_peer_defect_5_throttled_means_never(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode
    ) -> None:
        """A throttled call never becomes never used."""
        a_key(prod)
        a_key(prod)  # of the same second, so that AWS is asked in every mode
        aws.fault(Fault(operation="GetAccessKeyLastUsed", code="Throttling"))
        snapshot = reads(report_mode=report_mode)()

        assert {key.last_use for key in snapshot.keys} == {UNKNOWN}
        assert snapshot.failure is Reason.THROTTLED

    def test_peer_defect_5_first_hundred_users(self, prod: fake_aws.Account, reads: Reads) -> None:
        """The 101st user is read as all others are."""
        some_users(prod, 101)

        assert len(reads(report_mode=ReportMode.VALUES)().users) == 101

    @pytest.mark.parametrize("report_mode", [ReportMode.GUIDE, ReportMode.OFF])
    def test_peer_defect_6_first_page_of_users(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, report_mode: ReportMode
    ) -> None:
        """1001 users on three pages are all read, and the pages are all that it costs."""
        aws.max_page = 400
        some_users(prod, 1001)
        last = a_key(prod, "user-1000")
        read = reads(report_mode=report_mode)
        read()

        assert len(read.latest.users) == 1001
        assert read.uses == {last.id: told(last)}
        assert read.asked["ListUsers"] == 3

    def test_peer_defect_7_panic_on_never_used(self, prod: fake_aws.Account, reads: Reads) -> None:
        """A never-used key stops nobody else's from being read."""
        a_key(prod, "alice", used=None)
        a_key(prod, "bob")
        read = reads(report_mode=ReportMode.OFF)
        read()

        assert read.uses == truth(prod)

    def test_peer_defect_7_case_of_the_status(self, prod: fake_aws.Account, reads: Reads) -> None:
        """Active is written as IAM writes it."""
        a_key(prod)
        (key,) = reads()().keys

        assert key.active

    def test_peer_defect_7_tags_from_list_users(self, prod: fake_aws.Account, reads: Reads) -> None:
        """ListUsers never gives tags: they come from where they are."""
        prod.add_user("alice", tags={"team": "red"})
        read = reads(tag_source=TagSource.BULK)
        read()

        assert read.latest.users[0].tags == (("team", "red"),)
        assert read.asked["GetAccountAuthorizationDetails"] == 1

    def test_peer_defect_8_same_name_in_two_accounts(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """Users of the same name in two accounts share no key and no fact."""
        test = aws.account(TEST)
        test.role(ROLE)
        prod.role(ROLE)
        ours, theirs = a_key(prod), a_key(test, used=None)
        sessions = some_sessions(aws.url)
        found = []
        for account in (a_role_account(PROD), a_role_account(TEST, name="test")):
            read = reads(account, sessions=sessions, report_mode=ReportMode.OFF)
            read()
            found.append(read.uses)

        assert found == [{ours.id: told(ours)}, {theirs.id: NEVER}]

    @pytest.mark.parametrize("number", [9, 10])
    def test_peer_defect_9_10_deleted_key_fails_the_account(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads, number: int
    ) -> None:
        """A key that disappears between list and question stops nobody else's from being read."""
        gone, stays = a_key(prod, "alice"), a_key(prod, "bob")
        read = reads(report_mode=ReportMode.OFF)
        with meanwhile(aws, "GetAccessKeyLastUsed", gone.delete, AccessKeyId=gone.id):
            read()

        assert read.latest.up
        assert read.uses == {stays.id: told(stays)}

    def test_peer_defect_9_more_than_a_page_of_keys(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """ListAccessKeys is paginated too."""
        aws.max_page = 1
        a_key(prod)
        a_key(prod)
        read = reads()
        read()

        assert read.uses == truth(prod)

    def test_peer_defect_11_tight_loop(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """A report that is being made is looked at after ever longer waits."""
        stop = Sleepless()
        prod.report.instant, prod.report.delay = False, 1000
        read = reads(sessions=some_sessions(aws.url, stop=stop))
        read()

        assert [wait for wait in stop.waits if wait >= 1] == list(POLLS)
        assert read.asked["GenerateCredentialReport"] == 2 + len(POLLS)

    def test_peer_defect_12_failed_role_drops_the_account(
        self, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """An account that flips to denied keeps its facts, and is down."""
        key = a_key(prod)
        read = reads()
        read()
        prod.deny("iam:*")
        clock.advance(minutes=15)
        read()

        assert read.uses == {key.id: told(key)}
        assert not read.latest.up
        assert read.latest.failures == {Reason.ACCESS_DENIED: 1}

    def test_peer_defect_13_throttled_in_china(
        self, aws: FakeAws, clock: Clock, reads: Reads
    ) -> None:
        """Throttled in another partition is throttled, not a service that is not there."""
        china = aws.account("333333333333", partition="aws-cn")
        china.role(ROLE)
        a_key(china)
        aws.fault(Fault(account=china.id, operation="ListUsers", code="Throttling"))
        snapshot = reads(a_role_account(china.id, partition="aws-cn"))()

        assert snapshot.failure is Reason.THROTTLED

    def test_peer_defect_14_report_of_yesterday(
        self, aws: FakeAws, prod: fake_aws.Account, clock: Clock, reads: Reads
    ) -> None:
        """A report that AWS made long ago is no guide."""
        a_key(prod)
        prod.report.generate()
        assert prod.report.generated is not None
        prod.report.generated = NOON - timedelta(hours=20)
        aws.fault(Fault(operation="GenerateCredentialReport", body=a_complete_report()))
        text = fake_aws.report.content(prod, quoted=True)
        aws.fault(Fault(operation="GetCredentialReport", body=an_old_report(text)))
        prod.users["alice"].add_key()
        read = reads()
        read()

        assert read.latest.report is not None
        assert not read.latest.report.usable
        assert read.uses == truth(prod)

    @pytest.mark.parametrize("looks", [1, 2, 5])
    def test_peer_defect_14_report_in_progress(
        self, prod: fake_aws.Account, reads: Reads, looks: int
    ) -> None:
        """A report that is still being made at the second look is waited for."""
        prod.report.instant, prod.report.delay = False, looks
        snapshot = reads()()

        assert snapshot.report is not None
        assert snapshot.report.usable

    def test_peer_defect_15_any_error_drops_the_table(
        self, aws: FakeAws, prod: fake_aws.Account, reads: Reads
    ) -> None:
        """One user whose keys cannot be listed costs nobody else theirs."""
        a_key(prod, "alice")
        key = a_key(prod, "bob")
        prod.deny("iam:ListAccessKeys", user="alice")
        read = reads()
        read()

        assert read.uses == {key.id: told(key)}
        assert read.latest.failure is Reason.ACCESS_DENIED

    def test_peer_defect_15_region(self, prod: fake_aws.Account, reads: Reads) -> None:
        """The region of the last use is known."""
        a_key(prod).use("ec2", "ap-southeast-2", at=NOON)
        (key,) = reads()().keys

        assert key.last_use == LastUse(NOON, "ec2", "ap-southeast-2")


def an_answer(operation: str, result: str) -> str:
    return (
        f'<{operation}Response xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        f"<{operation}Result>{result}</{operation}Result></{operation}Response>"
    )


def a_last_use(facts: str) -> str:
    region = "<Region>N/A</Region>"
    return an_answer(
        "GetAccessKeyLastUsed", f"<AccessKeyLastUsed>{facts}{region}</AccessKeyLastUsed>"
    )


def a_page(users: str, more: str) -> str:
    return an_answer("ListUsers", f"<Users>{users}</Users>{more}")


def a_user(name: str) -> str:
    return (
        f"<member><Path>/</Path><UserName>{name}</UserName><UserId>AIDA{name}</UserId>"
        "<CreateDate>2026-01-01T00:00:00Z</CreateDate></member>"
    )


def a_complete_report() -> str:
    return an_answer("GenerateCredentialReport", "<State>COMPLETE</State>")


def an_old_report(content: bytes) -> str:
    generated = f"{NOON - timedelta(hours=20):%Y-%m-%dT%H:%M:%SZ}"
    return an_answer(
        "GetCredentialReport",
        f"<Content>{b64encode(content).decode()}</Content><GeneratedTime>{generated}</GeneratedTime>",
    )
