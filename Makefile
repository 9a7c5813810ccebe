# Every target sets up what it needs, once: a fresh checkout and `make demo` is all it takes.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test test-all lint bench docs clean

help:
	@echo "make demo      set up, train on built-in dates, score, draw the attention (a minute or two)"
	@echo "make test      set up and run the tests of every change"
	@echo "make test-all  the nightly tests as well"
	@echo "make lint      ruff (rules and format) and mypy"
	@echo "make bench     the speed of training steps, beside plain torch"
	@echo "make docs      rebuild the generated parts of the documentation"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		-c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/jumok train

test: $(READY)
	$(BIN)/python -m pytest -q

test-all: $(READY)
	HYPOTHESIS_PROFILE=nightly $(BIN)/python -m pytest -q -m 'not release'

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python benchmarks/kernels/steps.py

docs: $(READY)
	$(BIN)/python docs/build.py

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
