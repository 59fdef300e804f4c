"""Make a report on labeled texts: execute a notebook that ships with the package, and convert it to one HTML file."""

import copy
import html
import re
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from tqdm import tqdm

from emotion_tutorial import exceptions
from emotion_tutorial.data import load_splits
from emotion_tutorial.exceptions import DataError, SettingsError, TutorialError, needed_from
from emotion_tutorial.replacing import as_folder
from emotion_tutorial.texts import require_number

NOTEBOOK, PAGE = (Path(__file__).with_name(name) for name in ("report.ipynb", "report.html"))
LABELS, TEXTS = (2, 100), (200, 20_000)
"""How many labels and texts a report can be made of."""
INTRODUCTION = """What is in these texts? What will cause trouble? Can a model learn the labels, and does a transformer
learn them better than counting words? Where is it wrong, which labels may be wrong, and what should be done next? Each
result comes with a hint how to read it. The notebook beside this report has the code: change it, and run it again."""
WARNING = re.compile(r"^.*?\b(\w+Warning: .*)$", re.MULTILINE)


def write_report(
    data: str | Path,
    output: str | Path,
    *,
    text_column: str = "text",
    label_column: str = "label",
    fast: bool = False,
    max_texts: int = 4000,
    max_tokens: int = 128,
    overwrite: bool = False,
) -> Path:
    """Write a report on labeled texts as one HTML file that opens without a network, and the notebook that made it.

    The report shows what is in the data, an audit, baselines and a fine-tuned model with paired intervals and the
    smallest difference that the texts can show, errors and slices, suspicious labels, calibration, and what to do next.

    Parameters
    ----------
    data
        A file or a folder for `load_splits`.
    output
        The HTML file. The executed notebook goes beside it, under the same name with the suffix `.ipynb`, and the
        trained model into a folder `artifacts` there, unless `EMOTION_TUTORIAL_ARTIFACTS` names another.
    text_column, label_column
        The names of the columns.
    fast
        Leave the fine-tuned model out: the rest takes a minute.
    max_texts
        How many texts to train on, at most.
    max_tokens
        How many tokens of a text the fine-tuned model reads, at most 512.
    overwrite
        Replace a report that is there.

    Returns
    -------
    Path
        The HTML file.

    Raises
    ------
    DataError, NotFoundError
        If the data cannot be used; there are not 2 to 100 labels or not 200 to 20,000 texts; or a label has too few
        texts to be in all splits.
    SettingsError
        If the report is there already, `output` is not an HTML file, or a number is out of range.
    MissingExtraError
        If nbclient, nbconvert or ipykernel is not installed.
    TutorialError
        If the notebook fails for another reason. It is kept, with what it found so far.
    """
    require_number(200, max_texts=max_texts)
    require_number(8, 512, max_tokens=max_tokens)
    with needed_from("report"):
        import ipykernel  # noqa: F401
        import nbclient  # noqa: F401
        import nbconvert  # noqa: F401
        import nbformat
    page = as_folder(output)
    if page.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"The report is an HTML file, but {page} has another suffix. Name it {page}.html.")
    kept = page.with_suffix(".ipynb")
    if there := [path for path in (page, kept) if path.exists() and not overwrite]:
        raise SettingsError(f"{there[0]} is there already. Choose another name, or overwrite it with --overwrite.")
    source = as_folder(data).resolve()
    _check_size(source, text_column, label_column)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    [parameters] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    values = {"DATA, TEXT, LABEL": (str(source), text_column, label_column), "FAST": fast}
    values |= {"MAX_TEXTS": max_texts, "MAX_TOKENS": max_tokens}
    parameters.source = "\n".join(f"{name} = {value!r}" for name, value in values.items())
    title = f"Report on {source.name}"
    notebook.cells[0].source = f"# {html.escape(title)}\n\n{INTRODUCTION}"
    if fast:  # nothing about what is left out
        notebook.cells = [cell for cell in notebook.cells if "transformer" not in cell.metadata.get("tags", [])]
    page.parent.mkdir(parents=True, exist_ok=True)
    try:
        _execute(notebook, page.parent.resolve())
    finally:
        _tidy(notebook)
        nbformat.write(notebook, kept)
    page.write_text(_as_html(notebook, title), encoding="utf-8")
    return page


def _check_size(source: Path, text_column: str, label_column: str) -> None:
    """Refuse data that the report is not made for, before anything takes long."""
    with warnings.catch_warnings(action="ignore"):  # the report shows them
        splits = load_splits(str(source), text_column=text_column, label_column=label_column)
    names = splits["train"].features["label"].names
    counts = Counter(names[label] for split in splits.values() for label in split["label"])
    for found, (low, high), what in ((len(counts), LABELS, "labels"), (counts.total(), TEXTS, "texts")):
        if not low <= found <= high:
            advice = "Draw some of them" if found > high else "Add more"
            raise DataError(f"{source} has {found:,} {what}; a report needs {low:,} to {high:,}. {advice}.")


def _execute(notebook: Any, folder: Path) -> None:
    """Run all cells with progress; an error of this package in a cell is raised as what it is."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    sections: dict[int, str] = {}
    for number, cell in enumerate(notebook.cells):
        title = re.search(r"^## (.*)", cell.source, re.MULTILINE) if cell.cell_type == "markdown" else None
        sections[number] = title[1] if title else sections.get(number - 1, "Start")
    total = sum(cell.cell_type == "code" for cell in notebook.cells)
    with tqdm(total=total, unit="step") as progress:
        client = NotebookClient(
            notebook,
            timeout=None,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
            extra_arguments=["--log-level=ERROR", "--InlineBackend.figure_formats=retina"],
            on_cell_start=lambda cell_index, **_: progress.set_description(sections[cell_index], refresh=False),
            on_cell_complete=lambda cell, **_: progress.update(cell.cell_type == "code"),
        )
        try:
            client.execute()
        except CellExecutionError as error:
            kind = getattr(exceptions, error.ename.rpartition(".")[2], None)
            if isinstance(kind, type) and issubclass(kind, TutorialError):
                raise kind(error.evalue) from error
            where = f"The notebook failed in its part {progress.desc.rstrip(': ')!r}"
            raise TutorialError(f"{where}, and is kept with what it found: {error.ename}: {error.evalue}") from error


def _tidy(notebook: Any) -> None:
    """Drop progress bars and log lines from what the cells printed; keep warnings."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if output.get("name") == "stderr":
                output.text = "".join(f"{warning}\n" for warning in WARNING.findall(output.text))
        if "outputs" in cell:
            cell.outputs = [output for output in cell.outputs if output.get("text", "some")]


def _as_html(notebook: Any, title: str) -> str:
    """Return one page without the code, which needs no other file and no network."""
    from nbconvert import HTMLExporter

    shown = copy.deepcopy(notebook)
    first, *rest = shown.cells  # the summary comes first here, and last where it is computed
    shown.cells = [first, *sorted(rest, key=lambda cell: "summary" not in cell.metadata.get("tags", []))]
    for cell in shown.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                about = output.metadata.setdefault("image/png", {})  # width and height
                about["alt"] = cell.metadata.get("alt", "")
    body, _ = HTMLExporter(template_name="basic", exclude_input=True).from_notebook_node(shown)
    body = re.sub(r"<(script|style)\b.*?</\1>", "", body, flags=re.DOTALL)  # for diagrams, and pandas's own
    page = PAGE.read_text(encoding="utf-8").replace("BODY", body, 1)
    return page.replace("TITLE", html.escape(title), 1)
