# Two commands: `make run` sets everything up and does the main job; `make test` sets everything up and passes the tests.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: run demo-attacks test check lock bench clean setup

run: setup
	$(BIN)/interlock demo

demo-attacks: setup
	$(BIN)/interlock demo --attacks

test: check
	$(BIN)/pytest -n 2

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Interlock needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setting up .venv (once; a minute or two) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --prefer-binary -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

bench: setup
	$(BIN)/python -m bench

lock: setup
	uv pip compile pyproject.toml --group dev --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate --output-file requirements.lock

clean:
	rm -rf .venv build dist
