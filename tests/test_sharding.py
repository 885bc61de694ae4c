"""Each account is read by exactly one shard, and few move when shards are added."""

import threading

import pytest

from exporter.cli.application import Application
from exporter.cli.wiring import SystemClock
from exporter.config import parse
from exporter.metrics import Format, SelfMetrics
from exporter.sharding import Shard, fnv1a, jump_hash, ordinal_of

ACCOUNTS = [f"{number * 7919:012}" for number in range(2000)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0xCBF29CE484222325),
        ("a", 0xAF63DC4C8601EC8C),
        ("foobar", 0x85944171F73967E8),
    ],
)
def test_fnv1a(text: str, expected: int) -> None:
    """The hash of known texts is that of the FNV reference."""
    assert fnv1a(text.encode()) == expected


@pytest.mark.parametrize(
    ("key", "buckets", "expected"),
    [(1, 1, 0), (42, 57, 43), (0xDEAD10CC, 1, 0), (0xDEAD10CC, 666, 361), (256, 1024, 520)],
)
def test_jump_hash(key: int, buckets: int, expected: int) -> None:
    """The bucket of known keys is that of the Go implementation that kube-state-metrics uses."""
    assert jump_hash(key, buckets) == expected


@pytest.mark.parametrize("total", range(1, 11))
def test_each_account_is_read_once(total: int) -> None:
    """The shards are disjoint, together have every account, and about equally many each."""
    shards = [Shard(ordinal, total) for ordinal in range(total)]

    counts = [sum(shard.has(account) for account in ACCOUNTS) for shard in shards]

    assert all(sum(shard.has(account) for shard in shards) == 1 for account in ACCOUNTS)
    assert min(counts) > len(ACCOUNTS) / total * 0.7


@pytest.mark.parametrize("total", range(1, 10))
def test_few_accounts_move(total: int) -> None:
    """From n to n + 1 shards, about one account in n + 1 moves, always to the new shard."""

    def shard_of(account: str, among: int) -> int:
        return jump_hash(fnv1a(account.encode()), among)

    moved = [each for each in ACCOUNTS if shard_of(each, total) != shard_of(each, total + 1)]

    assert {shard_of(each, total + 1) for each in moved} == {total}
    assert len(moved) / len(ACCOUNTS) == pytest.approx(1 / (total + 1), rel=0.25)


@pytest.mark.parametrize(
    ("pod", "ordinal"),
    [
        ("aws-iam-key-exporter-0", 0),
        ("aws-iam-key-exporter-12", 12),
        ("exporter", None),
        ("exporter-", None),
        ("exporter-5d8f7b9c6-x2x4z", None),
        ("3", None),
    ],
)
def test_the_ordinal_of_a_pod(pod: str, ordinal: int | None) -> None:
    """A pod of a StatefulSet has its ordinal at the end of its name."""
    assert ordinal_of(pod) == ordinal


COMPANY = parse(
    "accounts:"
    + "".join(
        f"\n- {{name: a{account}, role_arn: 'arn:aws:iam::{account}:role/x'}}"
        for account in ACCOUNTS[:60]
    ),
    "config.yaml",
)


def page(shard: Shard) -> list[str]:
    """What a process with this shard serves before its first refresh."""
    self_metrics = SelfMetrics(version="1.2.3", process=False)
    application = Application(
        COMPANY,
        stop=threading.Event(),
        clock=SystemClock(),
        self_metrics=self_metrics,
        shard=shard,
    )
    application.restore()
    return bytes(application.exposition.render(Format.TEXT)).decode().splitlines()


def of_accounts(lines: list[str]) -> set[str]:
    return {line for line in lines if "account_id=" in line}


@pytest.mark.parametrize("total", range(1, 11))
def test_the_shards_together_serve_every_account(total: int) -> None:
    """The union of the shards' pages is the page of one process, and no sample is on two."""
    shards = [of_accounts(page(Shard(ordinal, total))) for ordinal in range(total)]

    assert set().union(*shards) == of_accounts(page(Shard()))
    assert sum(map(len, shards)) == len(of_accounts(page(Shard())))


def test_what_is_the_same_in_every_shard() -> None:
    """Each shard says how many accounts there are in all, how many shards, and which one it is."""
    lines = page(Shard(1, 3))

    assert "aws_iam_exporter_accounts_configured 60.0" in lines
    assert "aws_iam_exporter_total_shards 3.0" in lines
    assert 'aws_iam_exporter_shard_ordinal{shard_ordinal="1"} 1.0' in lines
