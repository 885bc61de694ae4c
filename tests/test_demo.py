"""The demo's company, without the exporter."""

import time
from datetime import UTC, datetime, timedelta

from moto.iam.models import iam_backends

from exporter import demo


def test_the_dormant_key_wakes_up_after_three_minutes() -> None:
    """The key of backup-2019 rests for 300 days, and its first turn is three minutes away."""
    began = time.monotonic()
    turns = sorted(demo._found(demo.PIPELINES), key=lambda turn: turn[0])
    (user,) = [u for u in iam_backends[demo.PIPELINES]["aws"].users.values() if "2019" in u.name]
    (key,) = user.access_keys
    now = datetime.now(UTC).replace(tzinfo=None)
    assert key.last_used is not None
    idle = now - key.last_used.timestamp

    woke = []
    for at, _, use in turns:
        before = key.last_used
        use()
        if key.last_used is not before:
            woke.append(at - began)

    assert timedelta(days=300) <= idle < timedelta(days=301)
    assert [round(seconds) for seconds in woke] == [demo.WAKE_UP]
    assert now - key.last_used.timestamp < timedelta(minutes=1)
