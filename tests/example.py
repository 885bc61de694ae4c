"""What config.example.yaml says about each option."""

import re
from collections.abc import Iterable
from itertools import takewhile
from pathlib import Path

import yaml

EXAMPLE = Path(__file__).parent.parent / "config.example.yaml"


def complete_example() -> str:
    """config.example.yaml with the examples that are commented out."""
    return re.sub(r"(?m)^#(?=\S|  )", "", EXAMPLE.read_text())


def comments(text: str) -> dict[str, str]:
    """
    Return the comment on each option in *text* by its path, such as ``users.include``.

    That is the one above it, with the same indentation, and the one that begins on its line.
    """
    lines, found = text.splitlines(), dict[str, str]()

    def commented(numbers: Iterable[int], column: int) -> list[str]:
        """Return the lines that have nothing but a comment, from *column* on, up to another."""
        texts = (lines[number] for number in numbers)
        return [*takewhile(lambda line: line.startswith(" " * column + "#"), texts)]

    def visit(node: yaml.Node, path: str) -> None:
        for child in node.value if isinstance(node, yaml.SequenceNode) else ():
            visit(child, path)
        for key, child in node.value if isinstance(node, yaml.MappingNode) else ():
            here, number = f"{path}.{key.value}".lstrip("."), key.start_mark.line
            column = lines[number].find(" #") + 1
            own = [lines[number][column:]] if column else []
            below = commented(range(number + 1, len(lines)), column) if column else []
            above = commented(range(number - 1, -1, -1), key.start_mark.column)
            of = [line.strip(" #") for line in (*reversed(above), *own, *below)]
            found.setdefault(here, "\n".join(of))
            visit(child, here)

    root = yaml.compose(text)
    assert root is not None
    visit(root, "")
    return found
