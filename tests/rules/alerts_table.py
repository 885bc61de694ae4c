"""
The README's table of alerts, as the rules have them.

    python -m tests.rules.alerts_table    # rewrite the table
"""

import re
from typing import Any

from tests.rules.files import ALERTS, PROMETHEUS

README = PROMETHEUS / "README.md"
BEGIN = "<!-- alerts: python -m tests.rules.alerts_table -->\n"
END = "<!-- end of alerts -->\n"

LIMIT = re.compile(r"^ *> (?:on \([\w, ]+\) )?([\d.]+)[^#\n]*  # (.+)$", re.MULTILINE)
"""A limit and its unit, on a line of an expression of its own."""


def limits(rule: dict[str, Any]) -> list[tuple[str, str]]:
    """Return each limit in the expression of an alert with the comment beside it."""
    return LIMIT.findall(rule["expr"])


def alerts_table() -> str:
    lines = ["| alert | summary | limit | for | severity |", "|---|---|---|---|---|"]
    for name, rule in ALERTS.items():
        cells = [
            f"[`{name}`](runbooks/{name}.md)",
            rule["annotations"]["summary"],
            "<br>".join(f"{number} {unit}" for number, unit in limits(rule)),
            rule.get("for", ""),
            rule["labels"]["severity"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    head, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    README.write_text(f"{head}{BEGIN}{alerts_table()}{END}{tail}", encoding="utf-8")
