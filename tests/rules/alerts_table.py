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


def threshold(rule: dict[str, Any]) -> tuple[str, str] | None:
    """Return the name and default value of an alert's threshold in thresholds.yaml."""
    found = re.search(
        r"aws_iam:(\w+_threshold_\w+)\[1h\]\) or on \(\) vector\((.+?)\)", rule["expr"]
    )
    return (found[1], found[2]) if found else None


def alerts_table() -> str:
    lines = ["| alert | summary | threshold | for | severity |", "|---|---|---|---|---|"]
    for name, rule in ALERTS.items():
        used = threshold(rule)
        cells = [
            f"[`{name}`](runbooks/{name}.md)",
            rule["annotations"]["summary"],
            f"`{used[0]}`: {used[1]}" if used else "",
            rule.get("for", ""),
            rule["labels"]["severity"],
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    head, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    README.write_text(f"{head}{BEGIN}{alerts_table()}{END}{tail}", encoding="utf-8")
