"""The passwords of basic authentication."""

import asyncio
import hashlib
import hmac
import re
import secrets
from base64 import b64decode
from binascii import Error as Base64Error
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

import bcrypt

from exporter.server.networks import client_of

MAX_PASSWORD: Final = 72
"""Bytes that bcrypt uses. Go ignores the rest, Python's bcrypt refuses it."""

BASIC: Final = "basic "
ALPHABET: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
SALT: Final = re.compile(rb"[./A-Za-z0-9]{22}")
EXPECTED: Final = re.compile(rb"[./A-Za-z0-9]{31}")
COST: Final = re.compile(rb"\d\d|[-+]\d")
SHORTEST_HASH: Final = 59
"""Bytes."""


class HashError(ValueError):
    """A text is not a bcrypt hash. The message is a sentence without the text."""


@dataclass(frozen=True, slots=True)
class Hash:
    """
    A bcrypt hash such as ``$2y$10$QOauhQNbBCuQDKes6eFzPe...``, as Go reads it.

    Attributes:
        expected: What the hash of a password is compared with. What follows has no effect.
    """

    cost: int
    salt: bytes
    expected: bytes

    @classmethod
    def parse(cls, text: str) -> "Hash":
        """
        Parse a hash. Go accepts some that no password can have.

        Source: golang.org/x/crypto/bcrypt, newFromHash

        Raises:
            HashError: It is not a hash.
        """
        data = text.encode()
        if len(data) < SHORTEST_HASH or data[:1] != b"$" or data[1:2] > b"2":
            raise HashError("must be a bcrypt hash, such as htpasswd -nBC 12 USER prints")
        rest = data[3 if data[2:3] == b"$" else 4 :]
        if COST.fullmatch(rest[:2]) is None:
            raise HashError("must be a bcrypt hash, such as htpasswd -nBC 12 USER prints")
        cost = int(rest[:2])
        if not 4 <= cost <= 31:
            raise HashError(f"the cost of the bcrypt hash must be 4 to 31, not {cost}")
        return cls(cost, rest[3:25], rest[25:56])

    @property
    def can_match(self) -> bool:
        """Whether a password can have the hash."""
        return bool(SALT.fullmatch(self.salt) and EXPECTED.fullmatch(self.expected))


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password, as a client sends them."""

    user: bytes
    password: bytes


def credentials_of(authorization: str) -> Credentials | None:
    """Return the credentials in the header *authorization*. None: it has none."""
    if authorization[: len(BASIC)].lower() != BASIC:
        return None
    try:
        decoded = b64decode(authorization[len(BASIC) :], validate=True)
    except (Base64Error, ValueError):
        return None
    user, colon, password = decoded.partition(b":")
    return Credentials(user, password) if colon else None


@dataclass(slots=True)
class _Check:
    """
    A password that is to be checked.

    Attributes:
        waiting: How many requests wait for the result.
    """

    user: bytes
    password: bytes
    digest: bytes
    result: "asyncio.Future[bool]"
    waiting: int = 0


class Passwords:
    """
    Checks passwords, one at a time, in *executor*: each check occupies a processor.

    A correct password is remembered, so that scrapes cost nothing and do not wait for others.
    Clients take turns: one that tries many passwords delays itself, but not others. A
    password of an unknown user is compared with the hash of another one, always the same, so that
    the time does not show which users exist.

    Args:
        users: The bcrypt hash of each user's password. Not empty.
    """

    def __init__(self, users: Mapping[str, str], executor: Executor) -> None:
        self._hashes = {user.encode(): hashed for user, hashed in users.items()}
        self._executor = executor
        self._secret = secrets.token_bytes(32)
        self._correct: dict[bytes, bytes] = {}
        """The digest of each user's correct password."""
        self._checks: dict[bytes, _Check] = {}
        """Those that wait or are in progress, by digest."""
        self._queues: dict[str, deque[_Check]] = {}
        """Those that wait, by the client. The next one is the first."""
        self._is_checking = False

    async def verify(self, credentials: Credentials, address: str) -> bool:
        """
        Check a password.

        Args:
            address: The IP address of the client.
        """
        user, password = credentials.user, credentials.password[:MAX_PASSWORD]
        digest = self._digest(user, password)
        if hmac.compare_digest(self._correct.get(user, b""), digest):
            return True
        check = self._checks.get(digest)
        if check is None:
            future = asyncio.get_running_loop().create_future()
            check = self._checks[digest] = _Check(user, password, digest, future)
            self._queues.setdefault(client_of(address), deque()).append(check)
        check.waiting += 1
        self._start_next()
        try:
            return await asyncio.shield(check.result)
        finally:
            check.waiting -= 1

    def _digest(self, user: bytes, password: bytes) -> bytes:
        length = len(user).to_bytes(8, "big")
        return hmac.digest(self._secret, length + user + password, hashlib.sha256)

    def _start_next(self) -> None:
        while self._queues and not self._is_checking:
            client = next(iter(self._queues))
            queue = self._queues.pop(client)
            check = queue.popleft()
            if queue:
                self._queues[client] = queue  # behind the others
            if check.waiting:
                self._start(check)
            else:  # the client is gone
                del self._checks[check.digest]

    def _start(self, check: _Check) -> None:
        self._is_checking = True
        hashed = self._hashes.get(check.user) or self._substitute(check.user)
        loop = asyncio.get_running_loop()
        future = loop.run_in_executor(self._executor, matches, hashed, check.password)
        future.add_done_callback(lambda future: self._finish(check, future))

    def _finish(self, check: _Check, future: "asyncio.Future[bool]") -> None:
        self._is_checking = False
        del self._checks[check.digest]
        is_correct = not future.cancelled() and future.exception() is None and future.result()
        is_correct = is_correct and check.user in self._hashes
        if is_correct:
            self._correct[check.user] = check.digest
        if not check.result.done():
            check.result.set_result(is_correct)
        self._start_next()

    def _substitute(self, user: bytes) -> str:
        """Return the hash that the password of an unknown user is compared with."""
        number = int.from_bytes(self._digest(user, b"unknown user")[:8], "big")
        return list(self._hashes.values())[number % len(self._hashes)]


def matches(hashed: str, password: bytes) -> bool:
    """Return whether *password*, of at most 72 bytes, has the bcrypt hash *hashed*."""
    parsed = Hash.parse(hashed)
    if not parsed.can_match:
        return False
    # The last character of a salt has two bits only; Go ignores the others.
    salt = parsed.salt.decode()
    last = ALPHABET[ALPHABET.index(salt[-1]) & 0x30]
    actual = bcrypt.hashpw(password, f"$2b${parsed.cost:02}${salt[:-1]}{last}".encode())
    return hmac.compare_digest(actual[-len(parsed.expected) :], parsed.expected)
