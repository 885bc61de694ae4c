"""The program: ``python -m exporter``, and the console script."""

import logging
import os
import signal
import sys
from contextlib import suppress
from typing import Any, NoReturn

from exporter.cli.streams import replace_closed_streams


def run() -> NoReturn:
    """
    Run the program and exit the process.

    Exits immediately: a normal interpreter shutdown would wait for scrapes in flight.
    """
    replace_closed_streams()
    reset_signals()
    from exporter.cli.main import main  # noqa: PLC0415 (takes a second)

    try:
        code: object = main()
    except SystemExit as error:
        code = error.code
    except Exception:
        logging.getLogger(__name__).exception("crashed")
        code = 1
    for number in (signal.SIGTERM, signal.SIGINT):  # the process ends already
        signal.signal(number, signal.SIG_IGN)
    logging.shutdown()
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(code if isinstance(code, int) else 0)


def reset_signals() -> None:
    """
    Make SIGTERM and SIGINT end the process at once until the event loop handles them.

    Python's own handlers run only between two of its instructions: not while a host name is looked
    up, and as an exception that is raised wherever the program happens to be. The first process of
    a container needs a handler: the kernel does not apply default actions to it.
    """
    action: Any = (lambda *_: os._exit(0)) if os.getpid() == 1 else signal.SIG_DFL
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, action)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


if __name__ == "__main__":
    run()
