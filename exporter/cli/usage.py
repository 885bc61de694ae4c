"""What argparse says about flags that are wrong, in the words of our own messages."""

import difflib
import re
from collections.abc import Iterable

_INVALID_CHOICE = r"argument (\S+): invalid choice: (.+) \(choose from (.+)\)"

_REWORDED = (
    (r"argument (\S+): expected one argument", r"\1 requires a value"),
    (r"argument (\S+): ignored explicit argument (.+)", r"\1 has no value, but is given \2"),
    (r"argument (\S+): invalid int value: (.+)", r"\1 must be an integer, not \2"),
    (r"argument (\S+): not allowed with argument (\S+)", r"\1 cannot be combined with \2"),
    (r"argument (\S+): (.+)", r"\1 \2"),
)
"""argparse's messages, and ours."""


def reword(message: str) -> str:
    """Return argparse's *message* as we would write it."""
    choice = re.fullmatch(_INVALID_CHOICE, message)
    if choice is not None:
        name, given, known = choice.group(1), choice.group(2), choice.group(3).replace("'", "")
        if name == "SUBCOMMAND":
            given = given.strip("'")
            return f"unknown subcommand: {given}{suggestion(given, known.split(', '))}"
        return f"{name} must be one of {known}, not {given}"
    for theirs, ours in _REWORDED:
        found = re.fullmatch(theirs, message, re.DOTALL)
        if found is not None:
            return found.expand(ours).replace("-h/--help", "--help")
    return message


def suggestion(given: str, known: Iterable[str]) -> str:
    """Return a question for what of *known* is like *given*. Empty: nothing is."""
    close = difflib.get_close_matches(given, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""
