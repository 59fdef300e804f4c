"""What holds for the package as a whole."""

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import emotion_tutorial
import emotion_tutorial.exceptions

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "emotion_tutorial"
MODULES = list(PACKAGE.rglob("*.py"))


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ, cwd=ROOT
    ).stdout


def test_import_is_cheap():
    code = (
        "import sys, time; start = time.perf_counter(); import emotion_tutorial;"
        "print(time.perf_counter() - start);"
        "assert not {'torch', 'transformers', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)"
    )
    assert min(float(run(code)) for _ in range(3)) < 0.3


def test_first_prediction_takes_seconds(tiny_checkpoint):
    """In a fresh process: the imports take nearly all of it."""
    code = (
        "import time; start = time.perf_counter(); import emotion_tutorial as et;"
        f"model = et.load_classifier({str(tiny_checkpoint)!r}, ['no', 'yes'], 'cpu');"
        f"et.predict_proba('hello', model, et.load_tokenizer({str(tiny_checkpoint)!r}));"
        "print(time.perf_counter() - start)"
    )
    assert min(float(run(code)) for _ in range(2)) < 10  # 4 to 5 alone; the tests may share the machine


@pytest.mark.parametrize("name", emotion_tutorial.__all__)
def test_public_name_is_documented_and_typed(name):
    thing = getattr(emotion_tutorial, name)
    assert inspect.getdoc(thing)
    if inspect.isfunction(thing):
        assert all(
            parameter.annotation is not inspect.Parameter.empty
            for parameter in inspect.signature(thing).parameters.values()
        )


@pytest.mark.parametrize("name", emotion_tutorial.__all__)
def test_public_name_is_tested(name):
    tests = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert re.search(rf"\b{name}\(|\b{name}\b,|import {name}\b", tests)


def test_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no_such_name"):
        emotion_tutorial.no_such_name  # noqa: B018


def test_modules_import_only_from_those_above_them():
    stub = (PACKAGE / "__init__.pyi").read_text()
    listed = list(dict.fromkeys(re.findall(r"^from \.(\w+) import", stub, re.MULTILINE)))
    order = ["exceptions", "corpus", "files", *listed]
    rank = {module: order.index(module) for module in order}
    names = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert set(order) == names - {"__init__", "__main__"}  # the command line is on top of all
    for path in MODULES:
        module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if module in ("__init__", "__main__"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("emotion_tutorial."):
                other = (node.module or "").split(".")[1]
                assert other == module == "corpus" or rank[other] < rank[module], f"{module} imports {other}"


def test_modules_are_short():
    assert {path.name: n for path in MODULES if (n := len(path.read_text(encoding="utf-8").splitlines())) > 400} == {}


def test_package_prints_nothing():
    for path in set(MODULES) - {PACKAGE / "__main__.py"}:
        assert "print(" not in path.read_text(encoding="utf-8"), path


def test_constraints_cover_the_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    pinned = {
        re.sub(r"[-_.]+", "-", line.split("==")[0]).lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    assert {re.match(r"[\w-]+", name)[0].lower() for name in wanted} <= pinned


def test_typed_marker_and_data_are_in_the_package():
    assert (PACKAGE / "py.typed").is_file()
    assert importlib.import_module("emotion_tutorial.corpus").CORPUS_FOLDER == PACKAGE / "corpus"


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "SCALING.md", "emotion_tutorial/corpus/README.md", "docs/README.md"]
)
def test_links_of_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or ((ROOT / page).parent / target).exists(), target


def test_readme_example_runs(tmp_path, monkeypatch, tiny_checkpoint):
    """Run the README's five lines as they stand, on a file that fits them and a small checkpoint."""
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"text number {i},{i % 3}" for i in range(90))
    (tmp_path / "my_texts.csv").write_text(f"review,stars\n{rows}\n")
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    code = block[1].replace('"embedded"', repr(str(tiny_checkpoint)))
    with pytest.warns(emotion_tutorial.exceptions.DataWarning, match="cut 9"):
        exec(code, {})
    assert list((tmp_path / "model").glob("checkpoint-*"))
