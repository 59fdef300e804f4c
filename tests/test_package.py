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
import yaml
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
EXTRAS = PROJECT["optional-dependencies"]
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
NAMELESS = dict.fromkeys(("words", "texts", "hub", "reading", "replacing"), "data")
NAMELESS |= {"live_page": "serving", "reporting": "serving", "checkpoints": "models", "training_settings": "training"}
NAMELESS |= {"text_files": "serving", "text_model": "serving", "scaling": "serving"}
"""Modules without a public name, and the module that each stands before."""
PAGES = ["README.md", "CONTRIBUTING.md", "docs/scaling.md", "CHANGELOG.md", "emotion_tutorial/corpus/README.md"]
PAGES += ["docs/index.md", "docs/architectures.md", "docs/security.md"]
PAGES += ["docs/guide_own_data.md", "docs/guide_ci.md", "docs/troubleshooting.md"]


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


def pinned_versions() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()[1:]
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in (line.split("==") for line in lines)}


def test_each_dependency_is_tested_in_its_lowest_version_and_in_one_that_it_allows():
    wanted = map(Requirement, [*PROJECT["dependencies"], *(line for lines in EXTRAS.values() for line in lines)])
    pinned = pinned_versions()
    assert PROJECT["name"] not in LOWEST
    for requirement in wanted:
        if requirement.name == PROJECT["name"]:  # an extra that refers to others
            assert requirement.extras <= EXTRAS.keys(), requirement
        else:
            assert pinned[requirement.name.lower()] in requirement.specifier, requirement
            assert LOWEST[requirement.name] in requirement.specifier, requirement


WITHOUT_EXTRAS = """
import sys
sys.modules.update(matplotlib=None, cleanlab=None)
import emotion_tutorial as et
from emotion_tutorial import *
splits = et.load_splits("embedded")
texts, y = splits["train"]["text"][:300], splits["train"]["label"][:300]
names = splits["train"].features["label"].names
scores = et.evaluate(y, et.fit_bag_of_words(texts, y).predict(texts), names)
assert scores.loc[("overall", "accuracy"), "value"] > 0.5
for call in (
    lambda: et.plot_scores(scores.loc["overall"], title="t", xlabel="x"),
    lambda: et.plot_learning_curve([{"epoch": 1, "loss": 0.5}]),
    et.use_style,
    lambda: et.find_label_errors(texts, y, names),
):
    try:
        call()
    except et.MissingExtraError as error:
        print(str(error).partition(". Run: ")[2])
"""


def test_helpers_work_without_matplotlib_and_cleanlab_and_what_needs_them_names_the_extra():
    done = subprocess.run([sys.executable, "-c", WITHOUT_EXTRAS], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    extras = ["figures", "figures", "figures", "labels"]
    assert done.stdout.splitlines() == [f'pip install "emotion-tutorial[{extra}]".' for extra in extras]


def installed_by(path: str) -> list[str]:
    """Return what each line of a file that installs this package with the tested versions installs."""
    text = (ROOT / path).read_text(encoding="utf-8")
    return re.findall(r'pip install --constraint constraints\.txt --editable "(.+?)"', text)


def test_readme_conda_make_and_the_workflow_install_the_same():
    [everything] = installed_by("README.md")
    assert everything == ".[course,test]"
    conda = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    assert conda[-1] == {"pip": ["--constraint constraints.txt", f"--editable {everything}"]}
    assert installed_by("Makefile") == [".[course]", everything, ".[keras-hub]"]
    image = ".[embedded,onnx]"
    assert installed_by(".github/workflows/ci.yml") == [everything, everything, everything, image]
    assert installed_by(".github/workflows/pages.yml") == [".[course]"]
    used = {everything, image, *re.findall(r'--editable "(.+?)"', (ROOT / ".github/workflows/ci.yml").read_text())}
    for what in used:
        assert Requirement(what.replace(".", PROJECT["name"])).extras <= EXTRAS.keys(), what


def test_hooks_before_a_commit_have_the_ruff_of_the_tests_and_leave_notebooks_as_they_are():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"][0]["hooks"]
    assert [hook["id"] for hook in hooks] == ["nbstripout", "ruff-check", "ruff-format"]
    for hook in hooks[1:]:
        assert hook["additional_dependencies"] == [f"ruff=={pinned_versions()['ruff']}"]
    assert "--keep-id" in hooks[0]["entry"]  # the exercises find their checks by these


def test_dependabot_looks_at_packages_and_actions_every_week():
    updates = yaml.safe_load((ROOT / ".github" / "dependabot.yml").read_text(encoding="utf-8"))["updates"]
    assert {update["package-ecosystem"]: update["schedule"] for update in updates} == {
        "pip": {"interval": "weekly"},
        "github-actions": {"interval": "weekly"},
    }


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_for_issues_are_complete(path):
    form = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert all(form[key] for key in ("name", "description", "body"))
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) > 0
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field["validations"]["required"] for field in fields)


def test_citation_names_this_version_and_its_sources():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] in PROJECT["license"]
    assert [reference["year"] for reference in citation["references"]] == [2022, 2018]


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
