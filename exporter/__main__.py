"""The program: ``python -m exporter``, and the console script."""

import logging
import os
import sys
from typing import NoReturn

from exporter.cli.main import main


def run() -> NoReturn:
    """
    Run the program and exit the process.

    Exits immediately: a normal interpreter shutdown would wait for scrapes in flight.
    """
    code = main()
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
