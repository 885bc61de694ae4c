"""Creates each module as a configuration says."""

import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

from exporter import aws, memory
from exporter.cli.accounts import complete
from exporter.cli.recorder import Recorder
from exporter.config import Config, Selection, label_of_tag
from exporter.exemptions import Exemption, Exemptions
from exporter.key_ids import KeyIdFormatter, description_of, is_description_tag
from exporter.metrics import Counts, RenderOptions, SelfMetrics
from exporter.model import Account, Clock
from exporter.store import Store


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def key_id_formatter(config: Config) -> KeyIdFormatter:
    return KeyIdFormatter(config.labels.access_key_id, config.labels.hash_secret or "")


def completed(config: Config) -> Callable[[Account], Account] | None:
    if config.organization is None:
        return None
    return partial(
        complete,
        role_name=config.organization.role_name,
        role_session=config.organization.role_session(),
        profile=config.organization.profile,
    )


def discovery_of(
    config: Config, sessions: aws.AccountSessions, clock: Clock
) -> aws.Discovery | None:
    organization = config.organization
    if organization is None:
        return None
    return aws.Discovery(
        sessions=sessions,
        role_name=organization.role_name,
        role_session=organization.role_session(),
        caller=organization.caller(),
        include=_selection(organization.include),
        exclude=_selection(organization.exclude),
        account_tags=config.labels.account_tags,
        deadline=config.collection.deadline.total_seconds(),
        clock=clock,
        rng=random.Random(),  # noqa: S311 (spreads calls, protects nothing)
    )


def _selection(selection: Selection) -> aws.Selection:
    return aws.Selection(
        frozenset(selection.ous), frozenset(selection.accounts), selection.names, selection.tags
    )


def recorder_of(config: Config, self_metrics: SelfMetrics, clock: Clock) -> Recorder:
    changes, state = config.changes, config.state
    location = state.location()
    return Recorder(
        None
        if location is None
        else Store(
            location,
            keep_events=state.keep_events,
            shown_for=changes.shown_for,
            clock=clock,
        ),
        memory_options(config),
        clock=clock,
        report_store=self_metrics.store_up,
    )


def memory_options(config: Config) -> memory.Options:
    return memory.Options(
        shown_for=config.changes.shown_for,
        min_idle=config.changes.min_idle,
        learning=config.changes.learning,
        includes=config.users.matcher(),
    )


def sessions_of(
    config: Config, self_metrics: SelfMetrics, stop: threading.Event, clock: Clock
) -> aws.AccountSessions:
    collection = config.collection
    clients = aws.Clients(
        aws.Endpoints(
            region=config.aws.region,
            urls=config.aws.endpoint_urls.by_service(),
            use_fips=config.aws.use_fips,
            use_dualstack=config.aws.use_dualstack,
        ),
        workers=collection.workers,
        observe=self_metrics.observe,
        count_error=self_metrics.count_error,
        clock=clock,
    )
    return aws.AccountSessions(
        clients,
        requests_per_second=collection.requests_per_second,
        burst=collection.burst,
        stop=stop,
        clock=clock,
    )


def refresher_of(
    config: Config, sessions: aws.AccountSessions, clock: Clock
) -> aws.AccountRefresher:
    collection = config.collection
    tags = frozenset((*config.labels.user_tags, config.exemptions.tag))
    return aws.AccountRefresher(
        sessions=sessions,
        interval=collection.interval.total_seconds(),
        deadline=collection.deadline.total_seconds(),
        report_mode=collection.credential_report,
        include_user=config.users.matcher(),
        tag_source=collection.user_tags,
        keep_tag=lambda name: name in tags or is_description_tag(name),
        tags_interval=collection.user_tags_interval,
        clock=clock,
        rng=random.Random(),  # noqa: S311 (spreads calls, protects nothing)
    )


def exemptions_of(config: Config) -> Exemptions:
    entries = [
        Exemption(entry.until, entry.user, entry.access_key_id, entry.account)
        for entry in config.exemptions.entries
    ]
    return Exemptions(config.exemptions.tag, entries)


def render_options(
    config: Config, key_ids: KeyIdFormatter, exemptions: Exemptions
) -> RenderOptions:
    return RenderOptions(
        tags={tag: label_of_tag(tag) for tag in config.labels.user_tags},
        passwords=config.collection.passwords,
        key_labels=key_ids.labels,
        user_names=key_ids.names,
        redact=key_ids.redact,
        description=description_of,
        exempt_until=exemptions.until,
        account_tags={tag: label_of_tag(tag) for tag in config.labels.account_tags},
        counts=Counts(config.counts.days, config.counts.by_tags),
        requests_per_second=config.collection.requests_per_second,
    )
