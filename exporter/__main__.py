"""The program: ``python -m exporter``, and the console script."""

import logging
import os
import signal
import sys
from typing import NoReturn


def run() -> NoReturn:
    """
    Run the program and exit the process.

    Exits immediately: a normal interpreter shutdown would wait for scrapes in flight.
    """
    _replace_closed_streams()
    _reset_signals()
    from exporter.cli.main import FAILURE, complain, main  # takes a second

    try:
        code: object = main()
    except SystemExit as error:
        code = error.code
    logging.shutdown()
    try:
        sys.stdout.flush()
    except OSError as error:
        complain(f"cannot write to standard output: {error.strerror}")
        code = FAILURE
    os._exit(code if isinstance(code, int) else 0)


def _replace_closed_streams() -> None:
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


def _reset_signals() -> None:
    """
    Make SIGTERM and SIGINT end the process at once until the event loop handles them.

    Python's own handlers run only between two of its instructions: not while a host name is looked
    up, and as an exception that is raised wherever the program happens to be. The first process of
    a container needs a handler: the kernel does not apply default actions to it.
    """
    action = (lambda *_: os._exit(0)) if os.getpid() == 1 else signal.SIG_DFL
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, action)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


if __name__ == "__main__":
    run()
