# Two commands: `make run` sets everything up and does the main job; `make test` sets everything up and passes the tests.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

MCP := .cache/mcp

.PHONY: run demo-attacks test test-image test-claude test-clients test-mcp claude clients mcp-servers check lock chaos bench docs clean setup

run: setup
	$(BIN)/interlock demo

demo-attacks: setup
	$(BIN)/interlock demo --attacks

test: check
	@$(BIN)/python -m compileall -q src # the tests start hundreds of processes, and PYTHONDONTWRITEBYTECODE may be set
	$(BIN)/pytest -n 2

# With real MCP servers, each in an environment of its own: they do not go together with each other or with ours.
test-mcp: mcp-servers
	$(BIN)/pytest tests/test_mcp_gateway.py -k "mcp_server_ or server_filesystem"

mcp-servers: setup $(MCP)/.ready

$(MCP)/.ready:
	$(PYTHON) -m venv $(MCP)/git && $(MCP)/git/bin/python -m pip install --quiet mcp-server-git==2026.10.19
	$(PYTHON) -m venv $(MCP)/sqlite && $(MCP)/sqlite/bin/python -m pip install --quiet mcp-server-sqlite==2025.4.25 "mcp<2"
	npm install --silent --no-fund --no-audit --prefix $(MCP)/npm @modelcontextprotocol/server-filesystem@2026.8.31
	@touch $@

# The container image and the compose file by a real engine (podman or docker): docs/how-to/deploy.md.
test-image: setup
	INTERLOCK_TEST_BASE=$(or $(BASE),python:3.12-slim-bookworm) $(BIN)/pytest tests/test_image.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Claude Code itself (400 MB), in a place of its own.
test-claude: claude
	INTERLOCK_TEST_CLAUDE=$(CURDIR)/.venv/claude $(BIN)/pytest tests/test_runner_claude.py tests/test_real_clients.py

claude: setup
	@test -d .venv/claude/claude_agent_sdk || $(BIN)/python -m pip install --quiet --disable-pip-version-check --target .venv/claude 'claude-agent-sdk>=0.2.187,<0.3'

# The same and other programs that nobody here wrote, offline: needs npm (500 MB).
test-clients: clients
	INTERLOCK_TEST_CLAUDE=$(CURDIR)/.venv/claude INTERLOCK_TEST_GEMINI=$(CURDIR)/.venv/clients/node_modules/.bin/gemini \
	INTERLOCK_TEST_CODEX=$(CURDIR)/.venv/clients/node_modules/.bin/codex $(BIN)/pytest tests/test_runner_claude.py tests/test_real_clients.py

clients: claude
	@test -x .venv/clients/node_modules/.bin/codex || npm install --silent --no-audit --no-fund --prefix .venv/clients @google/gemini-cli@0.61 @openai/codex@0.169

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Interlock needs Python 3.11 or newer; try: make PYTHON=python3.12")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "setting up .venv (once; a minute or two) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --prefer-binary -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

chaos: setup
	CHAOS_RUNS=1800 CHAOS_WORKERS=4 CHAOS_MISCHIEF_S=3600 CHAOS_GAP_S=8 CHAOS_PATIENCE_S=1800 $(BIN)/pytest -s tests/test_chaos.py

bench: setup
	$(BIN)/python -m bench

# The site of the documentation, in site/: every link is checked, and nothing is loaded from elsewhere.
docs: setup .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "site/index.html; with searching: $(PYTHON) -m http.server --directory site"

.venv/.docs: docs/requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r docs/requirements.lock
	@touch $@

LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate
IMAGE := server postgres metrics otel notify flags mcp llm

lock: setup
	$(LOCK) --group dev --output-file requirements.lock
	$(LOCK) --group docs --constraint requirements.lock --output-file docs/requirements.lock
	$(LOCK) $(IMAGE:%=--extra %) --group build --constraint requirements.lock --output-file deploy/requirements.lock

clean:
	rm -rf .venv build dist site
