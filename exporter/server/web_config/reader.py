"""Reads the nodes of a YAML document, by what is expected, and collects problems."""

import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

import yaml

from exporter.server.web_config import durations, go_yaml

T = TypeVar("T")
Read = Callable[[yaml.Node, str], T]
"""Reads a node that is at a path such as ``rate_limit.burst``."""

MAX_ENTRIES: Final = 100_000
"""Of all mappings, with those that they merge. Aliases of aliases could be more than any number."""


class _Entry(NamedTuple):
    """A name and its value."""

    name: str
    key: yaml.ScalarNode
    value: yaml.Node


@dataclass(frozen=True, slots=True)
class Problem:
    """
    One problem with a web configuration file.

    Attributes:
        line: Counted from 1.
        path: Such as ``tls_server_config.cert_file``. Empty for the file itself.
    """

    line: int
    path: str
    text: str


class Reader:
    """
    Reads nodes as Go's package yaml does.

    Each method is given a node and its path, such as ``rate_limit.burst``. What is not as expected
    becomes a problem, and a value that has no meaning.

    Attributes:
        problems: Those that were found.
    """

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._open: set[int] = set()
        """The identities of the mappings that are being read."""
        self._entries_left = MAX_ENTRIES

    def mapping(
        self, node: yaml.Node | None, path: str, fields: Mapping[str, Read[Any]]
    ) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name, key, value in self.entries(node, path):
            at = f"{path}.{name}" if path else name
            if name not in fields:
                close = difflib.get_close_matches(name[:100], fields, n=1)
                suggestion = f"; did you mean {close[0]}?" if close else ""
                self.problem(key, at, f"unknown field{suggestion}")
            elif go_yaml.is_null(value):
                values.pop(name, None)
            else:
                values[name] = fields[name](value, at)
        return values

    def entries(
        self, node: yaml.Node | None, path: str, names: set[str] | None = None
    ) -> Iterator[_Entry]:
        """
        Yield the entries of a mapping, and those that it merges (``<<``), each in its place.

        The last one of a name has priority.

        Args:
            names: Those that are set. None: a mapping may set what another one sets that it merges.
        """
        if node is None or go_yaml.is_null(node):
            return
        if not isinstance(node, yaml.MappingNode):
            self.problem(node, path, "must be a mapping")
        elif id(node) in self._open:
            self.problem(node, path, "contains itself")
        else:
            self._open.add(id(node))
            own = set() if names is None else names
            for key, value in node.value:
                yield from self._entry(key, value, path, own, names)
            self._open.remove(id(node))

    def _entry(
        self, key: yaml.Node, value: yaml.Node, path: str, own: set[str], names: set[str] | None
    ) -> Iterator[_Entry]:
        self._entries_left -= 1
        if self._entries_left <= 0:
            if self._entries_left == 0:
                self.problem(key, path, "has too many aliases")
        elif not isinstance(key, yaml.ScalarNode):
            self.problem(key, path, "a name must be text")
        elif go_yaml.is_merge(key):
            sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for source in reversed(sources):  # the first one has priority
                if go_yaml.is_null(source):
                    self.problem(source, path, "<< needs a mapping")
                yield from self.entries(source, path, names)
        else:
            name = self.text(key, path)
            if name in own:
                self.problem(key, path, f"{name} is set twice")
            own.add(name)
            yield _Entry(name, key, value)

    def list_of(self, read: Read[T]) -> Read[tuple[T, ...]]:
        def read_list(node: yaml.Node, path: str) -> tuple[T, ...]:
            if not isinstance(node, yaml.SequenceNode):
                self.problem(node, path, "must be a list")
                return ()
            return tuple(read(item, f"{path}[{index}]") for index, item in enumerate(node.value))

        return read_list

    def one_of(self, values: tuple[str, ...]) -> Read[str]:
        def read_one_of(node: yaml.Node, path: str) -> str:
            text = self.text(node, path)
            if text not in values:
                known = ", ".join(filter(None, values))
                self.problem(node, path, f"must be one of {known}, not {text!r}")
            return text

        return read_one_of

    def text(self, node: yaml.Node, path: str) -> str:
        """A number or truth value is text, too."""

        def text(value: go_yaml.Scalar) -> str:
            if value is None:
                return ""
            return value if isinstance(value, str) else str(node.value)

        return self._converted(node, path, text, "must be text") or ""

    def boolean(self, node: yaml.Node, path: str) -> bool:
        def boolean(value: go_yaml.Scalar) -> bool | None:
            return value if isinstance(value, bool) else None

        return self._converted(node, path, boolean, "must be true or false") or False

    def integer(self, node: yaml.Node, path: str) -> int:
        return self._converted(node, path, go_yaml.integer, "must be a whole number") or 0

    def duration(self, node: yaml.Node, path: str) -> float:
        def seconds(value: go_yaml.Scalar) -> float | None:
            nanoseconds = go_yaml.integer(value)
            if nanoseconds is not None:
                return nanoseconds / 1e9
            return durations.parse(value) if isinstance(value, str) else None

        expected = "must be a duration such as 500ms, 10s or 1m30s"
        if isinstance(node, yaml.ScalarNode):
            expected += f", not {node.value!r}"
        return self._converted(node, path, seconds, expected) or 0.0

    def _converted(
        self,
        node: yaml.Node,
        path: str,
        convert: Callable[[go_yaml.Scalar], T | None],
        expected: str,
    ) -> T | None:
        """Return what *convert* returns. None, and so a problem: it is not what is expected."""
        if isinstance(node, yaml.ScalarNode):
            try:
                converted = convert(go_yaml.scalar(node))
            except ValueError as error:
                expected = str(error)
            else:
                if converted is not None:
                    return converted
        self.problem(node, path, expected)
        return None

    def problem(self, node: yaml.Node, path: str, text: str) -> None:
        line = node.start_mark.line + 1 if node.start_mark is not None else 1
        self.problems.append(Problem(line, path, text))
