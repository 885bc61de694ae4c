"""
Writes what the chart has from elsewhere in the repository, and what follows from its values.

    python -m tests.helm.generate

A chart can only read files within its directory, so that it has copies of the rules and dashboards.
"""

import json
from typing import Any

import yaml

from tests.helm.schema import values_schema
from tests.helm.values import CHART, ROOT, VALUES, Value, read_values
from tests.rules.alerts_table import limits
from tests.rules.files import ALERTS, EARLY, FILES, alerts

DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
ALERTS_BEGIN, ALERTS_END = "    # -- alerts: begin --\n", "    # -- alerts: end --\n"
TABLE_BEGIN, TABLE_END = "<!-- values: begin -->\n", "<!-- values: end -->\n"


def files() -> dict[str, str]:
    """Return the text of each generated file by its path in the chart."""
    values_file = _replace(
        VALUES.read_text(encoding="utf-8"), ALERTS_BEGIN, alert_values(), ALERTS_END
    )
    values = read_values(values_file)
    readme = (CHART / "README.md").read_text(encoding="utf-8")
    return {
        "values.yaml": values_file,
        "values.schema.json": json.dumps(values_schema(values), indent=1, ensure_ascii=False)
        + "\n",
        "README.md": _replace(readme, TABLE_BEGIN, table(values), TABLE_END),
        **{
            f"files/rules/{file.name}": file.read_text(encoding="utf-8") for file in (*FILES, EARLY)
        },
        **{
            f"files/dashboards/{file.name}": file.read_text(encoding="utf-8") for file in DASHBOARDS
        },
    }


def alert_values() -> str:
    """Return the values of the alerts, as the rule files have them; what is optional is off."""
    lines = []
    optional = alerts(EARLY)
    for name, rule in ALERTS.items():
        units = " and ".join(f"{number} {unit}" for number, unit in limits(rule))
        lines.append(
            f"    # {rule['annotations']['summary']}{f' Limit: {units}.' if units else ''}"
        )
        lines.append(f"    {name}: {{{', '.join(_settings(rule, enabled=name not in optional))}}}")
    return "".join(f"{line}\n" for line in lines)


def _settings(rule: dict[str, Any], *, enabled: bool) -> list[str]:
    numbers = [number for number, _ in limits(rule)]
    limit = numbers[0] if len(numbers) == 1 else f"[{', '.join(numbers)}]"
    return [
        f"enabled: {json.dumps(enabled)}",
        *([f"limit: {limit}"] if numbers else []),
        f"severity: {rule['labels']['severity']}",
        *([f"for: {rule['for']}"] if "for" in rule else []),
        *([f"keepFiringFor: {rule['keep_firing_for']}"] if "keep_firing_for" in rule else []),
    ]


def table(values: list[Value]) -> str:
    """Return the README's tables of values, one for each section of values.yaml."""
    lines: list[str] = []
    heading = ""
    for value in values:
        if value.heading != heading:
            heading = value.heading
            lines += ["", f"### {heading}", "", "| value | default | |", "|---|---|---|"]
        if value.has_parts and not value.text:
            continue
        default = "" if value.has_parts else f"`{_default(value.default)}`"
        lines.append(f"| `{value.path}` | {default} | {_cell(value.text)} |")
    return "\n".join([*lines, "", ""])


def _default(default: Any) -> str:
    if isinstance(default, str):
        return json.dumps(default, ensure_ascii=False) if default == "" else _cell(default)
    text = yaml.safe_dump(default, default_flow_style=True, sort_keys=False, width=10**9)
    return _cell(text.removesuffix("...\n").strip())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _replace(text: str, begin: str, new: str, end: str) -> str:
    """Return *text* with *new* between the lines *begin* and *end*."""
    head, _, rest = text.partition(begin)
    return f"{head}{begin}{new}{end}{rest.partition(end)[2]}"


def outdated() -> dict[str, str]:
    """Return those of the generated files that differ from what is in the repository."""
    return {
        path: text
        for path, text in files().items()
        if not (CHART / path).exists() or (CHART / path).read_text(encoding="utf-8") != text
    }


def main() -> None:
    for path, text in outdated().items():
        (CHART / path).parent.mkdir(parents=True, exist_ok=True)
        (CHART / path).write_text(text, encoding="utf-8")
        print((CHART / path).relative_to(ROOT))


if __name__ == "__main__":
    main()
