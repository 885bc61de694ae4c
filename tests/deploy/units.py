"""The files of deploy/systemd."""

import re
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
FOLDER: Final = ROOT / "deploy" / "systemd"
README: Final = (FOLDER / "README.md").read_text()
NAME: Final = "aws-iam-key-exporter"
PROGRAM: Final = f"/opt/{NAME}/bin/{NAME}"
CONFIGURATION: Final = f"/etc/{NAME}/config.yaml"


def settings(*files: str) -> dict[str, list[str]]:
    """Return the values of each setting, in the order of *files*: a unit and its drop-ins."""
    found: dict[str, list[str]] = {}
    for file in files:
        for name, value in re.findall(r"(?m)^(\w+)=(.*)$", (FOLDER / file).read_text()):
            found.setdefault(name, []).append(value)
    return found


def setting(name: str, *files: str) -> str:
    (value,) = settings(*(files or (f"{NAME}.service",)))[name]
    return value


def variables(*files: str, credentials: Path | None = None) -> dict[str, str]:
    """Return the variables that the units set."""
    values = [value.replace("%d", str(credentials)) for value in settings(*files)["Environment"]]
    return dict(value.split("=", 1) for value in values)
