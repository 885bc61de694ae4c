"""What this exporter was built from."""

import json
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from exporter import __version__

UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Build:
    """
    What an exporter was built from, as far as that is known.

    Attributes:
        revision: A commit.
        branch: What the commit is on.
    """

    version: str = __version__
    revision: str = UNKNOWN
    branch: str = UNKNOWN

    def __str__(self) -> str:
        return f"{self.version} (branch: {self.branch}, revision: {self.revision})"


def read_build(package: Traversable) -> Build:
    """Read the file ``build.json`` that the build of the container image adds to *package*."""
    try:
        text = package.joinpath("build.json").read_text(encoding="utf-8")
        known = json.loads(text)
        return Build(revision=known["revision"] or UNKNOWN, branch=known["branch"] or UNKNOWN)
    except (OSError, ValueError, KeyError, TypeError):
        return Build()


BUILD: Final = read_build(resources.files("exporter"))
