"""Calls in threads that delay nothing: neither the caller, should they hang, nor the exit."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Hanging(Exception):
    """A call has not returned in time. It may still do what it was asked to."""


class BoundedCalls:
    """Makes calls that may hang, such as those that wait for a disk or a database. Thread-safe."""

    def __init__(self) -> None:
        self._hanging: Future[Any] | None = None

    def call(self, function: Callable[[], T], *, seconds: float) -> T:
        """
        Call *function*, and return its result.

        Raises:
            Hanging: It has not returned within *seconds*, or an earlier one still has not.
        """
        if self._hanging is not None and not self._hanging.done():
            raise Hanging("it still does not respond")  # another call would only wait with it
        result = call_in_thread(function, "store_call")
        try:
            return result.result(seconds)
        except TimeoutError:
            if result.done():  # that was its own
                raise
            self._hanging = result
            raise Hanging(f"it has not responded for {seconds:g} s") from None


def call_in_thread(function: Callable[[], T], name: str) -> Future[T]:
    """Call *function* in a thread of that name, for which the exit does not wait."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(function())
        except BaseException as error:  # noqa: BLE001 (raised to whoever asks for the result)
            result.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return result
