# Two commands matter: `make notebooks` and `make test`; `make test-all` takes longer. On Windows see the README.
PYTHON ?= python3
BIN := .venv/bin
COURSE := .venv/.course
READY := .venv/.ready
HUB := .venv/.keras-hub
JS := .venv/js/.ready

.PHONY: notebooks test test-all lab docs site lint clean

# What is installed, in steps: for the notebooks and the site, for the tests too, and for KerasHub too. A step is taken
# again when the list of packages changes; otherwise nothing is installed.
$(COURSE): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[course]"
	touch $(COURSE)

$(READY): $(COURSE)
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[course,test]"
	touch $(READY)

# The scripts of the live classifier; without Node.js there is none, and its tests are skipped.
$(JS): emotion_tutorial/live/package.json
	mkdir -p .venv/js && cp $< .venv/js/
	(cd .venv/js && npm install --ignore-scripts --no-audit --no-fund --no-package-lock) && touch $(JS) || echo "No live classifier: npm failed."

notebooks: $(COURSE) $(JS)  ## execute the lessons on the profile, and build the site from their pages
	$(BIN)/python tools/pages.py notebooks

test: lint $(JS)  ## lint, types, unit tests with coverage, notebooks
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" --cov=emotion_tutorial --cov-fail-under=90 --cov-report=term

$(HUB): $(READY)
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[keras-hub]"
	touch $(HUB)

test-all: $(HUB) $(JS) lint  ## also what takes minutes: the notebooks on other data
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --cov=emotion_tutorial --cov-fail-under=90 --cov-report=term

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(COURSE)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir notebooks

docs: $(COURSE) $(JS)  ## execute all notebooks on the quick profile, write their pages to docs/, and build the site
	$(BIN)/python tools/pages.py docs

site: $(COURSE) $(JS)  ## build the site from the pages in docs/
	$(BIN)/python tools/pages.py site

clean:
	rm -rf .venv build notebooks/artifacts
