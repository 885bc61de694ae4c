# make demo        try it: a make-believe AWS of four accounts, no credentials needed
# make demo-stack  the same with Prometheus and Alertmanager, until an alert arrives
# make test        everything that has to hold: lint, types, tests
# make bench       what is claimed of speed, measured side by side
# make format      put the source in order
# make clean       forget everything that was made

PYTHON ?= python3
VENV ?= .venv
LISTEN ?= 127.0.0.1:10064

.PHONY: demo demo-stack test bench format clean

demo: $(VENV)/demo
	$(VENV)/bin/aws-iam-key-exporter --demo --web.listen-address=$(LISTEN)

demo-stack: $(VENV)/demo
	$(VENV)/bin/python deploy/demo_stack.py

test: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pytest

bench: $(VENV)/dev
	$(VENV)/bin/python -m tests.bench
	$(VENV)/bin/python -m tests.bench_dashboards

format: $(VENV)/dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(VENV)/%: pyproject.toml
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@
