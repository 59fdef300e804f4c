"""Fine-tune a classifier, extract hidden states, export a model, or serve it, from the command line.

``finetune`` runs unchanged on one machine, or on several under ``torchrun`` or ``accelerate launch``.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import emotion_tutorial as et  # each name is imported when it is used: a service needs no torch
from emotion_tutorial.exceptions import TutorialError

SOURCE = ("data", "text_column", "label_column", "checkpoint")
"""Settings of a profile that both `finetune` and `extract` take."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, and do what they say; errors of the input end it with one line."""
    options = _parser().parse_args(arguments)
    try:
        result = options.command(options)
    except TutorialError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    if result is not None and os.environ.get("RANK", "0") == "0":
        print(json.dumps(result))


def finetune(options: argparse.Namespace) -> dict[str, object]:
    """Train, or go on with a training; save the best epoch's model; evaluate it on test."""
    if not options.cpu:
        _take_a_device()
    given = {name: getattr(options, name) for name in (*SOURCE, "learning_rate", "epochs", "batch_size")}
    profile = et.get_profile(
        options.profile, seed=options.seed, **{name: value for name, value in given.items() if value is not None}
    )
    splits = et.load_splits(profile.data, **profile.columns)
    start = time.perf_counter()
    device: dict[str, Any] = {"use_cpu": True} if options.cpu else {}
    trainer: Any = et.load_or_train(splits, profile, folder=options.output / "training", **device)
    seconds = time.perf_counter() - start
    tested = trainer.predict(et.tokenize(splits, trainer.processing_class)["test"])
    label_names = splits["test"].features["label"].names
    metrics = et.evaluate(tested.label_ids, tested.predictions.argmax(axis=1), label_names)
    if trainer.is_world_process_zero():
        et.save_model(
            trainer.model,
            trainer.processing_class,
            options.output / "model",
            name=options.output.resolve().name,
            data=profile.data,
            checkpoint=profile.checkpoint,
            hyperparameters=profile.hyperparameters,
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
    """Write the hidden states of all splits into a folder that `datasets.load_from_disk` reads."""
    if not options.cpu:
        _take_a_device()
    profile = et.get_profile(
        options.profile,
        **{name: value for name in SOURCE if (value := getattr(options, name)) is not None},
    )
    splits = et.load_splits(profile.data, **profile.columns)
    encoder = et.load_encoder(profile.checkpoint, "cpu" if options.cpu else None)
    start = time.perf_counter()
    features = et.extract_hidden_states(
        splits,
        encoder,
        et.load_tokenizer(profile.checkpoint),
        pooling=options.pooling,
        precision=options.precision,
        cache=False,
    )
    features.save_to_disk(options.output)
    texts = sum(dataset.num_rows for dataset in splits.values())
    return {"folder": str(options.output), "texts": texts, "seconds": round(time.perf_counter() - start, 1)}


def export(options: argparse.Namespace) -> dict[str, object]:
    """Export a saved model to ONNX, quantized to int8 unless told otherwise."""
    model = et.load_classifier(options.folder, device="cpu")
    output = options.output or options.folder / "onnx"
    et.export_onnx(model, et.load_tokenizer(options.folder), output, quantize=not options.float32)
    return {"folder": str(output), **et.OnnxClassifier(output).about["check"]}


def serve(options: argparse.Namespace) -> None:
    """Classify texts over HTTP, and on a page for the browser."""
    local = options.host in ("127.0.0.1", "localhost", "::1")
    app = et.create_app(options.folder, **({} if local else {"allowed_hosts": ["*"]}))
    import uvicorn  # create_app says what to install if it is missing

    uvicorn.run(app, host=options.host, port=options.port, access_log=False)


def _take_a_device() -> None:
    """Take the accelerator of this process: under torchrun there is one for each."""
    import torch

    if torch.accelerator.is_available():
        torch.accelerator.set_device_index(int(os.environ.get("LOCAL_RANK", "0")))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emotion_tutorial", description=__doc__)
    commands = parser.add_subparsers(required=True)
    for command in (finetune, extract):
        sub = commands.add_parser(command.__name__, help=(command.__doc__ or "").splitlines()[0])
        sub.set_defaults(command=command)
        sub.add_argument("--output", type=Path, required=True, help="folder; an interrupted finetune goes on there")
        sub.add_argument("--profile", help="quick or full: where the other settings come from")
        sub.add_argument("--data", help="embedded, hub, a Hub id, a file or a folder")
        sub.add_argument("--text-column", help="text, unless given")
        sub.add_argument("--label-column", help="label, unless given")
        sub.add_argument("--checkpoint", help="embedded, a Hub id or a folder")
        sub.add_argument("--cpu", action="store_true", help="leave an accelerator alone")
    tuning, extraction = commands.choices["finetune"], commands.choices["extract"]
    tuning.add_argument("--learning-rate", type=float)
    tuning.add_argument("--epochs", type=int)
    tuning.add_argument("--batch-size", type=int, help="texts per step, of all processes together")
    tuning.add_argument("--seed", type=int, default=0)
    extraction.add_argument("--pooling", choices=["cls", "mean"], default="cls")
    extraction.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    exporting = commands.add_parser("export", help=(export.__doc__ or "").splitlines()[0])
    exporting.set_defaults(command=export)
    exporting.add_argument("folder", type=Path, help="a saved model, as of finetune or save_model")
    exporting.add_argument("--output", type=Path, help="folder of the export; FOLDER/onnx unless given")
    exporting.add_argument("--float32", action="store_true", help="do not quantize")
    serving = commands.add_parser("serve", help=(serve.__doc__ or "").splitlines()[0])
    serving.set_defaults(command=serve)
    serving.add_argument("folder", type=Path, help="an export, or a saved model with an export named onnx in it")
    serving.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in; there is no password")
    serving.add_argument("--port", type=int, default=8000, help="0: any that is free")
    return parser


if __name__ == "__main__":
    main()
