# Everything here sets itself up: a virtual environment in .venv, made by uv from the lock.
PYTHON ?= python3
export PYTHON
UV := scripts/uv
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test foreign lint format bench peers docs site clean

help: ## Show these targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1|/' | awk -F'|' '{ printf "  make %-8s %s\n", $$1, $$2 }'

demo: ## Record a simulated market into a local database for half a minute; offline, nothing to install
	@[ -d .venv ] || echo "setting up .venv, once" >&2
	@$(UV) sync --quiet --locked --no-dev --inexact
	@.venv/bin/crypto-quant demo $(ARGS)

test: ## Run all tests, on real databases; make test ARGS="-k embedded" runs some
	@$(UV) sync --quiet --locked
	@scripts/with-databases .venv/bin/python -m pytest --cov=crypto_quant --cov-report=term \
		--numprocesses=auto --dist=loadfile --no-loadscope-reorder --max-worker-restart=4 $(ARGS)

foreign: ## Have freqtrade, hftbacktest and nautilus_trader read what is exported; installs them in .peers
	@$(UV) sync --quiet --locked
	@CRYPTO_QUANT_TEST_FOREIGN=1 scripts/with-databases .venv/bin/python -m pytest tests/integration/test_export_foreign.py $(ARGS)

lint: ## Check format, lint and types
	@$(UV) sync --quiet --locked
	.venv/bin/ruff format --check . scripts/test-databases
	.venv/bin/ruff check . scripts/test-databases
	.venv/bin/mypy

format: ## Put the format right
	@$(UV) sync --quiet --locked
	.venv/bin/ruff format . scripts/test-databases
	.venv/bin/ruff check --fix . scripts/test-databases

bench: ## Measure speed, latency, start, idling, disk: half an hour; make bench ARGS="throughput" measures that alone
	@$(UV) sync --quiet --locked
	@CRYPTO_QUANT_TEST_FSYNC=on scripts/with-databases .venv/bin/python benchmarks/all.py $(ARGS)

peers: ## Put the same faults to cryptofeed and to crypto-quant, and count what each has lost
	@$(UV) sync --quiet --locked
	@CRYPTO_QUANT_TEST_FSYNC=on scripts/with-databases .venv/bin/python benchmarks/peers/faults.py $(ARGS)

docs: ## Write the generated pages anew: command line, settings, metrics, events and errors
	@$(UV) sync --quiet --locked
	@.venv/bin/python scripts/command-line-docs
	@.venv/bin/python scripts/configuration-docs
	@.venv/bin/python scripts/metrics-docs
	@.venv/bin/python scripts/errors-docs

site: ## Build the documents as a site; open site/index.html
	@$(UV) sync --quiet --locked --inexact --group docs
	@NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict
	@echo "site/index.html; to search in it, serve it: .venv/bin/python -m http.server --directory site"

clean: ## Stop the test databases; remove .venv and everything made by tools
	@scripts/test-databases stop
	rm -rf .venv .tools .peers .mypy_cache .pytest_cache .ruff_cache .hypothesis figures site .coverage .coverage.* htmlcov dist \
		scripts/community-database/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
