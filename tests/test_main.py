"""The command line: in this process, and in several started by torchrun."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
import pytest
from datasets import load_from_disk

from emotion_tutorial import extract_hidden_states, load_classifier, load_encoder, load_splits
from emotion_tutorial.__main__ import main

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture(scope="module")
def data(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split, rows in {"train": 900, "validation": 100, "test": 101}.items():
        corpus[split].select(range(rows)).to_parquet(folder / f"{split}.parquet")
    return folder


def finetune(data: Path, checkpoint: Path, output: Path, epochs: int = 3) -> list[str]:
    options = ["--learning-rate", "3e-3", "--epochs", str(epochs), "--batch-size", "32", "--cpu"]
    return ["finetune", "--data", str(data), "--checkpoint", str(checkpoint), "--output", str(output), *options]


def run(launcher: list[str], arguments: list[str]) -> dict[str, float]:
    command = [*launcher, "-m", "emotion_tutorial", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def steps_of(output: Path) -> int:
    """Return how many steps the finished training took."""
    [state] = output.glob("training/fine-tuned-*/trainer_state.json")
    return json.loads(state.read_text())["global_step"]


def wait_for(done: Callable[[], object], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)


def test_extract_writes_what_datasets_reads(data, tiny_checkpoint, tokenizer, tmp_path, capsys):
    paths = ["--data", str(data), "--checkpoint", str(tiny_checkpoint), "--output", str(tmp_path / "states")]
    main(["extract", *paths, "--pooling", "mean", "--cpu"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert said["texts"] == 1101
    found, splits = load_from_disk(said["folder"]), load_splits(data)
    expected = extract_hidden_states(splits, load_encoder(tiny_checkpoint, "cpu"), tokenizer, pooling="mean")
    for split in splits:
        assert found[split]["text"][:] == splits[split]["text"][:]
        np.testing.assert_allclose(found[split]["hidden_state"][:], expected[split]["hidden_state"][:], atol=1e-5)


def test_wrong_input_ends_with_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"^NotFoundError: There is no file or folder 'nowhere/at all'"):
        main(["extract", "--data", "nowhere/at all", "--output", str(tmp_path)])


def test_accelerate_launches_several_processes(data, tiny_checkpoint, tmp_path):
    # Without --multi_gpu, accelerate starts one process on a CPU, whatever --num_processes says.
    launcher = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--multi_gpu"]
    launcher += ["--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    result = run(launcher, finetune(data, tiny_checkpoint, tmp_path / "run", epochs=1))
    assert result["processes"] == 2


def test_several_processes_train_as_well_as_one(data, tiny_checkpoint, tmp_path):
    one = run([sys.executable], finetune(data, tiny_checkpoint, tmp_path / "one"))
    two = run(TORCHRUN, finetune(data, tiny_checkpoint, tmp_path / "two"))
    assert (one["processes"], two["processes"]) == (1, 2)
    for name in ("validation_accuracy", "test_accuracy"):
        assert two[name] == pytest.approx(one[name], abs=0.1)
    # Texts per step are those of all processes together.
    assert steps_of(tmp_path / "one") == steps_of(tmp_path / "two") == 3 * 29
    for said in (one, two):
        assert load_classifier(said["model"], device="cpu").config.num_labels == 6
        assert f"{said['test_accuracy']:.3f}" in (Path(said["model"]) / "README.md").read_text(encoding="utf-8")


def test_killed_worker_fails_the_run_and_it_goes_on(data, tiny_checkpoint, tmp_path):
    command = [*TORCHRUN, "-m", "emotion_tutorial", *finetune(data, tiny_checkpoint, tmp_path, epochs=8)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(tmp_path.glob("training/*.training/checkpoint-*/trainer_state.json")), process)
    os.kill(max(child.pid for child in psutil.Process(process.pid).children()), signal.SIGKILL)
    said = process.communicate(timeout=120)[1]
    assert process.returncode != 0
    assert "Signal 9 (SIGKILL)" in said
    assert not (tmp_path / "model").exists()
    again = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    assert "It goes on from step" in again.stderr
    assert steps_of(tmp_path) == 8 * 29
    assert not list(tmp_path.glob("training/*.training"))
