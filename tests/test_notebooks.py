"""The notebooks as files; `pytest --nbmake notebooks` executes them."""

import ast
import re
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from pages import MAX_FIGURE_BYTES, is_progress, plain_outputs, shrink, source_digest, tidy, title_of  # noqa: E402

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DOCS = ROOT / "docs"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request):
    return nbformat.read(request.param, as_version=4)


def test_there_are_notebooks():
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"{i:02d}" for i in range(1, len(NOTEBOOKS) + 1)]
    assert len(NOTEBOOKS) >= 4


def test_stripped(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


def test_first_code_cell_has_the_knob_and_describes_the_setup(notebook):
    first = next(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert first.startswith('PROFILE = "quick"')
    assert "describe_setup(profile)" in first


def test_opens_and_ends_as_a_lesson_does(notebook):
    opening, ending = notebook.cells[0].source, notebook.cells[-1].source
    for words in ("After this notebook you can", "Needs", "Takes"):
        assert words in opening
    assert "## What we learned" in ending
    assert "## Exercises" in ending


def test_runs_no_shell_and_names_no_path_of_a_machine(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code":
            ast.parse(cell.source)  # magics and shell lines are no Python
        assert not re.search(r"(/home/|/root/|/tmp/|[A-Z]:\\)", cell.source)


def test_figures_have_a_text_alternative(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "code" and re.search(r"\bet\.(plot|draw)_|plt\.subplots", cell.source):
            assert cell.metadata.get("alt"), cell.source


def test_links_lead_somewhere(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\((\w+\.ipynb)\)", cell.source):
                assert (ROOT / "notebooks" / target).is_file()


def test_prose_claims_are_asserted(notebook):
    hooks = [cell.metadata.get("nbmake", {}).get("post_cell_execute", []) for cell in notebook.cells]
    assert sum(map(len, hooks)) >= 4
    for lines in hooks:
        ast.parse("\n".join(lines))


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
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One")])
    nbformat.write(notebook, tmp_path / "a.ipynb")
    before = source_digest(tmp_path / "a.ipynb")
    assert title_of(notebook) == "One"
    notebook.cells[0].source += "!"
    nbformat.write(notebook, tmp_path / "a.ipynb")
    assert source_digest(tmp_path / "a.ipynb") != before


def test_progress_bars_are_told_from_other_outputs():
    bar = nbformat.v4.new_output("stream", name="stderr", text="\r50%|####     ")
    widget = nbformat.v4.new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})
    warning = nbformat.v4.new_output("stream", name="stderr", text="careful\n")
    assert [is_progress(output) for output in (bar, widget, warning)] == [True, True, False]


def test_tables_lose_styles_and_figures_get_their_text():
    html = (
        '<div><style scoped>td {}</style><table border="1" class="dataframe"><tr><td>&lt;b&gt;</td></tr></table></div>'
    )
    cell = nbformat.v4.new_code_cell("x", metadata={"alt": "a drawing"})
    cell.outputs = [nbformat.v4.new_output("display_data", data={"text/html": html})]
    plain_outputs(cell)
    assert cell.outputs[0].data["text/html"] == "<table><tr><td>&lt;b&gt;</td></tr></table>\n"
    assert tidy("![png](a.png)\n\n<!--alt:a drawing-->") == "![a drawing](a.png)"


def test_figures_are_shrunk():
    import io

    import numpy as np
    from PIL import Image

    noise = np.random.default_rng(0).integers(0, 255, (150, 150, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    assert len(shrink(file.getvalue())) < len(file.getvalue())
    huge = np.random.default_rng(0).integers(0, 255, (900, 900, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(huge).save(file, "PNG")
    with pytest.raises(SystemExit, match="make it smaller"):
        shrink(file.getvalue())
