# The verbs. `make help` lists them. Everything lives in .venv; nothing outside this folder is changed
# but the data cache (D2L_CACHE, else the user's cache folder).
#
#   TORCH=cpu       PyTorch build: empty for the platform's default (CUDA on Linux), or cpu, cu126, cu130, auto, ...
#   PROFILE=cpu     cpu, smoke or gpu
#   FRESH=1         run every notebook, whatever is stored
#   S=3.4           a section, a chapter (S=3) or a path

PYTHON ?= python3
PROFILE ?= cpu
TORCH ?=
S ?=
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PY := $(BIN)/python
BOOK := $(PY) -m bookbuild
RUN := --profile $(PROFILE) $(if $(FRESH),--fresh)
UV := 0.13.9

# Works without an environment too, to say what it lacks.
DOCTOR := $(if $(wildcard $(PY)),$(PY),$(PYTHON)) -m d2l_helpers.doctor

.PHONY: help doctor env book section lab run check accept pair test unit lint bench lock clean

help:  ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1|/' | awk -F'|' '{printf "  make %-9s %s\n", $$1, $$2}'

doctor:  ## tell what is installed, which device and data there are, and what to do about what is wrong
	@$(DOCTOR)

$(VENV)/.ready: pyproject.toml requirements.lock bookbuild/web/package-lock.json
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --disable-pip-version-check uv==$(UV)
	$(PY) -m uv pip install -q --compile-bytecode $(if $(TORCH),--torch-backend $(TORCH)) --python $(PY) -c requirements.lock -e '.[book,test]'
	$(PY) -c "from bookbuild import site; site.assets('.')"
	@touch $@

env: $(VENV)/.ready  ## make the environment in .venv (TORCH=cpu for the small CPU build of PyTorch)

book: env  ## run what is out of date and build the HTML book in build/html
	$(BOOK) build $(if $(FRESH),--fresh)

section: env  ## the same for one section: make section S=3.4
	$(BOOK) build $(S) && $(BOOK) check $(S)

lab: env  ## open JupyterLab on the book; .py and .ipynb both open as notebooks
	$(PY) -m bookbuild lab

run: env  ## run the notebooks that are out of date (PROFILE=gpu for the GPU lane, FRESH=1 for all)
	$(BOOK) run $(RUN) $(S)

check: env  ## run what is out of date and compare with the stored outputs
	$(BOOK) check $(RUN) $(S)

accept: env  ## take the outputs of the current code as the stored ones: make accept S=3.4
	$(BOOK) accept $(S)

pair: env  ## bring .ipynb files and exported modules up to their sources
	$(BOOK) pair

test: lint unit  ## every test: lint, types, unit tests, then every notebook anew
	FRESH=1 $(BOOK) check

unit: env  ## the tests of d2l_helpers, bookbuild and the site
	$(PY) -m pytest --cov=d2l_helpers --cov-branch --cov-fail-under=95

lint: env  ## style and types
	$(PY) -m ruff check . && $(PY) -m ruff format --check d2l_helpers bookbuild tests benchmarks && $(PY) -m mypy

bench: env  ## the benchmarks; prints ratios measured in one run
	$(PY) benchmarks/run.py

lock: env  ## solve the versions anew, around the pins of [tool.uv] in pyproject.toml
	$(PY) -m uv pip compile -q --universal --no-header --annotation-style=line --extra book --extra test -o requirements.lock pyproject.toml

clean:  ## remove build results; the store and the environment stay
	rm -rf build
