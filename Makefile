# One target per thing a developer does. `make help` prints the comment over each.

SHELL := /bin/sh
BIN := .venv/bin
PYTEST := $(BIN)/pytest -p no:cacheprovider
# Only tiers that hold tests: pytest takes a missing directory for an error.
fast_tiers = $(sort $(dir $(wildcard test/unit/. test/golden/. test/arch/.)))
slow_tiers = $(sort $(dir $(wildcard test/contract/. test/compat/. test/cluster/. test/qa/.)))
# Programs without a suffix are told from shell scripts by their first line.
programs = $(shell grep -lE '^\#!.*python' $(wildcard daemons/* tools/*) /dev/null 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help venv lint types check prerequisites test demo demo-down bench clean

# Show this list
help:
	@awk '/^# / { text = substr($$0, 3); next } /^[a-z-]+:/ && text { sub(":.*", ""); printf "%-14s %s\n", $$0, text } { text = "" }' $(firstword $(MAKEFILE_LIST))

# Build .venv from the pins; quick if nothing changed
venv:
	@tools/make-venv

# Check style
lint: venv
	$(BIN)/ruff check lib test setup.py $(programs)

# Check types
types: venv
	$(BIN)/mypy --strict -p ganeti

# What must be green before every commit, in about a minute
check: lint types
	@tools/prerequisites check
	$(PYTEST) $(fast_tiers)

# Install the system packages that all of it needs
prerequisites:
	@tools/prerequisites

# Every test: check, then contract, cluster and end-to-end tiers
test: prerequisites check
	$(if $(slow_tiers),$(PYTEST) $(slow_tiers))

# Build a cluster on this machine, show what it can do, and leave it running to play with
demo: prerequisites venv
	@$(BIN)/demo

# Stop it and leave no trace
demo-down: venv
	@$(BIN)/devcluster down

# Measure commands, jobs and the store against baselines of the same run; red if a limit is missed
bench: prerequisites venv
	$(BIN)/python test/bench/run.py

# Remove everything that can be made again
clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find lib test tools daemons -name __pycache__ -type d -prune -exec rm -rf {} +
