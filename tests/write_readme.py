"""Write the README's table of metrics anew: ``python -m tests.write_readme``."""

from tests.test_docs import BEGIN, END, README, ROOT, metric_table

head, _, rest = README.partition(BEGIN)
tail = rest.partition(END)[2]
(ROOT / "README.md").write_text(f"{head}{BEGIN}{metric_table()}{END}{tail}")
