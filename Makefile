# The virtual environment VENV is made with PYTHON when it is missing. It has three levels of
# installation (run-time packages, the extra `dev`, the extra `dev-full`), each with a stamp file,
# and each is redone when pyproject.toml or a plugin's pyproject.toml changes.

VENV ?= .venv
PYTHON ?= python3
ARGS ?=

# Compiled modules are kept: the tests start hundreds of processes.
export PYTHONDONTWRITEBYTECODE :=

BIN := $(VENV)/bin
PROJECT := pyproject.toml hatch_build.py $(wildcard plugins/*/pyproject.toml)
RUN_TIME := $(VENV)/.pbkd-run-time
DEV := $(VENV)/.pbkd-dev
DEV_FULL := $(VENV)/.pbkd-dev-full
HUGGINGFACE := $(VENV)/.pbkd-huggingface

# Modules are compiled when they are imported first; pip would compile all of every package.
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --no-compile --editable
PYTEST := $(BIN)/pytest --numprocesses=auto --maxprocesses=4

# Unit tests are never slow, and take long to collect.
SLOW := tests/attack tests/authors tests/docs tests/integration plugins

.DEFAULT_GOAL := help
.PHONY: help install lint format types unit test slow docs run

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(DEV_FULL) ## install pbkd with everything that the targets below need

lint: $(DEV) ## check style and formatting (ruff)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

format: $(DEV) ## format the code and sort its imports (ruff)
	$(BIN)/ruff check --fix-only --select I
	$(BIN)/ruff format

types: $(DEV) ## check the types (mypy --strict)
	$(BIN)/mypy

unit: $(DEV) ## run the unit tests; ARGS are pytest's
	$(PYTEST) tests/unit $(ARGS)

ifeq ($(ARGS),)
test: $(DEV_FULL) ## lint, types and all tests that are not slow; ARGS=path runs that path only
	@$(MAKE) --no-print-directory lint types
	$(BIN)/pytest --numprocesses=4 --durations=20
else
test: $(DEV_FULL)
	$(BIN)/pytest $(ARGS)
endif

# More processes than cores by far: clusters and killed runs mostly wait. When one of them dies, the
# run fails at once: pytest-xdist 3.8 would wait forever for the process in its place.
slow: $(DEV_FULL) $(HUGGINGFACE) ## run the long tests: clusters, all plugins' copies, the wheel, long examples
	$(BIN)/pytest --numprocesses=6 --dist=loadgroup --max-worker-restart=0 --durations=20 -m slow $(or $(ARGS),$(SLOW))

docs: $(DEV_FULL) ## build the documentation's site in build/site
	$(BIN)/mkdocs build

run: $(RUN_TIME) ## run `pbkd run` with run-time packages only; ARGS are its arguments
	$(BIN)/pbkd run $(ARGS)

$(RUN_TIME): $(PROJECT)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) .
	touch $@

# A level holds the levels below it, so that these need no installation of their own.
$(DEV): $(PROJECT)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) '.[dev]'
	touch $(RUN_TIME) $@

# Only slow tests need it, and with its pandas all processes that import scikit-learn start later.
$(HUGGINGFACE): $(PROJECT) | $(DEV_FULL)
	$(PIP) '.[huggingface]'
	touch $@

$(DEV_FULL): $(PROJECT)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) '.[dev-full]'
	touch $(RUN_TIME) $(DEV) $@
