"""The Markdown documents of the repository: their headings, links and blocks of code."""

import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FENCE = re.compile(r"^( *)```([\w-]*)$")
HEREDOC = re.compile(r"<<-?\s*(['\"]?)(\w+)\1")
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\]|!\[[^\]]*\]\([^)]*\))*\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """
    A block of code.

    Attributes:
        line: The number of its first line.
        language: What the fence names. Blocks that are indented, not fenced, are ``sh``.
    """

    document: str
    line: int
    language: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """
    A command for a shell.

    Attributes:
        document: The path of the document, from the root of the repository.
        output: What the document shows as its output. Empty: nothing.
    """

    document: str
    line: int
    text: str
    output: str = ""

    @property
    def place(self) -> str:
        return f"{self.document}:{self.line}"


def documents() -> list[str]:
    """Return the paths of all Markdown documents, from the root of the repository."""
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(str(path) for path in found if not any(map(_is_foreign, path.parts)))


def _is_foreign(part: str) -> bool:
    """Whether a directory of this name has files that are not the repository's."""
    hidden = part.startswith(".") and part != ".github"
    return hidden or part in ("build", "dist", "node_modules", "site-packages")


def read(document: str) -> str:
    return (ROOT / document).read_text(encoding="utf-8")


def blocks(document: str) -> Iterator[Block]:
    """Yield the blocks of code of *document*, without their indentation."""
    lines = [*read(document).splitlines(), ""]
    number = 0
    while number < len(lines):
        first, number = number, number + 1
        opening = FENCE.match(lines[first])
        if opening is not None:
            while lines[number].strip() != "```":
                number += 1
                assert number < len(lines), f"{document}:{first + 1}: the block does not end"
            text, number = "\n".join(lines[first + 1 : number]), number + 1
            yield Block(document, first + 2, opening.group(2), textwrap.dedent(text))
        elif _begins_indented_code(lines, first):
            while lines[number].startswith("    ") or (
                not lines[number] and lines[number + 1 : number + 2] > ["    "]
            ):
                number += 1
            yield Block(document, first + 1, "sh", textwrap.dedent("\n".join(lines[first:number])))


def _begins_indented_code(lines: list[str], number: int) -> bool:
    if not lines[number].startswith("    ") or number == 0 or lines[number - 1]:
        return False
    before = next((line for line in reversed(lines[:number]) if line), "")
    return re.match(r" |[-*] |\d+\. ", before) is None  # else it continues an item of a list


def prose(document: str) -> str:
    """Return *document* without its blocks of code, and without code within lines."""
    kept, inside = [], False
    for line in read(document).splitlines():
        if FENCE.match(line):
            inside = not inside
        elif not inside:
            kept.append(line)
    return re.sub(r"`[^`]*`", "`code`", "\n".join(kept))


def links(document: str) -> list[str]:
    """Return the targets of all links and pictures of *document*."""
    text = prose(document)
    pictures = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", text)
    return [match.group("target") for match in LINK.finditer(text)] + pictures


def anchors(document: str) -> set[str]:
    """Return the anchors that GitHub gives the headings of *document*."""
    seen: Counter[str] = Counter()
    found = set()
    inside = False
    for line in read(document).splitlines():
        if FENCE.match(line):
            inside = not inside
        heading = re.match(r"#{1,6} +(.*?) *#*$", line)
        if heading is None or inside:
            continue
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.group(1))
        anchor = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def commands() -> list[Command]:
    """Return every command of every document, in the order of the documents."""
    return [
        command
        for document in documents()
        for block in blocks(document)
        if block.language in ("sh", "bash", "console")
        for command in commands_of(block)
    ]


def commands_of(block: Block) -> Iterator[Command]:
    """
    Yield the commands of *block*.

    In a ``console`` block, those are the lines after ``$ ``, and what follows is their output.
    """
    lines = block.text.splitlines()
    number = 0
    while number < len(lines):
        first = number
        line = lines[number]
        number += 1
        if block.language == "console":
            assert line.startswith("$ "), f"{block.document}:{block.line}: begins without $"
            line = line.removeprefix("$ ")
        while _is_incomplete(line) and number < len(lines):
            line, number = f"{line}\n{lines[number]}", number + 1
        output = []
        while block.language == "console" and number < len(lines) and lines[number][:2] != "$ ":
            output.append(lines[number])
            number += 1
        if line.strip() and not line.lstrip().startswith("#"):
            yield Command(block.document, block.line + first, line, "\n".join(output).strip("\n"))


def _is_incomplete(text: str) -> bool:
    """Whether the shell would read another line before it runs *text*."""
    if text.endswith("\\"):
        return True
    heredoc = HEREDOC.search(text)
    if heredoc is not None:
        return heredoc.group(2) not in [line.strip() for line in text.split("\n")[1:]]
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return True
    return False
