"""
The JSON schema of the configuration, for editors and linters.

Options, their types and defaults come from pydantic, descriptions from the comments of
config.example.yaml. What pydantic cannot describe, because it depends on several options or comes
from YAML, is added here. Draft 7, which editors support best.
"""

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from exporter.config import Config
from exporter.config.values import duration_text

ROOT = Path(__file__).parent.parent
EXAMPLE = ROOT / "config.example.yaml"

Schema = dict[str, Any]

VARIABLE: Final = r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^}\n]*)?\}"
HAS_VARIABLE: Final[Schema] = {"type": "string", "pattern": r"\$\{"}
HAS_VALID_VARIABLES: Final[Schema] = {"pattern": rf"^(?:{VARIABLE}|(?!\$\{{)[\s\S])*$"}

MANY_PATTERNS: Final = ("organization.include.tags", "organization.exclude.tags")
"""Mappings to a list of patterns, or to one."""

OPTION: Final = re.compile(
    r"#?(?P<indent> *(?:- )?)(?P<name>[a-z_]+):(?: .*?)??(?: +# (?P<text>.*))?"
)
COMMENT: Final = re.compile(r" *# (?P<text>.*)")
CONTINUED: Final = re.compile(r"#? {20,}# (?P<text>.*)")


LISTS: Final = frozenset({"account_tags", "role_chain", "user_tags"})
"""Options that have no value if a variable makes them an empty list."""


def is_set(*options: str) -> Schema:
    """Match a section that has one of *options*, with a value."""

    def unset(option: str) -> Schema:
        none: Schema = {"enum": [None, {}, [], ""]}
        return {"anyOf": [none, {"type": "string"}]} if option in LISTS else none

    return {
        "type": "object",
        "anyOf": [
            {"required": [option], "properties": {option: {"not": unset(option)}}}
            for option in options
        ],
    }


def both(*schemas: Schema) -> Schema:
    return {"allOf": list(schemas)}


def excluded(first: str, second: str) -> Schema:
    return {"not": both(is_set(first), is_set(second))}


def requires(option: str, *others: str) -> Schema:
    return {"if": is_set(option), "then": is_set(*others)}


SESSION: Final = (excluded("external_id", "external_id_file"),)

CONDITIONS: Final[dict[str, tuple[Schema, ...]]] = {
    "AccountEntry": (
        *SESSION,
        *(
            requires(option, "role_arn")
            for option in (
                *("external_id", "external_id_file", "session_tags"),
                *("source_identity", "role_chain"),
            )
        ),
    ),
    "Config": (
        {
            "if": {"required": ["labels"], "properties": {"labels": is_set("user_tags")}},
            "then": {
                "required": ["collection"],
                "properties": {
                    "collection": {
                        "required": ["user_tags"],
                        "properties": {"user_tags": {"not": {"enum": [False, "off"]}}},
                    }
                },
            },
        },
        {
            "if": {"required": ["labels"], "properties": {"labels": is_set("account_tags")}},
            "then": {"required": ["organization"]},
        },
    ),
    "Counts": ({"properties": {"by_tags": {"uniqueItems": True}}},),
    "ExemptionEntry": (is_set("user", "access_key_id", "account"),),
    "Labels": (
        excluded("hash_secret", "hash_secret_file"),
        {
            "if": {
                "required": ["access_key_id"],
                "properties": {"access_key_id": {"const": "hashed"}},
            },
            "then": is_set("hash_secret", "hash_secret_file"),
        },
    ),
    "Organization": (
        *SESSION,
        excluded("discovery_external_id", "discovery_external_id_file"),
        requires("discovery_external_id", "discovery_role_arn"),
        requires("discovery_external_id_file", "discovery_role_arn"),
    ),
    "State": (excluded("path", "url"),),
    "Users": (
        {
            "properties": {
                "include": {"not": {"const": []}},
                "exclude": {"not": {"contains": {"enum": [".*", ".+"]}}},
            }
        },
    ),
}
"""What sections have to fulfil besides the types of their options."""


def schema() -> Schema:
    """Return the JSON schema of the configuration."""
    generated = Config.model_json_schema(schema_generator=_Generator)
    sections = generated["$defs"]
    root = _Writer(sections, descriptions()).section({**generated, "title": "Config"}, ())
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "The configuration of aws-iam-key-exporter",
        **root,
        "patternProperties": {"^x-": {"description": "A place for anchors, which is not read."}},
        "definitions": {"hasVariable": HAS_VARIABLE, "validVariables": HAS_VALID_VARIABLES},
    }


def text() -> str:
    """Return the JSON schema as the file that editors read."""
    return json.dumps(schema(), indent=1) + "\n"


class _Writer:
    def __init__(self, sections: dict[str, Schema], descriptions: dict[str, str]) -> None:
        self._sections = sections
        self._descriptions = descriptions

    def section(self, generated: Schema, path: tuple[str, ...]) -> Schema:
        """Write a section. It may be empty, and then null, unless an option of it is required."""
        required = generated.get("required", [])
        conditions = CONDITIONS.get(generated["title"], ())
        return {
            "type": "object" if required else ["object", "null"],
            "properties": {
                name: self._described(self._option(option, (*path, name)), (*path, name))
                for name, option in generated["properties"].items()
            },
            "additionalProperties": False,
            **({"required": required} if required else {}),
            **({"allOf": list(conditions)} if conditions else {}),
        }

    def _described(self, option: Schema, path: tuple[str, ...]) -> Schema:
        first, *rest = (
            ".".join(path).replace("organization.exclude", "organization.include").split(".")
        )
        # An organization has options that accounts have too, and two lists of the same criteria.
        names = [f"accounts.{rest[0]}"] if first == "organization" and len(rest) == 1 else []
        names += [".".join((first, *rest)), ".".join((first, *rest[:-1]))]
        found = next(
            (self._descriptions[name] for name in names if name in self._descriptions), None
        )
        return option if found is None else {"description": found, **option}

    def _option(self, generated: Schema, path: tuple[str, ...]) -> Schema:
        values = [v for v in generated.get("anyOf", [generated]) if v != {"type": "null"}]
        ((value, null),) = ((self._resolved(value), "anyOf" in generated) for value in values)
        if "properties" in value:
            return self.section(value, path)
        default = generated.get("default")
        known = {} if default is None else {"default": default}
        if value["type"] == "object":
            return _mapping(value, many=".".join(path) in MANY_PATTERNS)
        if value["type"] == "array":
            return {**known, **self._array(value, path)}
        return {**known, **_value(value, null=null)}

    def _array(self, generated: Schema, path: tuple[str, ...]) -> Schema:
        items = self._resolved(generated["items"])
        if "properties" in items:
            return {"type": ["array", "null"], "items": self.section(items, path)}
        return _list(generated, null=True)

    def _resolved(self, generated: Schema) -> Schema:
        """Follow a reference to a section or an enumeration."""
        reference = generated.get("$ref")
        return generated if reference is None else self._sections[reference.rpartition("/")[2]]


def _mapping(generated: Schema, *, many: bool) -> Schema:
    (value,) = generated["patternProperties"].values()
    written = _value(value["items"]) if many else _value(value)
    if many:
        written = {
            "if": {"type": "string"},
            "then": written,
            "else": _list(value, null=False),
        }
    return {
        "type": "object",
        "propertyNames": {"minLength": 1},
        "additionalProperties": written,
        **_kept(generated, "maxProperties"),
    }


def _kept(generated: Schema, *keywords: str) -> Schema:
    return {keyword: generated[keyword] for keyword in keywords if keyword in generated}


def _list(generated: Schema, *, null: bool) -> Schema:
    items = {"items": _value(generated["items"]), **_kept(generated, "maxItems", "uniqueItems")}
    return _or_variable({"type": ["array", "null"] if null else "array", **items})


def _value(generated: Schema, *, null: bool = False) -> Schema:
    """Write a string, a number or a boolean, each of which may be a variable."""
    value = _kept(generated, "enum", "exclusiveMinimum", "maximum", "minimum", "pattern")
    types = [generated["type"]]
    if "enum" in value and "off" in value["enum"]:
        types.append("boolean")  # YAML 1.1 reads a bare off as false
        value["enum"] = [*value["enum"], False]
    if null:
        types.append("null")
    return _or_variable({"type": types if len(types) > 1 else types[0], **value})


def _or_variable(value: Schema) -> Schema:
    if "enum" in value:  # editors complete values within anyOf only
        variable = [{"$ref": f"#/definitions/{name}"} for name in ("hasVariable", "validVariables")]
        return {"anyOf": [value, both(*variable)]}
    return {
        "if": {"$ref": "#/definitions/hasVariable"},
        "then": {"$ref": "#/definitions/validVariables"},
        "else": value,
    }


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """Write a duration as it is configured."""
        return duration_text(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def descriptions() -> dict[str, str]:
    """Return what the comments of the example say about each option, by its path."""
    found: dict[str, list[str]] = {}
    above: list[str] = []
    path: list[tuple[int, str]] = []
    for line in EXAMPLE.read_text().splitlines():
        if continued := CONTINUED.fullmatch(line):
            found[".".join(name for _, name in path)].append(continued["text"])
        elif option := OPTION.fullmatch(line):
            indent = len(option["indent"])
            path = [*((i, name) for i, name in path if i < indent), (indent, option["name"])]
            trailing = [option["text"]] if option["text"] else []
            found.setdefault(".".join(name for _, name in path), []).extend([*above, *trailing])
            above = []
        elif comment := COMMENT.fullmatch(line):
            above.append(comment["text"])
        else:
            above = []
    return {name: "\n".join(lines) for name, lines in found.items() if lines}
