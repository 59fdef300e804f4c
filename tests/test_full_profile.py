"""All notebooks on the `full` profile against the Hub on loopback, pushing included."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from datasets import DatasetDict
from loopback_hub import LoopbackHub, add_checkpoint, add_emotion_data

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
CANARY = "hf_canary_that_must_not_be_written"


def start(folder: Path, *stems: str) -> subprocess.Popen[str]:
    """Execute notebooks in a process of its own, and save them with their outputs."""
    paths = [str(path) for path in sorted(folder.glob("*.ipynb")) if path.stem[:2] in stems]
    environment = os.environ | {
        "EMOTION_TUTORIAL_PROFILE": "full",
        "EMOTION_TUTORIAL_ARTIFACTS": str(folder / "artifacts"),
        "HF_HOME": str(folder / "hf-home"),
        "HF_TOKEN": CANARY,
    }
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "--nbmake", "--overwrite"]
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, *paths],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_all_notebooks_run_on_the_full_profile(hub: LoopbackHub, corpus, tiny_distilbert, tmp_path):
    rows = {"train": 360, "validation": 120, "test": 120}
    add_emotion_data(hub, DatasetDict({split: corpus[split].select(range(n)) for split, n in rows.items()}))
    add_checkpoint(hub, tiny_distilbert)
    hub.add_token(CANARY, "ann")
    for path in NOTEBOOKS:
        shutil.copy(path, tmp_path)

    # 5 and 6 at once, with no model there yet: one trains, the other waits for it.
    together = [start(tmp_path, "05"), start(tmp_path, "06")]
    said = [process.communicate(timeout=300)[0] for process in together]
    assert [process.returncode for process in together] == [0, 0], "\n".join(said)
    [trained] = tmp_path.glob("artifacts/fine-tuned-*/model.safetensors")
    written = trained.stat().st_mtime_ns

    rest = start(tmp_path, "01", "02", "03", "04", "07", "08")
    said.append(rest.communicate(timeout=600)[0])
    assert rest.returncode == 0, said[-1]
    assert trained.stat().st_mtime_ns == written  # 4 took the model that was there

    first = outputs_of(tmp_path / NOTEBOOKS[0].name)
    assert "data sets for text classification" in first
    assert "dair-ai/emotion" in first
    assert "distilbert-base-uncased" in first
    last = outputs_of(tmp_path / NOTEBOOKS[5].name)
    assert f"{hub.endpoint}/ann/emotion-classifier/commit/" in last
    assert {"README.md", "config.json", "model.safetensors"} <= set(hub.files("ann/emotion-classifier"))
    card = hub.files("ann/emotion-classifier")["README.md"].decode()
    assert "base_model: distilbert-base-uncased" in card
    assert "datasets: dair-ai/emotion" in card
    assert ("GET", "/api/models/ann/emotion-classifier") in {(m, path.split("?")[0]) for m, path in hub.requests}

    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    pushed = [blob.data for commit in hub.commits("ann/emotion-classifier") for blob in commit.files.values()]
    for text in [*map(str.encode, said), *pushed, *files]:
        assert CANARY.encode() not in text


def outputs_of(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    return "\n".join(str(output) for cell in notebook.cells for output in cell.get("outputs", []))
