"""Kill processes at random moments, run them again, and see whether anything is lost.

``python tools/kill.py --trials 25 --seed 0`` kills each kind of run so often, and ends with 1 if one did not survive.
"""

import argparse
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import DatasetDict, disable_progress_bars
from tqdm.std import tqdm
from transformers import BertConfig, BertModel, set_seed
from transformers.utils import logging

import emotion_tutorial as et
from emotion_tutorial import extraction
from emotion_tutorial.checkpoints import newest_checkpoint
from emotion_tutorial.encoders import load_saved_classifier

KINDS = ("training", "extraction", "export", "save")
NAMES = ["sadness", "joy", "love", "anger", "fear", "surprise"]
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "accelerate",
        "datasets",
        "emotion_tutorial.finetuning",
        "emotion_tutorial.exporting",
        "emotion_tutorial.sharing",
        "torch.optim",
        __name__,
    ]
)


class LostError(AssertionError):
    """Something did not survive."""


def prepare(inputs: Path) -> None:
    """Write what the runs need: a small random encoder, a few hundred texts, and two classifiers."""
    inputs.mkdir(parents=True, exist_ok=True)
    quietly()
    set_seed(0)
    tokenizer = et.load_tokenizer("embedded")
    config = BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    BertModel(config).save_pretrained(inputs / "encoder")
    tokenizer.save_pretrained(inputs / "encoder")
    corpus = et.load_splits("embedded")
    few = DatasetDict({split: dataset.select(range(160)) for split, dataset in corpus.items()})
    et.tokenize(few, tokenizer).save_to_disk(inputs / "splits")
    for seed in (0, 1):
        set_seed(seed)
        model = et.load_classifier(inputs / "encoder", NAMES, "cpu")
        model.save_pretrained(inputs / f"classifier-{seed}")


def quietly() -> None:
    """Say nothing while all goes well."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    disable_progress_bars()


def set_up(kind: str, inputs: Path, place: Path, variant: int = 0) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """Return what may be killed, and what then says what was made.

    Variant 1 exports or saves another classifier, and in training keeps the checkpoints of all epochs.
    """
    quietly()
    torch.set_num_threads(1)
    tokenizer = et.load_tokenizer(inputs / "encoder")
    if kind in ("export", "save"):
        model = load_saved_classifier(inputs / f"classifier-{variant}")
        options: dict[str, Any] = {"name": "saved"} if kind == "save" else {"quantize": False}
        write = et.save_model if kind == "save" else et.export_onnx
        return partial(write, model, tokenizer, place, **options), partial(load, kind)
    splits = DatasetDict.load_from_disk(inputs / "splits")
    if kind == "extraction":
        extraction.SHARD_ROWS = 40
        encoder = et.load_encoder(inputs / "encoder", "cpu")
        extract = partial(et.extract_hidden_states, splits, encoder, tokenizer, folder=place)
        return extract, lambda found: {split: et.feature_matrix(dataset)[0] for split, dataset in found.items()}
    trainer = et.build_trainer(
        splits,
        inputs / "encoder",
        output_dir=place,
        learning_rate=5e-3,
        epochs=3,
        batch_size=32,
        use_cpu=True,
        disable_tqdm=True,
        save_total_limit=None if variant else 2,
    )
    return partial(et.train_or_resume, trainer), lambda _: {"logits": trainer.predict(splits["test"]).predictions}


def load(kind: str, place: Path) -> dict[str, Any]:
    """Return what a saved model or an export gives, as its loader reads it."""
    if kind == "export":
        return {"logits": et.OnnxClassifier(place).predict_logits(["a text", "i feel well today", ""])}
    return {name: weight.numpy() for name, weight in load_saved_classifier(place).state_dict().items()}


def _child(answer: Connection, *given: Any) -> None:
    tqdm.set_lock(threading.RLock())  # not one of multiprocessing, which a killed process would leave
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  of a process that soon ends
    try:
        act, tell = set_up(*given)
        answer.send("ready")
        made = act()
        answer.send("done")
        answer.send(tell(made))
    except BaseException as error:  # noqa: BLE001  the parent says it
        answer.send(error)


class Survival:
    """One kind of run, killed and repeated.

    Parameters
    ----------
    kind
        One of `KINDS`.
    inputs
        As `prepare` wrote them.
    scratch
        An empty folder.
    """

    def __init__(self, kind: str, inputs: Path, scratch: Path):
        self.kind, self.inputs, self.scratch, self.child = kind, inputs, scratch, _child
        self.reference, self.other = scratch / "reference-0", scratch / "reference-1"
        self.expected = self.run(self.reference)
        if kind != "extraction":
            self.others = self.run(self.other, variant=1)
        self.seconds = self.latest

    def run(self, place: Path, *, variant: int = 0, kill_after: float | None = None) -> Any:
        """Run in a process of its own; return what it gives, or None if it was killed before its end."""
        here, there = PROCESSES.Pipe(duplex=False)
        process = PROCESSES.Process(target=self.child, args=(there, self.kind, self.inputs, place, variant))
        process.start()
        there.close()
        try:
            self.receive(here)  # it is ready
            start = time.monotonic()
            if not here.poll(kill_after):
                return None
            self.receive(here)  # it is done
            self.latest = time.monotonic() - start
            return self.receive(here)
        finally:
            process.kill()
            process.join()

    @staticmethod
    def receive(connection: Connection) -> Any:
        """Return what a process says, or raise what it raised."""
        try:
            said = connection.recv()
        except EOFError:
            raise LostError("a process ended without a word") from None
        if isinstance(said, BaseException):
            raise said
        return said

    def trial(self, random_: random.Random) -> tuple[bool, str]:
        """Kill a run at a random moment and run it again; return whether it was killed in time, and how it went on.

        Raises
        ------
        LostError
            If what stands in the place is not whole, if the second run gives something else, or leaves something.
        """
        place = self.scratch / f"trial-{random_.randrange(2**32)}" / "artifact"
        place.parent.mkdir()
        before = self.kind in ("export", "save") and random_.random() < 0.5
        if before:
            shutil.copytree(self.other, place)  # another one, which is to be replaced
        killed = self.run(place, kill_after=random_.uniform(0, self.seconds)) is None
        how = self.look(place, before)
        if not _same(self.run(place), self.expected):
            raise LostError("the second run gives something else than the uninterrupted one")
        if how == "restarted":
            self.seconds = self.latest  # other programs may slow the machine down, or no longer
        self.look(place, before)
        names = {path.name for path in place.parent.iterdir()} - {"artifact", "artifact.lock"}
        names |= {path.name for path in place.rglob("*unfinished*")}
        if names:
            raise LostError(f"left behind: {', '.join(sorted(names))}")
        shutil.rmtree(place.parent)
        return killed, how

    def look(self, place: Path, before: bool) -> str:
        """Check that what stands in the place is whole; say what a run has left to do."""
        if self.kind == "training":
            newest, state = newest_checkpoint(place)
            if newest is None or state is None:
                return "restarted"
            weights = [(folder / newest.name / "model.safetensors") for folder in (self.other, place)]
            if weights[0].read_bytes() != weights[1].read_bytes():
                raise LostError(f"{newest} has other weights than the uninterrupted training had then")
            return "was complete" if state.global_step == state.max_steps else "resumed"
        if self.kind == "extraction":
            shards = {path.name: path.read_bytes() for path in place.glob("*.arrow")}
            whole = {path.name: path.read_bytes() for path in self.reference.glob("*.arrow")}
            if not shards.items() <= whole.items():
                raise LostError("a shard has other bytes than that of the uninterrupted run")
            return "was complete" if len(shards) == len(whole) else "resumed" if shards else "restarted"
        if not place.exists():
            return "restarted"
        found = load(self.kind, place)
        if _same(found, self.expected):
            return "was complete"
        if before and _same(found, self.others):
            return "restarted"
        raise LostError(f"{place} is neither the new artifact nor the one that was there before")


def _same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return found.keys() == expected.keys() and all(np.array_equal(found[name], expected[name]) for name in expected)


def main() -> int:
    """Kill, print a table, and return 1 if something was lost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=25, help="kills of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    options = parser.parse_args()
    lost = 0
    print(f"seed {options.seed}\n\n| kind | s, uninterrupted | kills | before the end | survived | how |")
    print("|---" * 6 + "|")
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder) / "inputs")
        for kind in options.kinds:
            (Path(folder) / kind).mkdir()
            survival = Survival(kind, Path(folder) / "inputs", Path(folder) / kind)
            random_, ways, in_time = random.Random(f"{options.seed} {kind}"), Counter[str](), 0
            for number in range(options.trials):
                try:
                    killed, how = survival.trial(random_)
                except Exception as error:  # noqa: BLE001  each is a loss
                    print(f"{kind}, trial {number}: {type(error).__name__}: {error}", file=sys.stderr)
                    lost += 1
                else:
                    ways[how] += 1
                    in_time += killed
            said = ", ".join(f"{how} {count}" for how, count in sorted(ways.items()))
            print(
                f"| {kind} | {survival.seconds:.1f} | {options.trials} | {in_time} | {ways.total()} | {said} |",
                flush=True,
            )
    return min(lost, 1)


if __name__ == "__main__":
    raise SystemExit(main())
