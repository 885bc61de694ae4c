"""What distinguishes two configurations."""

from exporter.config.schema import Config
from exporter.config.section import Section


def differences(before: Config, after: Config) -> list[str]:
    """List the options whose values differ, such as ``collection.interval``. Lists are one each."""
    paths: list[str] = []
    for name in Config.model_fields:
        old, new = getattr(before, name), getattr(after, name)
        if old == new:
            continue
        options = type(old).model_fields if isinstance(old, Section) and new is not None else ()
        changed = [each for each in options if getattr(old, each) != getattr(new, each)]
        paths += [f"{name}.{option}" for option in changed] or [name]
    return paths
