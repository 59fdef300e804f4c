"""The notebooks that data of one's own could trip: other columns, labels, numbers of classes, letters."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
SUBJECTS = ("hotel", "room", "phone", "order", "film", "flight", "service")


def two_unbalanced_classes(folder: Path) -> dict[str, str]:
    """Write 300 reviews, 24 of them bad, with line breaks and quotes in the texts, as CSV with other column names."""
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "Review text", "verdict"])
        for i in range(300):
            word, verdict = ("awful", "not recommended") if i % 12 == 5 else ("lovely", "recommended")
            writer.writerow([i, f'the {SUBJECTS[i % 7]} was {word},\n"as I said", we paid {i} coins', verdict])
    return {
        "EMOTION_TUTORIAL_DATA": str(folder / "reviews.csv"),
        "EMOTION_TUTORIAL_TEXT_COLUMN": "Review text",
        "EMOTION_TUTORIAL_LABEL_COLUMN": "verdict",
    }


SCRIPTS = {
    "печаль": "очень печальный день",
    "χαρά": "μια χαρούμενη μέρα",
    "愛": "我爱这一天",
    "怒り": "とても腹が立つ",
    "두려움": "너무 무서운 밤",
    "مفاجأة": "كان يوما مفاجئا",
    "תקווה": "יום מלא תקווה",
    "आशा": "आशा से भरा दिन",
    "🤔": "who knows 🤔 what this is",
    "$ money & <b>more</b> $": "it costs $5 <i>only</i> & $6",
    "a label of so many words that no axis of any figure has room for all of it in one line": "many words",
}


def eleven_classes(folder: Path) -> dict[str, str]:
    """Write 40 texts for each of eleven labels, in other scripts and with emoji, as JSON lines."""
    rows = [{"text": f"{text} {i} {i * i}", "label": label} for i in range(40) for label, text in SCRIPTS.items()]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    return {"EMOTION_TUTORIAL_DATA": str(folder)}


def run(path: Path, folder: Path, checkpoint: Path, settings: dict[str, str]) -> str:
    """Run a notebook on the data that the settings name; return the texts and tables that it shows, without figures."""
    copy = Path(shutil.copy(path, folder))
    environment = os.environ | settings | {"EMOTION_TUTORIAL_CHECKPOINT": str(checkpoint), "OMP_NUM_THREADS": "1"}
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "--nbmake", "--overwrite"]
    command = [sys.executable, "-m", "pytest", *options, str(copy)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    shown = []
    for cell in nbformat.read(copy, as_version=4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            shown += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join(shown)


@pytest.mark.parametrize(
    ("number", "write"),
    [
        pytest.param("01", eleven_classes, marks=pytest.mark.slow),
        pytest.param("03", eleven_classes, marks=pytest.mark.slow),
        pytest.param("04", two_unbalanced_classes, marks=pytest.mark.slow),
        pytest.param("05", two_unbalanced_classes, marks=pytest.mark.slow),
        pytest.param("06", two_unbalanced_classes, marks=pytest.mark.slow),
    ],
)
def test_notebook_runs_on_own_data(number: str, write: Callable[[Path], dict[str, str]], tiny_checkpoint, tmp_path):
    (tmp_path / "data").mkdir()
    settings = write(tmp_path / "data") | {"EMOTION_TUTORIAL_ARTIFACTS": str(tmp_path / "artifacts")}
    [path] = (ROOT / "notebooks").glob(f"{number}*.ipynb")
    shutil.copytree(ROOT / "examples" / "support_tickets", tmp_path / "examples" / "support_tickets")  # read by 1
    (tmp_path / "notebooks").mkdir()
    shown = run(path, tmp_path / "notebooks", tiny_checkpoint, settings)
    assert settings["EMOTION_TUTORIAL_DATA"] in shown
    assert not re.search(r"\b(joy|sadness|surprise)\b", shown)  # nothing of the corpus
    if number == "01":
        assert repr(sorted(SCRIPTS)) in shown  # in id order
        assert "were cut from train" in shown


@pytest.mark.slow
def test_example_runs_on_own_data(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    two_unbalanced_classes(folder)
    notebook = nbformat.read(ROOT / "examples" / "own_data.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if cell.source.startswith("DATA, TEXT, LABEL = "))
    given = ("reviews.csv", "Review text", "verdict")
    cell.source = f"DATA, TEXT, LABEL = {given!r}\n" + cell.source.split("\n", 1)[1]
    nbformat.write(notebook, tmp_path / "own.ipynb")
    artifacts = {"EMOTION_TUTORIAL_ARTIFACTS": str(tmp_path / "artifacts")}
    shown = run(tmp_path / "own.ipynb", folder, Path("embedded"), artifacts)
    assert "not recommended" in shown
