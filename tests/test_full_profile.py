"""Notebooks 1 and 4 on the `full` profile, against the Hub on loopback."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from datasets import DatasetDict
from loopback_hub import LoopbackHub, add_emotion_data

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
CANARY = "hf_canary_that_must_not_be_written"


def test_notebooks_run_on_the_full_profile(hub: LoopbackHub, corpus, tiny_distilbert, tmp_path):
    rows = {"train": 360, "validation": 120, "test": 120}
    add_emotion_data(hub, DatasetDict({split: corpus[split].select(range(n)) for split, n in rows.items()}))
    hub.add_repo("distilbert-base-uncased", tiny_distilbert)
    hub.add_token(CANARY, "ann")
    tickets = shutil.copytree(
        NOTEBOOKS.parent / "examples" / "support_tickets", tmp_path / "examples" / "support_tickets"
    )
    folder = tickets.parents[1] / "notebooks"
    folder.mkdir()
    for stem in ("01_data_inspection", "04_fine_tuning"):
        text = (NOTEBOOKS / f"{stem}.ipynb").read_text(encoding="utf-8")
        # The cells that need the Hub, else skipped, run here and have to succeed.
        text = text.replace('"skip-execution"', '"runs"').replace('"raises-exception"', '"succeeds"')
        (folder / f"{stem}.ipynb").write_text(text, encoding="utf-8")
    environment = os.environ | {
        "EMOTION_TUTORIAL_PROFILE": "full",
        "EMOTION_TUTORIAL_ARTIFACTS": str(tmp_path / "artifacts"),
        "HF_HOME": str(tmp_path / "hf-home"),
        "HF_TOKEN": CANARY,
    }
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), "--nbmake", "--overwrite", str(folder)]
    command = [sys.executable, "-m", "pytest", *options]
    ran = subprocess.run(command, cwd=folder, env=environment, check=False, capture_output=True)
    assert ran.returncode == 0, (ran.stdout + ran.stderr).decode(errors="replace")

    assert len(list(tmp_path.glob("artifacts/*/model.safetensors"))) == 1
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert b"dair-ai/emotion" in files[folder / "01_data_inspection.ipynb"]
    [config] = tmp_path.glob("artifacts/*/config.json")
    assert b'"model_type": "distilbert"' in files[config]
    assert not [path for path, data in files.items() if CANARY.encode() in data]
    assert CANARY.encode() not in ran.stdout + ran.stderr
