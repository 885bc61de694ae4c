"""The signals that end a command before it is done."""

import signal
from typing import NoReturn

SIGNALLED = 128
"""The exit code is this plus the number of the signal."""


class Interrupted(BaseException):
    """A signal ends the program. Not an Exception, so that no error handling stops it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def raise_on_signals() -> None:
    """Make SIGINT and SIGTERM raise `Interrupted` in the main thread."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


def _interrupt(number: int, _: object) -> NoReturn:
    raise Interrupted(number)
