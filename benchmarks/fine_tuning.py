"""One epoch of fine-tuning: the way of 2022 against `build_trainer`, side by side.

The way of 2022: all texts are padded to the longest of the corpus; batches of 64 in random order; float32. Both ways
start from the same weights and see the same texts, with the profile's learning rate.

With `--until 0.9225`, ours then trains one epoch on the whole training split, until the validation accuracy is
reached; if it is not, `reached` is the best that was. The time of the baseline for two epochs of the same texts
follows from its time per text: its batches are all of one shape.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from typing import Any

import torch
from datasets import DatasetDict
from measure import (
    alternate,
    load,
    longest_of_the_corpus,
    multiply_adds_per_token,
    parse_arguments,
    peak_gflops,
    report,
)
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)

from emotion_tutorial import (
    build_trainer,
    compute_metrics,
    get_profile,
    load_classifier,
    load_splits,
    load_tokenizer,
)
from emotion_tutorial.devices import best_device, has_bfloat16

BATCH_SIZE = 64


def set_up_padded(splits: DatasetDict, options: argparse.Namespace, folder: str) -> Trainer:
    """Return a Trainer that is set up the plain way."""
    tokenizer = load_tokenizer(options.checkpoint)
    longest = longest_of_the_corpus(options, tokenizer)
    padded = splits.map(
        lambda batch: tokenizer(batch["text"], padding="max_length", truncation=True, max_length=longest),
        batched=True,
        batch_size=None,
    )
    set_seed(0)
    arguments = TrainingArguments(
        output_dir=folder,
        num_train_epochs=1,
        learning_rate=options.learning_rate,
        per_device_train_batch_size=BATCH_SIZE,
        per_device_eval_batch_size=BATCH_SIZE,
        weight_decay=0.01,
        eval_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=best_device().type == "cpu",
    )
    return Trainer(
        model=load_classifier(options.checkpoint, splits["train"].features["label"].names),
        args=arguments,
        train_dataset=padded["train"],
        eval_dataset=padded["validation"],
        compute_metrics=compute_metrics,
    )


def set_up_ours(splits: DatasetDict, options: argparse.Namespace, folder: str, **more: Any) -> Trainer:
    """Return a Trainer of `build_trainer` that neither saves nor evaluates by itself."""
    settings: dict[str, Any] = {"epochs": 1, "batch_size": BATCH_SIZE, "disable_tqdm": True}
    settings |= {"eval_strategy": "no", "save_strategy": "no", "load_best_model_at_end": False} | more
    return build_trainer(splits, options.checkpoint, output_dir=folder, learning_rate=options.learning_rate, **settings)


def baseline(options: argparse.Namespace) -> dict[str, Any]:
    """Train one epoch the plain way."""
    return train(set_up_padded, options)


def ours(options: argparse.Namespace) -> dict[str, Any]:
    """Train one epoch with `build_trainer`."""
    return train(set_up_ours, options)


def train(set_up: Callable[..., Trainer], options: argparse.Namespace) -> dict[str, Any]:
    """Train one epoch and evaluate; the seconds are those of the training alone."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = set_up(load(options), options, folder)
        seconds = trainer.train().metrics["train_runtime"]
        return {"seconds": seconds, "accuracy": trainer.evaluate()["eval_accuracy"]}


class Until(TrainerCallback):
    """Stop a training when the validation accuracy is reached."""

    def __init__(self, accuracy: float):
        self.accuracy, self.reached = accuracy, 0.0

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> TrainerControl:
        """Compare what was just evaluated."""
        metrics = kwargs["metrics"]
        print(f"step {state.global_step}: {metrics['eval_accuracy']:.4f}", flush=True)
        self.reached = max(self.reached, metrics["eval_accuracy"])
        control.should_training_stop = self.reached >= self.accuracy
        return control


def seconds_until(splits: DatasetDict, options: argparse.Namespace) -> tuple[float, float]:
    """Train one epoch, evaluated in its last quarter, until the accuracy is reached; return seconds and accuracy.

    The seconds include the evaluations. The learning rate falls to 0 within the epoch, and a step takes 32 texts.
    """
    profile = get_profile("quick")
    steps = len(splits["train"]) // profile.batch_size
    settings: dict[str, Any] = {"eval_strategy": "steps", "eval_steps": steps // 12 or 1, "eval_delay": steps * 3 // 4}
    with tempfile.TemporaryDirectory() as folder:
        trainer = set_up_ours(splits, options, folder, batch_size=profile.batch_size, **settings)
        stop = Until(options.until)
        trainer.add_callback(stop)
        start = time.perf_counter()
        trainer.train()
        return time.perf_counter() - start, stop.reached


def main() -> None:
    """Run from the command line."""
    parser = parse_arguments(__doc__ or "", texts=2000, repeats=3)
    parser.add_argument("--learning-rate", type=float, default=get_profile("quick").learning_rate)
    parser.add_argument("--until", type=float, help="validation accuracy to reach with ours, on all training texts")
    options = parser.parse_args()
    splits = load(options)
    found = alternate([baseline, ours], options)
    seconds = {name: result["seconds"] for name, result in found.items()}
    accuracy = {name: result["accuracy"] for name, result in found.items()}
    tokenizer = load_tokenizer(options.checkpoint)
    tokens = sum(map(len, tokenizer(splits["train"]["text"][:], truncation=True)["input_ids"]))
    dtype = torch.bfloat16 if has_bfloat16(best_device()) else torch.float32
    peak = peak_gflops(dtype)
    model = load_classifier(options.checkpoint, splits["train"].features["label"].names)
    operations = 6 * multiply_adds_per_token(model) * tokens / seconds["ours"] / 1e9
    rows = {
        "device": best_device(),
        "texts, tokens": f"{options.texts:,}, {tokens:,}",
        "baseline, s per epoch (median)": f"{seconds['baseline']:.1f}",
        "ours, s per epoch (median)": f"{seconds['ours']:.1f}  ({tokens / seconds['ours']:.0f} tokens/s)",
        "ratio": f"{seconds['baseline'] / seconds['ours']:.1f}",
        "validation accuracy, baseline and ours": f"{accuracy['baseline']:.4f}, {accuracy['ours']:.4f}",
        f"peak of a matrix product, {dtype}": f"{peak:.0f} GFLOP/s",
        "ours, share of that peak": f"{operations / peak:.2f}",
    }
    result = {
        **seconds,
        "ratio": seconds["baseline"] / seconds["ours"],
        "accuracy_baseline": accuracy["baseline"],
        "accuracy_ours": accuracy["ours"],
        "peak_gflops": peak,
        "roofline": operations / peak,
    }
    if options.until:
        whole = load_splits(options.data)
        taken, reached = seconds_until(whole, options)
        two_epochs = 2 * len(whole["train"]) / options.texts * seconds["baseline"]
        rows[f"ours, s to {options.until} (reached {reached:.4f})"] = f"{taken:.0f}"
        rows["baseline, s for two epochs (from its s per text)"] = f"{two_epochs:.0f}"
        result |= {"seconds_until": taken, "reached": reached, "baseline_two_epochs": two_epochs}
    report(rows, result)


if __name__ == "__main__":
    main()
