"""The queries of the documents are valid, and the demo exports what README.md shows."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter import demo
from tests.documents.markdown import Block, blocks, documents
from tests.servers import exporter, find, wait_until

SIMULATED_AWS = """
import sys, time
from pathlib import Path
from exporter import demo
Path(sys.argv[1]).write_text(demo.serve(wake_up=20.0).replace("interval: 15s", "interval: 1s"))
time.sleep(600)
"""


def queries(block: Block) -> Iterator[str]:
    """
    Yield the queries of *block*.

    A query ends with an empty line, or at the end of a line on which it could end, unless the next
    line is indented, closes a parenthesis or begins with a binary operator.
    """
    text = re.sub(r"(?m)^ *#.*\n?", "\n", block.text)
    for part in re.split(r"\n\s*\n", text):
        yield from re.split(r"\n(?!\s|\)|and\b|or\b|unless\b|on\b|[-+*/<>=])", part.strip("\n"))


FOUND = [
    (block, query)
    for document in documents()
    for block in blocks(document)
    if block.language == "promql"
    for query in queries(block)
    if query.strip()
]


@pytest.mark.process
def test_queries_are_valid() -> None:
    """promtool accepts every query of every document."""
    rules = [
        {
            "record": f"q{number}",
            "expr": query,
            "labels": {"place": f"{block.document}:{block.line}"},
        }
        for number, (block, query) in enumerate(FOUND)
    ]

    run = subprocess.run(
        [find("promtool"), "check", "rules", "/dev/stdin"],
        input=json.dumps({"groups": [{"name": "documents", "rules": rules}]}),
        check=False,
        capture_output=True,
        text=True,
    )

    assert len(FOUND) > 25
    assert "SUCCESS" in run.stdout, run.stderr


@pytest.mark.slow
def test_the_demo_exports_what_the_readme_shows(tmp_path: Path) -> None:
    """The demo exports the samples that README.md shows, but for key IDs and values in seconds."""
    (shown,) = (each for each in blocks("README.md") if "aws_iam_exporter_account_up" in each.text)
    file = tmp_path / "config.yaml"
    with subprocess.Popen(
        [sys.executable, "-c", SIMULATED_AWS, str(file)], stderr=subprocess.DEVNULL
    ) as simulated:
        try:
            wait_until(
                lambda: file.exists() and file.read_text().endswith("}\n"), "the demo serves"
            )
            with exporter(f"--config.file={file}", environment=demo.ENVIRONMENT) as running:
                awake = "aws_iam_access_key_used_after_idle_seconds{"
                wait_until(lambda: awake in running.get("/metrics"), "the dormant key is used", 90)
                page = running.get("/metrics").splitlines()
        finally:
            simulated.terminate()

    for line in shown.text.splitlines():
        sample, _, value = (
            re.escape(line).replace("AKIA\\.\\.\\.", "AKIA[A-Z0-9]{16}").rpartition("\\ ")
        )
        pattern = f"{sample} {value if value in '01' else '[0-9.]+'}"
        family = [each for each in page if each.startswith(line.partition("{")[0] + "{")]
        assert any(re.fullmatch(pattern, each) for each in family), (line, family)
