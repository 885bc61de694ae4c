"""Each account is read by exactly one shard, and few move when shards are added."""

import pytest

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
    """From n to n + 1 shards, about 1 / (n + 1) of the accounts move, all of them to the new one."""

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
