PYTHON ?= .venv/bin/python

.PHONY: demo test check bench slow fuzz

demo:
	$(PYTHON) -m lmd.cli.app demo

test:
	$(PYTHON) -m pytest -q

slow:
	$(PYTHON) -m pytest -q -m slow

check:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m pyright
	$(dir $(PYTHON))lint-imports
	$(PYTHON) -m pytest -q

bench:
	$(PYTHON) -m benchmarks

fuzz:
	$(PYTHON) -m tests.fuzz
