# `make` runs the default study, `make CONFIG=my.yaml` another one, `make test` checks everything.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CONFIG ?= config/default.yaml
CORES ?= all
BIN := .venv/bin
STUDY = $(or $(shell sed -n "s/^study: *[\"']*\([A-Za-z0-9_-]*\).*/\1/p" $(CONFIG)),default)

.PHONY: study test lint manual clean distclean

study: .venv/installed
	$(BIN)/snakemake --cores $(CORES) --configfile $(CONFIG)
	@echo "Look at results/$(STUDY)/montages and results/$(STUDY)/films."

test: lint
	$(BIN)/python -m pytest

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint

manual: .venv/installed
	PYTHONPATH=workflow $(BIN)/python -m dreambirds.study.manual > config/README.new
	mv config/README.new config/README.md

.venv/installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, not " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --requirement requirements.txt
	@touch $@

.venv/installed-test: .venv/installed requirements-test.txt
	$(BIN)/pip install --quiet --requirement requirements-test.txt
	@touch $@

clean:
	rm -rf results .snakemake

distclean: clean
	rm -rf .venv
