# One word each; `make` alone lists them. Needs Python 3.11 or newer (PYTHON=... names one).

BIN := .venv/bin
SOURCES := db serving training workbench
# Three kinds of tests run side by side: those that train follow each other, and so do those that
# need a model server or a browser; the others take what is left of the machine.
SERVERS := engine or browser
OTHERS := not ($(SERVERS) or training or gpu or soak)

# Modules are compiled once, whatever the environment says of bytecode: each start of a model server
# would compile thousands of them three times over.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup dev up test soak test-gpu bench lint fix types check migration clean

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

setup:  ## Make .venv with the pinned packages, the embedded model and the database
	@PYTHON="$(PYTHON)" sh scripts/setup.sh

dev:  ## The same, with what tests and checks need
	@PYTHON="$(PYTHON)" sh scripts/setup.sh --dev

up: setup  ## Set up what is missing and start everything (http://127.0.0.1:8501)
	@exec $(BIN)/q2q up

test: lint  ## Set up what is missing, check the code and run the tests
	@$(BIN)/python scripts/side_by_side.py \
		training "$(BIN)/pytest tests/integration -m 'training and not soak' --durations=10" \
		servers "$(BIN)/pytest tests/browser tests/contract tests/integration -m '($(SERVERS)) and not (training or gpu or soak)' --durations=15" \
		types "nice -n 5 $(BIN)/mypy $(SOURCES)" \
		others "nice -n 5 $(BIN)/pytest -n 2 --dist loadfile -m '$(OTHERS)'"

soak: dev  ## Run the long repetitions, and what needs several model servers or a Ray cluster
	$(BIN)/pytest -m soak

test-gpu: dev  ## Run the tests that need an NVIDIA GPU
	$(BIN)/pytest -m gpu

bench: dev  ## Measure sweep throughput; results go to benchmarks/results
	$(BIN)/python -m benchmarks.sweep_throughput

lint: dev  ## Check style, format and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

fix: dev  ## Repair style and format where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: dev  ## Check types
	$(BIN)/mypy $(SOURCES)

check: lint types  ## lint and types

migration: dev  ## Write a migration for changed tables: make migration m="add a column"
	$(BIN)/python -m db.store.migrate revision "$(m)"

clean:  ## Remove .venv and caches; homes and models stay
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
