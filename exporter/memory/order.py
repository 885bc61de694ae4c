"""Which of two observations is the newer one."""

from datetime import datetime


def is_newer(at: datetime | None, known: datetime | None, now: datetime) -> bool:
    """
    Whether what is right as of *at* replaces what is right as of *known*.

    Two processes may read the same account, and one of them an older report. A *known* time in the
    future was taken by a clock that was wrong, and is no reason to ignore the present.
    """
    if at is None:
        return False
    return known is None or at > known or (known > now and at != known)
