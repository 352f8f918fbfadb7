# `make demo` runs the main job, `make test` the tests; both need Python >= 3.11 and make only.
PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/demo
BIN := $(VENV)/bin
export PYTHONUNBUFFERED := 1
# Processes that share the tests, file by file; tests/conftest.py says in which order.
WORKERS ?= 2
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help demo install test test-fast test-lowest lint docs clean

help:
	@echo "make demo   make the environment, then train, test and explain a model on phantom knees"
	@echo "make test   make the environment, then run all tests and checks"

demo: $(VENV)/.installed
	$(BIN)/python examples/demo.py --folder $(RUN)

test: $(VENV)/.installed-dev lint
	$(PYTEST)
	$(BIN)/mkdocs build --strict --quiet --site-dir build/site

install: $(VENV)/.installed-dev

# Tests that take under ten minutes together, for everyday work.
test-fast: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

# The lowest versions that pyproject.toml allows, in an environment of their own, with the tests of the core.
# Shapes are not checked, warnings of old packages are let be, and torch 2.6 cannot export a whole model.
LOWEST ?= .venv-lowest
CORE := heads losses model encoders metrics latent saliency statistics data images
test-lowest:
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip compile --quiet --resolution lowest-direct --python $(LOWEST)/bin/python --extra test \
		pyproject.toml --output-file $(LOWEST)/lowest.txt
	$(LOWEST)/bin/uv pip install --python $(LOWEST)/bin/python --requirement $(LOWEST)/lowest.txt
	$(LOWEST)/bin/uv pip install --python $(LOWEST)/bin/python --no-deps --editable .
	JAXTYPING_DISABLE=1 $(LOWEST)/bin/python -m pytest -m "not slow" -k "not forward_exports" -o filterwarnings=default \
		$(addprefix tests/,$(CORE)) $(wildcard tests/test_*.py)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed-dev
	$(BIN)/mkdocs build --strict --site-dir build/site

$(VENV)/.created:
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'oahier needs Python 3.11 or newer, this is ' + sys.version.split()[0])"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml
	$(BIN)/python -m pip install -e ".[dev]"
	$(BIN)/python -m pip check
	@touch $@ $(VENV)/.installed

clean:
	rm -rf build site .pytest_cache .mypy_cache .ruff_cache .hypothesis
