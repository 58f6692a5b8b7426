.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--editable ./client --editable '.[dev]'

.venv/installed: pyproject.toml client/pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) --constraint constraints.txt
	touch $@

serve: .venv/installed ## install if need be, then serve on http://localhost:8000
	$(BIN)/weakpoints serve

# Tests that share a service, a browser or a cluster stay in one worker, each with one thread. One
# worker more than cores: a third of a test's time is waiting for processes that it started.
CORES := $(shell getconf _NPROCESSORS_ONLN)
PARALLEL = --numprocesses $(shell expr $(CORES) + 1) --maxprocesses 4 --dist loadgroup

test: .venv/installed ## every test, with coverage
	$(BIN)/python -m pytest $(PARALLEL) --cov --cov-fail-under=98

check: .venv/installed ## the gates: lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: .venv/installed ## start the service, send it a photograph, look at the answer in demo/
	$(BIN)/python tests/demo.py

docs: .venv/installed ## the documentation as a site in docs/_build/html, and what it says checked
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	$(BIN)/python -m docs.check

# torch pins the last three kinds itself. What was tested is pinned: run `make test` before a commit.
constraints: ## the newest version of every dependency, into .venv and constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) --upgrade --upgrade-strategy eager
	$(BIN)/python -m pip freeze --exclude-editable \
		| grep -v -E '@|^(cuda-|nvidia-|triton=)' > constraints.txt
	touch .venv/installed

.PHONY: help serve test check demo docs constraints
