"""Make the notebooks with exercises from those with solutions: `python tools/exercises.py`.

A solution is one code cell or several, tagged `solution`. The metadata of the first has the `start` that readers find
in its place. A cell of checks, tagged `check`, follows, and its metadata has a `wrong` answer: code that gives the
names of the solution other values. Whenever the solutions run, the checks must accept the solution and refuse that.
"""

from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).parents[1]
SOLUTIONS, EXERCISES = ROOT / "notebooks" / "solutions", ROOT / "notebooks" / "exercises"
REFUSE = """import nbformat
check = next(cell for cell in nbformat.read({name!r}, 4).cells if cell.id == {id!r})
scope = dict(globals())
exec(check.metadata["wrong"], scope)
try:
    exec(check.source, scope)
except AssertionError as error:
    assert str(error), "a check should say what is wrong"
else:
    raise AssertionError("the checks accept a wrong answer")"""


def solution_paths() -> list[Path]:
    """Return the notebooks with solutions that check themselves: all but the capstone."""
    return sorted(path for path in SOLUTIONS.glob("*.ipynb") if "capstone" not in path.stem)


def has_tag(cell: NotebookNode, tag: str) -> bool:
    """Say whether a cell has a tag."""
    return tag in cell.metadata.get("tags", [])


def with_hooks(path: Path) -> NotebookNode:
    """Return a notebook with solutions, each check of which is followed by a hidden one with the wrong answer."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if has_tag(cell, "check"):
            hook = REFUSE.format(name=path.name, id=cell.id).replace("'", '"')
            cell.metadata["nbmake"] = {"post_cell_execute": [hook]}
    return notebook


def exercises(solutions: NotebookNode) -> NotebookNode:
    """Return the notebook that readers work in: each solution is replaced by its start."""
    made = nbformat.from_dict(solutions)
    made.cells = []
    for cell in solutions.cells:
        if not has_tag(cell, "solution"):
            made.cells.append(nbformat.from_dict(cell))
        elif cell.cell_type == "code" and (start := cell.metadata.get("start")):
            made.cells.append(nbformat.v4.new_code_cell(start, id=cell.id))
    for cell in made.cells:
        cell.metadata = {"tags": ["check"]} if has_tag(cell, "check") else {}
    title = made.cells[0]
    title.source = title.source.replace("# Solutions to", "# Exercises of", 1)
    return made


def main() -> None:
    """Run from the command line."""
    EXERCISES.mkdir(exist_ok=True)
    for path in solution_paths():
        nbformat.write(solutions := with_hooks(path), path)
        nbformat.write(exercises(solutions), EXERCISES / path.name)


if __name__ == "__main__":
    main()
