"""
Writes the dashboards, or checks that they are up to date.

    python -m grafana.generate [--check]
"""

import argparse
import json
import sys
from pathlib import Path

from grafana.account import account
from grafana.exporter_health import exporter_health
from grafana.fleet import fleet
from grafana.key import key

ROOT = Path(__file__).parent.parent


def files() -> dict[str, str]:
    """The content of each generated file, by its path in the repository."""
    dashboards = {
        "fleet": fleet(),
        "account": account(),
        "key": key(),
        "exporter": exporter_health(),
    }
    return {
        f"grafana/dashboards/{name}.json": json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        for name, board in dashboards.items()
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the dashboards.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing, fail if a file is out of date"
    )
    check = parser.parse_args().check
    code = 0
    for name, content in files().items():
        path = ROOT / name
        if path.exists() and path.read_text(encoding="utf-8") == content:
            continue
        if check:
            print(f"{name} is out of date: run python -m grafana.generate", file=sys.stderr)
            code = 1
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            print(name)
    return code


if __name__ == "__main__":
    sys.exit(main())
