"""
How botocore runs a credential_process: for a limited time, with limited output, and silently.

botocore waits for the program without a limit, reads whatever it writes into memory, and quotes
what it writes to standard error. It also asks for MFA codes on the terminal.
"""

import contextlib
import json
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from typing import Any, Final, NoReturn

from botocore.credentials import AssumeRoleProvider, CredentialResolver, ProcessProvider

from exporter.model import ReadError, Reason

PROCESS_SECONDS: Final = 60.0
"""Seconds that a credential_process may take."""

MAX_OUTPUT: Final = 65536
"""Bytes that a credential_process may write. Credentials take about one thousand."""


class Process:
    """
    A program that writes credentials to its standard output: as botocore uses subprocess.Popen.

    Its standard input is empty, and what it writes to standard error is dropped: it may be secret.

    Raises:
        ReadError: It cannot be started.
    """

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        self._ends_at = time.monotonic() + timeout
        self._timeout = timeout
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # so that it ends with all that it has started
            )
        except (OSError, IndexError, ValueError) as error:
            cause = getattr(error, "strerror", None) or type(error).__name__
            raise _failure(f"cannot be started: {cause}") from None

    @property
    def returncode(self) -> int:
        return 0  # else communicate() has raised an error

    def communicate(self) -> tuple[bytes, bytes]:
        """
        Wait for the program to end.

        Returns:
            What it wrote to standard output, and nothing.

        Raises:
            ReadError: It failed, took too long, or wrote too much.
        """
        try:
            output = self._read()
            code = self._process.wait(max(0.0, self._ends_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise self._too_late() from None
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            assert self._process.stdout is not None  # noqa: S101 (for the type checker)
            self._process.stdout.close()
        if code:
            raise _failure(f"ended with exit code {code}")
        try:
            valid = isinstance(json.loads(output), dict)
        except (ValueError, RecursionError):
            valid = False
        if not valid:
            raise _failure("wrote no credentials in JSON")
        return output, b""

    def _read(self) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 (for the type checker)
        output = b""
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while True:
                left = self._ends_at - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise self._too_late()
                chunk = os.read(pipe.fileno(), MAX_OUTPUT)
                output += chunk
                if not chunk:
                    return output
                if len(output) > MAX_OUTPUT:
                    raise _failure(f"wrote more than {MAX_OUTPUT} bytes")

    def _too_late(self) -> ReadError:
        return _failure(f"did not end within {self._timeout:g} s")


def limit(resolver: CredentialResolver, timeout: float) -> None:
    """Make everything by which *resolver* finds credentials run programs as above, and not ask."""

    def run(command: Sequence[str], **_: Any) -> Process:
        return Process(command, timeout)

    def with_limit(provider: Any) -> Any:
        provider._popen = run
        return provider

    def without_prompt(provider: Any) -> None:
        provider._prompter = _refuse_to_prompt
        builder = provider._profile_provider_builder
        create = builder._create_process_provider
        builder._create_process_provider = lambda profile_name: with_limit(create(profile_name))

    for provider in resolver.providers:
        if isinstance(provider, ProcessProvider):
            with_limit(provider)
        elif isinstance(provider, AssumeRoleProvider):
            without_prompt(provider)


def _refuse_to_prompt(_: str) -> NoReturn:
    text = "find credentials: the profile requires an MFA code, and there is nobody to ask"
    raise ReadError(Reason.CREDENTIALS, text, code="MFARequired")


def _failure(text: str) -> ReadError:
    return ReadError(
        Reason.CREDENTIALS, f"find credentials: credential_process {text}", code="CredentialProcess"
    )
