"""The accounts that the pages of a process do not show: unknown ones, and those of other shards."""

from collections.abc import Iterator
from dataclasses import dataclass

from exporter.sharding import Shard


@dataclass(frozen=True, slots=True)
class Unseen:
    """
    Which accounts are not shown.

    Attributes:
        error: Why accounts of the organization are unknown. Empty: none is.
        shard: Which accounts the process reads.
    """

    error: str = ""
    shard: Shard = Shard()  # noqa: RUF009 (immutable)

    def sentences(self) -> Iterator[str]:
        if self.error:
            yield self.error
        if self.shard.total > 1:
            yield (
                f"this process is shard {self.shard.ordinal} of {self.shard.total}, counted from 0:"
                " the others show the other accounts"
            )
