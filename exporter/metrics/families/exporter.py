"""Families about the exporter itself."""

from exporter.metrics.families.family import ExporterFamily

EXPORTER_FAMILIES: tuple[ExporterFamily, ...] = (
    ExporterFamily(
        name="aws_iam_exporter_api_requests_total",
        kind="counter",
        help="Requests to AWS, including retries.",
        extra_labels=("operation",),
    ),
    ExporterFamily(
        name="aws_iam_exporter_api_request_errors_total",
        kind="counter",
        help="Failed requests to AWS by AWS's error code, or by type of error if AWS did not"
        " respond.",
        extra_labels=("operation", "code"),
    ),
    ExporterFamily(
        name="aws_iam_exporter_api_request_duration_seconds",
        kind="histogram",
        help="Duration of requests to AWS, in seconds.",
        extra_labels=("operation",),
    ),
    ExporterFamily(
        name="aws_iam_exporter_http_requests_total",
        kind="counter",
        help="HTTP requests to the exporter by status code and handler. Those that reach none have"
        " the handler malformed (400), unauthorized (401), rate_limited (429) or"
        " invalid_web_config (500).",
        extra_labels=("code", "handler"),
        serving=True,
    ),
    ExporterFamily(
        name="aws_iam_exporter_http_requests_in_flight",
        help="HTTP requests that are being answered.",
        serving=True,
    ),
    ExporterFamily(
        name="aws_iam_exporter_http_request_duration_seconds",
        kind="histogram",
        help="Time to answer HTTP requests by handler, in seconds, up to the last byte sent.",
        extra_labels=("handler",),
        serving=True,
    ),
    ExporterFamily(
        name="aws_iam_exporter_accounts_configured",
        help="Number of accounts that are configured or discovered, those of other shards"
        " included.",
    ),
    ExporterFamily(
        name="aws_iam_exporter_refresh_interval_seconds",
        help="Configured interval between two refreshes of an account, in seconds.",
    ),
    ExporterFamily(
        name="aws_iam_exporter_total_shards",
        help="Number of processes that share the accounts.",
    ),
    ExporterFamily(
        name="aws_iam_exporter_shard_ordinal",
        help="Ordinal of this process among those that share the accounts, from 0.",
        extra_labels=("shard_ordinal",),
    ),
    ExporterFamily(
        name="aws_iam_exporter_discovery_up",
        help="1 if the accounts of the organization could be listed the last time, otherwise 0"
        " (also before the first time). Absent: no organization is configured.",
        optional=True,
    ),
    ExporterFamily(
        name="aws_iam_exporter_store_up",
        help="1 if the store could be used the last time it was needed, otherwise 0. Absent: no"
        " store is configured.",
        optional=True,
    ),
    ExporterFamily(
        name="aws_iam_exporter_log_messages_dropped_total",
        kind="counter",
        help="Log messages that were not written, because nobody read them or the disk was full.",
    ),
    ExporterFamily(
        name="aws_iam_exporter_config_last_reload_successful",
        help="1 if the configuration was loaded successfully the last time, otherwise 0.",
    ),
    ExporterFamily(
        name="aws_iam_exporter_config_last_reload_success_timestamp_seconds",
        help="When the configuration was last loaded successfully, as a Unix time.",
    ),
    ExporterFamily(
        name="aws_iam_exporter_build_info",
        help="Version of the exporter, the revision and branch that it was built from, and version"
        " of Python. Always 1.",
        extra_labels=("version", "revision", "branch", "pythonversion"),
    ),
)
