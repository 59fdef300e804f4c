"""Execute the notebooks and write them as pages.

``python tools/pages.py html`` writes one HTML page per notebook and an index into ``build/``;
``python tools/pages.py docs`` writes ``docs/``: Markdown pages with their figures as PNG files.
"""

import argparse
import hashlib
import html
import io
import os
import re
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbconvert import HTMLExporter, MarkdownExporter
from nbformat import NotebookNode
from PIL import Image
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ROOT / "notebooks"
EXAMPLES = ROOT / "examples"
DOCS = ROOT / "docs"
MAX_FIGURE_BYTES = 80_000
NO_TEXT = 'alt="No description has been provided for this image"'  # what nbconvert writes
# Texts in tables are read from the left.
STYLE = "<style>.jp-RenderedHTMLCommon :is(td, th) {text-align: left !important}</style>"


def source_digest(path: Path) -> str:
    """Return a digest of the sources of a notebook's cells, whatever its outputs."""
    notebook = nbformat.read(path, as_version=4)
    sources = "\0".join(f"{cell.cell_type}:{cell.source}" for cell in notebook.cells)
    return hashlib.sha256(sources.encode()).hexdigest()[:16]


def title_of(notebook: NotebookNode) -> str:
    """Return the first heading."""
    return re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)[1]  # type: ignore[index]


def execute(path: Path) -> tuple[NotebookNode, float]:
    """Run a notebook in its own folder, with a progress bar; return it and its seconds."""
    notebook = nbformat.read(path, as_version=4)
    start = time.perf_counter()
    total = sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in notebook.cells)
    with tqdm(total=total, desc=path.stem, unit="cell", file=sys.stdout) as progress:
        client = NotebookClient(
            notebook,
            timeout=None,
            extra_arguments=["--log-level=ERROR"],  # nothing of the kernel's own between the progress bars
            resources={"metadata": {"path": str(path.parent)}},
            on_cell_complete=lambda **_: progress.update(),
        )
        client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if not is_progress(output)]
    notebook.metadata.pop("widgets", None)
    return notebook, time.perf_counter() - start


def is_progress(output: NotebookNode) -> bool:
    """Say whether an output is a progress bar, which is of no use once the work is done."""
    if "application/vnd.jupyter.widget-view+json" in output.get("data", {}):
        return True
    return output.output_type == "stream" and output.name == "stderr" and "\r" in output.text


def write_html(folder: Path, paths: list[Path]) -> None:
    """Write a page per notebook, and an index; stop at the first notebook that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    exporter = HTMLExporter(template_name="lab", embed_images=True)
    rows = []
    for path in paths:
        page = folder / f"{path.stem}.html"
        try:
            notebook, seconds = execute(path)
        except CellExecutionError as error:
            raise SystemExit(f"{path.name} failed:\n{error}") from error
        body, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title_of(notebook)}})
        body = body.replace("</head>", f"{STYLE}</head>", 1)
        for text in figure_texts(notebook):
            body = body.replace(NO_TEXT, f'alt="{html.escape(text)}"', 1)
        page.write_text(re.sub(r'href="(\d\d_\w+)\.ipynb"', r'href="\1.html"', body), encoding="utf-8")
        rows.append((page.name, title_of(notebook), seconds))
        print(f"{path.stem}: {seconds:.0f} s -> {page}", flush=True)
    items = "".join(
        f'<li><a href="{name}">{html.escape(title)}</a> <small>({seconds:.0f} s)</small></li>'
        for name, title, seconds in rows
    )
    (folder / "index.html").write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Emotion tutorial</title>'
        "<style>body{font:18px/1.6 sans-serif;max-width:40em;margin:3em auto;padding:0 1em}</style>"
        f"<h1>Emotion tutorial</h1><p>The executed notebooks:</p><ul>{items}</ul></html>\n",
        encoding="utf-8",
    )
    print(f"All: {sum(seconds for *_, seconds in rows):.0f} s. Open {folder / 'index.html'}")


def write_docs(paths: list[Path]) -> None:
    """Write a Markdown page per notebook with its figures, and a contents page.

    The pages that were there are replaced only once all are made.
    """
    with tempfile.TemporaryDirectory() as artifacts:
        # Trained anew, so that the pages show a training and not what is left of an earlier one.
        os.environ["EMOTION_TUTORIAL_ARTIFACTS"] = artifacts
        executed = [(path, *execute(path)) for path in paths]
    pages: dict[Path, str | bytes] = {}
    titles = [(path.stem, title_of(notebook), seconds) for path, notebook, seconds in executed]
    for i, (path, notebook, _) in enumerate(executed):
        for cell in notebook.cells:
            if cell.cell_type == "code":
                plain_outputs(cell)
        body, resources = MarkdownExporter().from_notebook_node(
            notebook, resources={"unique_key": path.stem, "output_files_dir": "figures"}
        )
        for name, data in resources["outputs"].items():
            target = DOCS / "figures" / f"{path.stem[:2]}_{Path(name).stem.removeprefix(path.stem + '_')}.png"
            pages[target] = shrink(data)
            body = body.replace(f"]({name})", f"](figures/{target.name})")
        for text in figure_texts(notebook):
            body = body.replace("![png](", f"![{text}](", 1)
        body = re.sub(r"\((\d\d_\w+)\.ipynb\)", r"(\1.md)", body)
        around = " | ".join(
            f"[{title}]({stem}.md)" for stem, title, _ in (titles[i - 1 : i] if i else []) + titles[i + 1 : i + 2]
        )
        head = f"<!-- made from {path.name}, sources {source_digest(path)}, by `make docs` -->\n[Contents](README.md)"
        pages[DOCS / f"{path.stem}.md"] = (
            f"{head} | {around}\n\n{tidy(body)}\n\n---\n[Contents](README.md) | {around}\n"
        )
    lines = [f"| [{title}]({stem}.md) | {seconds:.0f} |" for stem, title, seconds in titles]
    pages[DOCS / "README.md"] = (
        "# The executed notebooks\n\nTo read without running anything: made by `make docs` on the quick profile.\n\n"
        "| page | seconds to run, 2 CPU cores |\n|---|---|\n"
        + "\n".join(lines)
        + "\n\nBeside them: [which architectures work](architectures.md), "
        "[hyperparameters that were tried](hyperparameters.md),\n"
        "[what is refused in files](malformed_inputs.md), [security](security.md), [what changed](../CHANGELOG.md).\n"
    )
    (DOCS / "figures").mkdir(parents=True, exist_ok=True)
    for old in {*DOCS.glob("[0-9]*.md"), *(DOCS / "figures").glob("*.png")} - pages.keys():
        old.unlink()
    for target, page in pages.items():
        target.write_bytes(page if isinstance(page, bytes) else page.encode())


def plain_outputs(cell: NotebookNode) -> None:
    """Make outputs fit for Markdown: tables without styles, figures with their text alternative."""
    for output in cell.outputs:
        if output.output_type == "stream":
            output.text = re.sub(r"\x1b\[[0-9;]*m", "", output.text).replace(sys.prefix, ".venv")
        data = output.get("data", {})
        if "text/html" in data:
            table = re.sub(
                r"<style.*?</style>|</?(?:div|p)\b[^>]*>|<progress.*?</progress>", "", data["text/html"], flags=re.S
            )
            table = re.sub(r'<(table|thead|tbody|tr|th|td)(?: (?:id|class|border|style)="[^"]*")+\s*', r"<\1", table)
            data["text/html"] = re.sub(r"\n\s*", "\n", table).strip() + "\n"


def figure_texts(notebook: NotebookNode) -> list[str]:
    """Return the text alternative of each figure, in order: the exporters write fixed words instead."""
    return [
        cell.metadata.get("alt", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]


def tidy(body: str) -> str:
    """Drop white space that nobody needs."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", body)).strip()


def shrink(png: bytes) -> bytes:
    """Reduce a figure to 256 colours or fewer until it is small enough."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for colours in (256, 128, 64, 32):
        file = io.BytesIO()
        image.quantize(colours).save(file, "PNG", optimize=True)
        if len(file.getvalue()) <= MAX_FIGURE_BYTES:
            return file.getvalue()
    raise SystemExit(f"A figure has {len(file.getvalue()):,} bytes even with 32 colours; make it smaller.")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=["html", "docs"])
    parser.add_argument("--folder", type=Path, default=ROOT / "build", help="where to write the HTML pages")
    parser.add_argument("--only", default="", help="only notebooks whose name begins so, such as 02 or own")
    options = parser.parse_args()
    for name in ("EMOTION_TUTORIAL_DATA", "EMOTION_TUTORIAL_CHECKPOINT", "EMOTION_TUTORIAL_ARTIFACTS"):
        # Notebooks run in their own folder: a path given to this command is relative to here.
        if (value := os.environ.get(name)) and (Path(value).exists() or name.endswith("ARTIFACTS")):
            os.environ[name] = str(Path(value).resolve())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # UMAP imports TensorFlow, which reports its build at length
    paths = sorted(NOTEBOOKS.glob(f"{options.only}*.ipynb"))
    if options.kind == "html":
        write_html(options.folder, paths + sorted(EXAMPLES.glob(f"{options.only}*.ipynb")))
    else:
        for name in ("PROFILE", "DATA", "TEXT_COLUMN", "LABEL_COLUMN", "CHECKPOINT"):
            os.environ.pop(f"EMOTION_TUTORIAL_{name}", None)
        write_docs(paths)


if __name__ == "__main__":
    main()
