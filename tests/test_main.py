"""The command line: in this process, and in several started by torchrun."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
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


def wait_for(done: Callable[[], object], process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not done():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)


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


def small_shards(folder: Path, pause: float = 0) -> Path:
    """Write the command line with shards of 64 rows, and a pause before each is written."""
    code = f"""
        import time
        import emotion_tutorial.extraction as extraction
        from emotion_tutorial.__main__ import main

        write = extraction._write
        extraction.SHARD_ROWS = 64
        extraction._write = lambda *shard: (time.sleep({pause}), write(*shard))
        main()
    """
    script = folder / "small_shards.py"
    script.write_text(textwrap.dedent(code))
    return script


def test_several_processes_extract_the_same_bytes(data, tiny_checkpoint, tmp_path):
    script = small_shards(tmp_path)
    for launcher, output in (([sys.executable], "one"), (TORCHRUN, "two")):
        subprocess.run([*launcher, str(script), *extract(data, tiny_checkpoint, tmp_path / output)], check=True)
    one, two = shards(tmp_path / "one"), shards(tmp_path / "two")
    assert len(one) == 15 + 2 + 2
    assert one == two


def test_killed_worker_fails_an_extraction_and_it_can_go_on(data, tiny_checkpoint, tmp_path):
    script, arguments = small_shards(tmp_path, pause=0.3), extract(data, tiny_checkpoint, tmp_path / "killed")
    process = subprocess.Popen(
        [*TORCHRUN, str(script), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: len(shards(tmp_path / "killed")) >= 2, process)
    os.kill(max(child.pid for child in psutil.Process(process.pid).children()), signal.SIGKILL)
    said = process.communicate(timeout=120)[1]
    assert process.returncode != 0
    assert "Signal 9 (SIGKILL)" in said
    finished = shards(tmp_path / "killed")
    assert 2 <= len(finished) < 15 + 2 + 2
    subprocess.run([*TORCHRUN, str(script), *arguments], check=True)
    subprocess.run([sys.executable, str(script), *extract(data, tiny_checkpoint, tmp_path / "whole")], check=True)
    assert shards(tmp_path / "killed") == shards(tmp_path / "whole")
    assert finished.items() <= shards(tmp_path / "killed").items()


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
    wait_for(lambda: list((tmp_path / "run").glob("checkpoints/checkpoint-*/trainer_state.json")), process)
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
