"""The names of the metric families."""


# Facts about keys

CREATED = "aws_iam_access_key_created_timestamp_seconds"
LAST_USED = "aws_iam_access_key_last_used_timestamp_seconds"
LAST_USED_AGE = "aws_iam_access_key_last_used_age_seconds"
"""With the service and the region of the last use."""
NEVER_USED = "aws_iam_access_key_never_used"
CONFIRMED = "aws_iam_access_key_confirmed_timestamp_seconds"
"""When AWS last reported the key's last use."""
EXEMPT_UNTIL = "aws_iam_access_key_exempt_until_timestamp_seconds"
INFO = "aws_iam_access_key_info"
INACTIVE_SINCE = "aws_iam_access_key_inactive_since_timestamp_seconds"
"""When the key was first seen inactive. Only keys that are not active have it."""
SUPERSEDED = "aws_iam_access_key_superseded_seconds"
"""By how much the use of the user's other key is later. Few keys have it."""

# What was noticed: shown for a day (`changes.shown_for`)

USED_AFTER_IDLE = "aws_iam_access_key_used_after_idle_seconds"
FIRST_USED_AGE = "aws_iam_access_key_first_used_age_seconds"
NEW_SERVICE = "aws_iam_access_key_new_service_timestamp_seconds"
NEW_REGION = "aws_iam_access_key_new_region_timestamp_seconds"
CREATION_NOTICED = "aws_iam_access_key_creation_noticed_timestamp_seconds"
ROOT_USE_NOTICED = "aws_iam_account_root_use_noticed_timestamp_seconds"

# Counts of active, not exempt keys by account

COUNT_IDLE = "aws_iam_account_access_keys_idle"
"""Used, but not within `days`."""
COUNT_NEVER_USED = "aws_iam_account_access_keys_never_used"
"""Never used, and created at least `days` ago."""
COUNT_AGE = "aws_iam_account_access_keys_age"
"""Created at least `days` ago."""
COUNT_EXEMPT = "aws_iam_account_access_keys_exempt"
COUNT_SUPERSEDED = "aws_iam_account_access_keys_superseded"
COUNT_UNKNOWN = "aws_iam_account_access_keys_unknown"
COUNT_USED_IN = "aws_iam_account_access_keys_used_in"

# Facts about accounts

USERS = "aws_iam_account_users"
TWO_ACTIVE_KEYS = "aws_iam_account_users_with_two_active_keys"
KEYS = "aws_iam_account_access_keys"
"""Only present if the keys of all users are known: the account has data."""
ROOT_KEYS = "aws_iam_account_root_access_keys"
ROOT_LAST_USED = "aws_iam_account_root_last_used_timestamp_seconds"

# The exporter

BUILD_INFO = "aws_iam_exporter_build_info"
UNKNOWN_KEYS = "aws_iam_exporter_account_keys_unknown"
"""Keys of any status whose last use is unknown."""
UP = "aws_iam_exporter_account_up"
LAST_SUCCESS = "aws_iam_exporter_account_last_success_timestamp_seconds"
FAILURES = "aws_iam_exporter_account_failures_total"
THROTTLES = "aws_iam_exporter_account_throttles_total"
RATE_LIMIT = "aws_iam_exporter_account_rate_limit"
REFRESH_DURATION = "aws_iam_exporter_account_refresh_duration_seconds"
REFRESH_INTERVAL = "aws_iam_exporter_refresh_interval_seconds"
STORE_UP = "aws_iam_exporter_store_up"
