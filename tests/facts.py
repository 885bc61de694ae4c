"""Values of the model, from `tests.builders`."""

from tests.builders import NOON, a_key, a_snapshot, a_use, a_user, an_account, days_ago

__all__ = ["NOON", "a_key", "a_snapshot", "a_use", "a_user", "an_account", "days_ago"]
