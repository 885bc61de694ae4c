"""The summary that ``--config.check`` prints."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from exporter.config.schema import SECRETS, Config, label_of_tag
from exporter.config.values import duration_text


def summarize(config: Config, name: str, warnings: Sequence[str] = ()) -> str:
    """
    Write *config* as YAML with every option, defaults included and secrets hidden.

    Comments at the beginning say what the options amount to.

    Args:
        name: The file that *config* was loaded from. Empty: there is none.
    """
    heading = f"{name} is valid." if name else "No configuration file."
    lines = [f"{heading} Options in effect:"]
    lines += [f"Warning: {warning}" for warning in warnings]
    lines += _effects(config)
    options = _hide_secrets(config.model_dump(mode="json"))
    if options["organization"] is None:
        del options["organization"]  # a section that is there must not be empty
    return "\n".join([f"# {_single_line(line)}" for line in lines]) + (
        "\n" + yaml.safe_dump(options, sort_keys=False, allow_unicode=True, width=1000)
    )


def _effects(config: Config) -> Iterator[str]:
    region = config.aws.region or "that of the environment or profile, else us-east-1"
    yield f"Region: {region}"
    tags = ", ".join(f"{label_of_tag(tag)} ({tag})" for tag in config.labels.user_tags)
    key_ids = f"access key IDs {config.labels.access_key_id}"
    yield f"Labels: {key_ids}; user tags: {tags or 'none'}"
    yield f"Passwords: {'exported' if config.collection.passwords else 'not exported'}"
    yield f"Counts: {_counts(config)}"
    yield f"State: {_state(config)}"
    if config.organization is not None:
        every = duration_text(config.organization.interval)
        yield f"Organization: accounts are listed every {every}"
    elif not config.accounts:
        yield "No accounts: read the account that the AWS credentials belong to."
    for account in config.model_accounts():
        rate = account.requests_per_second or config.collection.requests_per_second
        burst = account.burst or config.collection.burst
        yield (
            f"Account {account.label} ({account.id or 'ID unknown'}):"
            f" {rate:g} requests per second, burst {burst}"
        )


def _counts(config: Config) -> str:
    days, tags = config.counts.days, [label_of_tag(tag) for tag in config.counts.by_tags]
    after = f"after {', '.join(map(str, days))} days" if days else "not by days"
    return f"{after}; by {', '.join(['account', *tags])}"


def _state(config: Config) -> str:
    state = config.state
    if state.location() is None:
        return "not stored; after a restart the exporter does not know what it saw before"
    kept = f"events kept for {duration_text(state.keep_events)}"
    return f"in the file {state.path}; {kept}" if state.path else f"in PostgreSQL; {kept}"


def _single_line(text: str) -> str:
    """Escape what would end a comment."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _hide_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "<hidden>" if key in SECRETS and item is not None else _hide_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_hide_secrets(item) for item in value]
    return _without_password(value) if isinstance(value, str) else value


def _without_password(text: str) -> str:
    """Hide the user name and password of a URL."""
    text = re.sub(r"(?s)^(https?://|postgresql://).*@", r"\1<hidden>@", text)
    return re.sub(r"(?is)([?&]\w*password=)[^&]*", r"\1<hidden>", text)
