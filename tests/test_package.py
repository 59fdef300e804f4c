"""What holds for the package as a whole."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import emotion_tutorial

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from lowest import lowest_versions  # noqa: E402

LOWEST = lowest_versions()
PACKAGE = ROOT / "emotion_tutorial"
MODULES = list(PACKAGE.rglob("*.py"))
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, BUILD = PYPROJECT["project"], PYPROJECT["tool"]["hatch"]["build"]
NAMELESS = dict.fromkeys(("words", "texts", "hub", "reading", "replacing"), "data")
NAMELESS |= {"checkpoints": "models", "training_settings": "training", "text_files": "serving"}
NAMELESS |= dict.fromkeys(("text_model", "scaling"), "serving")
"""Modules without a public name, and the module that each stands before."""
PAGES = ["README.md", "CONTRIBUTING.md", "docs/scaling.md", "CHANGELOG.md", "emotion_tutorial/corpus/README.md"]
PAGES += ["docs/index.md", "docs/architectures.md", "docs/security.md"]


def test_import_is_cheap():
    heavy = {"torch", "transformers", "pandas", "matplotlib", "sklearn"}
    code = f"import sys, emotion_tutorial; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("name", emotion_tutorial.__all__)
def test_public_name_is_there_and_documented(name):
    assert inspect.getdoc(getattr(emotion_tutorial, name))


def test_the_package_is_small_typed_and_of_the_version_of_pyproject():
    assert len(set(emotion_tutorial.__all__) - {"__version__"}) <= 60
    assert [path for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) > 300] == []
    assert (PACKAGE / "py.typed").is_file()
    assert emotion_tutorial.__version__ == PROJECT["version"]


def test_modules_import_only_from_those_above_them():
    stub = (PACKAGE / "__init__.pyi").read_text()
    order = list(dict.fromkeys(re.findall(r"^from \.(\w+) import", stub, re.MULTILINE)))
    for module, below in NAMELESS.items():  # those have no name at the root
        order.insert(order.index(below), module)
    modules = {path: path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES}
    modules = {path: module for path, module in modules.items() if module not in ("__init__", "__main__")}
    assert set(order) == set(modules.values())
    for path, module in modules.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("emotion_tutorial."):
                other = (node.module or "").split(".")[1]
                assert order.index(other) < order.index(module), (module, other)


@pytest.mark.skipif(not metadata.version("transformers").startswith(LOWEST["transformers"]), reason="a newer one")
def test_lowest_versions_fit_the_lowest_transformers():
    for requirement in map(Requirement, metadata.requires("transformers")):
        if not requirement.marker or requirement.marker.evaluate({"extra": "torch"}):
            assert requirement.name not in LOWEST or LOWEST[requirement.name] in requirement.specifier, requirement


def test_each_dependency_is_tested_in_its_lowest_version_and_in_one_that_it_allows():
    extras = PROJECT["optional-dependencies"].values()
    wanted = [*PROJECT["dependencies"], *(line for lines in extras for line in lines)]
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    pinned = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (line.split("==") for line in lines)}
    for requirement in map(Requirement, wanted):
        assert pinned[requirement.name.lower()] in requirement.specifier, requirement
        assert LOWEST[requirement.name] in requirement.specifier, requirement


def test_data_files_ship_with_the_package():
    """The wheel and the source distribution have what lies in the package's folder, unless git is told to ignore it."""
    files = [str(path) for path in (PACKAGE / "corpus").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    ignored = subprocess.run(["git", "check-ignore", "--no-index", *files], cwd=ROOT, check=False)
    assert ignored.returncode == 1  # it ignores none of them
    assert BUILD == {"targets": {"wheel": {"packages": ["emotion_tutorial"]}}}  # nothing is left out


@pytest.mark.parametrize("page", PAGES)
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
    with pytest.warns(emotion_tutorial.DataWarning, match="9 stratified rows"):
        exec(code, {})
    assert list((tmp_path / "model").glob("checkpoint-*"))
