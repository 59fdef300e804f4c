"""Execute the notebooks, write them as Markdown pages with their figures, and build the site.

``python tools/pages.py notebooks`` executes the lessons and ``examples/own_data.ipynb`` on the profile that the
environment asks for, into ``build/``, where the other pages are those of ``docs/``;
``python tools/pages.py docs`` refreshes the committed pages in ``docs/``, on the quick profile;
``python tools/pages.py site`` builds the site from the committed pages alone.
"""

import argparse
import hashlib
import html
import importlib.util
import io
import itertools
import os
import re
import shutil
import sys
import tempfile
import tomllib
from pathlib import Path

import course
import live
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import MarkdownExporter
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell
from PIL import Image
from sphinx.cmd.build import build_main
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MAX_FIGURE_BYTES = 200_000
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
REPOSITORY = PROJECT.get("urls", {}).get("Repository")
INSTALL = """!git clone --depth 1 {0} course
%pip install --quiet "./course[fewshot,keras,notebooks,onnx,serve]"
%cd course/{1}"""
WARNING = re.compile(r"^.*?:\d+: (\w+Warning: .*)$", re.MULTILINE)


def notebook_paths(only: str = "") -> list[Path]:
    """Return the notebooks whose names begin so: the lessons, each before its solutions, then the examples."""
    folders = [ROOT / "notebooks", ROOT / "notebooks" / "solutions", ROOT / "examples"]
    return [path for folder in folders for path in sorted(folder.glob(f"{only}*.ipynb"))]


def can_run(path: Path) -> bool:
    """Say whether what a notebook needs is installed. Without it, its page stays as it is."""
    return path.stem != "keras_hub" or importlib.util.find_spec("keras_hub") is not None


def chosen_notebooks(kind: str, only: str = "") -> list[Path]:
    """Return the notebooks that a command executes; ``notebooks`` leaves out the solutions, which the tests execute."""
    runnable = [path for path in notebook_paths(only) if can_run(path)]
    if kind == "notebooks":
        return [path for path in runnable if path in course.LESSONS or path.stem == "own_data"]
    return runnable


def page_name(path: Path) -> str:
    """Return the name of a notebook's page."""
    return f"{path.stem}_solutions" if path.parent.name == "solutions" else path.stem


def target(path: Path) -> str:
    """Return where a link to a notebook leads: to its page, or to the notebook if it is there to be worked on."""
    return f"../notebooks/exercises/{path.name}" if path.parent.name == "exercises" else f"{page_name(path)}.md"


def source_digest(path: Path) -> str:
    """Return a digest of the sources of a notebook's cells, whatever its outputs."""
    notebook = nbformat.read(path, as_version=4)
    sources = "\0".join(f"{cell.cell_type}:{cell.source}" for cell in notebook.cells)
    return hashlib.sha256(sources.encode()).hexdigest()[:16]


def execute(path: Path) -> NotebookNode:
    """Run a notebook in its own folder, each cell followed by its hidden assertions; stop where something fails."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells = [piece for cell in notebook.cells for piece in (cell, *hidden_assertions(cell))]
    errors: list[int] = []
    total = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)
    with tqdm(total=total, desc=path.stem, unit="cell", file=sys.stdout) as progress:
        client = NotebookClient(
            notebook,
            timeout=None,
            # Nothing of the kernel's own between the progress bars, and twice the pixels in each direction.
            extra_arguments=["--log-level=ERROR", "--InlineBackend.figure_formats=retina"],
            resources={"metadata": {"path": str(path.parent)}},
            on_cell_complete=lambda **_: progress.update(),
            on_cell_error=lambda cell_index, **_: errors.append(cell_index),
        )
        try:
            client.execute()
        except CellExecutionError as error:
            number = sum(not cell.metadata.get("hidden") for cell in notebook.cells[: errors[-1] + 1])
            raise SystemExit(f"{path.name}, cell {number} failed:\n{error}") from error
    notebook.cells = [cell for cell in notebook.cells if not cell.metadata.get("hidden")]
    return notebook


def hidden_assertions(cell: NotebookNode) -> list[NotebookNode]:
    """Return a cell that checks what the text claims; a hook that asserts nothing only makes the tests faster."""
    source = "\n".join(cell.metadata.get("nbmake", {}).get("post_cell_execute", []))
    return [new_code_cell(source, metadata={"hidden": True})] if "assert " in source else []


def clean_outputs(cell: NotebookNode) -> None:
    """Drop progress bars, reports and log lines; keep warnings, and tables without their styles."""
    kept = []
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream" and output.name == "stderr":
            output.text = "".join(f"{warning}\n" for warning in WARNING.findall(output.text))
        elif output.output_type == "stream":
            output.text = re.sub(r"^\[torch\.onnx\].*\n", "", output.text, flags=re.MULTILINE)
        elif "text/html" in data:
            table = re.sub(r"<progress.*?</progress>(\s*\[[^\]]*\])?", "", data["text/html"], flags=re.DOTALL)
            table = re.sub(r"<style.*?</style>|</?(?:div|p)\b[^>]*>", "", table, flags=re.DOTALL)
            table = re.sub(r"<t[^<>]*>", lambda tag: re.sub(r' (id|class|border|style)="[^"]*"', "", tag[0]), table)
            table = re.sub(r"<(t\w+) +>", r"<\1>", table)
            data["text/html"] = re.sub(r"\n\s*", "\n", table).strip()
        is_widget = "application/vnd.jupyter.widget-view+json" in data
        if not is_widget and output.get("text", "some") and data.get("text/html", "some"):
            kept.append(output)
    cell.outputs = kept


def fold_solutions(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Put cells in a row that are tagged as a solution into a fold."""
    folded = []
    for is_solution, group in itertools.groupby(cells, lambda cell: "solution" in cell.metadata.get("tags", [])):
        around = ["<details>\n<summary>Solution</summary>", "</details>"] if is_solution else []
        folded += [*map(new_markdown_cell, around[:1]), *group, *map(new_markdown_cell, around[1:])]
    return folded


def make_page(path: Path) -> dict[str, bytes]:
    """Execute a notebook and return the files of its page, by their names in the folder of pages."""
    notebook, name = execute(path), page_name(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            clean_outputs(cell)
    notebook.cells = fold_solutions(notebook.cells)
    body, resources = MarkdownExporter().from_notebook_node(
        notebook, resources={"unique_key": name, "output_files_dir": "figures"}
    )
    files = {}
    for figure, data in resources["outputs"].items():
        text = notebook.cells[int(figure.rsplit("_", 2)[1])].metadata.get("alt", "")  # the name has the cell's number
        files[figure], width = shrink(data)
        body = body.replace(f"![png]({figure})", f'<img src="{figure}" alt="{html.escape(text)}" width="{width // 2}">')
    body = re.sub(r"\(([./\w]+\.ipynb)\)", lambda link: f"({target(Path(link[1]))})", body)
    noise = rf"\x1b\[[0-9;]*m|{re.escape(str(ROOT))}/|{re.escape(tempfile.gettempdir())}/tmp\w+/|(?<=\]\()\.\./docs/"
    body = re.sub(noise, "", body.replace(sys.prefix, ".venv"))
    links, copy = notebook_links(path)
    title, rest = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", body)).strip().split("\n", 1)
    head = f"<!-- made from {path.name}, sources {source_digest(path)}, by `make docs` -->"
    files[f"{name}.md"] = f"{head}\n{title}\n\n{links}\n{rest}\n".encode()
    return files | copy


def notebook_links(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return links to a notebook and, once there is a repository, to services, with the copy that these open."""
    links = f"[Contents](index.md) · [Notebook]({Path(os.path.relpath(path, DOCS)).as_posix()})"
    if path in course.LESSONS:
        exercises = f"../notebooks/exercises/{path.name}"
        links += f" · [Exercises]({exercises}) · [Glossary](glossary.md) · {course.minutes(path)} minutes to read"
    if not REPOSITORY:
        return links, {}
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.insert(1, new_code_cell(INSTALL.format(REPOSITORY, os.path.relpath(path.parent, ROOT))))
    copy = f"notebooks/{page_name(path)}.ipynb"
    file = f"{REPOSITORY}/blob/main/docs/{copy}"
    colab = file.replace("https://github.com/", "https://colab.research.google.com/github/")
    links += f" · [Colab]({colab}) · [Kaggle](https://kaggle.com/kernels/welcome?src={file})"
    return links, {copy: nbformat.writes(notebook).encode()}


def shrink(png: bytes) -> tuple[bytes, int]:
    """Reduce a figure to 256 colors or fewer until it is small enough; return it and its width."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for colors in (256, 128, 64, 32):
        file = io.BytesIO()
        image.quantize(colors).save(file, "PNG", optimize=True)
        if len(file.getvalue()) <= MAX_FIGURE_BYTES:
            return file.getvalue(), image.width
    raise SystemExit(f"A figure has {len(file.getvalue()):,} bytes even with 32 colors; make it smaller.")


def write_pages(paths: list[Path], folder: Path) -> None:
    """Execute notebooks and write their pages. What was there is replaced only once all of them are made."""
    made = {folder / name: data for path in paths for name, data in make_page(path).items()}
    others = {page_name(path) for path in notebook_paths() if path not in paths}
    for old in [*folder.glob("[0-9]*.md"), *folder.glob("figures/*_[0-9]*_[0-9]*.png")]:
        if old not in made and re.sub(r"_\d+_\d+$", "", old.stem) not in others:
            old.unlink()
    for target, data in made.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)


def build_site(source: Path, site: Path, model: Path | None = None) -> None:
    """Build the site from a folder of pages, with the live classifier if there is one; a warning is an error."""
    shutil.rmtree(site, ignore_errors=True)
    if build_main(["-W", "--keep-going", "--quiet", "--fresh-env", "-d", f"{site}.cache", str(source), str(site)]):
        raise SystemExit("The site was not built: see the warnings above.")
    live.add_live_page(site, model)
    print(f"Open {site / 'index.html'}")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["notebooks", "docs", "site"])
    parser.add_argument("--only", default="", help="only notebooks whose name begins so, such as 02 or own")
    parser.add_argument("--live", type=Path, help="a saved model for the live classifier, which is then required")
    options = parser.parse_args()
    for name in ("EMOTION_TUTORIAL_DATA", "EMOTION_TUTORIAL_CHECKPOINT", "EMOTION_TUTORIAL_ARTIFACTS"):
        # Notebooks run in their own folder: a path given to this command is relative to here.
        if (value := os.environ.get(name)) and (Path(value).exists() or name.endswith("ARTIFACTS")):
            os.environ[name] = str(Path(value).resolve())
    chosen = chosen_notebooks(options.kind, options.only)
    folder = ROOT / "build" / "pages" if options.kind == "notebooks" else ROOT
    if options.kind == "notebooks":
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("docs", "notebooks", "examples"):
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("artifacts", ".*"))
        for name in ("CHANGELOG.md", "pyproject.toml"):
            shutil.copy(ROOT / name, folder)
        write_pages(chosen, folder / "docs")
    elif options.kind == "docs":
        for name in ("PROFILE", "DATA", "TEXT_COLUMN", "LABEL_COLUMN", "CHECKPOINT"):
            os.environ.pop(f"EMOTION_TUTORIAL_{name}", None)
        with tempfile.TemporaryDirectory() as artifacts:
            # Trained again, so that the pages show a training and not what is left of an earlier one.
            os.environ["EMOTION_TUTORIAL_ARTIFACTS"] = artifacts
            write_pages(chosen, DOCS)
            build_site(DOCS, ROOT / "build" / "site", options.live)
            return
    build_site(folder / "docs", ROOT / "build" / "site", options.live)


if __name__ == "__main__":
    main()
