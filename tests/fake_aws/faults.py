"""
Scripted faults: what goes wrong, for whom, and how often.
"""

from dataclasses import dataclass, field
from threading import Lock


@dataclass(kw_only=True, eq=False)
class Fault:
    """
    One thing that goes wrong with every call that it matches.

    A fault with none of *code*, *reset*, *truncate* and *body* only delays: the call is answered as
    usual. Delays of several faults add up; of the others the first that was added and still fires
    decides.

    Attributes:
        operation: Such as "ListUsers". None: all.
        account: The id of the account the call concerns: the caller's, for AssumeRole that of the
            role. None: all.
        user: The name of the user the call is about, who is named or owns the key. None: all.
        key: The access key id the call is about. None: all.
        code: Answer with this error code.
        status: HTTP status. None: the one that belongs to *code*, or 200 with *body*.
        message: None: what AWS says with *code*.
        times: How many calls are hit. None: for ever.
        after: How many matching calls pass before the first is hit.
        latency: Seconds until the answer; other calls are not held up.
        reset: Reset the TCP connection in place of an answer.
        truncate: Send only half of the proper answer's body, with a Content-Length to match.
        body: Send this text in place of the proper answer.
        headers: Sent with the answer, such as {"x-amz-retry-after": "200"}.
        fired: How many calls were hit so far.
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
        """Tell whether a call is of the kind this fault is for, spent or not."""
        return (
            self.operation in (None, operation)
            and self.account in (None, account)
            and (self.user is None or (user is not None and self.user.lower() == user.lower()))
            and self.key in (None, key)
        )


class Faults:
    """The faults in force, oldest first."""

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

    def strike(
        self, operation: str, account: str, user: str | None, key: str | None
    ) -> tuple[float, Fault | None]:
        """
        Let the faults hit a call, and count it.

        Returns:
            The seconds to wait, and the fault that decides the answer, if one does.
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
