"""How Sphinx builds the site from these pages: `python tools/pages.py site`."""

import re
import tomllib
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "Emotion tutorial"
version = release = PROJECT["version"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["deflist", "html_image"]
myst_heading_anchors = 3

# A name in backticks links to its entry, if it has one.
default_role = "py:obj"
autodoc_typehints = "none"  # the signature would be longer than the text, which says it in words
autodoc_member_order = "bysource"
add_module_names = False
highlight_language = "none"  # what a cell printed is not Python

html_theme = "sphinx_book_theme"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_theme_options = {
    "use_download_button": False,  # it would give the Markdown; each page links to its notebook
    "use_fullscreen_button": False,
    "navbar_persistent": [],  # the sidebar has the search
    "footer_content_items": [],
    "show_toc_level": 2,
}
if address := PROJECT.get("urls", {}).get("Repository"):
    html_theme_options |= {"repository_url": address, "use_repository_button": True}
copybutton_selector = "div.highlight-python pre, div.highlight-bash pre"


def wrap_tables(_: Sphinx, doctree: nodes.document) -> None:
    """Let the tables that cells showed scroll sideways, as the theme does with tables of its own."""
    for node in doctree.findall(nodes.raw):
        if (table := node.astext()).startswith("<table"):
            node[:] = [nodes.Text(f'<div class="pst-scrollable-table-container">{table}</div>')]


def nest_solutions(app: Sphinx, page: str, source: list[str]) -> None:
    """Put the solutions of a notebook below its page in the sidebar, those of its exercises before the capstone."""
    solutions = {name for name in app.env.found_docs if name.startswith(page[:3]) and name.endswith("_solutions")}
    if re.match(r"\d\d_", page) and page not in solutions:
        names = sorted(solutions, key=lambda name: name != f"{page}_solutions")
        source[0] += "\n".join(["\n```{toctree}", ":hidden:", "", *names, "```\n"])


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("source-read", nest_solutions)
    app.connect("doctree-read", wrap_tables)
