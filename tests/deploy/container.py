"""The container image that `.ci/image` has built, and containers that bubblewrap runs from it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from tests.servers import find, missing

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "app/lib/python3.13/site-packages/exporter"


def directory() -> Path:
    """Return the directory that `.ci/image` writes, which may not exist."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    default = Path(cache, "aws-iam-key-exporter", "image", "built")
    return Path(os.environ.get("IMAGE_DIRECTORY") or default)


def package(folder: Path) -> dict[str, bytes]:
    """Return the files of the package in *folder*, without what building it adds."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    names = {str(path.relative_to(folder)): path for path in files}
    names.pop("build.json", None)
    return {name: path.read_bytes() for name, path in names.items()}


@dataclass(frozen=True, slots=True)
class Image:
    """
    An image.

    Attributes:
        root: Its file system.
        config: Its configuration, as Docker defines it: ``User``, ``Env``, ``Healthcheck``...
    """

    root: Path
    config: Mapping[str, Any]

    @classmethod
    def built(cls) -> Self:
        """Return the image, else skip the test; with REQUIRE_REAL_SERVERS=1 fail it."""
        find("bwrap")
        if os.geteuid() != 0:
            missing("running the image as its own user requires root")
        folder = directory()
        if not folder.exists():
            missing(f"{folder} does not exist: run .ci/image, or set IMAGE_DIRECTORY")
        if package(folder / "root" / PACKAGE) != package(ROOT / "exporter"):
            missing(f"{folder} was built from other sources: run .ci/image")
        inspected = json.loads((folder / "inspect.json").read_text(encoding="utf-8"))
        return cls(folder / "root", inspected["Docker"]["config"])

    def command(
        self, *command: str, volumes: Mapping[str, Path], environment: Mapping[str, str]
    ) -> list[str]:
        """
        Return what runs *command* in a container, as its user, without capabilities.

        The root file system is read-only, and there is nothing else to write to, not even /tmp. The
        network is this machine's.

        Args:
            volumes: Directories that are mounted, by the path in the container.
            environment: In addition to the variables of the image.
        """
        user, _, group = self.config["User"].partition(":")
        isolated = [find("bwrap"), "--ro-bind", str(self.root), "/", "--dev", "/dev"]
        isolated += ["--proc", "/proc", "--unshare-ipc", "--unshare-uts"]
        for path, folder in volumes.items():
            isolated += ["--bind", str(folder), path]
        isolated += ["--remount-ro", "/dev", "--clearenv"]
        own = dict(variable.split("=", 1) for variable in self.config["Env"])
        for name, value in {**own, **environment}.items():
            isolated += ["--setenv", name, value]
        # The process that becomes the program needs them to become the image's user.
        isolated += ["--cap-drop", "ALL"]
        for capability in ("SETUID", "SETGID", "SETPCAP"):
            isolated += ["--cap-add", f"CAP_{capability}"]
        unprivileged = ["/usr/bin/setpriv", f"--reuid={user}", f"--regid={group}"]
        unprivileged += ["--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]
        return [*isolated, *unprivileged, "--no-new-privs", *command]
