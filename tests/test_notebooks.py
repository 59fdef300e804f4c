"""The notebooks as files; `pytest --nbmake notebooks` executes them."""

import ast
import io
import re
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import pages  # noqa: E402
from pages import MAX_FIGURE_BYTES, is_progress, plain_outputs, shrink, source_digest, write_docs, write_html  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXAMPLES = sorted((ROOT / "examples").glob("*.ipynb"))
DOCS = ROOT / "docs"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def write_notebook(path: Path, *cells) -> None:
    nbformat.write(nbformat.v4.new_notebook(cells=list(cells)), path)


@pytest.mark.parametrize("path", [*NOTEBOOKS, *EXAMPLES], ids=lambda path: path.stem)
def test_stripped_and_with_text_alternatives_of_figures(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
            assert cell.metadata.get("alt") or not re.search(r"\bet\.plot_|plt\.subplots", cell.source), cell.source


def test_opens_and_ends_as_a_lesson_does(notebook):
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert first.startswith('PROFILE = "quick"')
    assert "describe_setup(profile)" in first
    opening, ending = notebook.cells[0].source, notebook.cells[-1].source
    for words in ("After this notebook you can", "Needs", "Takes"):
        assert words in opening
    assert "## What we learned" in ending
    assert "## Exercises" in ending


def test_runs_no_shell_and_names_no_path_of_a_machine(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)  # magics and shell lines are no Python
        assert not re.search(r"(/(?:home|root|tmp|Users)/|[A-Z]:\\)", cell.source)


def test_links_lead_somewhere(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((\w+\.ipynb)\)", cell.source):
                assert (ROOT / "notebooks" / target).is_file()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_page_is_made_from_the_present_sources(path):
    page = (DOCS / f"{path.stem}.md").read_text(encoding="utf-8")
    assert f"sources {source_digest(path)}" in page, f"docs/{path.stem}.md is stale: run `make docs`"
    for figure in re.findall(r"!\[([^\]]*)\]\(([^)]*)\)", page):
        assert figure[0], f"{figure[1]} has no text alternative"
        assert (DOCS / figure[1]).is_file()


def test_docs_are_small_and_linked():
    sizes = {path: path.stat().st_size for path in DOCS.rglob("*") if path.is_file()}
    assert sum(sizes.values()) < 6_000_000
    assert all(size <= MAX_FIGURE_BYTES for path, size in sizes.items() if path.suffix == ".png")
    contents = (DOCS / "README.md").read_text(encoding="utf-8")
    assert all(f"({path.stem}.md)" in contents for path in NOTEBOOKS)


def test_digest_follows_the_sources(tmp_path):
    digests = []
    for text in ("# One", "# One!"):
        write_notebook(tmp_path / "a.ipynb", nbformat.v4.new_markdown_cell(text))
        digests.append(source_digest(tmp_path / "a.ipynb"))
    assert digests[0] != digests[1]


def test_progress_bars_are_told_from_other_outputs():
    bar = nbformat.v4.new_output("stream", name="stderr", text="\r50%|####     ")
    widget = nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})
    warning = nbformat.v4.new_output("stream", name="stderr", text="careful\n")
    assert [is_progress(output) for output in (bar, widget, warning)] == [True, True, False]


def test_tables_lose_styles():
    html = (
        '<div><style scoped>td {}</style><table border="1" class="dataframe"><tr><td>&lt;b&gt;</td></tr></table></div>'
    )
    cell = nbformat.v4.new_code_cell("x")
    cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": html})]
    plain_outputs(cell)
    assert cell.outputs[0].data["text/html"] == "<table><tr><td>&lt;b&gt;</td></tr></table>\n"


def test_pages_are_written_with_links_and_text_alternatives(tmp_path, monkeypatch):
    plot = "import matplotlib.pyplot as plt\nplt.plot([1, 2]);"
    write_notebook(
        tmp_path / "01_first.ipynb",
        nbformat.v4.new_markdown_cell("# First\n\n[next](02_second.ipynb)"),
        nbformat.v4.new_code_cell(plot, metadata={"alt": "a line"}),
    )
    write_notebook(tmp_path / "02_second.ipynb", nbformat.v4.new_markdown_cell("# Second"))
    paths = sorted(tmp_path.glob("*.ipynb"))
    write_html(tmp_path / "build", paths)
    page = (tmp_path / "build" / "01_first.html").read_text(encoding="utf-8")
    assert 'href="02_second.html"' in page
    assert 'alt="a line"' in page
    assert 'href="01_first.html"' in (tmp_path / "build" / "index.html").read_text(encoding="utf-8")
    monkeypatch.setattr(pages, "DOCS", tmp_path / "docs")
    write_docs(paths)
    page = (tmp_path / "docs" / "01_first.md").read_text(encoding="utf-8")
    assert "[next](02_second.md)" in page
    [figure] = re.findall(r"!\[a line\]\((figures/01_1_\d\.png)\)", page)
    assert (tmp_path / "docs" / figure).is_file()


def test_failing_notebook_is_named(tmp_path):
    cells = nbformat.v4.new_markdown_cell("# A"), nbformat.v4.new_code_cell("1 / 0")
    write_notebook(tmp_path / "01_broken.ipynb", *cells)
    with pytest.raises(SystemExit, match=r"01_broken.ipynb failed:[\s\S]*ZeroDivisionError"):
        write_html(tmp_path / "build", [tmp_path / "01_broken.ipynb"])


def png(size: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (size, size, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_figures_are_shrunk():
    assert len(shrink(png(150))) < len(png(150))
    with pytest.raises(SystemExit, match="make it smaller"):
        shrink(png(900))


def test_texts_that_look_like_html_are_shown_as_text(tmp_path, monkeypatch):
    """As notebook 5 shows its tables, in the HTML page and in the Markdown page."""
    text = "<script>alert(1)</script> <b>bold</b> $x$ | [link](x)"
    source = (
        "import pandas as pd\nfrom IPython.display import display\n"
        'pd.set_option("display.max_colwidth", None)\npd.set_option("display.html.use_mathjax", False)\n'
        f"frame = pd.DataFrame({{'text': [{text!r}]}})\nframe"
    )
    write_notebook(tmp_path / "01_texts.ipynb", nbformat.v4.new_markdown_cell("# A"), nbformat.v4.new_code_cell(source))
    monkeypatch.setattr(pages, "DOCS", tmp_path / "docs")
    write_html(tmp_path / "build", [tmp_path / "01_texts.ipynb"])
    write_docs([tmp_path / "01_texts.ipynb"])
    for page in (tmp_path / "build" / "01_texts.html", tmp_path / "docs" / "01_texts.md"):
        table = re.search(r"<table.*?</table>", page.read_text(encoding="utf-8"), re.DOTALL)[0]
        assert "&lt;script&gt;alert(1)&lt;/script&gt; &lt;b&gt;bold&lt;/b&gt; $x$ | [link](x)" in table
        assert "<script" not in table
    page = (tmp_path / "build" / "01_texts.html").read_text(encoding="utf-8")
    assert re.search(r'<table[^>]*class="[^"]*tex2jax_ignore', page)


def test_tables_of_losses_show_whole_texts_without_formulas():
    sources = [cell.source for cell in nbformat.read(ROOT / "notebooks" / "05_error_analysis.ipynb", 4).cells]
    assert any('"display.max_colwidth", None' in s and '"display.html.use_mathjax", False' in s for s in sources)
