"""Injected faults: what fails, for which calls, and how often."""

from dataclasses import dataclass, field
from threading import Lock


@dataclass(kw_only=True, eq=False)
class Fault:
    """
    A fault of every call that it matches.

    A fault without *code*, *reset*, *truncate* and *body* only delays: the call is answered as
    usual. The latencies of several faults add up; of the others the first that was added and is not
    spent applies.

    Attributes:
        operation: Such as "ListUsers". None: any.
        account: The id of the account the call concerns: the caller's, for AssumeRole that of the
            role. None: any.
        user: The name of the user that the call names, or that owns the key. None: any.
        key: The access key id that the call names. None: any.
        code: Respond with this error code.
        status: HTTP status. None: the usual one of *code*, or 200 with *body*.
        message: None: AWS's message for *code*.
        times: How many calls fail. None: all.
        after: How many matching calls succeed before the first one fails.
        latency: Seconds until the response; other calls are not delayed.
        reset: Reset the TCP connection instead of responding.
        truncate: Send only half of the regular body, with a matching Content-Length.
        body: Send this body instead of the regular one.
        headers: More response headers, such as {"x-amz-retry-after": "200"}.
        fired: How many calls failed or were delayed so far.
    """

    operation: str | None = None
    account: str | None = None
    user: str | None = None
    key: str | None = None
    code: str | None = None
    status: int | None = None
    message: str | None = None
    times: int | None = None
    after: int = 0
    latency: float = 0.0
    reset: bool = False
    truncate: bool = False
    body: str | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    fired: int = field(default=0, init=False)
    _passed: int = field(default=0, init=False, repr=False)

    @property
    def only_delays(self) -> bool:
        return self.code is None and self.body is None and not (self.reset or self.truncate)

    @property
    def spent(self) -> bool:
        return self.times is not None and self.fired >= self.times

    def matches(
        self, operation: str, account: str, user: str | None = None, key: str | None = None
    ) -> bool:
        """Whether this fault is for such a call, even if it is spent."""
        return (
            self.operation in (None, operation)
            and self.account in (None, account)
            and (self.user is None or (user is not None and self.user.lower() == user.lower()))
            and self.key in (None, key)
        )


class Faults:
    """The current faults, oldest first."""

    def __init__(self) -> None:
        self._faults: tuple[Fault, ...] = ()
        self._lock = Lock()

    def __bool__(self) -> bool:
        return bool(self._faults)

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults = (*self._faults, fault)

    def remove(self, fault: Fault) -> None:
        with self._lock:
            self._faults = tuple(each for each in self._faults if each is not fault)

    def clear(self) -> None:
        with self._lock:
            self._faults = ()

    def apply(
        self, operation: str, account: str, user: str | None, key: str | None
    ) -> tuple[float, Fault | None]:
        """
        Apply faults to a call, and count how often they fired.

        Returns:
            The seconds to wait, and the fault that replaces the response, if there is one.
        """
        latency = 0.0
        with self._lock:
            for fault in self._faults:
                if fault.spent or not fault.matches(operation, account, user, key):
                    continue
                if fault._passed < fault.after:
                    fault._passed += 1
                    continue
                fault.fired += 1
                latency += fault.latency
                if not fault.only_delays:
                    return latency, fault
        return latency, None
