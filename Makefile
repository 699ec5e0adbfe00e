# Requirements: Python 3.11 to 3.13, GNU make, and a package index for pip.
PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
SHELL := /bin/sh
# Variables that other programs set for their own Python. Without PYTHONDONTWRITEBYTECODE, modules are
# compiled once, not at the start of each of the many processes.
unexport $(filter-out PYTHON PYTHONUNBUFFERED,$(filter PYTHON%,$(.VARIABLES)))
.DEFAULT_GOAL := help
.PHONY: help run install test test-faults test-chaos test-image bench check diagram licences sbom \
	screenshots lock clean development programs

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 22

# With `exec`, SIGTERM to make reaches the system itself.
run: ## start the whole system; Ctrl-C stops it
	@$(PYTHON) tools/install.py requirements.lock && exec $(BIN)/python manage.py up

PREFIX ?= /opt/killswitch
SYSCONFDIR ?= /etc
UNITDIR ?= $(SYSCONFDIR)/systemd/system
install: ## copy the program and its systemd units to PREFIX (/opt/killswitch), below DESTDIR
	@$(PYTHON) tools/deploy.py --destdir "$(DESTDIR)" --prefix "$(PREFIX)" \
		--config "$(SYSCONFDIR)/killswitch" --units "$(UNITDIR)"

# Tests that start processes and browsers run last, because they measure seconds.
WHOLE_SYSTEM := tests/faults tests/system tests/supervision tests/browser
# Many of the quick ones wait for a time that passes, so there are more of them than processors.
QUICK := -n 5 --dist worksteal $(addprefix --ignore ,$(WHOLE_SYSTEM))
WHOLE := -n 5 --dist worksteal $(WHOLE_SYSTEM)
POSTGRESQL := KILLSWITCH_TEST_DATABASE=postgresql

test: ## run the tests, on SQLite and PostgreSQL
	@$(MAKE) --no-print-directory -j2 development programs
	$(PYTEST) $(QUICK) -m "not faults"
	$(POSTGRESQL) $(PYTEST) $(QUICK) -m "both_databases and not faults"
	$(PYTEST) $(WHOLE) -m "not faults"
	$(POSTGRESQL) $(PYTEST) $(WHOLE) -m "both_databases and not faults"

test-faults: development ## run the long tests that kill and stop processes
	$(PYTEST) -m faults
	$(POSTGRESQL) $(PYTEST) -m "faults and both_databases"

test-chaos: development ## two of each process for four minutes under random acts, with a table
	$(BIN)/python -m tests.chaos

test-image: development ## build the image and run docker-compose.yml without Docker; as root on Debian
	$(BIN)/python -m tests.image

bench: development ## measure everything that has a limit, on both databases; it takes an hour
	$(BIN)/python -m bench

check: development ## format, lint, types, imports, templates, migrations, generated pages, packaging
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/djangofmt --check templates
	find templates -name '*.html' -exec $(BIN)/djade --target-version 5.2 --check {} +
	@# It needs no database, and says when there is none.
	$(BIN)/python -W "ignore:Got an error checking" manage.py makemigrations --check --dry-run
	$(BIN)/python tools/state_diagram.py --check
	$(BIN)/python tools/check_locks.py
	$(BIN)/python tools/licences.py --check
	$(BIN)/python tools/check_templates.py
	$(BIN)/hadolint Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

diagram: development ## write the diagram of the statuses into docs/
	$(BIN)/python tools/state_diagram.py

licences: development ## write the licences of the runtime dependencies into docs/
	$(BIN)/python tools/licences.py

sbom: development ## list the runtime dependencies in CycloneDX's format, in var/sbom.cdx.json
	$(BIN)/python tools/sbom.py var/sbom.cdx.json

screenshots: development programs ## take the pictures of the documentation, and of every page in every state
	KILLSWITCH_PICTURES=docs/screenshots $(PYTEST) tests/system/test_pictures.py
	KILLSWITCH_PICTURES=var/pictures $(PYTEST) tests/browser/test_looks.py tests/browser/test_audit.py

COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host pyproject.toml
lock: development ## pin the newest versions that pyproject.toml allows
	$(COMPILE) --upgrade --output-file requirements.lock
	$(COMPILE) --upgrade --extra dev -c requirements.lock --output-file requirements-dev.lock

clean: ## delete the environment and all caches; var/, with the audit log, stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

development: ## install what the tests and checks need
	@$(PYTHON) tools/install.py requirements-dev.lock

programs:
	@$(PYTHON) tools/programs.py
