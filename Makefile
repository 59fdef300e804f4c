# Two commands matter: `make notebooks` and `make test`; `make test-all` takes longer. On Windows see the README.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: notebooks test test-all lab docs lint clean

# Made anew when what is to be installed changes; otherwise nothing is installed.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[embedded,keras,notebooks,onnx,openvino,serve,test]"
	touch $(READY)

notebooks: $(READY)  ## execute all notebooks on the profile, HTML pages under build/
	$(BIN)/python tools/pages.py html

test: lint  ## lint, types, unit tests with coverage, notebooks
	$(BIN)/python -m pytest -m "not slow" --cov=emotion_tutorial --cov-fail-under=90 --cov-report=term

test-all: lint  ## also what takes minutes: the notebooks on other data
	$(BIN)/python -m pytest --cov=emotion_tutorial --cov-fail-under=90 --cov-report=term

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lab: $(READY)  ## JupyterLab on the notebooks
	$(BIN)/jupyter lab --notebook-dir notebooks

docs: $(READY)  ## execute all notebooks on quick, write the pages under docs/
	$(BIN)/python tools/pages.py docs

clean:
	rm -rf .venv build notebooks/artifacts
