"""Fine-tune a classifier, or extract hidden states, from the command line.

Both run unchanged on one machine, or on several under ``torchrun`` or ``accelerate launch``.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from emotion_tutorial import (
    build_trainer,
    evaluate,
    extract_hidden_states,
    get_profile,
    load_encoder,
    load_splits,
    load_tokenizer,
    save_model,
    tokenize,
    train_or_resume,
)
from emotion_tutorial.exceptions import TutorialError
from emotion_tutorial.finetuning import training_settings


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, and do what they say; errors of the input end it with one line."""
    options = _parser().parse_args(arguments)
    if torch.accelerator.is_available():  # one device per process of this machine
        torch.accelerator.set_device_index(int(os.environ.get("LOCAL_RANK", "0")))
    try:
        result = options.command(options)
    except TutorialError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps(result))


def finetune(options: argparse.Namespace) -> dict[str, object]:
    """Train, or go on with a training; save the best epoch's model; evaluate it on test."""
    given = {name: getattr(options, name) for name in ("data", "checkpoint", "learning_rate", "epochs", "batch_size")}
    profile = get_profile(
        options.profile, seed=options.seed, **{name: value for name, value in given.items() if value is not None}
    )
    splits = load_splits(profile.data, text_column=options.text_column, label_column=options.label_column)
    settings = training_settings(profile)
    start = time.perf_counter()
    device: dict[str, Any] = {"use_cpu": True} if options.cpu else {}
    trainer: Any = build_trainer(
        splits, profile.checkpoint, output_dir=options.output / "checkpoints", **settings, **device
    )
    train_or_resume(trainer)
    seconds = time.perf_counter() - start
    tested = trainer.predict(tokenize(splits, trainer.processing_class)["test"])
    label_names = splits["test"].features["label"].names
    metrics = evaluate(tested.label_ids, tested.predictions.argmax(axis=1), label_names)
    if trainer.is_world_process_zero():
        save_model(
            trainer.model,
            trainer.processing_class,
            options.output / "model",
            name=options.output.resolve().name,
            data=profile.data,
            checkpoint=profile.checkpoint,
            hyperparameters=settings,
            metrics=metrics,
        )
    evaluated = [log["eval_accuracy"] for log in trainer.state.log_history if "eval_accuracy" in log]
    return {
        "model": str(options.output / "model"),
        "validation_accuracy": max(evaluated),
        "test_accuracy": metrics.query("metric == 'accuracy'")["value"].item(),
        "seconds": round(seconds, 1),
        "processes": trainer.args.world_size,
    }


def extract(options: argparse.Namespace) -> dict[str, object]:
    """Write the hidden states of all splits into a folder, or what of them is missing there."""
    profile = get_profile(
        options.profile,
        **{name: value for name in ("data", "checkpoint") if (value := getattr(options, name)) is not None},
    )
    splits = load_splits(profile.data, text_column=options.text_column, label_column=options.label_column)
    encoder = load_encoder(profile.checkpoint, "cpu" if options.cpu else None)
    start = time.perf_counter()
    extract_hidden_states(
        splits,
        encoder,
        load_tokenizer(profile.checkpoint),
        pooling=options.pooling,
        precision=options.precision,
        folder=options.output,
    )
    texts = sum(dataset.num_rows for dataset in splits.values())
    return {"folder": str(options.output), "texts": texts, "seconds": round(time.perf_counter() - start, 1)}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emotion_tutorial", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in (finetune, extract):
        sub = commands.add_parser(command.__name__, help=(command.__doc__ or "").splitlines()[0])
        sub.set_defaults(command=command)
        sub.add_argument("--output", type=Path, required=True, help="folder; an interrupted run goes on there")
        sub.add_argument("--profile", help="quick or full: where the other settings come from")
        sub.add_argument("--data", help="embedded, hub, a Hub id, a file or a folder")
        sub.add_argument("--text-column", default="text")
        sub.add_argument("--label-column", default="label")
        sub.add_argument("--checkpoint", help="embedded, a Hub id or a folder")
        sub.add_argument("--cpu", action="store_true", help="leave an accelerator alone")
    tuning, extraction = commands.choices["finetune"], commands.choices["extract"]
    tuning.add_argument("--learning-rate", type=float)
    tuning.add_argument("--epochs", type=int)
    tuning.add_argument("--batch-size", type=int, help="texts per step, of all processes together")
    tuning.add_argument("--seed", type=int, default=0)
    extraction.add_argument("--pooling", choices=["cls", "mean"], default="cls")
    extraction.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    return parser


if __name__ == "__main__":
    main()
