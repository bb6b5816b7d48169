# make demo    install into .venv and run the whole demonstration on the CPU
# make test    install into .venv and run the tests, in as many processes as WORKERS says (default: 2)
# PYTHON chooses the interpreter (3.10 or newer); TORCH is handed to pip to choose a build of torch:
#   make test TORCH="torch==A.B.C+cpu torchvision==D.E.F+cpu --extra-index-url ADDRESS_OF_CPU_WHEELS"
# The two have to match: with a CPU torch and a CUDA torchvision nnU-Net finds no trainers but its own.

PYTHON ?= python3
TORCH ?=
VENV ?= .venv
WORKERS ?= 2
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: demo test test-all lint format docs clean install

demo: install
	$(BIN)/python -u demo/run.py --output demo-output

test: install
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow and not gpu" -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test-all: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

install: $(STAMP)

$(STAMP): pyproject.toml $(wildcard registration/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12")'
	@echo "Installing into $(VENV): a few minutes, most of them for torch"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(TORCH) -e ".[dev,litemedsam]"
	@touch $(STAMP)

clean:
	rm -rf $(VENV) demo-output site build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
