"""What the tools say of the course: its length, its terms, and its exercises, made from the solutions."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import course  # noqa: E402
import exercises  # noqa: E402


def lesson(folder: Path, name: str, *cells: str) -> Path:
    nbformat.write(new_notebook(cells=[new_markdown_cell(text) for text in cells]), folder / name)
    return folder / name


def test_the_course_is_short_enough_to_be_read():
    counts = [course.words(path) for path in course.LESSONS]
    assert len(counts) == 10
    assert max(counts) <= 2500
    assert sum(counts[:4]) <= 9800
    assert sum(counts) <= 26_000


def test_words_are_those_of_the_prose(tmp_path):
    path = lesson(
        tmp_path, "01_a.ipynb", "# One two\n\n| a | b |\n|---|---|\n\n    recorded output", "three *four*, five."
    )
    assert course.words(path) == 5
    assert course.minutes(path) == 5


def test_each_term_is_introduced_once_and_stands_in_the_glossary():
    found = course.terms(course.LESSONS)
    names = [term.name.lower() for term in found]
    assert sorted({name for name in names if names.count(name) > 1}) == []
    assert {"checkpoint", "embeddings", "attention mask", "probe", "epoch", "bootstrap", "lora"} <= {*names}
    assert course.GLOSSARY.read_text(encoding="utf-8") == course.glossary(found), "run python tools/course.py"


def test_a_term_comes_with_the_sentence_that_explains_it(tmp_path):
    path = lesson(
        tmp_path,
        "01_a.ipynb",
        "# 1. A\n\n**What you will learn.** Much.",
        "Cut a text into pieces (see [B](b.md)). These are **tokens**: small. **This is stressed and no term**",
        "- A **list** is one.",
        "## Recap\n\nAgain **tokens**.",
    )
    found = course.terms([path])
    assert [term.name for term in found] == ["tokens", "list"]
    page = course.glossary(found)
    assert ": Cut a text into pieces (see B). These are tokens: small. [1. A](01_a.md)" in page
    assert page.index("\nList\n") < page.index("\nTokens\n")


solutions = pytest.mark.parametrize("path", exercises.solution_paths(), ids=lambda path: path.stem)


@solutions
def test_exercises_are_made_from_the_solutions(path):
    wanted = exercises.with_hooks(path)
    assert nbformat.read(path, 4) == wanted, "run python tools/exercises.py"
    made = nbformat.read(exercises.EXERCISES / path.name, 4)
    assert made == exercises.exercises(wanted), "run python tools/exercises.py"
    assert not any(exercises.has_tag(cell, "solution") or cell.metadata.get("nbmake") for cell in made.cells)


@solutions
def test_each_exercise_has_a_start_and_a_check_that_helps_and_refuses(path):
    cells = nbformat.read(path, 4).cells
    tasks = [cell for cell in cells if cell.source.startswith("## Exercise")]
    checks = [cell for cell in cells if exercises.has_tag(cell, "check")]
    starts = [cell for cell in cells if cell.metadata.get("start")]
    assert 3 <= len(tasks) == len(checks) == len(starts) <= 4
    for check in checks:
        asserts = [node for node in ast.walk(ast.parse(check.source)) if isinstance(node, ast.Assert)]
        assert asserts
        assert all(node.msg for node in asserts), check.source
        assert ast.parse(check.metadata["wrong"]).body


@pytest.mark.parametrize(("wrong", "refused"), [("share = 50", True), ("share = 0.25", False), ("share = None", False)])
def test_a_check_that_accepts_a_wrong_answer_fails(tmp_path, wrong, refused):
    cells = [
        new_code_cell("share = 0.5", metadata={"tags": ["solution"], "start": "share = ..."}),
        new_code_cell("assert 0 <= share <= 1, 'a share'", id="c", metadata={"tags": ["check"], "wrong": wrong}),
    ]
    nbformat.write(new_notebook(cells=cells), path := tmp_path / "01_a.ipynb")
    notebook = exercises.with_hooks(path)
    nbformat.write(notebook, path)
    [hook] = notebook.cells[1].metadata["nbmake"]["post_cell_execute"]
    script = "\n".join([cells[0].source, cells[1].source, hook, "assert share == 0.5"])
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode == 0) == refused, done.stderr
    assert [cell.source for cell in exercises.exercises(notebook).cells] == ["share = ...", cells[1].source]
