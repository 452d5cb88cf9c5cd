# `make` runs the default study, `make CONFIG=my.yaml` another one; `make test` runs all checks and tests.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CONFIG ?= $(if $(filter findings,$(MAKECMDGOALS)),config/findings.yaml,config/config.yaml)
CORES ?= all
BIN := .venv/bin
# Evaluated by the shell when used. Values from the user reach the shell through the environment, so any characters are safe.
STUDY = $$($(BIN)/dreambirds check --study -- "$$CONFIG" || [ $$? = 3 ])
export CONFIG WITH LIMIT
# Containers run user ids without a name and a home folder, which Snakemake needs to start.
export USER := $(or $(USER),$(shell id -un 2> /dev/null || echo user-$$(id -u)))
export HOME := $(or $(HOME),/)

.PHONY: install study checked report compare findings check checks unit test test-all test-slurm slurm chromium lint types manual store-gc bench bench-train bench-scale bench-study bench-gallery bench-recognition faults audit clean distclean

# If photographs must be downloaded first (status 3), Snakemake runs twice, because the classes are known only after that.
# The config is checked first, because Snakemake prints a traceback if it cannot read it.
study: .venv/installed
	@name=$$($(BIN)/dreambirds check --study -- "$$CONFIG"); status=$$?; study="results/$$name"; \
	[ $$status != 3 ] || $(BIN)/snakemake --cores $(CORES) --configfile "$$CONFIG" || exit; \
	[ $$status = 0 ] || [ $$status = 3 ] || exit $$status; \
	$(BIN)/snakemake --cores $(CORES) --configfile "$$CONFIG" && \
	echo "Open $$study/gallery/index.html in a browser; montages and films are in $$study/montages and $$study/films."

checked: .venv/installed
	@$(BIN)/dreambirds check --study -- "$$CONFIG" > /dev/null || [ $$? = 3 ]

install: .venv/installed

report: checked
	$(BIN)/snakemake --cores $(CORES) --configfile "$$CONFIG"
	study="results/$(STUDY)" && $(BIN)/snakemake --report "$$study/report.zip" --configfile "$$CONFIG"

# A table of a study's runs and recipes, or a comparison with another study: `make compare WITH=results/other`.
compare: checked
	@study="results/$(STUDY)" && $(BIN)/dreambirds compare -- "$$study" $${WITH:+"$$WITH"}

# Answer the questions of a study, by default those of docs/findings.md.
findings: checked
	$(BIN)/snakemake --cores $(CORES) findings --configfile "$$CONFIG"

# Checks that every edit should pass; see CONTRIBUTING.md.
check: checks
	$(MAKE) --no-print-directory unit WORKERS=$(or $(WORKERS),2)

unit: .venv/installed-test
	$(PYTEST) -m "not slow and not exhaustive" tests/unit

# Four processes on two cores, because many tests wait. The slowest files come first; tests of a file share what they build.
# Bytecode is written even if the environment disables it: pytest rewrites the assertions of every file, and jobs import the package.
PYTEST = PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses $(or $(WORKERS),4) --dist loadfile --no-loadscope-reorder
TESTED := tests/workflow tests/faults tests/browser tests/unit
test: checks slurm chromium
	$(PYTEST) --durations=25 -m "not exhaustive" $(TESTED)

test-all: checks slurm chromium
	export DREAMBIRDS_KILLS=10 DREAMBIRDS_CLASSES=10000; $(PYTEST) $(TESTED)

test-slurm: .venv/installed-test slurm
	$(BIN)/python -m pytest tests/workflow/test_slurm.py

# Install SLURM from Debian's packages for its tests, which are skipped without it.
slurm:
	@export PATH="$$PATH:/usr/sbin"; if command -v slurmctld && command -v slurmd && command -v munged; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get; then apt-get update --quiet --quiet; \
		DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --no-install-recommends slurm-wlm munge; \
	else false; fi > /dev/null || echo "SLURM cannot be installed here (this needs root and apt-get); its tests are skipped."

# Install a browser for the tests of pages, which are skipped without it.
chromium:
	@if command -v chromium > /dev/null && command -v chromedriver > /dev/null; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then apt-get update --quiet --quiet; \
		DEBIAN_FRONTEND=noninteractive apt-get install --quiet --quiet --no-install-recommends chromium chromium-driver; \
	else false; fi > /dev/null || echo "Chromium cannot be installed here (this needs root and apt-get); its tests are skipped."

lint: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow
	$(BIN)/snakemake --lint
	$(BIN)/lint-imports
	$(BIN)/codespell

# Both at the same time, because each needs one core. What they need is already installed.
checks: .venv/installed-test
	$(MAKE) --no-print-directory --jobs=2 --old-file=.venv/installed --old-file=.venv/installed-test lint types

types: .venv/installed-test
	$(BIN)/mypy

manual: .venv/installed
	$(BIN)/dreambirds reference

# Remove the least recently used entries until the size of the store is at most LIMIT: `make store-gc LIMIT=20GB`.
store-gc: .venv/installed
	@$(BIN)/dreambirds store-gc --limit "$${LIMIT:?set the maximum size of the store: make store-gc LIMIT=20GB}"

bench: .venv-bench/installed
	$(BIN)/python -m benchmarks.dream --peers .venv-bench/bin/python $(BENCH)

bench-train: .venv/installed
	$(BIN)/python -m benchmarks.train $(BENCH)

bench-scale: .venv/installed
	$(BIN)/python -m benchmarks.scale $(BENCH)

bench-study: .venv/installed
	$(BIN)/python -m benchmarks.study $(BENCH)

bench-gallery: .venv/installed-test chromium
	$(BIN)/python -m benchmarks.gallery $(BENCH)

# Dreams of ten species by every preset and by other tools. Each call continues the last: `make bench-recognition BENCH="--minutes 10"`.
# Threads that wait use no CPU, because waiting ones slow down the others by ten times on a busy machine.
bench-recognition: .venv-bench/installed
	OMP_WAIT_POLICY=passive $(BIN)/python -m benchmarks.recognition $(BENCH)

# Fault tests, with a table of counts at the end; a study is killed KILLS times at random moments.
faults: .venv/installed-test
	DREAMBIRDS_KILLS=$(or $(KILLS),10) DREAMBIRDS_CLASSES=10000 $(BIN)/python -m pytest tests/faults

# Known vulnerabilities of the pinned versions. This needs network access, and fails if a pin cannot be looked up.
AUDITED := requirements.txt requirements-test.txt benchmarks/requirements.txt
audit: .venv-audit/installed
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip $(addprefix --requirement ,$(AUDITED))

.venv-audit/installed: Makefile
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/pip install --quiet pip-audit==2.10.1
	@touch $@

# Compile on all cores (pip uses one). Otherwise each process compiles its imports if Python may not write bytecode.
COMPILE = -$(BIN)/python -m compileall -q -j 0 .venv/lib > /dev/null
.venv/installed: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is required, not " + sys.version)'
	@case "$$PWD" in *:*|*' '*[\"\$$\`\\]*|*[\"\$$\`\\]*' '*) echo "Error: this folder, '$$PWD', has a colon, or a space and one of \"\$$\`\\ in its path, with which" \
		"Python environments do not work; move the project to another folder, and run make again" >&2; exit 1;; esac
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-compile --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	$(COMPILE)
	@touch $@

.venv/installed-test: .venv/installed requirements-test.txt
	$(BIN)/pip install --quiet --no-compile --requirement requirements-test.txt --constraint requirements.txt
	$(COMPILE)
	@touch $@

# The peers can import the packages of .venv, including this project, but install nothing into it.
.venv-bench/installed: .venv/installed benchmarks/requirements.txt
	$(PYTHON) -m venv .venv-bench
	$(BIN)/python -c 'import sysconfig; print("import site; site.addsitedir(\"{}\")".format(sysconfig.get_path("purelib")))' \
		> "$$(.venv-bench/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/venv.pth"
	.venv-bench/bin/pip install --quiet --no-deps --requirement benchmarks/requirements.txt
	@touch $@

clean:
	rm -rf results .snakemake

distclean: clean
	rm -rf .venv .venv-bench .venv-audit .mypy_cache .ruff_cache .pytest_cache .import_linter_cache workflow/*.egg-info
