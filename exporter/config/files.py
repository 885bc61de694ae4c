"""The files that a configuration consists of: itself, and those that hold its secrets."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

MAX_BYTES: Final = 10 * 1024 * 1024

SUFFIX: Final = "_file"
"""How the options end that name a file with the value of the option without it."""

SECRET_FILES: Final = frozenset(
    {"external_id_file", "discovery_external_id_file", "hash_secret_file"}
)
"""All options of this kind."""


def read(path: str | Path) -> bytes:
    """
    Read a regular file; anything else could have no end, or never begin.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a regular file, or too large.
    """
    # Opening a FIFO would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        content = file.read(MAX_BYTES + 1)
        if content is None:  # such as /proc/kmsg, which looks like a regular file
            raise ValueError("not a regular file")
    if len(content) > MAX_BYTES:
        raise ValueError("larger than 10 MiB")
    return content


def read_text(path: str | Path) -> str:
    """
    Read a regular file as UTF-8, with or without a byte order mark.

    Raises:
        ValueError: It cannot be read. The message says why, and quotes nothing of it.
    """
    try:
        return read(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error


def secret_files(document: Any) -> Iterator[str]:
    """Yield the paths of the files with secrets that *document*, parsed YAML, names."""
    if isinstance(document, Mapping):
        for name, value in document.items():
            if name in SECRET_FILES and isinstance(value, str):
                yield value
            else:
                yield from secret_files(value)
    elif isinstance(document, list | tuple):
        for item in document:
            yield from secret_files(item)


def checksums(paths: Iterable[str]) -> dict[str, str]:
    """Return the checksum of each of the files *paths*, or why it cannot be read."""
    return {path: _checksum(path) for path in paths}


def _checksum(path: str) -> str:
    try:
        return hashlib.sha256(read(path)).hexdigest()
    except (OSError, ValueError) as error:
        return f"cannot read file: {error}"
