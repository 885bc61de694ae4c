"""
The tables of docs/metrics.md, docs/configuration.md and docs/flags.md, as the code has them.

`make generate` writes what is between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->``.
"""

import argparse
import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from exporter.cli.flags import make_parser
from exporter.config import Config, locations, values
from exporter.config.accounts import Session
from exporter.metrics import FAMILIES
from exporter.metrics.families import ACCOUNT, KEY, USER, CountFamily, Family, SnapshotFamily
from tests.example import comments, complete_example

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"(<!-- (?P<name>[\w.]+): begin -->\n).*?(<!-- (?P=name): end -->)", re.DOTALL)


def pages(folder: Path = DOCS) -> dict[str, str]:
    """
    Return the text of each page by its path in the repository.

    Args:
        folder: The directory that has the pages as they are.
    """
    tables = {
        "metrics.md": {"metrics": metrics_table},
        "configuration.md": {name: _of(options_table, name) for name in Config.model_fields},
        "flags.md": {name: _of(flags_table, name) for name in commands()},
    }
    return {f"docs/{page}": _filled(folder / page, of) for page, of in tables.items()}


def _of(table: Callable[[str], str], name: str) -> Callable[[], str]:
    return lambda: table(name)


def _filled(page: Path, tables: dict[str, Callable[[], str]]) -> str:
    """Return *page* with its tables, each of which it must have once, in this order."""
    text = page.read_text(encoding="utf-8")
    found = [match["name"] for match in BLOCK.finditer(text)]
    if found != [*tables]:
        missing = sorted({*tables} ^ {*found}) or found
        raise ValueError(f"{page.name} must have the blocks {', '.join(tables)}; see {missing}")
    return BLOCK.sub(lambda match: f"{match[1]}{tables[match['name']]()}{match[3]}", text)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (header, *rows)]
    lines.insert(1, f"|{'---|' * len(header)}")
    return re.sub(r"\|  (?=\|)", "| ", "\n".join(lines)) + "\n"


def _prose(text: str) -> str:
    """Return *text* as Markdown within a cell."""
    return re.sub(r"([*<>|])", r"\\\1", text)


# -- metrics -----------------------------------------------------------------------------------

SUBJECTS = {KEY: ["`K`"], USER: ["`A`", "`user`"], ACCOUNT: ["`A`"], (): []}
"""How the labels of a family's subject are written."""


def metrics_table() -> str:
    rows = [[f"`{of.name}` ({of.kind})", _labels(of), of.help] for of in FAMILIES]
    return _table(["metric", "labels", ""], rows)


def _labels(family: Family) -> str:
    extra = [f"`{name}`" for name in family.extra_labels]
    return ", ".join([*SUBJECTS[family.subject], *extra, *_tag_labels(family)])


def _tag_labels(family: Family) -> list[str]:
    if isinstance(family, CountFamily):
        return ["`C`"]
    return ["`T`"] if isinstance(family, SnapshotFamily) and family.tag_labels else []


# -- configuration -----------------------------------------------------------------------------

TYPES: list[tuple[Any, str]] = [
    (values.AccountId, "account ID"),
    (values.AccountIds, "list of account IDs"),
    (values.Boolean, "true or false"),
    (values.Burst, "integer"),
    (locations.DatabaseUrl, "URL"),
    (values.Days, "list of integers"),
    (values.Duration, "duration"),
    (values.Expiry, "date"),
    (values.ExternalId, "text"),
    (values.MetricNames, "list of metrics"),
    (values.Name, "text"),
    (values.Names, "list"),
    (values.Pattern, "regular expression"),
    (values.Patterns, "list of regular expressions"),
    (values.Rate, "number"),
    (values.Role, "ARN"),
    (values.RoleName, "name, without the ARN"),
    (values.Roles, "list of ARNs"),
    (values.Secret, "text"),
    (values.SessionDuration, "duration"),
    (values.SessionName, "text"),
    (values.SessionTags, "tags and their values"),
    (values.SourceIdentity, "text"),
    (locations.StatePath, "path"),
    (values.TagPatterns, "tags and lists of regular expressions"),
    (values.Units, "list of IDs"),
    (locations.Url, "URL"),
    (values.Workers, "integer"),
    (str, "text"),
]
"""How the type of an option is written."""


def options_table(section: str) -> str:
    """Return the options of a *section* in the order of config.example.yaml."""
    rows = [[f"`{path}`", *cells] for path, *cells in _options(section)]
    return _table(["option", "value", "default", ""], rows)


def _options(section: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield path, type, default and comment of each option in a *section*."""
    texts = comments(complete_example())
    fields = dict(_fields(Config, ""))
    for path, text in texts.items():
        name = path.removeprefix(f"{section}.")
        if name == path:
            continue
        field, annotation = fields[path]
        is_shared = section == "organization" and name in Session.model_fields
        comment = texts[f"accounts.{name}"] if is_shared else text
        yield name, _type(annotation), _default(field), _comment(comment, annotation)


def _fields(section: type[BaseModel], path: str) -> Iterator[tuple[str, tuple[FieldInfo, Any]]]:
    """Yield the path of each option, and how it is declared."""
    hints = get_type_hints(section, include_extras=True)
    for name, field in section.model_fields.items():
        here, annotation = f"{path}.{name}".lstrip("."), _without_none(hints[name])
        yield here, (field, annotation)
        inner = _section_of(annotation)
        if inner is not None:
            yield from _fields(inner, here)


def _without_none(annotation: Any) -> Any:
    """Return the type of an option that can be absent."""
    members = [of for of in get_args(annotation) if of is not type(None)]
    is_optional = isinstance(annotation, UnionType) or type(None) in get_args(annotation)
    return members[0] if is_optional else annotation


def _section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the section that an option is, or that it is a list of."""
    of = get_args(annotation)[0] if get_origin(annotation) is tuple else annotation
    return of if isinstance(of, type) and issubclass(of, BaseModel) else None


def _type(annotation: Any) -> str:
    if _section_of(annotation) is not None:
        return "list of sections" if get_origin(annotation) is tuple else "section"
    choices = ", ".join(f"`{value}`" for value in _choices(annotation))
    return choices or next(text for of, text in TYPES if of == annotation)


def _choices(annotation: Any) -> list[str]:
    """Return the values of an option that can only have some. Empty: it can have others."""
    of = (get_args(annotation) or (None,))[0]
    return [*map(str, of)] if isinstance(of, type) and issubclass(of, StrEnum) else []


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None or default == "" or isinstance(default, BaseModel):
        return ""
    if isinstance(default, timedelta):
        return f"`{values.duration_text(default)}`"
    if isinstance(default, float):
        return f"`{default:g}`"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _comment(text: str, annotation: Any) -> str:
    """Return a comment of config.example.yaml, with each value that it describes on a line."""
    choices = "|".join(_choices(annotation)) or "(?!)"
    paragraphs = re.split(rf"(?m)\n(?=(?:{choices}): )", text)
    lines = [
        re.sub(rf"^({choices}): +", r"`\1`: ", _prose(each.replace("\n", " ")))
        for each in paragraphs
    ]
    joined = "<br>".join(lines).replace(". such as", ". Such as")
    return joined[:1].upper() + joined[1:]


# -- flags -------------------------------------------------------------------------------------


def commands() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each subcommand by its name."""
    (found,) = (action.choices for action in make_parser()._actions if action.dest == "command")
    assert isinstance(found, dict)
    return found


def flags_table(command: str) -> str:
    """Return the flags of a subcommand, in the order of its help."""
    actions = [action for action in commands()[command]._actions if action.dest != "help"]
    rows = [[f"`{_usage(action)}`", _flag_prose(action.help or "")] for action in actions]
    return _table(["flag", ""], rows)


def _usage(action: argparse.Action) -> str:
    flag = action.option_strings[-1]
    if action.nargs == 0:
        return flag
    if action.choices is not None and action.metavar is None:
        return f"{flag}={{{','.join(map(str, action.choices))}}}"
    return f"{flag}={action.metavar}"


def _flag_prose(text: str) -> str:
    """Return the help of a flag as Markdown, with the names of other flags as code."""
    return re.sub(r"--[a-z][\w.-]*\w", r"`\g<0>`", _prose(text[:1].upper() + text[1:]))
