# Every target does its own set-up in .venv; PYTHON may name another interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-all lint bench bench-gpu clean

demo: $(INSTALLED)
	$(BIN)/saltation study integrators --dataset digits --dt 0.5 2 5 --steps 20 \
	  --hidden 128 --epochs 10 --batch-size 32 --lr 0.005 --seeds 0 1 --out-dir runs/demo
	$(BIN)/saltation stability --neuron lif --tau 2 --dt 5 --out-dir runs/demo/figures
	$(BIN)/saltation report runs/demo
	$(BIN)/python examples/deep.py --out-dir runs/demo/depth

test: $(INSTALLED)
	$(BIN)/python -m pytest -n 2

test-all: $(INSTALLED)
	$(BIN)/python -m pytest -n 2 --full

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED)
	$(BIN)/python -W ignore -m benchmarks

# FLAGS=--smoke takes a step of everything at toy size, on a CPU too.
bench-gpu: $(INSTALLED)
	$(BIN)/python -W ignore -m benchmarks.gpu $(FLAGS)

# The site, in build/site; it opens from disk. A warning is an error.
.PHONY: docs
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(VENV)/.docs: $(INSTALLED)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV)

# SpikingJelly and Norse ask for torchvision, which their imports survive only without; their other
# needs are in the peers extra.
$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "saltation needs Python 3.11 or newer, this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,peers,ray]'
	$(BIN)/pip install --quiet --no-deps --constraint constraints.txt spikingjelly norse
	touch $@
