"""All notebooks, and the example, on data of one's own: other columns, labels, numbers of classes, letters."""

import csv
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SUBJECTS = ("the hotel", "our room", "this phone", "my order", "the film", "a long flight", "their service", "dinner")
PLACES = ("in spring", "last week", "near the sea", "again", "with friends", "on monday", "at night", "for once")


def sentence(word: str, i: int) -> str:
    """Return one of many texts that tell of a word; texts of other numbers differ."""
    dice = random.Random(f"{word} {i}")
    return f"{dice.choice(SUBJECTS)} was {word} {dice.choice(PLACES)}, we paid {i} coins"


def two_unbalanced_classes(folder: Path) -> dict[str, str]:
    """Write 300 reviews, 24 of them bad, with line breaks and quotes in the texts, as CSV with other column names."""
    with (folder / "reviews.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "Review text", "verdict"])
        for i in range(300):
            word, verdict = ("awful", "not recommended") if i % 12 == 5 else ("lovely", "recommended")
            writer.writerow([i, sentence(word, i).replace(", ", ',\n"as I said", '), verdict])
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
    (folder / "train.jsonl").write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    return {"EMOTION_TUTORIAL_DATA": str(folder)}


def four_integer_labels(folder: Path) -> dict[str, str]:
    """Write texts of the labels 1, 2, 5 and 10, tab-separated, without validation, with duplicates and a leak."""
    words = {10: "superb", 5: "fine", 2: "poor", 1: "dreadful"}
    train = [(sentence(words[label], i), label) for i in range(80) for label in words]
    test = [(sentence(words[label], 1000 + i), label) for i in range(20) for label in words]
    train += [train[0], train[1], (train[2][0], 10), test[0]]
    for split, rows in {"train": train, "test": test}.items():
        lines = ["text\tlabel", *(f"{text}\t{label}" for text, label in rows)]
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return {"EMOTION_TUTORIAL_DATA": str(folder)}


def run(folder: Path, checkpoint: Path, settings: dict[str, str]) -> dict[str, str]:
    """Run all notebooks; return what each shows, by its number."""
    copies = [Path(shutil.copy(path, folder)) for path in NOTEBOOKS]
    halves = [copies[:4], copies[4:]]  # at once, one on each of two cores
    environment = os.environ | settings
    environment["EMOTION_TUTORIAL_CHECKPOINT"] = str(checkpoint)
    environment["EMOTION_TUTORIAL_ARTIFACTS"] = str(folder / "artifacts")
    environment["OMP_NUM_THREADS"] = "1"
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "--nbmake", "--overwrite", "--durations=0"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "pytest", *options, *map(str, half)],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for half in halves
    ]
    said = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    return {path.name[:2]: shown_by(path) for path in copies}


def shown_by(path: Path) -> str:
    """Return the texts and tables that a notebook shows, without its figures."""
    shown = []
    for cell in nbformat.read(path, as_version=4).cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            shown += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join(shown)


@pytest.mark.parametrize("write", [two_unbalanced_classes, eleven_classes, four_integer_labels])
def test_notebooks_run_on_own_data(write: Callable[[Path], dict[str, str]], tiny_checkpoint, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "notebooks").mkdir()
    settings = write(tmp_path / "data")
    shown = run(tmp_path / "notebooks", tiny_checkpoint, settings)
    names = {two_unbalanced_classes: ["not recommended", "recommended"], four_integer_labels: ["1", "2", "5", "10"]}
    assert repr(names.get(write, sorted(SCRIPTS))) in shown["01"]  # in id order
    assert "were cut from train" in shown["01"]
    for number, text in shown.items():
        assert settings["EMOTION_TUTORIAL_DATA"] in text
        assert not re.search(r"\b(joy|sadness|surprise)\b", text), number  # nothing of the corpus
    counts = shown["01"].split(" findings in ")[1].split("</table>")[0]
    for finding in ("duplicate", "conflicting label", "leak"):
        assert (f"<td>{finding}</td>" in counts) == (write is four_integer_labels), finding
