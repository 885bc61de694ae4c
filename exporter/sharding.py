"""
Which accounts a process reads, if several share the work.

The same functions as kube-state-metrics uses: FNV-1a of what is distributed, here the account id,
and jump consistent hashing, so that from n to n + 1 shards only one account in n + 1 moves.

Sources: Fowler, Noll, Vo, "FNV hash"; Lamping, Veach, "A Fast, Minimal Memory, Consistent Hash
Algorithm" (2014).
"""

from dataclasses import dataclass

_64_BITS = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Shard:
    """
    One of several processes.

    Attributes:
        ordinal: From 0 to *total* - 1.
    """

    ordinal: int = 0
    total: int = 1

    def has(self, account_id: str) -> bool:
        """Whether this process reads the account."""
        return jump_hash(fnv1a(account_id.encode()), self.total) == self.ordinal


def fnv1a(data: bytes) -> int:
    """Return the 64-bit FNV-1a hash of *data*."""
    hash_ = 0xCBF29CE484222325
    for byte in data:
        hash_ = (hash_ ^ byte) * 0x100000001B3 & _64_BITS
    return hash_


def jump_hash(key: int, buckets: int) -> int:
    """Return the bucket, from 0 to *buckets* - 1, that a 64-bit *key* belongs to."""
    bucket, following = -1, 0
    while following < buckets:
        bucket = following
        key = (key * 2862933555777941757 + 1) & _64_BITS
        following = int((bucket + 1) * (float(1 << 31) / float((key >> 33) + 1)))
    return bucket


def ordinal_of(pod: str) -> int | None:
    """Return the ordinal at the end of a StatefulSet's pod name, such as 2. None: there is none."""
    _, dash, digits = pod.rpartition("-")
    return int(digits) if dash and digits.isdecimal() and digits.isascii() else None
