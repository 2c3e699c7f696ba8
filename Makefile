# Every target sets up what it needs: a virtual environment from the locked requirements, made anew when they change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test check bench protos docs dist lock fuzz clean

demo: $(READY)
	$(BIN)/python -m examples.demo

test: $(READY)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m protos.generate --check
	$(BIN)/python -m docs.generate --check

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

fuzz: $(READY)
	SEALANE_FUZZ_EXAMPLES=200000 $(BIN)/python -m pytest -m fuzz --timeout 0

protos: $(READY)
	$(BIN)/python -m protos.generate

docs: $(READY)
	$(BIN)/python -m docs.generate

# The wheel, and what it runs with: see docs/operating.md.
dist: $(READY)
	$(BIN)/hatchling build --target wheel
	cp requirements/node.txt dist/

# Re-resolves the development environment, and of it what a node needs; commit what it writes.
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header pyproject.toml
lock: $(READY)
	$(COMPILE) --group dev -o requirements/dev.txt --upgrade
	$(COMPILE) --extra privacy --extra report -c requirements/dev.txt -o requirements/node.txt --upgrade

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Sealane needs Python 3.11 or later: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
