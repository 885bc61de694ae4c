"""A progress bar on the terminal that a stream is; nothing on any other stream."""

from types import TracebackType
from typing import Self, TextIO

from rich import progress
from rich.console import Console


class Progress:
    """
    Shows how many accounts are done. It is removed from the terminal in the end.

    Args:
        verb: What is being done, such as ``refreshing``.
        total: The number of accounts.
        stream: Where to show it, if that is a terminal.
    """

    def __init__(self, verb: str, total: int, stream: TextIO) -> None:
        self._bar = progress.Progress(
            progress.TextColumn("{task.description}"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TextColumn("accounts"),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.fields[failed]}", style="red"),
            console=Console(file=stream),
            transient=True,
            disable=not stream.isatty(),
        )
        self._task = self._bar.add_task(verb, total=total, failed="")
        self._failed = 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def advance(self, *, failed: bool) -> None:
        """Count an account that is done."""
        self._failed += failed
        text = f"{self._failed} failed" if self._failed else ""
        self._bar.update(self._task, advance=1, failed=text)
