"""The command line: in this process, and in several started by torchrun."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from emotion_tutorial.__main__ import main

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture(scope="module")
def data(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split, rows in {"train": 900, "validation": 100, "test": 101}.items():
        corpus[split].select(range(rows)).to_parquet(folder / f"{split}.parquet")
    return folder


def extract(data: Path, checkpoint: Path, output: Path) -> list[str]:
    return ["extract", "--data", str(data), "--checkpoint", str(checkpoint), "--output", str(output), "--cpu"]


def finetune(data: Path, checkpoint: Path, output: Path, epochs: int = 3) -> list[str]:
    options = ["--learning-rate", "3e-3", "--epochs", str(epochs), "--batch-size", "32", "--cpu"]
    return ["finetune", "--data", str(data), "--checkpoint", str(checkpoint), "--output", str(output), *options]


def run(launcher: list[str], arguments: list[str]) -> dict[str, float]:
    command = [*launcher, "-m", "emotion_tutorial", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.arrow")}


def test_extract_says_what_it_did(data, tiny_checkpoint, tmp_path, capsys):
    main(extract(data, tiny_checkpoint, tmp_path / "states"))
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["texts"] == 1101
    assert result["folder"] == str(tmp_path / "states")
    assert set(shards(tmp_path / "states")) == {f"{split}-00000.arrow" for split in ("train", "validation", "test")}


def test_wrong_input_ends_with_one_line(data, tiny_checkpoint, tmp_path):
    with pytest.raises(SystemExit, match=r"^MissingFileError: There is no file or folder nowhere/at all"):
        main(extract(Path("nowhere/at all"), tiny_checkpoint, tmp_path))
    with pytest.raises(SystemExit, match="2"):
        main(["extract", "--pooling", "max", "--output", str(tmp_path)])


def test_several_processes_extract_the_same_bytes(data, tiny_checkpoint, tmp_path, monkeypatch):
    code = (
        "import emotion_tutorial.extraction as e; e.SHARD_ROWS = 64; from emotion_tutorial.__main__ import main; main()"
    )
    script = tmp_path / "small_shards.py"
    script.write_text(code.replace("; ", "\n"))
    for launcher, output in (([sys.executable], "one"), (TORCHRUN, "two")):
        subprocess.run([*launcher, str(script), *extract(data, tiny_checkpoint, tmp_path / output)], check=True)
    one, two = shards(tmp_path / "one"), shards(tmp_path / "two")
    assert len(one) == 15 + 2 + 2
    assert one == two


def test_several_processes_train_as_well_as_one(data, tiny_checkpoint, tmp_path):
    one = run([sys.executable], finetune(data, tiny_checkpoint, tmp_path / "one"))
    two = run(TORCHRUN, finetune(data, tiny_checkpoint, tmp_path / "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["validation_accuracy"] == pytest.approx(one["validation_accuracy"], abs=0.1)
    assert two["test_accuracy"] == pytest.approx(one["test_accuracy"], abs=0.1)
    states = [next((tmp_path / name).glob("checkpoints/checkpoint-*/trainer_state.json")) for name in ("one", "two")]
    steps = [json.loads(path.read_text())["max_steps"] for path in states]
    assert steps[0] == steps[1] == 3 * 29  # texts per step are those of all processes together
    for name in ("one", "two"):
        assert {"README.md", "config.json", "model.safetensors"} <= {
            p.name for p in (tmp_path / name / "model").iterdir()
        }


def test_killed_worker_fails_the_run_and_it_can_go_on(data, tiny_checkpoint, tmp_path):
    arguments = finetune(data, tiny_checkpoint, tmp_path / "run", epochs=8)
    process = subprocess.Popen(
        [*TORCHRUN, "-m", "emotion_tutorial", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "run").glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(max(child.pid for child in psutil.Process(process.pid).children()), signal.SIGKILL)
    said = process.communicate(timeout=120)[1]
    assert process.returncode != 0
    assert "Signal 9 (SIGKILL)" in said
    whole = [json.loads(path.read_text())["global_step"] for path in (tmp_path / "run").rglob("trainer_state.json")]
    assert 0 < max(whole) < 8 * 29
    result = run(TORCHRUN, arguments)
    assert result["processes"] == 2
    state = max((tmp_path / "run").rglob("trainer_state.json"), key=lambda path: path.stat().st_mtime)
    assert json.loads(state.read_text())["global_step"] == 8 * 29
