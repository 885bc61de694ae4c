"""The accounts of the demo, without the exporter."""

import time
from datetime import UTC, datetime, timedelta

from moto.iam.models import iam_backends

from exporter import demo


def test_the_dormant_key_is_used_after_three_minutes() -> None:
    """The key of backup-2019 has been idle for 300 days and is next used in three minutes."""
    started = time.monotonic()
    uses = sorted(demo.create_users(demo.PIPELINES), key=lambda use: use[0])
    (user,) = [u for u in iam_backends[demo.PIPELINES]["aws"].users.values() if "2019" in u.name]
    (key,) = user.access_keys
    now = datetime.now(UTC).replace(tzinfo=None)
    assert key.last_used is not None
    idle = now - key.last_used.timestamp

    used_at = []
    for at, _, use in uses:
        before = key.last_used
        use()
        if key.last_used is not before:
            used_at.append(at - started)

    assert timedelta(days=300) <= idle < timedelta(days=301)
    assert [round(seconds) for seconds in used_at] == [demo.WAKE_UP]
    assert now - key.last_used.timestamp < timedelta(minutes=1)
