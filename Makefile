# make demo       a complete run on the embedded simulated engine, ending in a recommendation and serviceopt.csv
# make test       the test suite
# make test-real  the suites against a real vLLM on the CPU (installs it: 3.4 GB)
# make lint       ruff and mypy --strict
# make install    the daemon as a systemd service, as root (systemd/install.mk)

VENV ?= .venv
VENV_PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: demo test test-real lint
.DEFAULT_GOAL := demo

$(VENV)/.run: pyproject.toml
	@echo "setting up $(VENV)"
	@$(VENV_PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.develop: pyproject.toml
	@echo "setting up $(VENV) with what tests and linters need"
	@$(VENV_PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run
	SERVICEOPT_STATE_DIR=.demo $(BIN)/serviceoptctl run --standalone --watch -c docs/examples/demo.toml
	SERVICEOPT_STATE_DIR=.demo $(BIN)/serviceoptctl export -o serviceopt.csv

test: $(VENV)/.develop
	$(BIN)/pytest -n auto --dist loadfile -m "not real" tests

test-real: $(VENV)/.develop
	PYTEST=$(BIN)/pytest bash tests/real/run

lint: $(VENV)/.develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

include systemd/install.mk
