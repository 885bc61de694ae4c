"""Reloading: what another configuration changes at once, what it leaves alone, what it refuses."""

import asyncio
import logging
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from exporter.cli.application import Application
from exporter.cli.redaction import Redactor
from exporter.cli.reload import Changes, Outcome, Reloader
from exporter.cli.wiring import SystemClock, key_id_formatter
from exporter.config import Config, ConfigError, load, parse
from exporter.metrics import Format, SelfMetrics
from exporter.sharding import Shard
from tests.builders import before_answer, environment
from tests.fake_aws import FakeAws
from tests.fake_aws.fleet import MONITORING, ROLE, fill
from tests.servers import wait_until

pytestmark = pytest.mark.slow

ONE, TWO = "100000000001", "100000000002"
KEYS = 4


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    """Two accounts, which credentials of a third can read, in its organization."""
    with FakeAws() as fake, environment({}):
        fill(fake, accounts=2, keys=KEYS)
        with environment(fake.environment(MONITORING)):
            yield fake


def configuration(
    *accounts: str, name: str = "account", pace: int = 500, more: str = "", collection: str = ""
) -> Config:
    entries = "".join(
        f"  - {{role_arn: 'arn:aws:iam::{id_}:role/{ROLE}', name: {name}-{id_[-1]}}}\n"
        for id_ in accounts
    )
    rate = f"collection: {{requests_per_second: {pace}, burst: 500, {collection}}}\n"
    return parse(f"{rate}{'accounts:' if entries else ''}\n{entries}{more}", "config.yaml")


class Running:
    """An application that has refreshed every account once."""

    def __init__(self, config: Config, shard: Shard = Shard()) -> None:  # noqa: B008 (immutable)
        self.metrics = SelfMetrics(version="1.2.3")
        self.redactor = Redactor(key_id_formatter(config), config.secrets())
        self.application = Application(
            config,
            stop=threading.Event(),
            clock=SystemClock(),
            self_metrics=self.metrics,
            redactor=self.redactor,
            shard=shard,
        )
        self.application.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        wait_until(self.application.is_ready, "every account was refreshed")

    def change(self, config: Config) -> Changes:
        return self.application.reconfigure(config)

    @property
    def page(self) -> str:
        return self.application.exposition.render(Format.TEXT).decode()

    def accounts(self) -> dict[str, float]:
        """Whether each exported account is up, by id."""
        pattern = r'^aws_iam_exporter_account_up\{account_id="(\d+)".*\} (\d)$'
        return {id_: int(up) for id_, up in re.findall(pattern, self.page, re.MULTILINE)}

    def next_refreshes(self) -> dict[str, float | None]:
        """Seconds until the next refresh of each account, by id. None: it is under way."""
        snapshots = self.application.scheduler.snapshots()
        return {snapshot.account.id: seconds for snapshot, seconds in snapshots}


@contextmanager
def running(config: Config, shard: Shard = Shard()) -> Iterator[Running]:  # noqa: B008
    instance = Running(config, shard)
    try:
        yield instance
    finally:
        instance.application.stop()


def lines_of(page: str, account: str) -> list[str]:
    """The samples of an account that do not depend on the time."""
    wanted = f'account_id="{account}"'
    lines = [line for line in page.splitlines() if wanted in line]
    return [line for line in lines if not line.startswith("aws_iam_access_key_last_used_age")]


# -- accounts -------------------------------------------------------------------------------------


def test_a_removed_account_is_gone_at_the_next_scrape(aws: FakeAws) -> None:
    """An account that is not in the new file is not on the page as soon as it is in effect."""
    with running(configuration(ONE, TWO)) as exporter:
        exporter.change(configuration(TWO))

        assert exporter.accounts() == {TWO: 1}
        assert ONE not in exporter.page


def test_an_unchanged_account_is_left_alone(aws: FakeAws) -> None:
    """It keeps its facts, its counters and its schedule, and is not refreshed."""
    with running(configuration(ONE)) as exporter:
        before, calls = lines_of(exporter.page, ONE), aws.count(account=ONE)
        due = exporter.next_refreshes()[ONE]
        exporter.change(configuration(ONE, TWO))
        wait_until(lambda: exporter.accounts() == {ONE: 1, TWO: 1}, "the new account is refreshed")

        assert lines_of(exporter.page, ONE) == before
        assert aws.count(account=ONE) == calls
        assert due is not None
        assert exporter.next_refreshes()[ONE] == pytest.approx(due, abs=20)


def test_a_new_account_is_down_until_it_is_refreshed(aws: FakeAws) -> None:
    """A new account is exported at once, and refreshed at once."""
    aws.account("100000000003")  # without a role
    with running(configuration(ONE)) as exporter:
        exporter.change(configuration(ONE, "100000000003"))

        assert exporter.accounts() == {ONE: 1, "100000000003": 0}


def test_a_renamed_account_keeps_its_facts(aws: FakeAws) -> None:
    """With another name, an account has the same keys at once, and is not refreshed for it."""
    with running(configuration(ONE)) as exporter:
        calls = aws.count(account=ONE)
        exporter.change(configuration(ONE, name="prod"))
        page = exporter.page

    assert 'account="account-1"' not in page
    assert page.count('account="prod-1",') > KEYS
    assert aws.count(account=ONE) == calls


def test_an_external_id_takes_effect_at_the_next_refresh(aws: FakeAws, tmp_path: Path) -> None:
    """The role is assumed again, also if only the file that holds the ID has changed."""
    file = tmp_path / "external-id"
    aws.account(ONE).role("third-party", "right")
    arn = f"arn:aws:iam::{ONE}:role/third-party"

    def written(external_id: str) -> Config:
        file.write_text(f"{external_id}\n")
        entry = f"{{role_arn: '{arn}', external_id_file: {file}}}"
        return configuration(more=f"accounts: [{entry}]\n")

    with running(written("right")) as exporter:

        def change(external_id: str, up: int) -> None:
            exporter.change(written(external_id))
            exporter.application.scheduler.make_due()
            wait_until(lambda: exporter.accounts() == {ONE: up}, "it is refreshed")

        change("wrong", 0)
        keys = exporter.page.count("aws_iam_access_key_info{")
        change("right", 1)

    assert keys == KEYS


# -- what takes effect --------------------------------------------------------------------------


def test_labels_change_at_once(aws: FakeAws) -> None:
    """Key ids are masked on the next page, in the log, and nowhere are they in full."""
    key = next(iter(aws.account(ONE).users.values())).keys[0]
    with running(configuration(ONE)) as exporter:
        assert key.id in exporter.page
        calls = aws.count()
        exporter.change(configuration(ONE, more="labels: {access_key_id: masked}\n"))

        assert key.id not in exporter.page
        assert exporter.page.count("aws_iam_access_key_active{") == KEYS
        assert key.id not in exporter.redactor(f"about {key.id}")
        assert aws.count() == calls


def test_a_new_tag_is_read_at_the_next_refresh(aws: FakeAws) -> None:
    """A tag that becomes a label is read then, although tags are only due hourly."""
    for user in aws.account(ONE).users.values():
        user.tags = {"team": "web", "owner": "alice"}
    tags = "user_tags: bulk"
    before = configuration(ONE, more="labels: {user_tags: [team]}\n", collection=tags)
    after = configuration(ONE, more="labels: {user_tags: [team, owner]}\n", collection=tags)
    with running(before) as exporter:
        assert 'tag_team="web"' in exporter.page
        exporter.change(after)
        assert 'tag_owner=""' in exporter.page
        exporter.application.scheduler.make_due()

        wait_until(lambda: 'tag_owner="alice"' in exporter.page, "the tag is exported")


def test_a_new_tag_is_read_although_the_file_is_reloaded_once_more(aws: FakeAws) -> None:
    """Another reload before the next refresh does not put off the reading of a new tag."""
    for user in aws.account(ONE).users.values():
        user.tags = {"team": "web", "owner": "alice"}
    before = configuration(ONE, more="labels: {user_tags: [team]}\n", collection="user_tags: bulk")
    after = "labels: {user_tags: [team, owner]}\n"
    with running(before) as exporter:
        exporter.change(configuration(ONE, more=after, collection="user_tags: bulk"))
        exporter.change(configuration(ONE, more=after, collection="user_tags: bulk, workers: 2"))
        exporter.application.scheduler.make_due()

        wait_until(lambda: 'tag_owner="alice"' in exporter.page, "the tag is exported")


def test_an_exemption_takes_effect_at_once(aws: FakeAws) -> None:
    """Keys are exempt on the next page, without a refresh."""
    entry = f"exemptions: {{entries: [{{account: '{ONE}', until: 2999-01-01}}]}}\n"
    with running(configuration(ONE)) as exporter:
        exporter.change(configuration(ONE, more=entry))

        assert exporter.page.count("aws_iam_access_key_exempt_until_timestamp_seconds{") == KEYS


def test_a_filter_takes_effect_at_the_next_refresh(aws: FakeAws) -> None:
    """Excluded users are gone then, and their keys are not deleted ones."""
    name = next(iter(aws.account(ONE).users))
    with running(configuration(ONE)) as exporter:
        exporter.change(configuration(ONE, more=f"users: {{exclude: [{name}]}}\n"))
        exporter.application.scheduler.make_due()

        wait_until(lambda: name not in exporter.page, "the user is gone")


def test_a_filter_that_is_undone_during_a_refresh_deletes_nothing(
    aws: FakeAws, caplog: pytest.LogCaptureFixture
) -> None:
    """Users whom a refresh has left out were not deleted, although they are read again by now."""
    name = next(iter(aws.account(ONE).users))
    with caplog.at_level(logging.INFO), running(configuration(ONE)) as exporter:
        exporter.change(configuration(ONE, more=f"users: {{exclude: [{name}]}}\n"))
        undo = partial(exporter.change, configuration(ONE))
        with before_answer(aws, "ListUsers", undo):
            exporter.application.scheduler.make_due()
            wait_until(lambda: name not in exporter.page, "the refresh has ended")
        exporter.application.scheduler.make_due()
        wait_until(lambda: name in exporter.page, "the user is read again")

    assert not {"access key deleted", "access key created"} & {*caplog.messages}


def test_a_shorter_interval_takes_effect_at_once(aws: FakeAws) -> None:
    """No account waits for the end of the interval that was configured before."""
    with running(configuration(ONE)) as exporter:
        exporter.change(configuration(ONE, collection="interval: 1s, deadline: 10s"))
        calls = aws.count("ListUsers", ONE)

        wait_until(lambda: aws.count("ListUsers", ONE) >= calls + 2, "it is refreshed", 5)
        assert "aws_iam_exporter_refresh_interval_seconds 1.0\n" in exporter.page


def test_the_pace_takes_effect_at_once(aws: FakeAws) -> None:
    """The next request of an account that is already read waits as configured by now."""
    with running(configuration(ONE)) as exporter:
        slow = configuration(ONE, pace=2)
        exporter.change(slow)

        assert 'account_rate_limit{account_id="100000000001",account="account-1"} 2\n' in (
            exporter.page
        )
        session = exporter.application._sessions.get(slow.model_accounts()[0])
        assert session.rate_limiter.full_rate == 2


def workers(others: Sequence[threading.Thread]) -> int:
    """Count the threads that refresh accounts, but for those of *others*."""
    own = [thread for thread in threading.enumerate() if thread not in others]
    return sum(thread.name.startswith("aws_") for thread in own)


def test_workers_come_and_go(aws: FakeAws) -> None:
    """As many threads refresh accounts as are configured by now."""
    others = threading.enumerate()
    with running(configuration(ONE, TWO)) as exporter:
        assert workers(others) == 2
        exporter.change(configuration(ONE, TWO, collection="workers: 1"))
        wait_until(lambda: workers(others) == 1, "a worker ends")
        exporter.change(configuration(ONE, TWO, collection="workers: 2"))

        assert workers(others) == 2


ORGANIZATION = f"organization: {{role_name: {ROLE}, include: {{accounts: ['%s']}}}}\n"


def test_an_organization_can_be_added_and_removed(aws: FakeAws) -> None:
    """Its accounts are read as soon as it is configured, and gone as soon as it no longer is."""
    with running(configuration(ONE)) as exporter:
        assert "\naws_iam_exporter_discovery_up " not in exporter.page
        exporter.change(configuration(ONE, more=ORGANIZATION % TWO))
        wait_until(lambda: exporter.accounts() == {ONE: 1, TWO: 1}, "accounts are discovered")
        assert "aws_iam_exporter_discovery_up 1.0\n" in exporter.page
        exporter.change(configuration(ONE))

        assert exporter.accounts() == {ONE: 1}
        assert "\naws_iam_exporter_discovery_up " not in exporter.page


def test_discovered_accounts_stay_when_something_else_changes(aws: FakeAws) -> None:
    """The organization is not asked again because an exemption was added."""
    with running(configuration(more=ORGANIZATION % TWO)) as exporter:
        calls = aws.count("ListAccounts")
        entry = f"exemptions: {{entries: [{{account: '{TWO}', until: 2999-01-01}}]}}\n"
        exporter.change(configuration(more=ORGANIZATION % TWO + entry))

        assert exporter.accounts() == {TWO: 1}
        assert aws.count("ListAccounts") == calls


def test_other_filters_are_applied_to_the_organization(aws: FakeAws) -> None:
    """With other filters the organization is asked at once."""
    with running(configuration(more=ORGANIZATION % TWO)) as exporter:
        exporter.change(configuration(more=ORGANIZATION % ONE))

        wait_until(lambda: exporter.accounts() == {ONE: 1}, "the other account is read")


def test_what_requires_a_restart_is_named(aws: FakeAws, tmp_path: Path) -> None:
    """Options that cannot change are named, and are as they were; the others are in effect."""
    with running(configuration(ONE)) as exporter:
        more = f"state: {{path: {tmp_path}/state.db}}\naws: {{region: eu-west-1}}\n"
        changes = exporter.change(configuration(TWO, more=more))

        assert changes == Changes(["accounts"], ["state.path", "aws.region"])
        assert exporter.application.config.state.path is None
        assert list(exporter.accounts()) == [TWO]


def test_a_change_shows_all_accounts_or_none_of_it(aws: FakeAws) -> None:
    """While labels change, each page has all keys, and is completely the old or the new one."""
    with running(configuration(ONE, TWO)) as exporter:
        pages: list[str] = []
        stop = threading.Event()

        def scrape() -> None:
            while not stop.is_set():
                pages.append(exporter.page)

        scraper = threading.Thread(target=scrape)
        scraper.start()
        for format_ in ("masked", "full", "masked", "full"):
            exporter.change(configuration(ONE, TWO, more=f"labels: {{access_key_id: {format_}}}\n"))
        stop.set()
        scraper.join()

    masked = [page.count("****") > 0 for page in pages]
    counts = {page.count("aws_iam_access_key_active{") for page in pages}
    mixed = [
        page
        for page, is_masked in zip(pages, masked, strict=True)
        if is_masked and re.search(r'access_key_id="AKIA[A-Z0-9]{12,}"', page)
    ]
    assert counts == {2 * KEYS}
    assert mixed == []


# -- the reloader -------------------------------------------------------------------------------


class Source:
    """
    A configuration that can be loaded.

    Attributes:
        outcome: What loading returns or raises.
        loads: How often it was loaded.
        began: Loading has begun.
        gate: Loading waits for it.
    """

    def __init__(self) -> None:
        self.outcome: Config | Exception = Config()
        self.loads = 0
        self.began = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.applied: list[Config] = []
        self.reported: list[bool] = []
        self.changes = Changes()

    def load(self) -> Config:
        self.loads += 1
        self.began.set()
        self.gate.wait(5)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def apply(self, config: Config) -> Changes:
        self.applied.append(config)
        return self.changes

    def reloader(
        self, file: str = "", load: Callable[[], Config] | None = None, settle: float = 0.0
    ) -> Reloader:
        return Reloader(
            load or self.load,
            self.apply,
            redact=lambda text: text.replace("secret", "<hidden>"),
            report=lambda at: self.reported.append(at is not None),
            now=SystemClock().now,
            file=file,
            secret_files=(),
            seen={},
            settle=settle,
        )


def invalid(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, "config.yaml")
    return caught.value


def test_a_bad_file_changes_nothing() -> None:
    """All of its problems are in the answer, it is reported, and nothing is applied."""
    source = Source()
    source.outcome = invalid("colection: {}\ncollection: {interval: soon}\n")
    outcome = asyncio.run(source.reloader().reload())

    assert not outcome.succeeded
    assert outcome.text.startswith("failed to reload config: config.yaml: 2 problems\n")
    assert "did you mean 'collection'?" in outcome.text
    assert source.applied == []
    assert source.reported == [False]


def test_a_bug_does_not_end_the_exporter(caplog: pytest.LogCaptureFixture) -> None:
    """An unexpected exception is a failed reload, without its text."""
    source = Source()
    source.outcome = RuntimeError("quotes a secret")
    outcome = asyncio.run(source.reloader().reload())

    assert outcome == Outcome(succeeded=False, text="failed to reload config: see the log\n")
    assert "reload crashed" in caplog.text


def test_errors_are_redacted(caplog: pytest.LogCaptureFixture) -> None:
    """What must not be shown is neither in the answer nor in the log."""
    source = Source()
    source.outcome = invalid("secret: {}\n")
    outcome = asyncio.run(source.reloader().reload())

    assert "secret" not in outcome.text + " ".join(str(vars(r)["error"]) for r in caplog.records)


def test_the_answer_names_what_requires_a_restart() -> None:
    """Whoever reloads learns which changes are not in effect."""
    source = Source()
    source.changes = Changes(restart=["state.path", "aws.region"])
    outcome = asyncio.run(source.reloader().reload())

    assert outcome.succeeded
    assert outcome.text.endswith("require a restart: state.path, aws.region\n")


@pytest.mark.parametrize(
    ("options", "logged"),
    [(["collection.workers", "accounts"], "collection.workers, accounts"), ([], "nothing")],
)
def test_the_log_says_what_changed(
    options: list[str], logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    """After a reload the log names the options that it has changed, without their values."""
    source = Source()
    source.changes = Changes(options)
    with caplog.at_level(logging.INFO):
        asyncio.run(source.reloader().reload())

    (record,) = caplog.records
    assert (record.getMessage(), vars(record)["changed"]) == ("configuration reloaded", logged)


def test_changes_are_named(aws: FakeAws) -> None:
    """Each option that differs is named with its section."""
    with running(configuration(ONE)) as exporter:
        more = f"labels: {{access_key_id: masked}}\n{ORGANIZATION % TWO}"
        added = exporter.change(configuration(ONE, pace=100, more=more))
        more = more.replace("}}", "}, interval: 2h}")
        changed = exporter.change(configuration(ONE, pace=100, more=more))

    assert added.options == [
        "collection.requests_per_second",
        "organization",
        "labels.access_key_id",
    ]
    assert changed.options == ["organization.interval"]


def test_reloads_are_coalesced() -> None:
    """Of any number of reloads during one, one more is made, whose outcome all of them share."""
    source = Source()

    async def reload_often() -> list[Outcome]:
        reloader = source.reloader()
        source.gate.clear()
        first = asyncio.create_task(reloader.reload())
        await asyncio.to_thread(source.began.wait, 5)
        others = [asyncio.create_task(reloader.reload()) for _ in range(20)]
        await asyncio.sleep(0)
        source.outcome = invalid("x: {}\n")
        source.gate.set()
        return [await task for task in (first, *others)]

    outcomes = asyncio.run(reload_often())

    assert source.loads == 2
    assert len(set(outcomes[1:])) == 1


def test_a_reload_that_nobody_waits_for_goes_on() -> None:
    """A client that disconnects does not cancel the reload that others share."""
    source = Source()

    async def reload() -> Outcome:
        reloader = source.reloader()
        source.gate.clear()
        impatient = asyncio.create_task(reloader.reload())
        patient = asyncio.create_task(reloader.reload())
        await asyncio.to_thread(source.began.wait, 5)
        impatient.cancel()
        source.gate.set()
        return await patient

    assert asyncio.run(reload()).succeeded


class Watched:
    """
    A configuration file, which a reloader watches.

    Attributes:
        secret: The file that an option names.
    """

    def __init__(self, folder: Path) -> None:
        self.file, self.secret = folder / "config.yaml", folder / "secret"
        self.source = Source()
        self.file.write_text(f"labels: {{access_key_id: hashed, hash_secret_file: {self.secret}}}")
        self.reloader = self.source.reloader(str(self.file), lambda: load(self.file))
        self.reload_if_changed()

    def reload_if_changed(self) -> bool | None:
        """Whether a reload succeeded. None: there was none, since nothing has changed."""
        outcome = asyncio.run(self.reloader.reload_if_changed())
        return None if outcome is None else outcome.succeeded


def test_a_changed_file_is_reloaded_once(tmp_path: Path) -> None:
    """A file is reloaded when its content changes, once, and not when it is only touched."""
    watched = Watched(tmp_path)
    watched.file.write_text("collection: {interval: 20m}\n")

    assert watched.reload_if_changed()
    assert watched.source.applied[-1].collection.interval == timedelta(minutes=20)
    watched.file.touch()
    assert watched.reload_if_changed() is None


def test_a_bad_file_is_reloaded_once(tmp_path: Path) -> None:
    """A file that cannot be used is not tried again until it changes."""
    watched = Watched(tmp_path)
    watched.file.write_text("x: {}\n")

    assert watched.reload_if_changed() is False
    assert watched.reload_if_changed() is None


def test_a_file_that_vanishes_changes_nothing(tmp_path: Path) -> None:
    """A file that cannot be read is a failed reload, and is read when it is there again."""
    watched = Watched(tmp_path)
    watched.file.unlink()

    assert watched.reload_if_changed() is False
    watched.file.write_text("collection: {interval: 20m}\n")
    assert watched.reload_if_changed()


def test_a_file_that_is_being_written_is_not_read(tmp_path: Path) -> None:
    """A file that is half written may be valid, and have half of the accounts."""
    file, source = tmp_path / "config.yaml", Source()
    file.write_text("half")

    async def reload_while_written() -> list[Outcome | None]:
        reloader = source.reloader(str(file), settle=0.2)
        waiting = asyncio.create_task(reloader.reload_if_changed())
        await asyncio.sleep(0.1)
        file.write_text("all of it")
        return [await waiting, await reloader.reload_if_changed()]

    during, after = asyncio.run(reload_while_written())

    assert during is None
    assert after is not None
    assert source.loads == 1


def test_a_file_that_was_reloaded_meanwhile_is_not_reloaded_again(tmp_path: Path) -> None:
    """Whoever writes a file and asks for a reload causes one."""
    file, source = tmp_path / "config.yaml", Source()
    file.write_text("new")

    async def reload_by_both() -> Outcome | None:
        reloader = source.reloader(str(file), settle=0.1)
        waiting = asyncio.create_task(reloader.reload_if_changed())
        await asyncio.sleep(0.05)
        await reloader.reload()
        return await waiting

    assert asyncio.run(reload_by_both()) is None
    assert source.loads == 1


def test_a_changed_secret_is_reloaded(tmp_path: Path) -> None:
    """A file that an option names is watched, also before it exists."""
    watched = Watched(tmp_path)
    assert watched.source.reported == [False]

    for secret in ("0123456789abcdef", "fedcba9876543210"):
        watched.secret.write_text(f"{secret}\n")
        assert watched.reload_if_changed()
        assert watched.source.applied[-1].secrets() == [secret]


# -- secrets in files ---------------------------------------------------------------------------


def test_secrets_are_read_from_files(tmp_path: Path) -> None:
    """The content of a file, without white space around it, is the value of the option."""
    (tmp_path / "id").write_text(" external-1\n")
    (tmp_path / "secret").write_text("0123456789abcdef\n")
    role = f"arn:aws:iam::{ONE}:role/{ROLE}"
    config = parse(
        f"accounts: [{{role_arn: '{role}', external_id_file: {tmp_path}/id}}]\n"
        f"labels: {{access_key_id: hashed, hash_secret_file: {tmp_path}/secret}}\n"
        f"organization: {{role_name: x, external_id_file: {tmp_path}/id,"
        f" discovery_role_arn: '{role}', discovery_external_id_file: {tmp_path}/id}}\n",
        "config.yaml",
    )

    assert config.accounts[0].external_id == "external-1"
    assert config.secrets() == ["0123456789abcdef"]
    assert config.organization is not None
    assert config.organization.discovery_external_id == "external-1"
    assert config.secret_files() == [f"{tmp_path}/{name}" for name in ("id", "id", "id", "secret")]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("hash_secret_file: /nonexistent/x", "hash_secret_file: cannot read file: No such file"),
        ("hash_secret_file: /dev/null", "hash_secret_file: cannot read file: not a regular file"),
        (
            "hash_secret: 0123456789abcdef, hash_secret_file: /x",
            "hash_secret and hash_secret_file exclude each other",
        ),
        ("hash_secret_file: 1", "must be a string"),
    ],
)
def test_a_secret_that_cannot_be_read(labels: str, message: str) -> None:
    """A file that cannot be read is a problem of the configuration, in one sentence."""
    assert message in str(invalid(f"labels: {{access_key_id: hashed, {labels}}}\n"))


def test_an_invalid_secret_is_not_quoted(tmp_path: Path) -> None:
    """The content of a file is never in an error message."""
    (tmp_path / "secret").write_text("tooshort\n")
    error = invalid(f"labels: {{access_key_id: hashed, hash_secret_file: {tmp_path}/secret}}\n")

    assert "must have at least 16 characters" in str(error)
    assert "tooshort" not in str(error)


def test_the_log_of_rounds(aws: FakeAws, caplog: pytest.LogCaptureFixture) -> None:
    """When every account was refreshed, one line says so, and there is none for each account."""
    with caplog.at_level(logging.INFO), running(configuration(ONE, TWO)):
        wait_until(lambda: "refreshed" in caplog.messages, "a line")

    (line,) = (vars(record) for record in caplog.records if record.getMessage() == "refreshed")
    assert (line["accounts"], line["keys"], line["failures"]) == (2, 2 * KEYS, 0)
    assert line["calls"] == aws.count()
    assert "account refreshed" not in caplog.messages
