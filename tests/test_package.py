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


def test_import_is_cheap():
    code = (
        "import sys, emotion_tutorial;"
        "assert not {'torch', 'transformers', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ, cwd=ROOT)


@pytest.mark.parametrize("name", emotion_tutorial.__all__)
def test_public_name_is_there_and_documented(name):
    assert inspect.getdoc(getattr(emotion_tutorial, name))


def test_the_root_has_few_names_and_the_version_of_pyproject():
    assert len(set(emotion_tutorial.__all__) - {"__version__"}) <= 59
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert emotion_tutorial.__version__ == project["version"]


def test_modules_import_only_from_those_above_them():
    stub = (PACKAGE / "__init__.pyi").read_text()
    listed = list(dict.fromkeys(re.findall(r"^from \.(\w+) import", stub, re.MULTILINE)))
    before_data = listed.index("data")
    order = [*listed[:before_data], "hub", "corpus", "reading", *listed[before_data:]]  # those have no name at the root
    names = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    assert set(order) == names - {"__init__", "__main__"}  # the command line is on top of all
    for path in MODULES:
        module = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if module in ("__init__", "__main__"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("emotion_tutorial."):
                other = (node.module or "").split(".")[1]
                assert other == module == "corpus" or order.index(other) < order.index(module), (module, other)


def test_modules_are_short():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name for name, lines in lengths.items() if lines > 300} == set()


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
    "page",
    [
        *("README.md", "CONTRIBUTING.md", "SCALING.md", "CHANGELOG.md", "emotion_tutorial/corpus/README.md"),
        *("docs/README.md", "docs/architectures.md", "docs/security.md"),
    ],
)
def test_links_of_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert target.startswith("https://") or ((ROOT / page).parent / target).exists(), target


def test_readme_example_runs(tmp_path, monkeypatch, tiny_checkpoint):
    """Run the README's lines as they stand, on a file that fits them and a small checkpoint."""
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"text number {i},{i % 3}" for i in range(90))
    (tmp_path / "my_texts.csv").write_text(f"review,stars\n{rows}\n")
    block = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    code = block[1].replace('"embedded"', repr(str(tiny_checkpoint)))
    with pytest.warns(emotion_tutorial.exceptions.DataWarning, match="9 stratified rows"):
        exec(code, {})
    assert list((tmp_path / "model").glob("checkpoint-*"))
