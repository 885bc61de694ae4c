"""Calls that may hang: they hold up their caller only for so many seconds."""

import threading
from typing import NoReturn

import pytest

from exporter.cli.bounded import BoundedCalls, Hanging


def test_a_call_returns_its_result() -> None:
    """The result of a function is returned."""
    assert BoundedCalls().call(lambda: 42, seconds=10) == 42


@pytest.mark.parametrize("error", [ValueError, TimeoutError])
def test_a_call_raises_its_own_exception(error: type[Exception]) -> None:
    """The exception of a function is raised, even if it is the one of a call that hangs."""

    def fail() -> NoReturn:
        raise error("its own")

    with pytest.raises(error, match="its own"):
        BoundedCalls().call(fail, seconds=10)


def test_a_call_that_hangs() -> None:
    """A call that hangs is given up; while it hangs, no other is tried."""
    calls, end, tried = BoundedCalls(), threading.Event(), threading.Event()
    with pytest.raises(Hanging, match=r"for 0\.01 s"):
        calls.call(end.wait, seconds=0.01)
    with pytest.raises(Hanging, match="still"):
        calls.call(tried.set, seconds=10)
    hanging = [thread for thread in threading.enumerate() if thread.name == "store_call"]
    end.set()
    for thread in hanging:
        thread.join()

    assert not tried.is_set()
    assert calls.call(lambda: "works again", seconds=10) == "works again"


def test_a_hanging_call_does_not_delay_the_exit() -> None:
    """The threads are daemons."""
    assert BoundedCalls().call(lambda: threading.current_thread().daemon, seconds=10)
