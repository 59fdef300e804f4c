"""Beside the peers, in one run: vectors, training to equal accuracy, and predictions, with ours and other libraries.

`python benchmarks/peers.py` measures on the CPU, and refuses to if the machine is not idle. Each way has a process of
its own, which is made ready and then waits. In each round all ways take turns in another order, so that noise hits all
alike. The parts `peers, vectors` and so on go to docs/results.json, and each round of each way to docs/peers.parquet;
then run tables.py. `--texts 1000 --repeats 2` is quick. On two cores without bfloat16, three rounds with 2,000 texts
took four minutes of vectors and seven of predictions.

The ONNX backend of sentence-transformers does not install beside these versions. It is measured with `--python`, the
interpreter of another environment in which somebody ran `pip install "sentence-transformers[onnx]"`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from datasets import DatasetDict
from measure import load, longest_of_the_corpus, parse_arguments
from onnxruntime.quantization import quantize_dynamic
from peer_ways import WAYS, Settings, Way
from results import DOCS, TRAINED, Rows, circumstances, write
from system import require_idle, typed

import emotion_tutorial as et
from emotion_tutorial.checkpoints import locate_checkpoint
from emotion_tutorial.devices import has_bfloat16
from emotion_tutorial.onnx_classifier import MODEL

UNTIL = {"embedded": 0.70, "else": 0.92}
"""The validation accuracy to train to: a little below what the settings of each profile end with."""
COLUMNS = ["method", "precision", "ours", "round", "seconds", "texts", "peak_mb", "file_mb", "cosine", "accuracy"]
COLUMNS += ["other_labels", "steps", "reached", "reason"]
PAUSE = 0.5
"""Seconds between two runs, in which the threads of the last one go to sleep."""


class PeerError(Exception):
    """A way did not get ready, or failed."""


class Waiting:
    """A process in which a way is ready and waits for its turn."""

    def __init__(self, part: str, name: str, python: str, file: Path):
        self.log = file.with_name(f"{part} {name}.log".replace("/", " "))
        command = [python, str(Path(__file__).with_name("peer_ways.py")), part, name, str(file)]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with self.log.open("w", encoding="utf-8") as log:
            self.process = subprocess.Popen(command, stderr=log, **pipes)

    def ready(self) -> dict[str, str]:
        """Wait until it is ready, and return the versions of what it computes with."""
        return self._read()["versions"]

    def ask(self, command: str) -> dict[str, Any]:
        """Give a command, and wait for the answer."""
        assert self.process.stdin
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        if line := self.process.stdout.readline():
            return json.loads(line)
        self.process.wait()
        said = self.log.read_text(encoding="utf-8").strip().splitlines()
        raise PeerError(said[-1] if said else f"exit status {self.process.returncode}")


def why_not(way: Way, python: str | None) -> str:
    """Say why a way can't be measured here, or nothing."""
    if way.elsewhere and python is None:
        return "needs an environment of its own, see --python"
    if way.precision == "bfloat16" and not has_bfloat16(torch.device("cpu")):
        return "this processor does not compute in bfloat16"
    return ""


def measure(part: str, settings: Settings, options: argparse.Namespace) -> tuple[Rows, dict[str, str]]:
    """Let all ways of a part take turns; return a row for each way and round, and versions of the other environment."""
    random, elsewhere = np.random.default_rng(0), dict[str, str]()
    file = Path(settings["scratch"]) / f"{part}.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    rows: list[dict[str, Any]] = []
    waiting: dict[str, Waiting] = {}
    reasons = {name: why_not(way, options.python) for name, way in WAYS[part].items()}
    with ExitStack() as stack:
        for name in [name for name, reason in reasons.items() if not reason]:
            python = options.python if WAYS[part][name].elsewhere else sys.executable
            waiting[name] = Waiting(part, name, python, file)
            stack.callback(waiting[name].close)
        for name, process in [*waiting.items()]:
            try:
                versions = process.ready()
                elsewhere |= versions if WAYS[part][name].elsewhere else {}
            except PeerError as error:
                if not WAYS[part][name].elsewhere:
                    raise
                reasons[name] = str(error)[:200]
                del waiting[name]
        for name, reason in reasons.items():
            way = WAYS[part][name]
            if reason:
                about = {"method": name, "precision": way.precision, "ours": way.ours}
                rows.append(about | {"round": 0, "reason": reason})
            print(f"{part}: {name} {'is not measured: ' + reason if reason else 'is ready'}", flush=True)
        for number in range(options.repeats):
            for name in random.permutation([name for name in waiting if not number or name not in options.once]):
                time.sleep(PAUSE)
                way, said = WAYS[part][name], waiting[name].ask(f"run {number}")
                about = {"method": name, "precision": way.precision, "ours": way.ours, "round": number, "reason": ""}
                rows.append(about | {"texts": len(settings["texts"])} | said)
                print(f"round {number + 1}: {name} {said['seconds']:.2f} s", flush=True)
        ends = {name: judge(name, process, part, settings) for name, process in waiting.items()}
    compared = compare_answers(part, ends, settings)
    frame = pd.DataFrame([row | compared.get(row["method"], {}) for row in rows]).reindex(columns=COLUMNS)
    order = {name: i for i, name in enumerate(WAYS[part])}
    return frame.sort_values("method", key=lambda names: names.map(order), kind="stable"), elsewhere


def judge(name: str, process: Waiting, part: str, settings: Settings) -> dict[str, Any]:
    """Finish a way: return the peak of its memory, the size of its files, and what it computed."""
    file = Path(settings["scratch"]) / f"{part} {name}.npz".replace("/", " ")
    end = process.ask(f"finish {file}")
    process.close()
    if files := WAYS[part][name].files:
        sizes = [path.stat().st_size for path in Path(settings[files]).rglob("*") if path.is_file()]
        end["file_mb"] = sum(sizes) / 1e6
    return end | dict(np.load(file))


def compare_answers(part: str, ends: dict[str, dict[str, Any]], settings: Settings) -> dict[str, dict[str, Any]]:
    """Compare what the ways computed with what the first of them did, which is in float32, and with the labels."""
    found: dict[str, dict[str, Any]] = {}
    reference = next(iter(ends.values()), {})
    for name, end in ends.items():
        cell: dict[str, Any] = {key: end[key] for key in ("peak_mb", "file_mb") if key in end}
        if part == "vectors":
            cell["cosine"] = smallest_cosine(reference, end)
        elif part == "predictions":
            labels = end["judged"].argmax(axis=1)
            cell["accuracy"] = float((labels == np.array(settings["labels"])).mean())
            cell["other_labels"] = int((labels != reference["judged"].argmax(axis=1)).sum())
        found[name] = cell
    return found


def smallest_cosine(reference: dict[str, Any], end: dict[str, Any]) -> float:
    """Return the smallest cosine between vectors of the same texts."""
    _, here, there = np.intersect1d(reference["rows"], end["rows"], return_indices=True)
    a, b = reference["answer"][here], end["answer"][there]
    return float(((a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).min())


@contextmanager
def prepared(options: argparse.Namespace, splits: DatasetDict, profile: et.Profile) -> Iterator[Settings]:
    """Write down what the processes need: texts, models and exports, in a folder that is removed at the end."""
    tokenizer = et.load_tokenizer(options.checkpoint)
    train, validation = splits["train"], splits["validation"]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        settings: Settings = {"scratch": folder, "checkpoint": str(locate_checkpoint(options.checkpoint))}
        settings |= {"texts": train["text"][:], "judged": validation["text"][:], "labels": validation["label"][:]}
        settings |= {"names": train.features["label"].names, "longest": longest_of_the_corpus(options, tokenizer)}
        settings |= profile.hyperparameters | {"until": options.until}
        if "training" in options.parts:
            settings["splits"] = str(scratch / "splits")
            DatasetDict(train=train, validation=validation).save_to_disk(settings["splits"])
        if "predictions" in options.parts:
            whole = et.load_splits(options.data)
            trainer: Any = et.load_or_train(whole, profile, folder=options.artifacts)
            model = trainer.model.cpu()
            settings |= {name: str(scratch / name) for name in ("model", "export", "int8", "plain")}
            model.save_pretrained(settings["model"])
            trainer.processing_class.save_pretrained(settings["model"])
            et.export_onnx(model, trainer.processing_class, settings["export"], quantize=False)
            et.export_onnx(model, trainer.processing_class, settings["int8"])
            shutil.copytree(settings["export"], settings["plain"], ignore=shutil.ignore_patterns(MODEL))
            quantize_dynamic(Path(settings["export"]) / MODEL, Path(settings["plain"]) / MODEL)
            del trainer, model
        yield settings


def parsed() -> argparse.Namespace:
    """Return the arguments of the command line."""
    parser = parse_arguments(__doc__ or "", texts=4000, repeats=3)
    parser.add_argument("--parts", nargs="+", choices=WAYS, default=[*WAYS])
    parser.add_argument("--python", help="an interpreter with sentence-transformers[onnx], for its ONNX backend")
    parser.add_argument("--busy", action="store_true", help="measure although the machine is not idle, and say so")
    parser.add_argument("--until", type=float, help="the validation accuracy to train to")
    parser.add_argument("--epochs", type=float, help="of the trainings; to try this script out, with another --output")
    names = [name for ways in WAYS.values() for name in ways]
    parser.add_argument("--once", nargs="+", default=[], choices=names, help="ways that only the first round has")
    parser.add_argument("--artifacts", type=Path, default=TRAINED, help="folder of the trained model")
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of results.json and the parquet file")
    options = parser.parse_args()
    options.until = options.until or UNTIL.get(options.data, UNTIL["else"])
    return options


def main() -> None:
    """Run from the command line."""
    options = parsed()
    load_before = require_idle(options.busy)
    splits = load(options)
    chosen: dict[str, Any] = {"epochs": options.epochs} if options.epochs else {}
    name = "quick" if options.data == "embedded" else "real"
    profile = et.get_profile(name, data=options.data, checkpoint=options.checkpoint, **chosen)
    tokenizer = et.load_tokenizer(options.checkpoint)
    lengths = [*map(len, tokenizer(splits["train"]["text"][:], truncation=True)["input_ids"])]
    results: dict[str, Any] = {}
    with prepared(options, splits, profile) as settings:
        for part in options.parts:
            start = time.perf_counter()
            rows, elsewhere = measure(part, settings, options)
            runtimes = ("sentence-transformers", "onnxruntime", "datasets")
            about = circumstances(splits, profile, [*range(options.repeats)], start, *runtimes)
            about |= {"source": Path(options.data).name, "load_before": load_before, "busy": options.busy}
            about |= {"command": typed()}
            about |= {"tokens": {"mean": round(float(np.mean(lengths)), 1), "longest": max(lengths)}}
            about |= {"padded_to": settings["longest"]} | ({"until": options.until} if part == "training" else {})
            about |= {"elsewhere": elsewhere} if elsewhere else {}
            results = write(f"peers, {part}", about, {options.output / "peers.parquet": rows})
    print(json.dumps(results["peers"]))


if __name__ == "__main__":
    main()
