# tanmeter: set up, run, prove. `make demo` and `make test` do their own set-up.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)
TEST_PACKAGES := socat mbpoll mosquitto strace gcc
# What the printed reports are set in; any other Chinese font does as well (docs/operator.md).
CHINESE_FONT := /usr/share/fonts/opentype/noto/NotoSerifCJK-Regular.ttc
# One more than there are cores: much of the tests waits, for a meter, a disk, the end of a process.
WORKERS ?= $(shell expr $$(nproc) + 1)
# DEPTH=full: as deep as the proof goes.
DEPTH ?= everyday

TIER ?= pull
# Some hundreds of processes are started here: each would compile the whole tree anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup packages demo test check bench prove docs wheel clean

help:
	@echo "make demo   set up and run the whole system on this machine"
	@echo "make test   set up and run the tests"
	@echo "make check  ruff, mypy --strict, import rules"
	@echo "make bench  the figures in the README"
	@echo "make prove  the promises under faults, as one table; TIER=nightly or release takes longer"

setup: $(VENV)/.ready

$(VENV)/.ready: requirements/constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "tanmeter needs Python 3.11 or newer; this is $$($(PYTHON) -V)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Peers that nobody here wrote. Installed when they are missing and this user may.
packages:
	@missing=; for tool in $(TEST_PACKAGES); do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; \
	[ -e $(CHINESE_FONT) ] || missing="$$missing fonts-noto-cjk"; \
	case "$$missing" in *gcc*) missing="$$missing libc6-dev";; esac; \
	if [ -n "$$missing" ]; then echo "installing$$missing"; \
	    $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null \
	    || echo "could not install$$missing; the tests that talk to them will fail"; fi

demo: setup
	@$(BIN)/tanmeter demo

test: setup packages
	@TANMETER_TESTS=$(DEPTH) $(BIN)/pytest -n $(WORKERS) --dist loadgroup -q

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	@$(BIN)/python -m benchmarks

prove: setup packages
	@$(BIN)/python -m proofs --tier $(TIER)

docs: setup
	$(BIN)/python docs/generate.py

wheel: setup
	$(BIN)/python -m hatchling build -t wheel

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
