# The words that everyone uses. Needs Python 3.11 or newer and make; the rest is set up here,
# into .venv, once. uv is used where it is installed.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
SOURCES := auth messaging services tests benchmarks

ifdef UV
MAKE_VENV = uv venv --quiet --allow-existing --python '>=3.11' $(VENV)
# Compiled here, as pip does: else the first start of each service takes three times as long.
INSTALL = uv pip install --quiet --compile-bytecode --python $(BIN)/python
else
MAKE_VENV = $(PYTHON) -m venv $(VENV)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif

.PHONY: help
help: ## Say what there is
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.runtime ## Show the main job: orders placed, verified and stored, forgeries refused
	@$(BIN)/carnet demo

.PHONY: run
run: $(VENV)/.runtime ## Run all services, the console and a broker until Ctrl-C
	@$(BIN)/carnet up

.PHONY: test
test: $(VENV)/.dev ## Run every test, on a real broker
	@$(BIN)/python -m services.local
	$(BIN)/pytest

.PHONY: browser
browser: $(VENV)/.dev ## Use the page in a real browser, every button; keep screenshots in build/
	@sh tests/browser/install_chromium.sh
	@$(BIN)/python -m services.local
	$(BIN)/pytest -m browser tests/browser

.PHONY: attacks
attacks: $(VENV)/.dev ## Run the tests of every attack on the list; print the counts
	@$(BIN)/python -m services.local
	@$(BIN)/python -m tests.attacks

.PHONY: oauth-clients
oauth-clients: $(VENV)/.dev tests/oauth_clients/node_modules/.made ## Have OAuth libraries go through every flow
	@$(BIN)/python -m services.local
	$(BIN)/pytest -m '' tests/oauth_clients

.PHONY: fuzz
fuzz: $(VENV)/.dev ## Send a million made-up messages (COUNT=n); goes on where it stopped
	@$(BIN)/python -m services.local
	@$(BIN)/python -m tests.attacks.fuzz --count $(COUNT)
COUNT ?= 1000000

.PHONY: chaos
chaos: $(VENV)/.dev ## Break everything under 10,000 orders, then audit (SEED=n ORDERS=n FAULTS=n)
	@$(BIN)/python -m services.local
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) --orders $(ORDERS) --faults $(FAULTS)
ORDERS ?= 10000
FAULTS ?= 36

.PHONY: check
check: $(VENV)/.dev ## Run what needs no broker: ruff, mypy, import-linter, branches of auth/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	cd examples && ../$(BIN)/mypy --config-file ../pyproject.toml -p billing
	$(BIN)/lint-imports
	$(BIN)/pytest --quiet tests/auth $(MADE_UP:%=--ignore=tests/auth/%) --cov=auth --cov-branch \
		--cov-report=term-missing --cov-fail-under=100

# What hypothesis and another library make up reaches branches by luck; each shall have its row.
MADE_UP := test_properties.py test_joserfc.py

.PHONY: contracts
contracts: $(VENV)/.runtime tests/contracts/node_modules/.made ## Check the documents of messages and API
	$(BIN)/carnet contracts check
	$(BIN)/carnet contracts diff
	node tests/contracts/validate.mjs docs/contracts/asyncapi.json

.PHONY: examples
examples: $(VENV)/.dev examples/node_modules/.made ## Follow the tutorial, and run the examples in other languages, on a real stack
	@$(BIN)/python -m services.local
	$(BIN)/pytest -m '' tests/examples

.PHONY: format
format: $(VENV)/.dev ## Write the code as ruff would
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

.PHONY: bench
bench: $(VENV)/.bench ## Measure everything, the peers beside us (QUICK=1: only whether it works)
ifdef QUICK
	@$(BIN)/python -m benchmarks --quick
else
	@$(BIN)/python -m benchmarks.live_revocations
	@$(BIN)/python -m benchmarks.revocation_latency
	@$(BIN)/python -m benchmarks.rpc
	@$(BIN)/python -m benchmarks.soak 5000
	@$(BIN)/python -m benchmarks.outage
	CARNET_RECONNECT_MESSAGES=10000 $(BIN)/pytest -q tests/messaging/test_outages.py
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.report
endif

.PHONY: soak
soak: $(VENV)/.dev ## Put an hour's 200,000 orders through one consumer; nothing may grow
	@$(BIN)/python -m services.local
	@$(BIN)/python -m benchmarks.soak

.PHONY: secrets
secrets: $(VENV)/.runtime ## Make the secrets of compose.yaml, in secrets/, where there are none
	@$(BIN)/python -m services.local.compose_secrets secrets

.PHONY: kubernetes-secrets
kubernetes-secrets: $(VENV)/.runtime ## Write secrets/ as Secrets of Kubernetes (NAMESPACE=carnet BROKER=host DATABASE=host)
	@$(BIN)/python -m services.local.kubernetes_secrets secrets --namespace $(NAMESPACE) \
		$(if $(BROKER),--broker $(BROKER)) $(if $(DATABASE),--database $(DATABASE))
NAMESPACE ?= carnet

.PHONY: release-check
release-check: $(VENV)/.dev ## Build wheel and sdist, look into them, run the wheel's demo (RELEASE=1: release it now)
	@$(BIN)/python -m services.local
	@$(BIN)/python -m tests.release $(if $(RELEASE),--final)

.PHONY: docs
docs: $(VENV)/.runtime ## Write what of the documents is written from the code (docs/settings.md)
	$(BIN)/carnet config list --markdown > docs/settings.md

.PHONY: lock
lock: ## Lock the requirements anew (needs uv)
	uv pip compile $(LOCK) pyproject.toml -o requirements/runtime.txt
	uv pip compile $(LOCK) --group dev pyproject.toml -o requirements/dev.txt
	uv pip compile $(LOCK) --group build -o requirements/build.txt
	uv pip compile $(LOCK) --constraint requirements/dev.txt --group bench pyproject.toml \
		-o requirements/bench.txt
LOCK := --quiet --generate-hashes --no-strip-extras --no-emit-index-url --universal --python-version 3.11

.PHONY: clean
clean: ## Remove what was set up and cached; keeps .carnet and secrets
	rm -rf $(VENV) examples/node_modules tests/*/node_modules
	rm -rf .coverage* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache

# ---- what the words above stand on; each stamp is newer than what it was made from

$(VENV)/.runtime: requirements/runtime.txt requirements/build.txt pyproject.toml | $(VENV)/.made
	$(INSTALL) --require-hashes -r requirements/runtime.txt
	$(INSTALL) --require-hashes -r requirements/build.txt
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.runtime
	$(INSTALL) --require-hashes -r requirements/dev.txt
	@touch $@

# What is in JavaScript; nothing else needs Node.js.
%/node_modules/.made: %/package-lock.json
	@sh examples/install_node.sh
	cd $* && npm ci --ignore-scripts --no-audit --no-fund
	@touch $@

# What is measured beside us; nothing else needs it.
$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	$(INSTALL) --require-hashes -r requirements/bench.txt
	@touch $@

$(VENV)/.made:
ifndef UV
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Python 3.11 or newer is needed: make PYTHON=python3.12, say' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(INSTALL_VENV); } \
		|| { echo 'the venv module is missing: install python3-venv' >&2; exit 1; }
endif
	$(MAKE_VENV)
	@touch $@

# Debian packs the venv module apart.
INSTALL_VENV = [ "$$(id -u)" = 0 ] && apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	apt-get install -yq --no-install-recommends python3-venv
