# make demo           a complete run on the embedded simulated engine, ending in a recommendation and serviceopt.csv
# make test           the test suite; a part of it: T=tests/daemon/domain/test_space.py::NAME, or words of tests' names, T='killed and daemon'
#                     COVERAGE=1: the suite with the branch coverage of the three packages, which may not fall (pyproject.toml)
# make test-versions  the unit tests on the other versions of Python that are here, and with the oldest dependencies that pyproject.toml allows
# make test-real      the suites against a real vLLM on the CPU (installs it: 3.4 GB)
# make chaos          every durable call of the journal and of a start, killed, torn or failed; the states that a power loss may
#                     leave; every bit, flipped; thousands of histories of the daemon with faults at random; 200 SIGKILLs of the real
#                     one; 20 minutes of hostile inputs; prints what was tried and what was left
# make lint           ruff, mypy --strict and bandit
# make security       what is known against the versions of .constraints.txt (pip-audit); says so where that cannot be asked
# make messages       every text that a user can see, with its place: for reading them all once
# make lock           newer versions for development, into .constraints.txt
# make install        the daemon as a systemd service, as root; make uninstall removes it (systemd/install.mk)
# make help           these lines

VENV ?= .venv
VENV_PYTHON ?= python3
T ?=
COVERAGE ?=
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check

.PHONY: chaos demo help lint lock messages security test test-real test-versions
.DEFAULT_GOAL := demo

$(VENV)/.run: pyproject.toml daemon/serviceoptd/__init__.py
	@echo "setting up $(VENV)"
	@$(VENV_PYTHON) -m venv $(VENV)
	@$(PIP) --editable .
	@touch $@

# The versions of .constraints.txt, so that a failing test is this tree's doing; the newest ones where those cannot be had here.
$(VENV)/.develop: pyproject.toml daemon/serviceoptd/__init__.py .constraints.txt
	@echo "setting up $(VENV) with what tests and linters need"
	@$(VENV_PYTHON) -m venv $(VENV)
	@$(PIP) --constraint .constraints.txt --editable '.[test,lint]' \
	  || { echo "not with the versions of .constraints.txt: with the newest"; $(PIP) --editable '.[test,lint]'; }
	@touch $@ $(VENV)/.run

demo: $(VENV)/.run
	SERVICEOPT_STATE_DIR=.demo $(BIN)/serviceoptctl run --standalone --watch -c docs/examples/demo.toml
	SERVICEOPT_STATE_DIR=.demo $(BIN)/serviceoptctl export -o serviceopt.csv

# T as paths or options goes to pytest as it is; anything else is an expression over the names of tests.
CHOSEN = $(if $(filter tests% -%,$(firstword $(T))),$(T),-k '$(T)')
SUITE := -m "not real" -n auto --dist loadfile
# The folders that mirror the three packages. Coverage doubles their processor time, and is measured in them alone.
MIRRORS := tests/journal tests/daemon tests/ctl

test: $(VENV)/.develop
ifneq ($(T),)
	$(BIN)/pytest -m "not real" $(CHOSEN)
else ifeq ($(COVERAGE),)
	$(BIN)/pytest $(SUITE) tests
else
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(SUITE) $(MIRRORS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/pytest $(SUITE) tests $(MIRRORS:%=--ignore=%)
endif

test-versions: $(VENV)/.develop
	VENV=$(VENV) bash tests/versions/run

test-real: $(VENV)/.develop
	PYTEST=$(BIN)/pytest bash tests/real/run

chaos: $(VENV)/.develop
	$(BIN)/python tests/crash/failing_disk.py
	$(BIN)/python tests/crash/losing_power.py
	$(BIN)/python tests/crash/flipping_bits.py
	$(BIN)/python tests/crash/planted_in_journal.py
	$(BIN)/python tests/crash/starts_on_failing_disk.py
	$(BIN)/python tests/crash/simulate.py --seeds 5000
	$(BIN)/python tests/crash/chaos.py --kills 200
	$(BIN)/python tests/fuzz/run.py --minutes 20
	$(BIN)/python tests/bench/endurance.py

lint: $(VENV)/.develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/bandit --quiet --recursive --configfile pyproject.toml journal daemon ctl

security: $(VENV)/.develop
	$(BIN)/python tests/security/audit.py

messages:
	@$(VENV_PYTHON) tests/messages.py

lock:
	@$(VENV_PYTHON) -m venv --clear .venv-lock
	@.venv-lock/bin/pip install --quiet --disable-pip-version-check --editable '.[test,lint]'
	@{ sed '/^[^#]/,$$d' .constraints.txt; .venv-lock/bin/pip freeze --exclude-editable; } >.constraints.new
	@mv .constraints.new .constraints.txt && rm -rf .venv-lock
	@git --no-pager diff --stat -- .constraints.txt

help:
	@sed -n '/^#/!q; s/^# //; s/^#/ /; p' $(firstword $(MAKEFILE_LIST))

include systemd/install.mk
