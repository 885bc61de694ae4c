"""A web configuration file, which takes effect again whenever it changes."""

import asyncio
import logging
import os
import stat
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from exporter.server.web_config import certificates
from exporter.server.web_config.certificates import TLS, Files, Invalid
from exporter.server.web_config.document import parse
from exporter.server.web_config.passwords import Hash, Passwords
from exporter.server.web_config.rate_limit import RateLimiter
from exporter.server.web_config.reader import Problem
from exporter.server.web_config.settings import Settings, TLSSettings

log = logging.getLogger(__name__)

CHECK_INTERVAL: Final = 1.0
"""Seconds between two looks at the files. A change takes effect after at most two of them."""

MAX_FILE: Final = 1024 * 1024
"""Bytes."""


class WebConfigError(Exception):
    """
    The file, or one that it names, cannot be read or is invalid. The message lists every problem.

    It contains no secrets.
    """


def _error(path: str, *problems: Problem) -> WebConfigError:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    lines = [
        f"  {path}:{problem.line}: " + ": ".join(filter(None, (problem.path, problem.text)))
        for problem in problems
    ]
    return WebConfigError("\n".join([f"{path}: {count}", *lines]))


@dataclass(frozen=True, slots=True)
class Document:
    """What the file itself says."""

    text: bytes
    settings: Settings


class WebConfig:
    """
    What is in effect of the file at *path*.

    Attributes:
        is_valid: Whether the file can be read and is valid. If not, no request is answered, as
            exporter-toolkit has it.
        tls: None: connections are not encrypted. The last valid one: a certificate is often
            replaced a moment before its key.
        headers: Those that each response to an admitted client has.
        passwords: None: nobody needs one.
        rate_limiter: Of all clients together.

    Raises:
        WebConfigError: The file, or one that it names, is invalid.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._bcrypt = ThreadPoolExecutor(1, thread_name_prefix="password")
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="web-config")
        document = read(path)
        files = read_files(path, document.settings.tls)
        self._settings = document.settings
        self._seen: _Found = document, files
        """What the last check has found."""
        self._decided: _Found = document, files
        """What was applied or refused last."""
        self.is_valid = True
        self.tls = self._create_tls(document.settings, files)
        self.headers: Mapping[str, str] = document.settings.headers
        self.passwords = self._create_passwords()
        self.rate_limiter = RateLimiter(document.settings.rate_limit)

    @property
    def warnings(self) -> list[str]:
        """What the operator should know, of what is in effect."""
        settings = self._settings
        warnings = list(self.tls.warnings) if self.tls is not None else []
        if settings.users and self.tls is None:
            warnings.append("basic_auth_users without TLS: passwords can be read on their way")
        if settings.rate_limit.interval > 0 and settings.rate_limit.burst < 1:
            warnings.append("rate_limit.burst: without one, every request is answered with 429")
        warnings += [
            f"basic_auth_users.{user}: not a hash that bcrypt creates: no password is correct"
            for user, hashed in settings.users.items()
            if not Hash.parse(hashed).can_match
        ]
        return [f"{self._path}: {warning}" for warning in warnings]

    async def keep_up_to_date(self) -> None:
        """Apply the changes of the files, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(CHECK_INTERVAL)
            # In a thread of its own: the files may be on a network that does not respond.
            try:
                await loop.run_in_executor(self._reading, self.check)
            except Exception:  # the next one may work
                log.exception("cannot check the web configuration")

    def check(self) -> None:
        """
        Apply what has changed since the last but one check.

        A change takes effect when two checks in a row have found it: a file that is just being
        written could be valid, and have no users yet.
        """
        document, files = found = self._find()
        is_stable, self._seen = found == self._seen, found
        if not is_stable or found == self._decided:
            return
        self._decided = found
        if isinstance(document, str):
            self.is_valid = False
            text = "invalid web configuration; all requests are answered with 500"
            log.error(text, extra={"error": document})
            return
        self._apply(document.settings)
        try:
            if isinstance(files, str):
                raise WebConfigError(files)
            self._apply_tls(document.settings, files)
        except WebConfigError as error:
            text = "invalid TLS configuration; the last valid one stays in effect"
            log.error(text, extra={"error": str(error)})  # noqa: TRY400 (the message says it all)
        else:
            log.info("web configuration reloaded", extra={"path": self._path})
        for warning in self.warnings:
            log.warning("web configuration warning", extra={"warning": warning})

    def _find(self) -> "_Found":
        try:
            document = read(self._path)
        except WebConfigError as error:
            return str(error), None
        try:
            return document, read_files(self._path, document.settings.tls)
        except WebConfigError as error:
            return document, str(error)

    def _apply(self, settings: Settings) -> None:
        before, self._settings = self._settings, settings
        self.headers = settings.headers
        if settings.users != before.users:
            self.passwords = self._create_passwords()
        if settings.rate_limit != before.rate_limit:
            self.rate_limiter = RateLimiter(settings.rate_limit)
        self.is_valid = True

    def _create_passwords(self) -> Passwords | None:
        users = self._settings.users
        return Passwords(users, self._bcrypt) if users else None

    def _apply_tls(self, settings: Settings, files: Files | None) -> None:
        if (files is None) is not (self.tls is None):
            verb = "added" if self.tls is None else "removed"
            text = f"TLS cannot be {verb} while the exporter is running: restart it"
            raise self._invalid("tls_server_config", text)
        self.tls = self._create_tls(settings, files)

    def _create_tls(self, settings: Settings, files: Files | None) -> TLS | None:
        if files is None:
            return None
        try:
            return certificates.create(settings.tls, files)
        except Invalid as error:
            raise self._invalid(f"tls_server_config.{error.name}", str(error)) from error

    def _invalid(self, path: str, text: str) -> WebConfigError:
        return _error(self._path, Problem(1, path, text))


_Found = tuple[Document | str, Files | str | None]
"""The file, and the files that it names: errors, if they are invalid. No files: TLS is not used."""


def read(path: str) -> Document:
    """
    Read the file at *path*.

    Raises:
        WebConfigError: It cannot be read, or is invalid.
    """
    try:
        text = _read(Path(path))
    except (OSError, ValueError) as error:
        raise _error(path, Problem(1, "", _reason(error))) from error
    settings, problems = parse(text)
    if problems:
        raise _error(path, *problems)
    return Document(text, settings)


def read_files(path: str, tls: TLSSettings) -> Files | None:
    """
    Read the files that the file at *path* names. None: TLS is not used.

    Raises:
        WebConfigError: One of them cannot be read.
    """
    if not tls.is_enabled:
        return None
    problems = []
    contents: dict[str, bytes | None] = {}
    for name in ("cert", "key", "client_ca"):
        inline: str = getattr(tls, name)
        file: str = getattr(tls, f"{name}_file")
        try:
            contents[name] = _read(Path(path).parent / file) if file else inline.encode() or None
        except (OSError, ValueError) as error:
            at = f"tls_server_config.{name}_file"
            shown = file if len(file.splitlines()) == 1 else "..."  # it could be a private key
            problems.append(Problem(1, at, f"{shown}: {_reason(error)}"))
    if problems:
        raise _error(path, *problems)
    return Files(contents["cert"] or b"", contents["key"] or b"", contents["client_ca"])


def _read(path: Path) -> bytes:
    """
    Read a regular file, or the null device; anything else could have no end, or never begin.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a regular file, or too large.
    """
    # Opening a FIFO would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not (stat.S_ISREG(status.st_mode) or os.path.samestat(status, Path(os.devnull).stat())):
            raise ValueError("not a regular file")
        data = file.read(MAX_FILE + 1)
    if len(data) > MAX_FILE:
        raise ValueError(f"larger than {MAX_FILE} bytes")
    return data


def _reason(error: OSError | ValueError) -> str:
    reason = error.strerror if isinstance(error, OSError) else None
    return f"cannot read file: {reason or error}"
