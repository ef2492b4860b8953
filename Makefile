# Every target does its own set-up in .venv; PYTHON may name another interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What users get, and what tests and benchmarks need beside it.
BASE := $(VENV)/.base
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-all lint docs package lowest newest bench bench-gpu clean

# In a minute: a study stopped and resumed, its Lyapunov exponents, a deep network cured.
demo: $(BASE)
	$(BIN)/python examples/demo.py --out-dir runs/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2

test-all: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --full

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# TESTS=tests runs all of the sdist's tests on the wheel.
package: $(INSTALLED)
	.ci/package $(BIN)/python $(TESTS)

# With the lowest versions of what the package needs, and with the newest, each in an environment of
# its own in build/; TESTS as above.
lowest newest:
	.ci/versions $@ $(PYTHON) $(TESTS)

bench: $(INSTALLED)
	$(BIN)/python -W ignore -m benchmarks

# FLAGS=--smoke takes a step of everything at toy size, on a CPU too.
bench-gpu: $(INSTALLED)
	$(BIN)/python -W ignore -m benchmarks.gpu $(FLAGS)

# The site, in build/site; it opens from disk. A warning is an error.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/.docs: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV)

$(BASE): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "saltation needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	touch $@

# SpikingJelly and Norse ask for torchvision, which their imports survive only without; their other
# needs are in the peers extra.
$(INSTALLED): $(BASE)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,peers,ray]'
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt spikingjelly norse
	touch $@
