# What one can do here; `make` alone lists it. Plain enough for GNU make 3.81, which macOS has.
# PYTHON=/path/to/python3.12 names the interpreter of .venv; ARGS=... goes to the command that a target runs.
export PYTHON

.PHONY: help run test lint types bench cluster docs clean .installed-local .installed-dev

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-7s %s\n", $$1, $$2 }' Makefile

run: .installed-local ## The fleet on this machine; ONCE=1: end after the first order; LOAD=4: place 4 orders a second
	@exec .venv/bin/fleet dev $(if $(filter-out 0,$(ONCE)),--once) $(if $(LOAD),--load $(LOAD)) $(ARGS)

test: .installed-dev lint types ## Lint, types and all tests of this tier, with coverage; ARGS="-k drain"
	tests/run.sh $(ARGS)

lint: .installed-dev ## Style, format and layers
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo

types: .installed-dev ## mypy (strict) and pyright
	.venv/bin/mypy
	.venv/bin/pyright

bench: .installed-dev ## The long proofs behind the figures in docs, a day of them; ARGS=--list prints their commands
	@.venv/bin/python -m benchmarks $(ARGS)

cluster: .installed-dev ## Leave a real one-node Kubernetes running (Linux, root); ARGS=down ends it
	.venv/bin/python -m tests.cluster $(or $(ARGS),up)

docs: .installed-local ## Write config.yaml, its reference and the chart's manifest of queues anew from the code
	TEMPORAL_CONFIG_FILE=/dev/null .venv/bin/fleet config >config.yaml.new && mv config.yaml.new config.yaml
	mkdir -p docs
	.venv/bin/fleet config --markdown >configuration.md.new && mv configuration.md.new docs/configuration.md
	.venv/bin/fleet queues --manifest >queues.yaml.new && mv queues.yaml.new charts/worker-fleet/files/queues.yaml

clean: ## Remove .venv, the local fleet's data (.fleet) and all caches
	rm -rf .venv .fleet .coverage .coverage.* htmlcov dist *.new
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name .git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

.installed-local .installed-dev: .installed-%:
	@requirements/install.sh $*
