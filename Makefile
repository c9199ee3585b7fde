# Every target installs what it needs into environments of this checkout; nothing outside it is changed, except that
# `make test` and the broker demos, run as root on Debian, install the servers they start.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CELERY := celery-5.7.0
CELERY_VENV := .venvs/$(CELERY)
WITH_CELERY := CELERIAC_REAL_CELERY_PYTHON=$(CURDIR)/$(CELERY_VENV)/bin/python

BROKER ?= filesystem
JOBS ?= 2
TESTS ?= tests conformance
PYTEST_ARGS ?=
FUZZ_TESTS ?= tests/differential tests/compat/worker/test_machine.py tests/compat/worker/test_fuzz.py
FUZZ_ARGS ?=

.PHONY: help
help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# -- environments ------------------------------------------------------------------------------------------------------

# pip of 3.11 and older knows no dependency groups: it is upgraded before anything else.
$(VENV)/.made: scripts/find_python.sh
	@echo "==> creating $(VENV)"
	@python=$$(scripts/find_python.sh) && PYTHON=$$python scripts/install_system.sh --require venv \
	  && "$$python" -m venv $(VENV)
	@$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.base: $(VENV)/.made pyproject.toml
	@echo "==> installing celeriac into $(VENV)"
	@$(PIP) install -e ".[redis,sqlalchemy]"
	@touch $@

$(VENV)/.%: $(VENV)/.base pyproject.toml
	@echo "==> installing the dependency group '$*' into $(VENV)"
	@$(PIP) install --group $*
	@touch $@

.PRECIOUS: $(VENV)/.%

$(CELERY_VENV)/.made: scripts/find_python.sh scripts/celery_requirements.py conformance/matrix.toml
	@echo "==> creating $(CELERY_VENV) with the real Celery"
	@python=$$(scripts/find_python.sh) && PYTHON=$$python scripts/install_system.sh --require venv \
	  && "$$python" -m venv $(CELERY_VENV) \
	  && "$$python" scripts/celery_requirements.py $(CELERY) >$(CELERY_VENV)/requirements.txt
	@$(CELERY_VENV)/bin/python -m pip --disable-pip-version-check --quiet install -r $(CELERY_VENV)/requirements.txt
	@touch $@

.PHONY: envs
envs: $(VENV)/.base $(VENV)/.test $(CELERY_VENV)/.made ## Create both environments

# -- what people run ---------------------------------------------------------------------------------------------------

.PHONY: demo
demo: $(VENV)/.base $(CELERY_VENV)/.made ## Real Celery producer, our worker (BROKER=filesystem|redis|amqp)
	@case "$(BROKER)" in \
	  filesystem) ;; \
	  redis) scripts/install_system.sh --require redis ;; \
	  amqp) scripts/install_system.sh --require rabbitmq ;; \
	  *) echo "BROKER is one of filesystem, redis, amqp" >&2; exit 2 ;; \
	esac
	@$(BIN)/python examples/demo/run.py --broker $(BROKER) --producer-python $(CELERY_VENV)/bin/python

.PHONY: test
test: $(VENV)/.test $(CELERY_VENV)/.made ## Unit tests and the conformance suite, in one run of pytest
	@scripts/install_system.sh redis rabbitmq node
	@$(WITH_CELERY) $(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS) $(TESTS) </dev/null

.PHONY: images
images: ## Base images of the docker runtime, from a registry or from Debian's packages (IMAGES="python-3.8 valkey")
	@conformance/images/make_bases.sh $(IMAGES)

.PHONY: docker-test
docker-test: $(VENV)/.test ## The conformance suite with every program in a container of its own
	@conformance/images/make_bases.sh python-3.11 redis rabbitmq
	@$(BIN)/python -m pytest conformance --runtime docker -n $(JOBS) --dist loadgroup $(PYTEST_ARGS) </dev/null

.PHONY: unit
unit: $(VENV)/.test ## Unit tests alone
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS) tests </dev/null

.PHONY: fuzz
fuzz: $(VENV)/.test $(CELERY_VENV)/.made ## The long Hypothesis profile: differential tests, the worker's state machine (FUZZ_ARGS="-k legal")
	@$(WITH_CELERY) $(BIN)/python -m pytest --hypothesis-profile long --timeout 0 $(FUZZ_ARGS) $(FUZZ_TESTS) </dev/null

.PHONY: lint
lint: $(VENV)/.lint ## ruff check, ruff format --check, codespell
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/codespell protocol compat conformance tests examples scripts docs README.md CHANGELOG.md CONTRIBUTING.md

.PHONY: type
type: $(VENV)/.type ## mypy --strict
	@$(BIN)/mypy

# What pyenv has is not on PATH but for the version in use: tox looks for interpreters there.
.PHONY: tox
tox: $(VENV)/.dev ## Everything CI runs, in separate environments, on every Python there is (TOX_ARGS="-e lint,py312")
	@if command -v pyenv >/dev/null 2>&1; then \
	  for version in $$(pyenv versions --bare | grep -E '^3\.1[1-9]\.[0-9]+$$'); do \
	    PATH="$$PATH:$$(pyenv root)/versions/$$version/bin"; \
	  done; export PATH; \
	fi; $(BIN)/tox $(TOX_ARGS)

.PHONY: format
format: $(VENV)/.lint ## Format the code and sort the imports
	@$(BIN)/ruff check --select I --fix --quiet
	@$(BIN)/ruff format

.PHONY: docs
docs: $(VENV)/.docs ## Build the documentation, strictly, into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site
	@echo "build/site/index.html"

.PHONY: bench
bench: $(VENV)/.test $(CELERY_VENV)/.made ## Tasks/s and CPU per task against the real Celery (BENCH_ARGS=--help)
	@scripts/install_system.sh redis rabbitmq
	@$(WITH_CELERY) $(BIN)/python -m celeriac_conformance bench $(BENCH_ARGS)

.PHONY: dist
dist: $(VENV)/.test ## Build the wheel and the source distribution into dist/
	@rm -rf dist
	@$(BIN)/python -m hatchling build
	@ls -1 dist

.PHONY: clean
clean: ## Remove environments, caches and everything built
	@rm -rf $(VENV) .venvs .tox .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
