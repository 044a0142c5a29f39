# The project's commands. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# What the product needs, and what its tests need besides.
PACKAGES := containerd runc containernetworking-plugins catatonit nftables iptables iproute2 \
  busybox-static ca-certificates
TEST_PACKAGES := etcd-server docker-registry nginx-light redis-server socat curl

# Of `make robustness`.
SECONDS_EACH ?= 60
ROUNDS ?= 5
SEED ?= 1

.PHONY: help up down test day1 endpoints fuzz bench robustness lint

help:  ## List the commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: .make/packages .make/kubectl .make/venv  ## Start a two-node cluster and the web example on it
	@$(BIN)/python examples/web/run.py

down:  ## Remove the cluster without a trace
	@if [ -x $(BIN)/p8s ]; then \
	  if [ $$(id -u) = 0 ]; then $(BIN)/p8s down; \
	  else sudo env $${KUBECONFIG:+KUBECONFIG="$$KUBECONFIG"} $${P8S_ROOT:+P8S_ROOT="$$P8S_ROOT"} \
	    $${P8S_NAME:+P8S_NAME="$$P8S_NAME"} $(abspath $(BIN))/p8s down; fi; \
	else echo "nothing is set up here"; fi

test: .make/packages .make/test-packages .make/kubectl .make/venv-dev  ## Set everything up and run all tests
	@$(BIN)/pytest

day1: .make/packages .make/test-packages .make/kubectl .make/venv-dev  ## Run the Day-1 rows alone, ending in their table
	@$(BIN)/pytest -q tests/day1

bench: .make/packages .make/venv-dev  ## Measure speed and size beside their floors; FIGURE=name for one
	@$(BIN)/python -m bench $(FIGURE)

endpoints: .make/packages .make/venv-dev  ## Walk all stable endpoints of Kubernetes; print those that do not hold, and how many do
	@$(BIN)/python -m tests.endpoints

robustness: .make/packages .make/test-packages .make/venv-dev  ## Clients under faults, and what the store promises them: SECONDS_EACH=60 ROUNDS=5 SEED=1
	@$(BIN)/python -m tests.robustness run --seconds $(SECONDS_EACH) --rounds $(ROUNDS) --seed $(SEED) \
	  --faults kill,pause,disk,disk-kill
	@$(BIN)/python -m tests.robustness run --seconds $(SECONDS_EACH) --rounds $(ROUNDS) --seed $(SEED) \
	  --faults kill,pause --compaction 1
	@$(BIN)/python -m tests.robustness run --seconds $(SECONDS_EACH) --rounds $(ROUNDS) --seed $(SEED) \
	  --store etcd --faults kill,pause,member-kill,member-pause,quorum
	@$(BIN)/python -m tests.robustness run --seconds $(SECONDS_EACH) --rounds $(ROUNDS) --seed $(SEED) \
	  --store etcd --faults kill,member-kill --compaction 1

fuzz: .make/packages .make/venv-dev  ## Send made-up requests to an API server; REQUESTS=100000, SEED=1
	@$(BIN)/python -m tests.fuzz --requests $(or $(REQUESTS),100000) $(if $(SEED),--seed $(SEED)) \
	  $(if $(CLIENTS),--clients $(CLIENTS))

lint: .make/venv-dev  ## Check style, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# Set-up. Each step leaves a stamp below .make and is skipped while that is newer than what it depends on.

.make:
	@mkdir -p .make

.make/packages: | .make
	@scripts/install-packages $(PACKAGES)
	@touch $@

.make/test-packages: | .make
	@scripts/install-packages --no-start $(TEST_PACKAGES)
	@touch $@

.make/kubectl: | .make
	@command -v kubectl >/dev/null || scripts/install-packages kubernetes-client
	@touch $@

# The virtual environment itself; Debian keeps the module that makes one in a package of its own.
$(BIN)/python:
	@command -v $(PYTHON) >/dev/null && $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || scripts/install-packages python3 python3-venv
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; choose one with: make PYTHON=python3.x"; exit 1; }
	@echo "Making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

.make/venv: pyproject.toml hatch_build.py $(BIN)/python | .make
	@echo "Installing Python packages into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e .
	@$(BIN)/python -m compileall -q pybernetes
	@touch $@

.make/venv-dev: pyproject.toml hatch_build.py $(BIN)/python | .make
	@echo "Installing Python packages for development into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python -m compileall -q pybernetes
	@touch $@ .make/venv
