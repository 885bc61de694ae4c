"""Standard input, output and error, any of which may be closed, full or not read."""

import os
import sys
from contextlib import suppress
from typing import Final

CONTROL: Final = {
    code: f"\\x{code:02x}"
    for code in (*range(0x20), *range(0x7F, 0xA0), *range(0x2028, 0x202F), *range(0x2066, 0x206A))
}
"""
Escapes of characters that a terminal could act on, that end a line, or that change the direction of
text.
"""


def replace_closed_streams() -> None:
    """
    Open /dev/null for each of standard input, output and error that is closed.

    Otherwise the next file or connection would take its place, and receive the log.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # opens the lowest free descriptor: this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        # Paths and variables need not be UTF-8, nor the terminal.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def write_output(text: str) -> None:
    """
    Write *text* to standard output.

    Raises:
        SystemExit: With code 1: it cannot be written. With a message on standard error, unless
            the reader has read what it wanted, such as ``head``.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        raise SystemExit(1) from None
    except OSError as error:
        write_error(f"cannot write to standard output: {error.strerror}\n")
        raise SystemExit(1) from None


def write_error(text: str) -> None:
    """Write *text* to standard error, if it can be written, with its control characters escaped."""
    lines = [line.translate(CONTROL) for line in text.split("\n")]
    text = "\n".join(lines)
    with suppress(OSError):  # the exit code has to do
        sys.stderr.write(text)
        sys.stderr.flush()
