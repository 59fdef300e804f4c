"""The notebooks as files; `pytest --nbmake notebooks` executes them."""

import ast
import html
import io
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell
from packaging.requirements import Requirement
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import pages  # noqa: E402
from pages import (  # noqa: E402
    build_site,
    chosen_notebooks,
    notebook_links,
    notebook_paths,
    page_name,
    shrink,
    source_digest,
    write_pages,
)

import emotion_tutorial  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXAMPLES = sorted((ROOT / "examples").glob("*.ipynb"))
DOCS = ROOT / "docs"
COURSE = Requirement(pages.PROJECT["optional-dependencies"]["course"][0]).extras
MACHINE = r"(/(?:home|root|tmp|Users)/|[A-Z]:\\)"
FIGURE = r'<img src="([^"]*)" alt="([^"]*)" width="(\d+)">'

FIRST_CELL = """PROFILE = "quick"  # the bundled texts; "real": tweets from the Hub; "full": with DistilBERT

import emotion_tutorial as et

profile = et.get_profile(PROFILE)"""

every = pytest.mark.parametrize("path", notebook_paths(), ids=page_name)
lessons = pytest.mark.parametrize("path", NOTEBOOKS, ids=page_name)


def code_cells(path: Path) -> list[nbformat.NotebookNode]:
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@every
def test_stripped_plain_python_and_text_alternatives_of_figures(path):
    for cell in code_cells(path):
        assert cell.outputs == []
        assert cell.execution_count is None
        ast.parse(cell.source)  # magics and shell lines are no Python
        assert not re.search(MACHINE, cell.source)
        assert cell.metadata.get("alt") or not re.search(r"\bet\.plot_|plt\.subplots", cell.source), cell.source


@lessons
def test_opens_and_ends_as_a_lesson_does(path):
    assert code_cells(path)[0].source == FIRST_CELL
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    parts = ("What you will learn", "What you need", "## Recap", "## Exercises", "## What comes next")
    places = [text.find(part) for part in parts]
    assert places[0] > -1
    assert places == sorted(places)


@lessons
def test_a_lesson_is_short_and_its_cells_fit_on_a_screen(path):
    sources = [cell.source for cell in code_cells(path)]
    assert len(sources) <= 25
    assert max(len(source.splitlines()) for source in sources) <= 15
    assert [line for source in sources for line in source.splitlines() if len(line) > 100] == []


OPENED = r"""(?<!del )(?:splits|features|data|corpus|tokenized)\[["']test["']\]|\)\[["']test["']\]"""
MAY_OPEN = {
    "__main__.py": "the command finetune, which scores it once",
    "own_data.ipynb": "the reader's own texts",
    "04_capstone.ipynb": "the texts of the exercise",
    "hyperparameters.py": "a part cut from train, which scikit-learn's naming calls test",
    "data.py": "reads and checks it",
}


def test_the_test_split_is_scored_in_notebook_5_and_in_the_results_alone():
    sources = {
        path: path.read_text("utf-8")
        for kind in ("benchmarks", "emotion_tutorial")
        for path in (ROOT / kind).glob("*.py")
    }
    for path in [*NOTEBOOKS, *EXAMPLES, *sorted((ROOT / "notebooks" / "solutions").glob("*.ipynb"))]:
        sources[path] = "\n".join(cell.source for cell in code_cells(path))
    opened = {path.name for path, source in sources.items() if re.search(OPENED, source)}
    assert opened - MAY_OPEN.keys() <= {"05_evaluation.ipynb"}
    judged = {
        path.name for path, source in sources.items() if re.search(r"\([\"']validation[\"'], [\"']test[\"']\)", source)
    }
    # summaries.py reads what results.py has predicted; notebook 1 looks for leaks, and predicts nothing
    others = {"results.py", "summaries.py", "01_data_inspection.ipynb", "04_capstone.ipynb"}
    assert judged <= others | {"05_evaluation.ipynb"}


def test_capstone_does_without_our_package_and_beats_the_majority():
    cells = code_cells(ROOT / "notebooks" / "solutions" / "04_capstone.ipynb")
    assert not any("emotion_tutorial" in cell.source for cell in cells)
    hooks = [line for cell in cells for line in cell.metadata.get("nbmake", {}).get("post_cell_execute", [])]
    assert any(re.search("assert .*majority", line) for line in hooks)  # runs with the notebook


@every
def test_page_is_made_from_the_present_sources_and_is_fit_to_read(path):
    page = (DOCS / f"{page_name(path)}.md").read_text(encoding="utf-8")
    assert f"sources {source_digest(path)}" in page, f"docs/{page_name(path)}.md is stale: run `make docs`"
    figures = re.findall(FIGURE, page)
    assert all(text for _, text, _ in figures)
    alternatives = {cell.metadata.get("alt") for cell in code_cells(path)}
    assert {html.unescape(text) for _, text, _ in figures} <= alternatives, f"run `make docs`: {path.name} has others"
    assert len(page.encode()) + sum((DOCS / name).stat().st_size for name, *_ in figures) < 1_500_000
    assert not re.search(MACHINE + "|LOAD REPORT|<progress|it/s\\]|I0000", page)


def write_notebook(path: Path, *cells) -> Path:
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)
    return path


def checked(source: str, *lines: str):
    return new_code_cell(source, metadata={"nbmake": {"post_cell_execute": list(lines)}})


OUTPUTS = r"""import sys, warnings
import pandas as pd
from IPython.display import HTML, display
print("[torch.onnx] Translate...\n\x1b[31mred\x1b[0m", sys.prefix + "/lib")
print("Key | MISSING", "50%|##   |\r", "I0000 oneDNN", file=sys.stderr)
warnings.warn("semicolons separate the columns", UserWarning)
display(HTML('<progress value="2"></progress> [2/2 00:01, Epoch 1/1]<table border="1"><td>0.5</td></table>'))
display(HTML('<div><progress value="2"></progress> [8/8 00:01]</div>'))
pd.DataFrame({"text": ["<script>1</script> <b>b</b> $x$ | [a](x)"]})"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> tuple[Path, str]:
    """Make the page of a notebook that has one of everything, beside what is left of a notebook that is gone."""
    folder = tmp_path_factory.mktemp("docs")
    path = write_notebook(
        folder / "01_first.ipynb",
        new_markdown_cell("# First\n\n[next](02_second.ipynb), [answers](solutions/01_first.ipynb)"),
        checked("value = 1", "value = 2  # without an assertion, this only makes the tests faster"),
        checked("print('value', value)", "assert value == 1"),
        new_code_cell(OUTPUTS),
        new_code_cell("import matplotlib.pyplot as plt\nplt.plot([1, 2]);", metadata={"alt": 'a "line"'}),
        new_code_cell("6 * 7", metadata={"tags": ["solution"]}),
        new_markdown_cell("So it is.", metadata={"tags": ["solution"]}),
    )
    (folder / "figures").mkdir()
    for name in ("09_gone.md", "figures/09_gone_3_0.png", "figures/01_first_99_0.png", "guide.md"):
        (folder / name).touch()
    write_pages([path], folder)
    return folder, (folder / "01_first.md").read_text(encoding="utf-8")


def test_page_keeps_what_teaches_and_folds_solutions(page):
    folder, text = page
    assert "# First\n\n[Contents](index.md) · [Notebook](" in text
    assert "[next](02_second.md), [answers](01_first_solutions.md)" in text
    assert "    value 1\n" in text
    assert "assert value" not in text
    output = text.split('[a](x)"]})\n```', 1)[1]  # after the source of the cell
    assert "    red .venv/lib\n\n    UserWarning: semicolons separate the columns\n" in output
    assert "<table><td>0.5</td></table>" in output
    assert not re.search(r"MISSING|I0000|50%|progress|00:01|torch\.onnx|\x1b|ipykernel", output)
    files = {file.name for file in folder.rglob("*.*")}
    assert files == {"01_first.ipynb", "01_first.md", "guide.md", "01_first_4_0.png"}
    [fold] = re.findall(r"<details>\n<summary>Solution</summary>\n\n(.*)\n\n</details>", text, re.DOTALL)
    assert re.fullmatch(r"```python\n6 \* 7.*42.*So it is\.", fold, re.DOTALL)


def test_figures_have_twice_the_pixels_and_a_text_alternative(page):
    [(name, text, width)] = re.findall(FIGURE, page[1])
    assert text == "a &quot;line&quot;"
    with Image.open(page[0] / name) as image:
        assert image.width // 2 == int(width) > 500  # of 6.4 inches, less the margins


def test_texts_that_look_like_html_are_shown_as_text(page):
    table = re.findall(r"<table>.*?</table>", page[1], re.DOTALL)[1]
    assert "&lt;script&gt;1&lt;/script&gt; &lt;b&gt;b&lt;/b&gt; $x$ | [a](x)" in table
    assert "<script" not in table


@pytest.mark.parametrize(("code", "error"), [("score = 0.5", "assert score > 0.9.*AssertionError"), ("1 / 0", "Zero")])
def test_what_fails_is_named_and_no_page_is_written(tmp_path, code, error):
    path = write_notebook(tmp_path / "01_bad.ipynb", new_markdown_cell("# A"), checked(code, "assert score > 0.9"))
    with pytest.raises(SystemExit, match=rf"(?s)01_bad.ipynb, cell 2 failed:.*{error}"):
        write_pages([path], tmp_path / "docs")
    assert not (tmp_path / "docs").exists()


def png(size: int) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


def test_figures_are_shrunk():
    assert len(shrink(png(150))[0]) < len(png(150))
    with pytest.raises(SystemExit, match="make it smaller"):
        shrink(png(900))


def test_make_notebooks_executes_the_lessons_and_an_example_and_make_docs_the_solutions_too():
    assert chosen_notebooks("notebooks") == [*NOTEBOOKS, ROOT / "examples" / "own_data.ipynb"]
    assert {*chosen_notebooks("docs")} == {path for path in notebook_paths() if pages.can_run(path)}
    assert [page_name(path) for path in chosen_notebooks("docs", "02")] == [
        "02_text_to_tokens",
        "02_text_to_tokens_solutions",
    ]


def test_services_get_a_copy_that_installs_the_package(monkeypatch):
    monkeypatch.setattr(pages, "REPOSITORY", "https://github.com/someone/course")
    links, copy = notebook_links(ROOT / "examples" / "own_data.ipynb")
    for address in ("(https://colab.research.google.com/github", "src=https://github.com"):
        assert f"{address}/someone/course/blob/main/docs/notebooks/own_data.ipynb)" in links
    cells = nbformat.reads(copy["notebooks/own_data.ipynb"].decode(), 4).cells
    install = cells.pop(1).source
    assert install.startswith("!git clone --depth 1 https://github.com/someone/course")
    assert f'"./course[{",".join(sorted(COURSE - {"docs"}))}]"' in install
    assert [cell.source for cell in cells] == [
        cell.source for cell in nbformat.read(ROOT / "examples" / "own_data.ipynb", 4).cells
    ]


def test_site_has_every_notebook_and_name_and_loads_nothing_from_elsewhere(tmp_path):
    build_site(DOCS, tmp_path)
    texts = {path.name: path.read_text(encoding="utf-8") for path in [*tmp_path.glob("*.html"), *tmp_path.glob("*.js")]}
    assert all(f'href="{path.stem}.html"' in texts["index.html"] for path in [*NOTEBOOKS, *EXAMPLES])
    assert [name for name in emotion_tutorial.__all__ if f'id="emotion_tutorial.{name}"' not in texts["api.html"]] == []
    assert "wordpiec" in texts["searchindex.js"]  # the stem of a term in notebook 2
    assert not re.search(r'<(?:script|link|img)[^>]*(?:src|href)="(?:https?:)?//', "".join(texts.values()))


def test_a_broken_link_stops_the_site(tmp_path):
    (tmp_path / "conf.py").write_text('extensions = ["myst_parser"]')
    (tmp_path / "index.md").write_text("# A\n\n[b](missing.md)")
    with pytest.raises(SystemExit, match="not built"):
        build_site(tmp_path, tmp_path / "site")


@every
def test_formulas_are_plain_text_as_the_site_loads_nothing_that_draws_them(path):
    for cell in nbformat.read(path, as_version=4).cells:
        assert cell.cell_type == "code" or not re.search(r"\$[^$\s][^$]*\$", cell.source), cell.source
