"""What holds for the package as a whole."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import emotion_tutorial

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "emotion_tutorial"
MODULES = list(PACKAGE.rglob("*.py"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NAMELESS = {"words": "data", "texts": "data", "hub": "data", "reading": "data", "replacing": "caching"}
NAMELESS |= {"checkpoints": "models"}
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
    assert len(set(emotion_tutorial.__all__) - {"__version__"}) <= 56
    assert [path for path in MODULES if len(path.read_text(encoding="utf-8").splitlines()) > 300] == []
    assert (PACKAGE / "py.typed").is_file()
    assert emotion_tutorial.__version__ == PROJECT["version"]


def test_modules_import_only_from_those_above_them():
    stub = (PACKAGE / "__init__.pyi").read_text()
    listed = list(dict.fromkeys(re.findall(r"^from \.(\w+) import", stub, re.MULTILINE)))
    order = [*listed]
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


def test_constraints_cover_the_dependencies():
    extras = PROJECT["optional-dependencies"].values()
    wanted = [*PROJECT["dependencies"], *(requirement for extra in extras for requirement in extra)]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    assert {re.match(r"[\w-]+", name)[0].lower() for name in wanted} <= pinned


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
