"""Nothing is lost when things go wrong: processes killed or interrupted, disks full or read-only, two at once.

`python tools/kill.py --trials 25` kills more often.
"""

import copy
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from datasets import DatasetDict
from jupyter_client.manager import KernelManager
from transformers import Trainer

import emotion_tutorial as et
from emotion_tutorial import exporting
from emotion_tutorial.__main__ import main
from emotion_tutorial.exceptions import ArtifactError

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import kill

pytestmark = pytest.mark.filterwarnings("ignore::emotion_tutorial.exceptions.ArtifactWarning")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    kill.prepare(folder)
    return folder


@pytest.fixture(scope="module")
def survivals(inputs, tmp_path_factory) -> Callable[[str], kill.Survival]:
    """Return the uninterrupted runs, each made when it is first asked for."""
    made: dict[str, kill.Survival] = {}

    def survival(kind: str) -> kill.Survival:
        if kind not in made:
            made[kind] = kill.Survival(kind, inputs, tmp_path_factory.mktemp(kind))
        return made[kind]

    return survival


@pytest.fixture(params=kill.KINDS)
def survival(request, survivals) -> kill.Survival:
    return survivals(request.param)


@pytest.fixture
def quick(survival) -> kill.Survival:
    """Spare an export its seconds of tracing, in which nothing is written: take a graph that was traced before."""
    if survival.kind == "export":
        survival = copy.copy(survival)
        survival.child = partial(traced, survival.reference / "model.onnx")
    return survival


def traced(graph: Path, *given) -> None:
    exporting._trace = lambda model, tokenizer, path: shutil.copy(graph, path)
    kill._child(*given)


def leftovers(place: Path) -> set[str]:
    names = {path.name for path in place.parent.iterdir()} - {place.name, f"{place.name}.lock"}
    return names | {path.name for path in place.rglob("*unfinished*")}


# ---- killed


def test_killed_run_is_survived(survival):
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    moments = random.Random(seed)
    for _ in range(3):
        survival.trial(moments)


# ---- no room


# Bytes that a file may have: less than PyTorch pickles, a shard, the graph, or the weights.
LIMITS = {"training": 6_000_000, "extraction": 4000, "export": 1_000_000, "save": 1_000_000}


def limited(child: Callable[..., None], limit: int, *given: object) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    child(*given)


def test_file_that_may_not_grow_is_said_and_no_half_artifact_is_left(quick, tmp_path):
    place = tmp_path / "artifact"
    refused = copy.copy(quick)
    refused.child = partial(limited, quick.child, LIMITS[quick.kind])
    with pytest.raises(ArtifactError, match=rf"^Could not write to {place}: .*EMOTION_TUTORIAL_ARTIFACTS"):
        refused.run(place)
    assert quick.look(place, before=False) == "restarted"
    assert leftovers(place) == set()
    assert not list(place.glob("checkpoint-*"))
    assert kill._same(quick.run(place), quick.expected)


@pytest.fixture
def mounted(tmp_path) -> Iterator[Callable[[str], Path]]:
    """Mount a small disk in memory, and mount it again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounts = 0

    def mount(options: str) -> Path:
        nonlocal mounts
        if not shutil.which("mount"):
            pytest.skip("there is no command mount")
        remount = "remount," if mounts else ""
        command = ["mount", "-t", "tmpfs", "-o", f"{remount}{options}", "none", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"mounting is not permitted here: {done.stderr.strip()}")
        mounts += 1
        return folder / "artifact"

    yield mount
    if mounts:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


# Less than the artifact: of a training its first checkpoint and half of the second.
ROOM = {"training": "20m", "extraction": "60k", "export": "6m", "save": "2m"}


def test_full_disk_is_said_and_with_room_it_goes_on(quick, mounted):
    place = mounted(f"size={ROOM[quick.kind]}")
    with pytest.raises(ArtifactError, match=f"Could not write to {place}: .*Free space there"):
        quick.run(place)
    how = quick.look(place, before=False)
    assert how == {"training": "resumed", "extraction": "resumed"}.get(quick.kind, "restarted")
    assert leftovers(place) == set()
    mounted("size=200m")
    assert kill._same(quick.run(place), quick.expected)
    assert leftovers(place) == set()


def test_command_line_says_in_one_line_that_the_disk_is_full(inputs, mounted, tmp_path):
    saved = tmp_path / "saved"
    kill.set_up("save", inputs, saved)[0]()
    place = mounted("size=1m")
    with pytest.raises(SystemExit, match=rf"^ArtifactError: Could not write to {place}: [^\n]*--output[^\n]*$"):
        main(["export", str(saved), "--output", str(place), "--float32"])


# ---- read-only


@pytest.fixture
def disk(tmp_path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """Return a folder, and what makes it read-only: a mount for root, for whom permissions do not count."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = False

    def make_read_only() -> None:
        nonlocal mounted
        if os.geteuid():
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o555 if path.is_dir() else 0o444)
            return
        for options in (["--bind"], ["-o", "remount,bind,ro"]):
            if (
                not shutil.which("mount")
                or subprocess.run(["mount", *options, folder, folder], stderr=subprocess.DEVNULL).returncode
            ):
                pytest.skip("this is root, and mounting is not permitted")
            mounted = True

    yield folder, make_read_only
    if mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def test_finished_artifact_on_a_read_only_disk_is_used(quick, disk):
    folder, make_read_only = disk
    place = folder / "artifact"
    first = quick.run(place)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    make_read_only()
    if quick.kind in ("training", "extraction"):
        assert kill._same(quick.run(place), first)
    else:
        assert kill._same(kill.load(quick.kind, place), first)
        with pytest.raises(ArtifactError, match=r"Read-only file system|Permission denied"):
            quick.run(place)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_finished_training_of_a_profile_on_a_read_only_disk_is_used(inputs, disk, monkeypatch):
    folder, make_read_only = disk
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(folder))
    splits = DatasetDict.load_from_disk(inputs / "splits")
    profile = et.get_profile("quick", checkpoint=str(inputs / "encoder"), epochs=1, batch_size=32)
    first = et.load_or_train(splits, profile)
    make_read_only()
    monkeypatch.setattr(Trainer, "train", lambda *args, **kwargs: pytest.fail("trained again"))
    again = et.load_or_train(splits, profile)
    assert np.array_equal(again.predict(splits["test"]).predictions, first.predict(splits["test"]).predictions)


def test_what_would_have_to_be_written_on_a_read_only_disk_is_refused(quick, disk):
    folder, make_read_only = disk
    make_read_only()
    start = time.monotonic()
    with pytest.raises(ArtifactError, match=rf"Could not write to {folder}/artifact: .*(Read-only|Permission denied)"):
        quick.run(folder / "artifact")
    assert time.monotonic() - start < 30  # before an epoch was trained in vain


# ---- two at once


def test_two_at_once_both_end_well(quick, tmp_path):
    place = tmp_path / "artifact"
    pipes = [kill.PROCESSES.Pipe(duplex=False) for _ in range(2)]
    given = (quick.kind, quick.inputs, place)
    processes = [kill.PROCESSES.Process(target=quick.child, args=(there, *given)) for _, there in pipes]
    for process in processes:
        process.start()
    for here, _ in pipes:
        assert [quick.receive(here) for _ in ("ready", "done")] == ["ready", "done"]
        assert kill._same(quick.receive(here), quick.expected)
    for process in processes:
        process.join()
    assert quick.look(place, before=False) == "was complete"
    assert leftovers(place) == set()


# ---- Ctrl-C


@pytest.fixture
def run_cell() -> Iterator[Callable[..., str]]:
    """Start a notebook's kernel; return what runs a cell there and, if told so, interrupts it after a word of it."""
    manager = KernelManager()
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)

    def run(code: str, *, interrupt_at: str | None = None) -> str:
        client.execute(code)
        printed, interrupted = "", False
        while (message := client.get_iopub_msg(timeout=120))["content"].get("execution_state") != "idle":
            content = message["content"]
            printed += content.get("text", "") if message["msg_type"] == "stream" else content.get("ename", "")
            if interrupt_at and interrupt_at in printed and not interrupted:
                interrupted = True
                manager.interrupt_kernel()
        return printed

    yield run
    client.stop_channels()
    manager.shutdown_kernel(now=True)


CELLS = """
import sys, time, numpy as np
sys.path.insert(0, {tools!r})
from pathlib import Path
import kill
import emotion_tutorial as et
from emotion_tutorial import extraction
from filelock import FileLock
from transformers import TrainerCallback

inputs, folder = Path({inputs!r}), Path({folder!r})
train, _ = kill.set_up("training", inputs, folder / "training")
trainer = train.args[0]
extract, tell = kill.set_up("extraction", inputs, folder / "states")

class Slow(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        print("step", state.global_step, flush=True)
        time.sleep(0.1)

slow = Slow()
trainer.add_callback(slow)
write = extraction._write
def slowly(*given):
    print("shard", flush=True)
    time.sleep(0.1)
    write(*given)
extraction._write = slowly
print("set up")
"""


def test_interrupted_notebook_goes_on(survivals, inputs, tmp_path, run_cell):
    folder = tmp_path / "artifacts"
    tools = str(Path(kill.__file__).parent)
    assert "set up" in run_cell(CELLS.format(tools=tools, inputs=str(inputs), folder=str(folder)))
    assert "KeyboardInterrupt" in run_cell("train()", interrupt_at="step 7\n")
    code = "print(et.predict_proba('a text', trainer.model, trainer.processing_class).shape)"
    assert run_cell(code) == "(1, 6)\n"
    run_cell("trainer.remove_callback(slow); output = train()")
    lock = "FileLock(f'{folder}/training.lock').acquire(timeout=0); print('free')"
    assert run_cell(lock) == "free\n"
    path = tmp_path / "logits.npy"
    run_cell(f"np.save({str(path)!r}, trainer.predict(trainer.eval_dataset).predictions)")
    assert np.load(path).shape == (160, 6)
    assert run_cell("print(trainer.state.global_step, output.metrics['train_loss'] > 0)") == "15 True\n"

    assert "KeyboardInterrupt" in run_cell("extract()", interrupt_at="shard\nshard\nshard\n")
    assert len(list((folder / "states").glob("*.arrow"))) >= 2
    assert "shard" in run_cell("states = tell(extract())")
    assert run_cell(
        "print(*[FileLock(p).acquire(timeout=0) and 'free' for p in (folder / 'states').glob('*.lock')][:1])"
    )
    assert run_cell("extraction._write = None; again = tell(extract()); print('all there')") == "all there\n"
    for kind, name in (("training", "training"), ("extraction", "states")):
        assert survivals(kind).look(folder / name, before=False) == "was complete"
    assert not list(folder.rglob("*unfinished*"))


def test_interrupt_during_a_save_leaves_what_was_there(survivals, inputs, tmp_path):
    """SIGINT at a random moment, to a process as to a notebook's kernel."""
    survival, place = survivals("save"), tmp_path / "artifact"
    shutil.copytree(survival.other, place)
    seed = random.randrange(2**32)
    print("seed", seed)  # noqa: T201
    here, there = multiprocessing.Pipe(duplex=False)
    process = kill.PROCESSES.Process(target=kill._child, args=(there, "save", inputs, place))
    process.start()
    there.close()
    assert here.recv() == "ready"
    time.sleep(random.Random(seed).uniform(0, survival.seconds))
    process._popen._send_signal(signal.SIGINT)
    while os.read(here.fileno(), 65536):
        pass  # a process that came to its end says more than a pipe holds, and waits until somebody listens
    process.join()
    assert survival.look(place, before=True) in ("restarted", "was complete")
    assert kill._same(survival.run(place), survival.expected)
    assert leftovers(place) == set()  # not even if the interrupt came while the process tidied up
