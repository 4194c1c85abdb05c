# make run    compresses the quickstart's network; ARGS="teacher=digits-resnet" changes the run
# make test   ruff, mypy, pytest
# make slow   the tests that take minutes: clusters on this machine, copies of all plugins, the wheel
# All make the virtual environment VENV first, and install pbkd anew when pyproject.toml changes.

VENV ?= .venv
PYTHON ?= python3
ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.pbkd-installed

.PHONY: run test slow

run: $(INSTALLED)
	$(BIN)/pbkd run $(ARGS)

test: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=worksteal

slow: $(INSTALLED)
	$(BIN)/pytest -m slow

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
