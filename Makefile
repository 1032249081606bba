# `make demo` and `make test` work on a fresh machine: they set up .venv by themselves, once.
# Every path is relative, so the checkout may lie under a folder with spaces in its name.
#
#   make demo PYTHON=python3.13      choose the Python that .venv is made from
#   make test ARGS="-k adam -x"      hand options to pytest

PYTHON ?= python3
ARGS   ?=
RUN    := .venv/bin/python
# What nearly every change can break, in seconds.
QUICK  := tests/project/test_house_rules.py tests/model tests/nn tests/serialization/test_model_files.py

# The tests start hundreds of processes, each of which would compile every module of the package.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check lint types layers docs wheel readme clean

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 14

demo: .venv/.has-fastnet  ## train on handwritten digits with every backend that runs here
	@$(RUN) -m fastnet demo $(ARGS)

test: .venv/.has-test  ## run the tests, on up to eight processors
	@$(RUN) -m pytest -n auto --maxprocesses=8 $(ARGS)

check: lint types layers  ## a minute: lint, types, layers, and the tests that fail first
	@$(RUN) -m pytest -q -n auto --maxprocesses=8 $(QUICK) $(ARGS)

lint: .venv/.has-dev  ## check format and style
	@$(RUN) -m ruff format --check .
	@$(RUN) -m ruff check .

types: .venv/.has-dev  ## check types
	@$(RUN) -m mypy

layers: .venv/.has-dev  ## check which folder imports which
	@$(RUN) -c "from importlinter.cli import lint_imports_command as c; c()" --no-logo --no-cache

docs: .venv/.has-docs  ## build the site into docs/_build/html; a warning is an error
	@$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

wheel: .venv/.has-dev  ## build the sdist, and the wheel from it, into dist/
	@$(RUN) -m tools.prepare
	@$(RUN) -m build

readme: .venv/.has-fastnet  ## put recorded numbers into README and site: ARGS=benchmarks/results/X.json
	@$(RUN) -m fastnet.benchmarks.reports.readme $(ARGS)

clean:  ## remove builds and caches, but not .venv
	rm -rf build dist docs/_build kernels/cpu/*.ir *.egg-info .benchmarks .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find benchmarks fastnet kernels tests -type d -name __pycache__ -prune -exec rm -rf {} +

# --- the virtual environment ----------------------------------------------------------------------

# Whether a uv is on PATH that works: version managers put programs there that do not.
UV = $(shell uv --version 2>/dev/null | grep '^uv [0-9]')

# An environment with nothing in it: by uv, which finds or fetches a Python itself; else, or with a
# Python that was named, by venv; else, on a Debian without python3-venv, by venv without pip.
.venv/pyvenv.cfg:
	@echo "setting up .venv, once"
	@rm -rf .venv; \
	if [ -n "$(UV)" ] && [ "$(origin PYTHON)" = file ]; then \
	    uv venv --quiet .venv; \
	elif ! "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    echo "fastnet needs Python 3.11 or newer; point PYTHON= at one" >&2; exit 1; \
	elif ! "$(PYTHON)" -m venv .venv >/dev/null 2>&1; then \
	    rm -rf .venv; "$(PYTHON)" -m venv --without-pip .venv; \
	fi
	@touch $@

# $(call install,WHAT) puts fastnet into .venv, from this checkout: by uv, else by the pip of .venv,
# else by the pip of the Python that .venv was made from.
define install
	@echo "installing $(1) into .venv"
	@if [ -n "$(UV)" ]; then \
	    uv pip install --quiet --python $(RUN) -e "$(1)"; \
	elif $(RUN) -m pip --version >/dev/null 2>&1; then \
	    $(RUN) -m pip install --quiet --disable-pip-version-check -e "$(1)"; \
	elif "$(PYTHON)" -m pip --version >/dev/null 2>&1; then \
	    "$(PYTHON)" -m pip --python $(RUN) install --quiet --disable-pip-version-check -e "$(1)"; \
	else \
	    echo "fastnet needs uv or pip: on Debian, apt install python3-venv" >&2; exit 1; \
	fi
endef

.venv/.has-fastnet: pyproject.toml .venv/pyvenv.cfg
	$(call install,.)
	@touch $@

# The extras of pyproject.toml: .venv/.has-test, .venv/.has-dev, ...
.venv/.has-%: pyproject.toml .venv/pyvenv.cfg
	$(call install,.[$*])
	@touch .venv/.has-fastnet $@
