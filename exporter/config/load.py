"""Load a `Config` from YAML and report every problem at once, each with file, line and path."""

import difflib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from exporter.config.document import Document, DocumentPath, Problem, Refused, dotted
from exporter.config.files import read_text, secret_files
from exporter.config.schema import SECRETS, Config, check_references

MAX_PROBLEMS: Final = 100
"""How many problems are listed; a file of another kind has one in every line."""

MAX_QUOTED: Final = 100
"""Characters of a value that are quoted in a message."""

MESSAGES = {
    "missing": "is required",
    "string_type": "must be a string",
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "finite_number": "must be a number",
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be at least {ge:.15g}",
    "less_than_equal": "must be at most {le:.15g}",
    "tuple_type": "must be a list",
    "model_type": "must be a mapping",
}
"""Messages by pydantic's error type."""


class ConfigError(Exception):
    """
    The configuration is invalid. The message lists every problem.

    Attributes:
        secret_files: The files with secrets that it names.
    """

    def __init__(
        self, name: str, problems: list[Problem], secret_files: Iterable[str] = ()
    ) -> None:
        self.problems = problems
        self.secret_files = tuple(secret_files)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        lines = [
            f"  {name}:{problem.line}: " + ": ".join(filter(None, (problem.path, problem.text)))
            for problem in problems[:MAX_PROBLEMS]
        ]
        if len(problems) > MAX_PROBLEMS:
            lines.append(f"  and {len(problems) - MAX_PROBLEMS} more")
        super().__init__("\n".join([f"{name}: {count}", *lines]))


def load(
    path: Path, environment: Mapping[str, str] = os.environ, *, may_be_empty: bool = True
) -> Config:
    """
    Load the file at *path*.

    Raises:
        ConfigError: The file cannot be read or is invalid.
    """
    try:
        text = read_text(path)
    except ValueError as error:
        problem = Problem(1, "", f"cannot read file: {error}")
        raise ConfigError(str(path), [problem]) from error
    if not (may_be_empty or text.strip()):
        raise ConfigError(str(path), [Problem(1, "", "is empty; write {} if that is meant")])
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
        document = Document(text, environment)
    except Refused as error:
        raise ConfigError(name, [error.problem]) from error
    problems = document.problems
    if any(problem.text.startswith("has characters") for problem in problems):
        raise ConfigError(name, problems)  # pydantic cannot represent them
    config = None
    try:
        config = Config.model_validate({} if document.value is None else document.value)
    except ValidationError as error:
        reported = {problem.path for problem in problems}
        for details in error.errors(include_url=False, include_input=False):
            problem = _problem(details, document)
            if problem.path not in reported:
                problems.append(problem)
    problems += [
        Problem(document.line(path), dotted(path), text)
        for path, text in check_references(document.value)
    ]
    if config is None or problems:
        problems.sort(key=lambda problem: problem.line)
        raise ConfigError(name, problems, secret_files(document.value))
    return config


def _problem(details: ErrorDetails, document: Document) -> Problem:
    path = tuple(details["loc"])
    kind = details["type"]
    if kind == "extra_forbidden":
        return Problem(document.line(path), dotted(path), "unknown option" + _suggestion(path))
    if kind in MESSAGES:
        text = MESSAGES[kind].format(**details.get("ctx", {}))
    else:
        text = details["msg"][:1].lower() + details["msg"][1:]
    # Quote the file, not the value: environment variables may hold secrets.
    written = document.written.get(path)
    if written is not None and not _is_secret(path, written):
        shown = written if len(written) <= MAX_QUOTED else f"{written[:MAX_QUOTED]}..."
        text = f'{text}: "{shown}"'
    if path in document.variables:
        text = f"{text} ({document.variables[path]})"
    return Problem(document.line(path), dotted(path), text)


def _is_secret(path: DocumentPath, written: str) -> bool:
    """Whether *written*, the value at *path*, may hold a secret: also a password in a URL."""
    has_password = "@" in written and ("endpoint_urls" in path or "://" in written)
    has_password = has_password or path[:2] == ("state", "url") or "password" in written.lower()
    return bool({*path} & SECRETS) or has_password or any(name in written for name in SECRETS)


def _suggestion(path: DocumentPath) -> str:
    """Suggest an existing option whose name is similar to the last part of *path*."""
    section: Any = Config
    for part in path[:-1]:
        if isinstance(part, str):
            section = _section_of(section.model_fields[part].annotation)
    close = difflib.get_close_matches(str(path[-1])[:MAX_QUOTED], section.model_fields, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _section_of(annotation: Any) -> type[BaseModel]:
    """Return the section class that *annotation* is, or is a list of."""
    candidates = [annotation, *getattr(annotation, "__args__", ())]
    return next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
