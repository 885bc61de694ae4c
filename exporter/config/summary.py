"""The summary that ``--config.check`` prints."""

from typing import Any

import yaml

from exporter.config.schema import SECRETS, Config


def summarize(config: Config, name: str) -> str:
    """
    Write *config* as YAML with every option, defaults included and secrets hidden.

    Args:
        name: The file that *config* was loaded from. Empty: there is none.
    """
    heading = f"{name} is valid." if name else "No configuration file."
    lines = [f"# {heading} Options in effect:"]
    lines += [f"# Warning: {warning}" for warning in config.warnings()]
    if not config.accounts:
        lines.append("# No accounts: read the account that the AWS credentials belong to.")
    options = _hide_secrets(config.model_dump(mode="json"))
    return (
        "\n".join(lines)
        + "\n"
        + yaml.safe_dump(options, sort_keys=False, allow_unicode=True, width=1000)
    )


def _hide_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: "<hidden>" if key in SECRETS and item is not None else _hide_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_hide_secrets(item) for item in value]
    return value
