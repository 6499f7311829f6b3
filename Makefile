# Works on a fresh machine with Python 3.11: the first target that needs .venv creates it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed

# Without its compiled files a program takes a third longer to start.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check chaos bench run run-workers run-scheduler run-admin monitoring clean lock
# Hashes of all files of each release, for every platform and Python that setup.cfg allows, without index addresses.
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## Show the whole system on a sandbox ESI; ONCE=1 stops with a summary
	@$(RUN) -m demo $(if $(filter 1,$(ONCE)),--once)

test: $(STAMP) ## Run the tests in three processes
	@$(RUN) -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

check: $(STAMP) ## Check lint, format, types and prometheus.yml
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@if command -v promtool >/dev/null; then promtool check config prometheus.yml; fi

chaos: $(STAMP) ## Run the long proofs; SEED=… and SECONDS=… (for each) are optional
	@$(RUN) -m chaos $(if $(SEED),--seed $(SEED)) $(if $(SECONDS),--seconds $(SECONDS))

bench: $(STAMP) ## Compare with Dramatiq's own broker; ASSERT=1 checks the targets
	@$(RUN) -m bench

monitoring: $(STAMP) ## Write Grafana's dashboards and Prometheus' alerts (grafana/)
	@$(RUN) -m monitoring

run: $(STAMP) ## Run workers, scheduler and admin; without REDIS_* also its own Redis in var/
	@$(VENV)/bin/nomad run all

run-workers: $(STAMP) ## Run a worker process (Dramatiq's command line)
	@$(VENV)/bin/nomad run workers

run-scheduler: $(STAMP) ## Run the scheduler
	@$(VENV)/bin/nomad run scheduler

run-admin: $(STAMP) ## Run the admin
	@$(VENV)/bin/nomad run admin

lock: $(STAMP) ## Write the lock files with versions and hashes; UPGRADE=1 takes the newest versions
	@rm -f requirements*.lock.new
	@cp requirements.lock requirements.lock.new
	@$(COMPILE) $(if $(filter 1,$(UPGRADE)),--upgrade) --all-extras --output-file requirements.lock.new setup.cfg
	@$(COMPILE) --constraint requirements.lock.new --extra postgres --output-file requirements-image.lock.new setup.cfg
	@printf 'pip\nsetuptools\n' | $(COMPILE) --constraint requirements.lock.new --output-file requirements-build.lock.new -
	@for lock in requirements requirements-image requirements-build; do mv $$lock.lock.new $$lock.lock || exit 1; done

clean: ## Remove everything generated except var/
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): requirements.lock setup.cfg pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no python3 found: Python 3.11 or newer is needed"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make: $(PYTHON) is $$($(PYTHON) --version): Python 3.11 or newer is needed (PYTHON=… names one)"; exit 1; }
	@echo "Installing into $(VENV), once:"
	@$(PYTHON) -m venv $(VENV)
	@$(RUN) -m pip install --disable-pip-version-check --progress-bar on --require-hashes -r requirements.lock
	@$(RUN) -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	@touch $(STAMP)
