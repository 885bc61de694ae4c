"""How passwords are checked: how often, in which order, and against what."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from exporter.server.web_config.passwords import Credentials, Passwords
from exporter.server.web_config.rate_limit import RateLimiter
from exporter.server.web_config.settings import RateLimit

CORRECT = b"correct"
"""The password of each user."""

USERS = {"alice": "hash of alice", "bob": "hash of bob"}


class Checks(Executor):
    """Instead of bcrypt: notes what is checked, and has the result when it is asked for it."""

    def __init__(self) -> None:
        self.checked: list[tuple[str, bytes]] = []
        self._futures: list[Future[Any]] = []

    def submit(  # type: ignore[override]  # only called with positional arguments
        self, function: Callable[..., Any], /, hashed: str, password: bytes
    ) -> Future[Any]:
        self.checked.append((hashed, password))
        self._futures.append(Future())
        return self._futures[-1]

    async def finish(self) -> None:
        """Finish all checks, also those that begin meanwhile."""
        done = 0
        while done < len(self._futures):
            self._futures[done].set_result(self.checked[done][1] == CORRECT)
            done += 1
            for _ in range(5):  # the result passes through several callbacks
                await asyncio.sleep(0)
        self._futures.clear()


def verify(*clients: tuple[str, bytes, str]) -> tuple[list[bool], list[tuple[str, bytes]]]:
    """
    Check passwords at the same time.

    Args:
        clients: The user, the password and the address of each.

    Returns:
        The results, and what was compared.
    """

    async def run() -> list[bool]:
        passwords = Passwords(USERS, checks)
        tasks = [
            asyncio.ensure_future(passwords.verify(Credentials(user.encode(), password), address))
            for user, password, address in clients
        ]
        await asyncio.sleep(0)
        await checks.finish()
        return list(await asyncio.gather(*tasks))

    checks = Checks()
    return asyncio.run(run()), checks.checked


def test_an_unknown_user_costs_a_check() -> None:
    """The password of an unknown user is compared with the hash of another one, and refused."""
    results, checked = verify(("mallory", CORRECT, "1"))

    assert results == [False]
    assert [password for _, password in checked] == [CORRECT]
    assert checked[0][0] in USERS.values()


def test_an_unknown_user_is_always_compared_with_the_same_hash() -> None:
    """The time for an unknown user does not vary, as it does not for one who exists."""

    async def run() -> None:
        passwords = Passwords(USERS, checks)
        for number in range(20):
            credentials = Credentials(b"mallory", str(number).encode())
            task = asyncio.ensure_future(passwords.verify(credentials, "1"))
            await asyncio.sleep(0)
            await checks.finish()
            await task

    checks = Checks()
    asyncio.run(run())

    assert len({hashed for hashed, _ in checks.checked}) == 1


def test_a_correct_password_is_checked_once() -> None:
    """Scrapes do not wait for bcrypt, except the first."""

    async def run() -> list[bool]:
        passwords = Passwords(USERS, checks)
        first = asyncio.ensure_future(passwords.verify(Credentials(b"alice", CORRECT), "1"))
        await asyncio.sleep(0)
        await checks.finish()
        return [await first, await passwords.verify(Credentials(b"alice", CORRECT), "2")]

    checks = Checks()

    assert asyncio.run(run()) == [True, True]
    assert checks.checked == [("hash of alice", CORRECT)]


def test_the_password_of_another_user_is_not_remembered() -> None:
    """What is remembered is the password together with its user."""
    results, checked = verify(("alice", CORRECT, "1"), ("bob", CORRECT, "1"))

    assert results == [True, True]
    assert len(checked) == 2


def test_concurrent_clients_share_a_check() -> None:
    """The same password is checked once for all who wait for it."""
    results, checked = verify(*[("alice", CORRECT, str(number)) for number in range(10)])

    assert results == [True] * 10
    assert len(checked) == 1


def test_clients_take_turns() -> None:
    """A client that tries many passwords delays itself, but not another one."""
    wrong = [("alice", str(number).encode(), "192.0.2.1") for number in range(100)]
    results, checked = verify(*wrong, ("alice", CORRECT, "192.0.2.2"))

    assert results == [False] * 100 + [True]
    assert checked.index(("hash of alice", CORRECT)) == 2


@pytest.mark.parametrize(
    ("address", "position"), [("2001:db8::2", 3), ("2001:db8:0:1::1", 2), ("::ffff:192.0.2.1", 2)]
)
def test_networks_take_turns(address: str, position: int) -> None:
    """The addresses of an IPv6 network are one client; it has as many as it likes."""
    wrong = [("alice", str(number).encode(), "2001:db8::1") for number in range(3)]
    _, checked = verify(*wrong, ("alice", CORRECT, address))

    assert checked.index(("hash of alice", CORRECT)) == position


def test_passwords_of_clients_that_are_gone_are_not_checked() -> None:
    """What nobody waits for is not checked."""

    async def run() -> None:
        passwords = Passwords(USERS, checks)
        tasks = [
            asyncio.ensure_future(passwords.verify(Credentials(b"alice", password), "1"))
            for password in (b"1", b"2", b"3")
        ]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        await checks.finish()
        await asyncio.gather(*tasks, return_exceptions=True)

    checks = Checks()
    asyncio.run(run())

    assert [password for _, password in checks.checked] == [b"1", b"3"]


def test_only_72_bytes_count() -> None:
    """Passwords that differ only after 72 bytes are the same, as for bcrypt."""
    _, checked = verify(("alice", b"x" * 72, "1"), ("alice", b"x" * 100, "1"))

    assert [password for _, password in checked] == [b"x" * 72]


def test_the_bucket_fills() -> None:
    """After a burst, there is one request per interval, and never more than a burst."""
    limiter = RateLimiter(RateLimit(interval=10, burst=2))
    times = [0, 0, 0, 9, 10, 10, 19, 20, 100, 100, 100]

    allowed = [limiter.allow(time) for time in times]

    assert allowed == [True, True, False, False, True, False, False, True, True, True, False]
