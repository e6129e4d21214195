# The one list of commands: people and continuous integration call the same ones.

PYTHON ?= python3
VENV := .venv
# The package index has torch for Linux with gigabytes of CUDA. This one has the CPU build of the same version; if it
# cannot be reached, pip takes what it finds elsewhere. For CUDA: make TORCH_INDEX= …
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
RUN := $(VENV)/bin
READY := $(VENV)/ready

SOAK := $(addprefix tests/flows/test_, many_writers.py order_of_events.py crashes.py crashed_gates.py crashed_releases.py full_disks.py) \
	tests/laws/test_life.py tests/laws/test_index.py

QUICK := $(addprefix tests/, unit laws contracts test_architecture.py test_docs.py)

.DEFAULT_GOAL := help
.PHONY: help demo quick test check fix docs bench soak tools

help:  ## list these commands
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: $(READY)  ## from a commit to a trained, gated, served and reverted model (6 minutes; again: 1 minute)
	$(RUN)/python -m demo.run

quick: $(READY)  ## the tests that need no model: units, laws, contracts of plug-ins, shape of the code (a minute)
	$(RUN)/python -m pytest --hypothesis-profile=quick -m "not slow" $(QUICK)

test: $(READY)  ## the whole test suite, in parallel (23 minutes)
	$(RUN)/python -m pytest

check: $(READY)  ## lint, types, layers, and our own specs
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/llmops check --worktree

fix: $(READY)  ## format, and repair what ruff can repair
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

docs: $(READY)  ## write the generated pages and schemas, and build the site in build/site (broken links fail)
	$(RUN)/python -m docs.generate
	$(RUN)/llmops schema --write
	$(RUN)/python -m sphinx -b html --fresh-env --fail-on-warning --quiet docs build/site

bench: $(READY)  ## measure speed against peers and the floor (half an hour; see docs/performance.md)
	$(RUN)/python -m benchmarks $(BENCH)

soak: $(READY)  ## crashes, full disks, many writers, late runs and whole lives, longer (30 minutes)
	LLMOPS_SOAK=25 $(RUN)/python -m pytest $(SOAK)

tools:
	@command -v git >/dev/null || { echo "git is missing. Debian: sudo apt-get install git"; exit 1; }
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is missing. Debian: sudo apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$$($(PYTHON) --version) is too old: CPython 3.11 or later is needed; name one with: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "venv is missing. Debian: sudo apt-get install python3-venv"; exit 1; }

$(READY): pyproject.toml constraints.txt | tools
	@echo "Installing into $(VENV) (about 2 GB; some minutes the first time) …"
	$(PYTHON) -m venv $(VENV)
	test -z "$(TORCH_INDEX)" || $(RUN)/pip install --quiet --disable-pip-version-check --retries 0 --timeout 30 --no-deps \
		--index-url $(TORCH_INDEX) torch==2.13.0 || echo "The CPU build of torch cannot be had there: taking what pip finds."
	$(RUN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,eval,serve,dev,docs,test]'
	@touch $@
