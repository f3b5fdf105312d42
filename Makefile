# make demo | make test | make test-long. Needs Python >= 3.11 and make; everything else goes into .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO ?= demo-workspace
PORT ?= 8501

.PHONY: demo test test-long lint format environment constraints audit bench clean

environment: $(VENV)/.installed

# The constraints pin the whole tree, the build backend included: the same versions on every machine.
$(VENV)/.installed: export PIP_CONSTRAINT := constraints.txt
$(VENV)/.installed: export PIP_BUILD_CONSTRAINT := constraints.txt
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("rampwise needs Python 3.11 or newer, this is %s; try make PYTHON=python3.12" % sys.version.split()[0])'
	@echo "Installing rampwise into $(VENV) (once; about a minute) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,collector]"
	@touch $@

# Spark is half a gigabyte and only the long tests need it.
$(VENV)/.installed-spark: export PIP_CONSTRAINT := constraints.txt
$(VENV)/.installed-spark: export PIP_BUILD_CONSTRAINT := constraints.txt
$(VENV)/.installed-spark: $(VENV)/.installed
	@echo "Installing Spark into $(VENV) (once; a minute or two) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,collector,spark]"
	@touch $@

demo: environment
	$(BIN)/rampwise demo $(DEMO)
	$(BIN)/rampwise --workspace $(DEMO) dashboard --port $(PORT)

lint: environment
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -m "not slow" -n 2

test-long: environment $(VENV)/.installed-spark
	$(BIN)/python -m pytest -m slow -n 2

format: environment
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: export PIP_CONSTRAINT := constraints.txt
bench: export PIP_BUILD_CONSTRAINT := constraints.txt
bench: environment
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[dev,collector,bench]"
	for file in tests/bench/*.py; do $(BIN)/python -P $$file || exit 1; done

# Writes constraints.txt anew from the newest releases: names and versions only, no addresses.
constraints:
	rm -rf $(VENV)-constraints && $(PYTHON) -m venv $(VENV)-constraints
	$(VENV)-constraints/bin/python -m pip install --quiet --disable-pip-version-check ".[dev,collector,spark,bench]" "hatchling>=1.27" editables setuptools
	$(VENV)-constraints/bin/python -m pip freeze --all --exclude rampwise --exclude pip --exclude wheel | grep -E '^[A-Za-z0-9_.-]+==' > constraints.txt
	rm -rf $(VENV)-constraints

# Known vulnerabilities of every pinned version; fails on a finding, and where the index cannot tell about one.
audit:
	rm -rf $(VENV)-audit && $(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(VENV)-audit/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip --progress-spinner off
	rm -rf $(VENV)-audit

clean:
	rm -rf $(VENV) $(DEMO) dist build
