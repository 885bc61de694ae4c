"""Load a `Config` from YAML and report every problem at once, each with file, line and path."""

import difflib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.schema import SECRETS, Config, check_references

VARIABLE = re.compile(r"\$\{(\w+)\}")

MESSAGES = {
    "missing": "is required",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "greater_than": "must be greater than {gt:g}",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping",
}
"""Messages by pydantic's error type."""

DocumentPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One problem with a configuration.

    Attributes:
        line: Counted from 1.
        path: Such as ``accounts[2].role_arn``. Empty for the document itself.
    """

    line: int
    path: str
    text: str


class ConfigError(Exception):
    """The configuration is invalid. The message lists every problem."""

    def __init__(self, name: str, problems: list[Problem]) -> None:
        self.problems = problems
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [
            f"  {name}:{problem.line}: " + ": ".join(filter(None, (problem.path, problem.text)))
            for problem in problems
        ]
        super().__init__("\n".join([f"{name}: {count}", *lines]))


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """
    Load the file at *path*.

    Raises:
        ConfigError: The file cannot be read or is invalid.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(str(path), [Problem(1, "", f"cannot read file: {reason}")]) from error
    return parse(text, str(path), environment)


def parse(text: str, name: str, environment: Mapping[str, str] = os.environ) -> Config:
    """
    Parse *text* as YAML, replacing each ``${NAME}`` in a value by a variable of *environment*.

    Args:
        name: The name of the document in error messages.

    Raises:
        ConfigError: *text* is invalid.
    """
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        problem = Problem(line, "", f"invalid YAML: {error.problem or error.context}")
        raise ConfigError(name, [problem]) from error
    except yaml.YAMLError as error:
        raise ConfigError(name, [Problem(1, "", f"invalid YAML: {error}")]) from error
    if root is None:
        return Config()
    document = _Document(root, environment)
    problems = document.problems
    config = None
    try:
        config = Config.model_validate(document.value)
    except ValidationError as error:
        reported = {problem.path for problem in problems}
        for details in error.errors():
            problem = _problem(details, document)
            if problem.path not in reported:
                problems.append(problem)
    problems += [
        Problem(document.line(path), _dotted(path), text)
        for path, text in check_references(document.value)
    ]
    if config is None or problems:
        raise ConfigError(name, sorted(problems, key=lambda problem: problem.line))
    return config


class _Document:
    """
    The values of a YAML document and their positions.

    Attributes:
        value: The document, with environment variables replaced.
        lines: Line numbers by path, counted from 1.
        written: Scalars as written in the file, by path.
        problems: Those found while reading: duplicate keys, recursive aliases, unset variables.
    """

    def __init__(self, root: yaml.Node, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._constructor = yaml.SafeLoader("")
        self.lines: dict[DocumentPath, int] = {}
        self.written: dict[DocumentPath, str] = {}
        self.problems: list[Problem] = []
        self._ancestors: list[yaml.Node] = []
        self.value = self._value(root, ())

    def line(self, path: DocumentPath) -> int:
        """Return the line of *path*, or of its nearest parent in the document."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    def _value(self, node: yaml.Node, path: DocumentPath) -> Any:
        self.lines.setdefault(path, node.start_mark.line + 1)
        if node in self._ancestors:
            self._problem(path, "recursive alias")
            return None
        if isinstance(node, yaml.CollectionNode):
            self._ancestors.append(node)
            try:
                if isinstance(node, yaml.MappingNode):
                    return dict(self._items(node, path))
                return [self._value(child, (*path, i)) for i, child in enumerate(node.value)]
            finally:
                self._ancestors.pop()
        self.written[path] = node.value
        try:
            value = self._constructor.construct_object(node)
        except (yaml.YAMLError, ValueError):  # such as February 31
            value = node.value
        return self._with_variables(value, path) if isinstance(value, str) else value

    def _items(self, node: yaml.MappingNode, path: DocumentPath) -> Iterator[tuple[str, Any]]:
        seen: set[str] = set()
        for key, child in node.value:
            name = str(key.value)
            here = (*path, name)
            self.lines[here] = key.start_mark.line + 1
            if name in seen:
                self._problem(here, "is defined twice")
            seen.add(name)
            yield name, self._value(child, here)

    def _with_variables(self, text: str, path: DocumentPath) -> str:
        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            if name not in self._environment:
                self._problem(path, f"environment variable {name} is not set")
            return self._environment.get(name, "")

        return VARIABLE.sub(value, text)

    def _problem(self, path: DocumentPath, text: str) -> None:
        self.problems.append(Problem(self.line(path), _dotted(path), text))


def _problem(details: ErrorDetails, document: _Document) -> Problem:
    path = tuple(details["loc"])
    kind = details["type"]
    if kind == "extra_forbidden":
        return Problem(document.line(path), _dotted(path), "unknown option" + _suggestion(path))
    if kind in MESSAGES:
        text = MESSAGES[kind].format(**details.get("ctx", {}))
    else:
        text = details["msg"][:1].lower() + details["msg"][1:]
    # Quote the file, not the value: environment variables may hold secrets.
    written = document.written.get(path)
    if written is not None and not {*path[-1:]} & SECRETS:
        text = f'{text}: "{written}"'
    return Problem(document.line(path), _dotted(path), text)


def _suggestion(path: DocumentPath) -> str:
    """Suggest an existing option whose name is similar to the last part of *path*."""
    section: Any = Config
    for part in path[:-1]:
        if isinstance(part, str):
            section = _section_of(section.model_fields[part].annotation)
    close = difflib.get_close_matches(str(path[-1]), section.model_fields, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _section_of(annotation: Any) -> type[BaseModel]:
    """Return the section class that *annotation* is, or is a list of."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))


def _dotted(path: DocumentPath) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
