"""
A YAML document: its values, with environment variables, and where each of them is.

YAML can be written so that a few lines become more values than fit into memory (aliases), or nest
deeper than Python can recurse. Both are refused before they are followed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from exporter.config.values import FromEnvironment

VARIABLE: Final = re.compile(r"\$\{([^}\n]*)\}")
NAME: Final = re.compile(r"([A-Za-z_]\w*)(?::-(.*))?", re.ASCII)
"""What a variable has in its braces: its name and, where it has one, its default."""

PLACEHOLDER: Final = re.compile("\ufdd0([0-9]+)\ufdd1")
"""What takes the place of a variable while YAML is parsed: ``{`` would be syntax in some places."""

MAX_DEPTH: Final = 50
MAX_VALUES: Final = 100_000
"""How many values a document may have, each alias counted as often as it is used."""

INVALID_VARIABLE: Final = "invalid variable: write ${NAME} or ${NAME:-default}"
MAX_NAME: Final = 100
"""Characters of an option's name that are shown."""

TOO_MANY: Final = f"more than {MAX_VALUES} values, counting aliases"
MAX_CHARACTERS: Final = 4 * 1024 * 1024
TOO_LONG: Final = f"more than {MAX_CHARACTERS} characters, counting aliases"
TAGS: Final = frozenset(
    f"tag:yaml.org,2002:{name}"
    for name in ("bool", "float", "int", "map", "merge", "null", "seq", "str", "timestamp", "value")
)
TOO_DEEP: Final = f"nested more than {MAX_DEPTH} levels deep"

MERGE: Final = "tag:yaml.org,2002:merge"

DocumentPath = tuple[str | int, ...]

_Pair = tuple[yaml.Node, yaml.Node]
"""An option's name and its value."""


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


class Refused(Exception):
    """The text cannot be read as YAML at all."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(text)
        self.problem = Problem(line, "", text)


class Document:
    """
    The values of a YAML document and their positions.

    Sections of the document whose names begin with ``x-`` are left out: they are places for
    anchors.

    Attributes:
        value: The document, with environment variables replaced. None: it is empty.
        lines: Line numbers by path, counted from 1.
        written: Scalars as written in the file, by path.
        variables: For each scalar with environment variables, what they are, by path.
        problems: Those found while reading: duplicate keys, recursive aliases, unset variables.

    Raises:
        Refused: *text* is not YAML, nests too deeply or has too many values.
    """

    def __init__(self, text: str, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._variables: list[re.Match[str]] = []
        self._loader = yaml.SafeLoader("")
        self._ancestors: list[yaml.Node] = []
        self._characters = 0
        self._count = 0
        self.lines: dict[DocumentPath, int] = {}
        self.written: dict[DocumentPath, str] = {}
        self.variables: dict[DocumentPath, str] = {}
        self.problems: list[Problem] = []
        root = _compose(VARIABLE.sub(self._placeholder, text))
        self.value = None if root is None else self._value(root, ())

    def line(self, path: DocumentPath) -> int:
        """Return the line of *path*, or of its nearest parent in the document."""
        while path not in self.lines and path:
            path = path[:-1]
        return self.lines.get(path, 1)

    def _placeholder(self, match: re.Match[str]) -> str:
        self._variables.append(match)
        return f"\ufdd0{len(self._variables) - 1}\ufdd1"

    def _value(self, node: yaml.Node, path: DocumentPath) -> Any:
        self.lines.setdefault(path, _line(node))
        self._enter(node)
        if node in self._ancestors:
            self._problem(path, "recursive alias")
            return None
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        self._ancestors.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return {
                    name: self._value(child, self._at(key, (*path, name)))
                    for name, (key, child) in self._options(node, path).items()
                    if path or not name.startswith("x-")
                }
            return [self._value(child, (*path, i)) for i, child in enumerate(node.value)]
        finally:
            self._ancestors.pop()

    def _enter(self, node: yaml.Node) -> None:
        """
        Count *node*.

        Raises:
            Refused: The document has too many values, or nests too deeply, through its aliases.
        """
        self._count += 1
        if self._count > MAX_VALUES:
            raise Refused(_line(node), TOO_MANY)
        if len(self._ancestors) > MAX_DEPTH:
            raise Refused(_line(node), TOO_DEEP)
        if isinstance(node, yaml.ScalarNode):
            self._characters += len(node.value)
            if self._characters > MAX_CHARACTERS:
                raise Refused(_line(node), TOO_LONG)
        if node.tag not in TAGS:
            raise Refused(_line(node), f"unknown tag {node.tag[:30]!r}")

    def _at(self, key: yaml.Node, path: DocumentPath) -> DocumentPath:
        self.lines[path] = _line(key)
        return path

    def _options(self, node: yaml.MappingNode, path: DocumentPath) -> dict[str, _Pair]:
        """Find the options of a mapping and their values, with those that ``<<`` merges into it."""
        own: dict[str, _Pair] = {}
        merged: dict[str, _Pair] = {}
        for key, child in node.value:
            name = self._as_written(str(key.value))
            if not isinstance(key, yaml.ScalarNode):
                self._problem(path, "the name of an option must be a string", key)
            elif key.tag == MERGE:
                merged |= self._merged(child, path)
            else:
                if name in own:
                    self._problem((*path, name), "is defined twice", key)
                self._check_characters(name, path)
                own[name] = key, child
        return {**merged, **own}

    def _merged(self, node: yaml.Node, path: DocumentPath) -> dict[str, _Pair]:
        sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
        merged: dict[str, _Pair] = {}
        for source in reversed(sources):  # the first takes precedence
            self._enter(source)
            self._count += len(source.value)
            if not isinstance(source, yaml.MappingNode):
                self._problem(path, "<< must be an alias of a mapping, or a list of them", source)
            elif source in self._ancestors:
                self._problem(path, "recursive alias", source)
            else:
                self._ancestors.append(source)
                merged |= self._options(source, path)
                self._ancestors.pop()
        return merged

    def _scalar(self, node: yaml.ScalarNode, path: DocumentPath) -> Any:
        self.written[path] = self._as_written(node.value)
        if "${" in node.value:
            self._problem(path, INVALID_VARIABLE)
        if PLACEHOLDER.search(node.value):
            return self._with_variables(node.value, path)
        self._check_characters(node.value, path)
        try:
            return self._loader.construct_object(node)
        except (yaml.YAMLError, ArithmeticError, ValueError, LookupError, AttributeError):
            # Such as February 31. PyYAML raises whatever comes to hand.
            return node.value

    def _as_written(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda match: self._variable(match).group(), text)

    def _variable(self, placeholder: re.Match[str]) -> re.Match[str]:
        """Return the variable that *placeholder* stands for; itself if it is in the file."""
        number = int(placeholder.group(1)[:9])
        return self._variables[number] if number < len(self._variables) else placeholder

    def _with_variables(self, text: str, path: DocumentPath) -> str:
        used: list[str] = []

        def value(placeholder: re.Match[str]) -> str:
            variable = self._variable(placeholder)
            if variable is placeholder:
                return placeholder.group()
            valid = NAME.fullmatch(variable.group(1))
            if valid is None:
                self._problem(path, INVALID_VARIABLE)
                return ""
            name, default = valid.groups()
            found = self._environment.get(name)
            if not found and default is not None:
                used.append(f"default of environment variable {name}")
                return str(default)
            if found is None:
                self._problem(path, f"environment variable {name} is not set")
            used.append(f"environment variable {name}" + ("" if found else ", which is empty"))
            return found or ""

        result = PLACEHOLDER.sub(value, text)
        if used:
            self.variables[path] = ", ".join(dict.fromkeys(used))
        self._check_characters(result, path)
        return FromEnvironment(result)

    def _check_characters(self, text: str, path: DocumentPath) -> None:
        if not text.isascii() and re.search("[\ud800-\udfff]", text):
            source = self.variables.get(path)
            self._problem(path, "has characters that are not Unicode" + _in_brackets(source))

    def _problem(self, path: DocumentPath, text: str, node: yaml.Node | None = None) -> None:
        line = _line(node) if node else self.line(path)
        self.problems.append(Problem(line, dotted(path), text))


def _line(positioned: Any) -> int:
    """Return the line of a node or event, counted from 1."""
    return int(positioned.start_mark.line) + 1


def _in_brackets(text: str | None) -> str:
    return f" ({text})" if text else ""


class _Loader(yaml.SafeLoader):
    """Composes nodes: not too deeply, and not too many."""

    depth = 0
    count = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        self.count += 1
        if self.depth > MAX_DEPTH or self.count > 2 * MAX_VALUES:  # with the names of options
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise Refused(_line(event), TOO_DEEP if self.depth > MAX_DEPTH else TOO_MANY)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _compose(text: str) -> yaml.Node | None:
    """
    Parse *text* into nodes. None: it is empty.

    Raises:
        Refused: It is not YAML, or nests too deeply.
    """
    try:
        loader = _Loader(text)
        node: yaml.Node | None = loader.get_single_node()
        return node
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        text = str(error.problem or error.context)
        if "undefined alias" in text:  # its name may be a secret that begins with *
            text = "undefined alias; a value that begins with * must be quoted"
        raise Refused(line, f"invalid YAML: {text}") from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        text = f"invalid YAML: character U+{int(error.character):04X} is not allowed"
        raise Refused(line, text) from error
    except yaml.YAMLError as error:
        raise Refused(1, f"invalid YAML: {error}") from error
    except (ValueError, OverflowError) as error:  # such as "\UFFFFFFFF"
        line = int(loader.line) + 1
        raise Refused(line, "invalid YAML: an escape that is not a character") from error


def dotted(path: DocumentPath) -> str:
    """
    Write *path* for people, such as ``accounts[2].role_arn``.

    Without the space after a colon, YAML takes an option and its value for the name of an option;
    only what is before the colon is shown.
    """
    parts = [f"[{part}]" if isinstance(part, int) else f".{_name(part)}" for part in path]
    return "".join(parts).removeprefix(".")


def _name(part: str) -> str:
    before, colon, _ = part.partition(":")
    return f"{before[:MAX_NAME]}{colon and ':...'}"
