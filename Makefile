.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

.venv/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

serve: .venv/installed ## install if need be, then serve on http://localhost:8000
	$(BIN)/weakpoints serve

test: .venv/installed ## every test, with coverage
	$(BIN)/python -m pytest --cov --cov-fail-under=98

check: .venv/installed ## the gates: lint, format, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: .venv/installed ## start the service, send it a photograph, look at the answer in demo/
	$(BIN)/python tests/demo.py

docs: .venv/installed ## the documentation as a site in docs/_build/html, and what it says checked
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet docs docs/_build/html
	$(BIN)/python -m docs.check

.PHONY: help serve test check demo docs
