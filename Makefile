# Every target sets up .venv by itself. Needed: Python >= 3.11 with pip, and make.
#   make test PYTHON=/path/to/python3    chooses the interpreter
#   make test ARGS="-k cron -x"          hands arguments to pytest
#   make test JOBS=0                     runs the tests in one process instead of two
#   make chaos ARGS="cycles --seed 7"    kills processes on real stores; --help lists the rest
#   make simulate ARGS="--seed 7"        simulates nodes while everything fails; --help lists the rest
#   make model ARGS="--stores memory,sqlite" compares stores under random edits, ends and deaths
PYTHON ?=
ARGS ?=
JOBS ?= 2
export PYTHON

run := .venv/bin/python
sources := asyncsched tests $(wildcard examples benchmarks)

.PHONY: demo test check lint types coverage chaos model simulate bench bench-triggers clean
.DELETE_ON_ERROR:

test: .venv/.ready
	@$(run) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

demo: .venv/.ready
	@$(run) examples/demo.py $(ARGS)

check: lint types coverage

lint: .venv/.ready
	$(run) -m ruff check .
	$(run) -m ruff format --check .
	$(run) -m flake8 $(sources)
	.venv/bin/lint-imports --no-logo

types: .venv/.ready
	$(run) -m mypy
	$(run) -m pyright
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(run) -m pyright --verifytypes asyncsched --ignoreexternal

coverage: .venv/.ready
	$(run) -m coverage erase
	$(run) -m coverage run -m pytest -n $(JOBS) --dist worksteal $(ARGS)
	$(run) -m coverage combine --quiet
	$(run) -m coverage report --fail-under=95

chaos: .venv/.ready
	@$(run) -m tests.chaos $(ARGS)

model: .venv/.ready
	@$(run) -m tests.model $(ARGS)

simulate: .venv/.ready
	@$(run) -m tests.simulation $(ARGS)

bench: .venv/.ready
	@$(run) benchmarks/run.py $(ARGS)

bench-triggers: .venv/.ready
	@$(run) benchmarks/cron_triggers.py $(ARGS)

.venv/.ready: pyproject.toml .ci/setup
	@sh .ci/setup

clean:
	rm -rf .venv .bench .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
