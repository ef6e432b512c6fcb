# The verbs. `make help` lists them. Everything lives in .venv; nothing outside this folder is changed
# but the data cache (D2L_CACHE, else the user's cache folder).
#
#   TORCH=cpu       PyTorch build: empty for the platform's default (CUDA on Linux), or cpu, cu126, cu130, auto, ...
#   PROFILE=cpu     cpu, smoke, gpu or rehearsal (gpu with its sizes cut, on a CPU)
#   FRESH=1         run every notebook, whatever is stored
#   S=3.4           a section, a chapter (S=3) or a path
#   PAPER=A4        for pdf: or letter
#   FROM=book.zip   for reset where there is no git: the archive that the book came in
#   N=5 SEED=0      for mutate: changes a section, and which ones

PYTHON ?= python3
PROFILE ?= cpu
TORCH ?=
S ?=
PAPER ?= A4
N ?= 5
SEED ?= 0
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

# Ends with words where an interpreter is none of those that pyproject.toml allows; any Python can run it.
define CHECK_PYTHON
import io, re, sys
text = io.open("pyproject.toml", encoding="utf-8").read()
wanted = re.search('requires-python = ">=([0-9.]+),<([0-9.]+)"', text).groups()
low, high = [tuple(map(int, v.split("."))) for v in wanted]
if not low <= sys.version_info[:2] < high:
    sys.exit("error: %s is Python %d.%d, and the book needs %s or newer, below %s. Install one, or name it: "
             "make env PYTHON=python%s" % ((sys.executable,) + tuple(sys.version_info[:2]) + wanted + wanted[:1]))
endef
export CHECK_PYTHON
TELL := import sys; print(sys.version_info[:2])
# .venv is used as it is if its interpreter runs, has pip, and has the version asked for by PYTHON=.
SAME := $(if $(filter command,$(origin PYTHON)),[ "$$($(PY) -c '$(TELL)')" = "$$($(PYTHON) -c '$(TELL)')" ],true)
WHOLE := $(shell { $(PY) -c "import pip" && $(SAME); } >/dev/null 2>&1 && echo yes)

# Works without an environment too, to say what it lacks.
DOCTOR := $(if $(WHOLE),$(PY),$(PYTHON)) -m d2l_helpers.doctor

.PHONY: help doctor env book section lab run check accept pair test
.PHONY: mutate prune unit lint bench lock clean

help:  ## list the verbs
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## /\1|/' | awk -F'|' '{printf "  make %-11s %s\n", $$1, $$2}'

doctor:  ## tell what is installed, which device and data there are, and what to do about what is wrong
	@$(DOCTOR)

# Whatever a user's settings of pip say of places (PIP_USER, PIP_TARGET, pip.conf), packages go into .venv;
# what they say of the network holds.
$(VENV)/.ready: pyproject.toml requirements.lock bookbuild/web/package-lock.json $(if $(WHOLE),,again)
	@rm -f $@
	@{ $(PY) -c "$$CHECK_PYTHON" && { $(PY) -c "import pip" || $(PY) -m ensurepip; } && $(SAME); } >/dev/null 2>&1 || { \
	  command -v $(PYTHON) >/dev/null || { echo "error: there is no $(PYTHON); install Python, or name one: make env PYTHON=…" >&2; exit 1; }; \
	  $(PYTHON) -c "$$CHECK_PYTHON" && $(PYTHON) -m venv --clear $(VENV); }
	$(PY) -m pip install -q --disable-pip-version-check --no-user --target "" --prefix $(VENV) uv==$(UV)
	$(PY) -m uv pip install -q --compile-bytecode $(if $(TORCH),--torch-backend $(TORCH)) --python $(PY) -c requirements.lock -e '.[book,test]'
	$(PY) -c "from bookbuild import site; site.assets('.')"
	@touch $@

.PHONY: again
again:

env: $(VENV)/.ready  ## make the environment in .venv (TORCH=cpu for the small CPU build of PyTorch)

book: env  ## run what is out of date and build the HTML book in build/html
	$(BOOK) build $(if $(FRESH),--fresh)

section: env  ## the same for one section: make section S=3.4
	$(BOOK) build $(S) && $(BOOK) check $(S)

.PHONY: pdf
pdf: env  ## print the book or a chapter (S=3) into build/pdf, with Chromium
	$(BOOK) build $(S) && $(BOOK) pdf --paper $(PAPER) $(S)

.PHONY: epub
epub: env  ## the same for e-readers, into build/epub
	$(BOOK) build $(S) && $(BOOK) epub $(S)

lab: env  ## open JupyterLab on the book, at its table of contents
	$(PY) -m bookbuild lab

.PHONY: reset new
reset: env  ## bring a section back as it was accepted and keep your version: make reset S=5.6
	$(BOOK) reset $(S) $(if $(FROM),--from "$(FROM)")

new: env  ## write the skeleton of a planned section: make new S=12.1
	$(BOOK) new $(S)

run: env  ## run the notebooks that are out of date (PROFILE=gpu for the GPU lane, FRESH=1 for all)
	$(BOOK) run $(RUN) $(S)

check: env  ## run what is out of date and compare with the stored outputs
	$(BOOK) check $(RUN) $(S)

accept: env  ## take the outputs of the current code as the stored ones: make accept S=3.4
	$(BOOK) accept $(S)

pair: env  ## bring .ipynb files and exported modules up to their sources
	$(BOOK) pair

# Without the real data the notebooks run on stand-ins: the checks hold, outputs are not compared, and the last
# lines say so. With D2L_DATA=real, as in CI, that is an error.
test: lint unit  ## every test: lint, types, unit tests, then every notebook anew
	$(BOOK) check --fresh $(if $(filter real,$(D2L_DATA)),,--allow-standin)

mutate: env  ## change the code of sections a little and see what notices: make mutate S=4.7 N=20 SEED=7
	$(BOOK) mutate --seed $(SEED) --count $(N) $(S)

.PHONY: assignments
assignments: env  ## notebooks to hand out, without solutions, and the key: make assignments S=3
	$(BOOK) assignments $(S)

.PHONY: slides
slides: env  ## sections as slides that open from the disk: make slides S=3.4
	$(BOOK) slides $(S)

prune: env  ## remove executed notebooks that belong to no current code
	$(BOOK) prune

# Children of the tests run in other folders; what they cover is written here.
unit: export COVERAGE_FILE = $(CURDIR)/.coverage
unit: env  ## the tests of d2l_helpers, bookbuild and the site
	$(PY) -m pytest --cov --cov-report= -n 2 --dist loadfile
	$(PY) -m coverage report --include='d2l_helpers/*' --fail-under=95
	$(PY) -m coverage report --include='bookbuild/*' --fail-under=90

lint: env  ## style and types
	$(PY) -m ruff check . && $(PY) -m ruff format --check d2l_helpers bookbuild tests benchmarks && $(PY) -m mypy

bench: env  ## the benchmarks; prints ratios measured in one run
	$(PY) benchmarks/run.py

lock: env  ## solve the versions anew, around the pins of [tool.uv] in pyproject.toml
	$(PY) -m uv pip compile -q --universal --no-header --annotation-style=line --extra book --extra test -o requirements.lock pyproject.toml

clean:  ## remove build results; the store, the environment, assignments and what you saved in JupyterLab stay
	@if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name lab ! -name assignments -exec rm -rf {} +; fi
