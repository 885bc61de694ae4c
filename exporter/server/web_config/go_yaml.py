"""
YAML as Go's package yaml, version 2, reads it.

It is YAML 1.1 with exceptions: which scalars are numbers, where tabs may stand, what a tag converts
and in which order merged mappings apply.

Source: go.yaml.in/yaml/v2, resolve.go, decode.go and scannerc.go
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

import yaml

Scalar = None | bool | int | float | str

_TAG: Final = "tag:yaml.org,2002:"
STRING: Final = f"{_TAG}str"
BINARY: Final = f"{_TAG}binary"
MERGE: Final = f"{_TAG}merge"
NULL, BOOLEAN, INTEGER, FLOAT, TIMESTAMP = (
    f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "timestamp")
)
CONVERTED: Final = ("", NULL, BOOLEAN, INTEGER, FLOAT, TIMESTAMP)
"""The tags that convert a scalar. A plain scalar has none; any other tag has no effect."""

WORDS: Final[Mapping[str, tuple[str, Scalar]]] = (
    dict.fromkeys(("", "~", "null", "Null", "NULL"), (NULL, None))
    | {
        form: (BOOLEAN, word in ("y", "yes", "true", "on"))
        for word in ("y", "yes", "true", "on", "n", "no", "false", "off")
        for form in (word, word.capitalize(), word.upper())
    }
    | {word: (FLOAT, float("nan")) for word in (".nan", ".NaN", ".NAN")}
    | {
        f"{sign}{word}": (FLOAT, float(f"{sign}inf"))
        for sign in ("", "+", "-")
        for word in (".inf", ".Inf", ".INF")
    }
)
"""The words that are no text."""

WHOLE: Final = re.compile(
    r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)", re.ASCII
)
DECIMAL: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
DATE: Final = re.compile(
    r"\d{4}-\d{1,2}-\d{1,2}"
    r"([Tt]\d{1,2}:\d{1,2}:\d{1,2}(\.\d+)?(Z|[-+]\d\d:\d\d)| \d{1,2}:\d{1,2}:\d{1,2}(\.\d+)?)?",
    re.ASCII,
)
SURROGATE: Final = re.compile("[\ud800-\udfff]")
BLANKS: Final = " \t"
LINE_BREAKS: Final = "\0\r\n\x85\u2028\u2029"
"""The characters that end a line, or the file."""

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**63 - 1
MAX_UNSIGNED: Final = 2**64 - 1
MAX_DIGITS: Final = 100
"""More than a number of 64 bits has in any notation."""


def compose(data: bytes) -> yaml.Node | None:
    """
    Return the first document of a text, which is None if it is empty.

    The tag of a scalar is what the text says: empty for a plain one without a tag.

    Raises:
        yaml.YAMLError: The text is not YAML.
        RecursionError: It is nested too deeply.
    """
    loader = _Loader(data)
    node: yaml.Node | None = loader.get_node() if loader.check_node() else None
    return node


class _Loader(yaml.SafeLoader):
    """Reads nodes and leaves the meaning of scalars to others."""

    def scan_to_next_token(self) -> None:
        # Tabs are white space, except where they would indent.
        while True:
            super().scan_to_next_token()
            if self.peek() != "\t" or (self.allow_simple_key and not self.flow_level):
                return
            self.forward()

    def scan_plain_spaces(self, indent: int, start_mark: Any) -> Any:
        length = 0
        while self.peek(length) in BLANKS:
            length += 1
        blanks = self.prefix(length)
        self.forward(length)
        if self.peek() in LINE_BREAKS:
            return super().scan_plain_spaces(indent, start_mark)
        return [blanks] if blanks else []

    def scan_flow_scalar(self, style: str) -> Any:
        token = super().scan_flow_scalar(style)
        if SURROGATE.search(token.value):
            raise yaml.scanner.ScannerError(
                None, None, "found invalid Unicode character escape code", token.start_mark
            )
        return token

    def scan_directive(self) -> Any:
        token = super().scan_directive()
        problem = ""
        if token.name not in ("YAML", "TAG"):
            problem = "found unknown directive name"
        elif token.name == "YAML" and token.value != (1, 1):
            problem = "found incompatible YAML document"
        if problem:
            raise yaml.scanner.ScannerError(None, None, problem, token.start_mark)
        return token

    def compose_scalar_node(self, anchor: Any) -> yaml.ScalarNode:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        node: yaml.ScalarNode = super().compose_scalar_node(anchor)
        node.tag = event.tag or ("" if event.implicit[0] else STRING)
        return node


def is_merge(name: yaml.ScalarNode) -> bool:
    """Return whether *name* stands for the names of another mapping (``<<``)."""
    return name.value == "<<" and name.tag in ("", "!", MERGE)


def scalar(node: yaml.ScalarNode) -> Scalar:
    """
    Return what a scalar means. A timestamp is text.

    Raises:
        ValueError: It cannot have the tag that it has. The message is a sentence.
    """
    text: str = node.value
    if node.tag == BINARY:
        try:
            return b64decode(re.sub(r"[\r\n]", "", text), validate=True).decode()
        except ValueError as error:
            raise ValueError("must be text in base64") from error
    if node.tag not in CONVERTED:
        return text
    tag, value = _resolve(text, node.tag)
    if node.tag == FLOAT and tag == INTEGER and isinstance(value, int):
        return float(value)
    if node.tag not in ("", tag):
        raise ValueError(f"must be what its tag !!{node.tag.removeprefix(_TAG)} says")
    return value


def is_null(node: yaml.Node) -> bool:
    """Return whether *node* means that there is no value."""
    try:
        return isinstance(node, yaml.ScalarNode) and scalar(node) is None
    except ValueError:
        return False


def integer(value: Scalar) -> int | None:
    """Return the whole part of a number that has 64 bits. None: it is no such number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, int):
        return value if value <= MAX_INTEGER else None
    if not value <= 2.0**63:  # not a number, too
        return None
    return int(value) if MIN_INTEGER <= value < 2.0**63 else MIN_INTEGER


def _resolve(text: str, tag: str) -> tuple[str, Scalar]:
    """Return the tag and the value of a scalar."""
    if text in WORDS:
        return WORDS[text]
    if tag in ("", TIMESTAMP) and DATE.fullmatch(text):
        return TIMESTAMP, text
    if not re.match(r"[-+0-9.]", text):
        return STRING, text
    plain = text if text.startswith(".") else text.replace("_", "")
    if len(plain) <= MAX_DIGITS and WHOLE.fullmatch(plain):
        number = int(re.sub(r"^([-+]?)0(?=[0-7])", r"\g<1>0o", plain), 0)
        if MIN_INTEGER <= number <= (MAX_UNSIGNED if plain[0] not in "+-" else MAX_INTEGER):
            return INTEGER, number
    if DECIMAL.fullmatch(plain) and abs(float(plain)) != float("inf"):
        return FLOAT, float(plain)
    return STRING, text
