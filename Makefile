# The word after `##` describes a target in `make help`.

PYTHON ?= python3
VENV ?= .venv
LISTEN ?= 127.0.0.1:10064

BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --numprocesses=auto --dist=loadgroup
# CI sets this. It makes the tests take half as long again, and a part of them does not reach the
# coverage that all are held to.
COVERAGE ?=

.DEFAULT_GOAL := help
.PHONY: help demo demo-stack test unit test-slow lint types format generate bench soak constraints lock dist sbom audit clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14
	@echo
	@echo "unit, test and test-slow pass ARGS to pytest: make unit ARGS='-k rate_limiter -x'"

demo: $(VENV)/demo  ## run the exporter against a simulated AWS; no AWS account needed
	$(BIN)/aws-iam-key-exporter --demo --web.listen-address=$(LISTEN)

demo-stack: $(VENV)/demo  ## the same with Prometheus and Alertmanager, until an alert arrives
	$(BIN)/python deploy/demo_stack.py

test: $(VENV)/dev  ## lint, types, and all tests that are not slow
	@start=$$(date +%s); \
	$(MAKE) --no-print-directory lint types && \
	$(PYTEST) -m "not slow and not history" $(COVERAGE) $(ARGS) && \
	echo "make test took $$(($$(date +%s) - start)) s"

unit: $(VENV)/dev  ## the tests that start no other program; for the inner loop
	$(PYTEST) -m "not slow and not process" $(ARGS)

test-slow: $(VENV)/dev  ## the tests of the whole system, and longer random histories
	HYPOTHESIS_PROFILE=long $(PYTEST) -m "slow or history" --timeout=1200 $(ARGS)

lint: $(VENV)/dev  ## ruff (rules and format) and codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types: $(VENV)/dev  ## mypy --strict
	$(BIN)/mypy

format: $(VENV)/dev  ## fix what ruff can fix, and format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

GENERATORS := tests.generate tests.rules.alerts_table grafana.generate tests.helm.generate

generate: $(VENV)/dev  ## write all generated files, such as dashboards and the tables of metrics
	@for module in $(GENERATORS); do $(BIN)/python -m $$module || exit; done

bench: $(VENV)/dev  ## measure the performance claims
	$(BIN)/python -m tests.bench
	$(BIN)/python -m tests.bench_organization
	$(BIN)/python -m tests.bench_dashboards
	$(BIN)/python -m tests.bench_rules

soak: $(VENV)/dev  ## two simulated weeks of 1000 accounts with every fault: nothing grows
	$(BIN)/python -m tests.soak

constraints:  ## pin the newest version of every dependency in constraints.txt, then make lock
	@venv=$$(mktemp -d) && trap 'rm -rf "$$venv"' EXIT && \
	$(PYTHON) -m venv "$$venv" && \
	"$$venv/bin/python" -m pip install --disable-pip-version-check --editable '.[dev]' && \
	{ echo "# The versions that CI tests. Written by make constraints."; \
	  "$$venv/bin/python" -m pip freeze --exclude-editable; } > constraints.txt
	@$(MAKE) --no-print-directory lock

# For every platform, so that the image can be built for each, from the versions that CI tests.
LOCK = "$$venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-config --constraint constraints.txt

lock:  ## write the locks, with hashes, from constraints.txt
	@venv=$$(mktemp -d) && trap 'rm -rf "$$venv"' EXIT && \
	$(PYTHON) -m venv "$$venv" && \
	"$$venv/bin/python" -m pip install --disable-pip-version-check --quiet uv && \
	{ echo "# What the image contains besides the exporter. Written by make lock."; \
	  $(LOCK) --extra postgres pyproject.toml; } > "$$venv/requirements.lock" && \
	{ echo "# What builds the sdist and the wheel. Written by make lock."; \
	  echo hatchling | $(LOCK) -; } > "$$venv/requirements-build.lock" && \
	{ echo "# What writes the SBOM of a release. Written by make lock."; \
	  echo cyclonedx-bom | $(LOCK) -; } > "$$venv/requirements-sbom.lock" && \
	cp "$$venv"/*.lock .

dist:  ## build the sdist and the wheel of the current commit, reproducibly, in dist
	@PYTHON=$(PYTHON) .ci/dist

sbom:  ## write a CycloneDX SBOM of the image's packages to dist
	@PYTHON=$(PYTHON) .ci/sbom

audit:  ## look up known vulnerabilities of the locked packages, in public databases
	@venv=$$(mktemp -d) && trap 'rm -rf "$$venv"' EXIT && \
	$(PYTHON) -m venv "$$venv" && \
	"$$venv/bin/python" -m pip install --disable-pip-version-check --quiet pip-audit && \
	"$$venv/bin/pip-audit" --disable-pip --strict --require-hashes $(patsubst %,--requirement %,$(wildcard *.lock))

clean:  ## remove the virtual environment, caches and build products
	rm -rf $(VENV) build dist *.egg-info .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache

# The virtual environment. It is created again if it was created by another version of Python or
# for another directory (the editable install refers to it), or if it does not run.

PYTHON_VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || echo missing)
CREATED_FOR := Python $(PYTHON_VERSION) in $(CURDIR)
CREATED := $(VENV)/created-for

ifneq ($(shell $(BIN)/python -c '' 2>/dev/null && cat $(CREATED) 2>/dev/null),$(CREATED_FOR))
.PHONY: $(CREATED)
endif

$(CREATED):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo \
	  "Python 3.11 or newer is required, but $(PYTHON) is $(PYTHON_VERSION)." \
	  "Set PYTHON, for example: make PYTHON=python3.13" >&2; exit 1; }
	@rm -rf $(VENV)
	@$(PYTHON) -m venv $(VENV)
	@echo "$(CREATED_FOR)" > $@

$(VENV)/dev $(VENV)/demo: pyproject.toml constraints.txt $(CREATED)
	@echo "Installing aws-iam-key-exporter[$(@F)] and its dependencies into $(VENV) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --no-input \
	  --constraint constraints.txt --editable '.[$(@F)]'
	@touch $@
