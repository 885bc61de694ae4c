"""
Writes the dashboards and their recording rules, or compares them with what is there.

    python -m grafana.generate [--check]
"""

import json
import sys
from pathlib import Path

from grafana.account import account
from grafana.exporter import exporter
from grafana.fleet import fleet
from grafana.key import key
from grafana.rules import rules

REPOSITORY = Path(__file__).parent.parent
RULES = "deploy/prometheus/rules/dashboards.yaml"


def files() -> dict[str, str]:
    """Give the text of each file, by its path in the repository."""
    made = {"fleet": fleet(), "account": account(), "key": key(), "exporter": exporter()}
    texts = {
        f"grafana/dashboards/{name}.json": json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        for name, board in made.items()
    }
    return {**texts, RULES: rules()}


def main() -> int:
    different = 0
    for name, text in files().items():
        file = REPOSITORY / name
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv[1:]:
            print(f"{name} is not what grafana/ makes: python -m grafana.generate", file=sys.stderr)
            different = 1
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(name)
    return different


if __name__ == "__main__":
    sys.exit(main())
