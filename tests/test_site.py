"""What docs/conf.py and docs/index.md make of the site; its pages and links are built in test_notebooks.py."""

import re
import shutil
import sys
from pathlib import Path

from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from pages import build_site  # noqa: E402

INDEX = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")


def test_solutions_are_folded_below_their_notebook_in_the_sidebar(tmp_path):
    """Build a site of empty pages with the names of ours."""
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs" / "_static", docs / "_static")
    shutil.copy(ROOT / "docs" / "conf.py", docs)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")} - {"index"}
    for page in pages:
        (docs / f"{page}.md").write_text(f"# {page}\n")
    toctrees = re.findall(r"```{toctree}.*?```", INDEX, re.DOTALL)
    (docs / "index.md").write_text("\n\n".join(["# Contents", *toctrees]))
    build_site(docs, tmp_path / "site")  # a page that is in no toctree stops it
    html = BeautifulSoup((tmp_path / "site" / "index.html").read_text(encoding="utf-8"), "html.parser")
    sidebar = html.select_one(".bd-sidebar-primary nav")
    assert [caption.get_text() for caption in sidebar.select(".caption")] == [
        "Start",
        "Notebooks",
        "Guides",
        "Reference",
    ]
    nested = {
        item.a["href"].removesuffix(".html"): [
            link["href"].removesuffix(".html") for link in item.select("li.toctree-l2 a")
        ]
        for item in sidebar.select("li.toctree-l1")
    }
    assert nested.pop("04_fine_tuning") == ["04_fine_tuning_solutions", "04_capstone_solutions"]
    for page, below in nested.items():
        assert below == ([f"{page}_solutions"] if re.match(r"\d\d_", page) else []), page
    assert nested.keys() | {"04_fine_tuning"} == {page for page in pages if not page.endswith("_solutions")}


def test_picture_of_the_way_has_a_station_for_each_notebook_and_letters_for_small_screens():
    picture = (ROOT / "docs" / "images" / "way.svg").read_text(encoding="utf-8")
    stations = re.findall(r"<text [^>]*>([^<]+)</text>", picture)
    assert [name for name in stations if name.isdigit()] == [str(number) for number in range(1, 11)]
    [text] = re.findall(r"!\[([^\]]+)\]\(images/way\.svg\)", INDEX)
    alternative = " ".join(text.split())
    assert all(name in alternative for name in stations if name not in ("the data", "your texts"))
    width, letters = (int(re.search(pattern, picture)[1]) for pattern in (r'width="(\d+)"', r'font-size="(\d+)"'))
    assert letters * 358 / width > 11  # pixels, on a screen that is 390 wide
    assert 'fill="currentColor"' not in picture  # it has a ground of its own, in dark mode too
