# Two commands matter: `make notebooks` and `make test`; `make test-all` takes longer. On Windows see the README.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

HUB := .venv/.keras-hub

.PHONY: notebooks test test-all lab docs site lint clean

# Created again when the list of packages changes; otherwise nothing is installed.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[demo,docs,embedded,fewshot,keras,notebooks,onnx,serve,test]"
	touch $(READY)

notebooks: $(READY)  ## execute all notebooks on the profile, and build the site from their pages
	$(BIN)/python tools/pages.py notebooks

test: lint  ## lint, types, unit tests with coverage, notebooks
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" --cov=emotion_tutorial --cov-fail-under=90 --cov-report=term

$(HUB): $(READY)
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[keras-hub]"
	touch $(HUB)

test-all: $(HUB) lint  ## also what takes minutes: the notebooks on other data
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov=emotion_tutorial --cov-fail-under=90 --cov-report=term

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(READY)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir notebooks

docs: $(READY)  ## execute all notebooks on the quick profile, write their pages to docs/, and build the site
	$(BIN)/python tools/pages.py docs

site: $(READY)  ## build the site from the pages in docs/
	$(BIN)/python tools/pages.py site

clean:
	rm -rf .venv build notebooks/artifacts
