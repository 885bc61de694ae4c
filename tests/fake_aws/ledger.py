"""Which calls were made, how often, and with which errors."""

from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime
from threading import Lock
from typing import Any, NamedTuple


class LoggedCall(NamedTuple):
    """A call as it was received; *at* has fractions of a second if the clock has."""

    at: datetime
    account_id: str
    operation: str
    params: Mapping[str, Any]


class Ledger:
    """Counts all calls and errors, and keeps the latest calls."""

    def __init__(self, *, size: int) -> None:
        self._lock = Lock()
        self._calls: Counter[tuple[str, str]] = Counter()
        self._errors: Counter[tuple[str, str, str]] = Counter()
        self._log: deque[LoggedCall] = deque(maxlen=size)

    def enter(self, call: LoggedCall) -> None:
        with self._lock:
            self._calls[call.account_id, call.operation] += 1
            self._log.append(call)

    def enter_error(self, account_id: str, operation: str, code: str) -> None:
        with self._lock:
            self._errors[account_id, operation, code] += 1

    @property
    def calls(self) -> Counter[tuple[str, str]]:
        with self._lock:
            return self._calls.copy()

    @property
    def calls_by_operation(self) -> Counter[str]:
        totals: Counter[str] = Counter()
        for (_, operation), calls in self.calls.items():
            totals[operation] += calls
        return totals

    @property
    def errors(self) -> Counter[tuple[str, str, str]]:
        with self._lock:
            return self._errors.copy()

    @property
    def log(self) -> list[LoggedCall]:
        with self._lock:
            return list(self._log)

    def count(self, operation: str | None, account: str | None) -> int:
        with self._lock:
            return sum(
                calls
                for (account_id, name), calls in self._calls.items()
                if operation in (None, name) and account in (None, account_id)
            )

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()
            self._errors.clear()
            self._log.clear()
