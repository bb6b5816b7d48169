# make demo    install into .venv and run the whole demonstration on the CPU
# make test    install into .venv and run the tests
# PYTHON chooses the interpreter (3.10 or newer); TORCH a build of torch, as for pip, e.g.
#   make test TORCH="torch==2.8.0 torchvision==0.23.0 --index-url URL_OF_CPU_WHEELS"
# Torch and torchvision have to come from the same index: nnU-Net finds no trainers with two that do not match.

PYTHON ?= python3
TORCH ?=
VENV ?= .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.installed

.PHONY: demo test test-all lint format clean install

demo: install
	$(BIN)/python -u demo/run.py --output demo-output

test: install
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-all: install
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(STAMP)

$(STAMP): pyproject.toml $(wildcard registration/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.12")'
	@echo "Installing into $(VENV): a few minutes, most of them for torch"
	$(PYTHON) -m venv $(VENV)
	$(if $(strip $(TORCH)),$(BIN)/python -m pip install $(TORCH))
	$(BIN)/python -m pip install -e ".[dev]"
	@touch $(STAMP)

clean:
	rm -rf $(VENV) demo-output build dist .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
