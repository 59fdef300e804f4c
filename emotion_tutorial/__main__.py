"""Report on texts, fine-tune, extract hidden states, classify files, or serve a model, from the command line.

``finetune`` also runs on several GPUs or machines, started by ``torchrun`` or ``accelerate launch``; ``classify`` and
``extract`` do on a Ray cluster.
"""

import argparse
import dataclasses
import json
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import emotion_tutorial as et  # each name is imported when it is used: a service needs no torch
from emotion_tutorial.exceptions import needed_from
from emotion_tutorial.profiles import PROFILES
from emotion_tutorial.replacing import as_folder, replaced_whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the arguments, and do what they say; an error in the input ends it with one line."""
    options = _parser().parse_args(arguments)
    try:
        result = options.command(options)
    except (et.TutorialError, OSError) as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from None
    if result is not None and os.environ.get("RANK", "0") == "0":
        print(json.dumps(result))


def finetune(options: argparse.Namespace) -> dict[str, Any]:
    """Train, or go on with a training; save the best epoch's model; evaluate it on the test split."""
    profile, output = _profile(options), as_folder(options.output)
    _refuse_own_input(profile, output / "model", output / "training")
    splits = et.load_splits(profile.data, **profile.columns)
    device: dict[str, Any] = {"use_cpu": True} if options.cpu else {}
    trainer: Any = et.load_or_train(splits, profile, folder=output / "training", new_head=options.new_head, **device)
    tested = trainer.predict(et.tokenize(splits, trainer.processing_class)["test"])
    label_names = splits["test"].features["label"].names
    metrics = et.evaluate(tested.label_ids, tested.predictions.argmax(axis=1), label_names)
    if trainer.is_world_process_zero():
        about = {name: getattr(profile, name) for name in ("data", "checkpoint", "hyperparameters")}
        about |= {"name": output.resolve().name, "metrics": metrics, "metrics_split": "test", "untouched": True}
        et.save_model(trainer.model, trainer.processing_class, output / "model", **about)
    logs = trainer.state.log_history
    return {
        "model": str(output / "model"),
        "validation_accuracy": max(log["eval_accuracy"] for log in logs if "eval_accuracy" in log),
        "test_accuracy": metrics.loc[("overall", "accuracy"), "value"],
        # None: the training was interrupted after its last step.
        "training_seconds": next((log["train_runtime"] for log in logs[::-1] if "train_runtime" in log), None),
        "processes": trainer.args.world_size,
    }


def extract(options: argparse.Namespace) -> dict[str, Any]:
    """Write the hidden states of all splits into a folder that `datasets.load_from_disk` reads, or those of files."""
    profile, output = _profile(options), as_folder(options.output)
    if options.engine == "ray":
        if profile.data in ("embedded", "hub"):
            raise et.SettingsError("With --engine ray, extract reads files. Name them with --data.")
        model = {"model": profile.checkpoint, "labels": False, "pooling": options.pooling}
        return _map_files(options, profile.data, model, profile.columns["text_column"])
    if options.skip_bad or options.num_gpus or options.concurrency is not None:
        raise et.SettingsError("--skip-bad, --num-gpus and --concurrency need --engine ray. Add or omit them.")
    _refuse_own_input(profile, output)
    splits = et.load_splits(profile.data, **profile.columns)
    saved = [folder / "dataset_info.json" for folder in (output, *(output / split for split in splits))]
    if any("hidden_state" not in path.read_text(encoding="utf-8") for path in saved if path.is_file()):
        raise et.SettingsError(f"{output} holds data without hidden states. Choose another folder for --output.")
    encoder = et.load_encoder(profile.checkpoint, "cpu" if options.cpu else None)
    tokenizer = et.load_tokenizer(profile.checkpoint)
    how = {"pooling": options.pooling, "precision": options.precision, "cache": False}
    with replaced_whole(output) as new:
        et.extract_hidden_states(splits, encoder, tokenizer, **how).save_to_disk(new)
    return {"folder": str(output), "texts": sum(dataset.num_rows for dataset in splits.values())}


def classify(options: argparse.Namespace) -> dict[str, Any]:
    """Write the label of each text in any number of parquet or CSV files into a folder of parquet files."""
    model = {"model": options.model, "scores": options.scores, "pooling": options.vectors}
    return _map_files(options, options.input, model, options.text_column)


def _map_files(options: argparse.Namespace, source: str, model: dict[str, Any], text_column: str) -> dict[str, Any]:
    from emotion_tutorial.scaling import map_files

    names = ("id_column", "engine", "batch_size", "concurrency", "num_gpus", "skip_bad")
    model |= {"precision": options.precision, "device": "cpu" if options.cpu else None}
    settings = {name: getattr(options, name) for name in names}
    return map_files(source, options.output, model, text_column=text_column, **settings)


def serve(options: argparse.Namespace) -> None:
    """Classify texts over HTTP; a saved model without an ONNX export of what it is now is exported first."""
    with needed_from("serve"):
        import uvicorn

        from emotion_tutorial.onnx_classifier import find_export
    export = find_export(options.folder)
    if export is None:
        with needed_from("onnx"):  # torch too
            model, tokenizer = et.load_classifier(options.folder, device="cpu"), et.load_tokenizer(options.folder)
        try:
            export = et.export_onnx(model, tokenizer, options.folder / "onnx")
        except et.CheckpointError as error:  # it may be right without int8
            export = et.export_onnx(model, tokenizer, options.folder / "onnx", quantize=False)
            warnings.warn(f"Served in float32, which is slower: {error}", et.DataWarning, stacklevel=2)
    local: Any = {} if options.host in ("127.0.0.1", "localhost", "::1") else {"allowed_hosts": ["*"]}
    app = et.create_app(export, threads=options.threads, **local)
    uvicorn.run(app, host=options.host, port=options.port, access_log=False)


def report(options: argparse.Namespace) -> dict[str, Any]:
    """Write a report on labeled texts, as an HTML file and the notebook that made it."""
    from emotion_tutorial.reporting import write_report

    names = ("text_column", "label_column", "fast", "max_texts", "max_tokens", "overwrite")
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    page = write_report(options.data, options.output, **given)
    return {"report": str(page), "notebook": str(page.with_suffix(".ipynb"))}


def page(options: argparse.Namespace) -> dict[str, Any]:
    """Write a web page on which an export answers in the reader's browser; any server of files can publish it."""
    from emotion_tutorial.live_page import write_page

    given = ("title", "threshold", "limits", "packages")
    chosen = {name: value for name in given if (value := getattr(options, name)) is not None}
    folder = write_page(options.export, options.folder, examples=options.example, **chosen)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    look = f"python -m http.server --bind 127.0.0.1 --directory {folder}"
    return {"page": str(folder), "megabytes": round(size / 1e6, 1), "look": look}


def _refuse_own_input(profile: et.Profile, *written: Path) -> None:
    read = [as_folder(given).resolve() for given in {profile.data, profile.checkpoint} - {"embedded", "hub"}]
    for folder in written:
        if any(path.exists() and path.is_relative_to(folder.resolve()) for path in read):
            raise et.SettingsError(f"{folder} holds the texts or the checkpoint. Choose another folder for --output.")


def _profile(options: argparse.Namespace) -> et.Profile:
    settings = {field.name for field in dataclasses.fields(et.Profile)}
    given = {name: value for name, value in vars(options).items() if name in settings and value is not None}
    if options.profile is None:
        return et.get_profile(**given)
    return dataclasses.replace(PROFILES[options.profile], **given)  # what is asked for here wins over the environment


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m emotion_tutorial", description=__doc__)
    commands = parser.add_subparsers(required=True)
    subs = {}
    for command in (finetune, extract, classify, serve, page, report):
        sub = commands.add_parser(command.__name__, help=(command.__doc__ or "").splitlines()[0])
        sub.set_defaults(command=command)
        subs[command.__name__] = sub.add_argument
    for add in (subs["finetune"], subs["extract"]):
        add("--output", required=True, help="folder; an interrupted finetune goes on there")
        add("--profile", choices=[*PROFILES], help="where the other settings come from")
        add("--data", help="embedded, hub, a Hub id, a file or a folder")
        add("--text-column", help="text, unless given")
        add("--label-column", help="label, unless given")
        add("--checkpoint", help="embedded, a Hub id or a folder")
        add("--cpu", action="store_true", help="leave an accelerator alone")
    subs["finetune"]("--learning-rate", type=float)
    subs["finetune"]("--epochs", type=float, help="passes over the training texts")
    subs["finetune"]("--batch-size", type=int, help="texts per optimizer step, of all processes together")
    subs["finetune"]("--seed", type=int)
    subs["finetune"]("--new-head", action="store_true", help="replace the head of a fine-tuned classifier")
    subs["classify"]("model", help="an export, a saved model, or a Hub id")
    subs["classify"]("input", help="a parquet, CSV or TSV file, a folder of them, or a pattern; also an s3:// address")
    subs["classify"]("--output", required=True, help="folder that is empty or not there")
    subs["classify"]("--text-column", default="text")
    subs["classify"]("--scores", action="store_true", help="the probability of each label too")
    subs["classify"]("--vectors", choices=["cls", "mean"], help="the hidden states too, pooled so; not of an export")
    subs["classify"]("--precision", choices=["auto", "float32", "bfloat16"], default="float32")
    subs["classify"]("--cpu", action="store_true", help="leave an accelerator alone")
    for add in (subs["classify"], subs["extract"]):
        add(
            "--engine",
            choices=["local", "ray"],
            default="local",
            help="ray: on a cluster; extract then reads rows with ids",
        )
        add("--id-column", default="id", help="id, unless given")
        add("--batch-size", type=int, default=1024, help="rows that the model is given together")
        add("--concurrency", type=int, help="Ray actors; as many as there is room for, unless given")
        add("--num-gpus", type=float, default=0, help="for each Ray actor, perhaps a part of one")
        add("--skip-bad", action="store_true", help="set malformed rows aside, in the folder _bad of the output")
    subs["extract"]("--pooling", choices=["cls", "mean"], default="cls")
    subs["extract"]("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    subs["serve"]("folder", type=Path, help="a saved model, or an export")
    subs["serve"]("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in; no password")
    subs["serve"]("--port", type=int, default=8000, help="0: any that is free")
    subs["serve"]("--threads", type=int, help="threads of the CPU that compute; all, unless given")
    subs["report"]("data", help="a file or a folder of labeled texts")
    subs["report"]("--text-column", help="text, unless given")
    subs["report"]("--label-column", help="label, unless given")
    subs["report"]("--output", default="report.html", help="the HTML file; report.html, unless given")
    subs["report"]("--fast", action="store_true", help="leave the transformer out")
    subs["report"]("--max-texts", type=int, help="to train on; 4000, unless given")
    subs["report"]("--max-tokens", type=int, help="of each text, for the transformer; 128, unless given")
    subs["report"]("--overwrite", action="store_true", help="replace a report that is there")
    subs["page"]("export", type=Path, help="a folder that export_onnx wrote, or a saved model with one in it")
    subs["page"]("folder", type=Path, help="where the page goes")
    subs["page"]("--title")
    subs["page"]("--example", action="append", default=[], help="a text to click; may be given several times")
    subs["page"]("--threshold", type=float, help="the probability below which the page would rather not say")
    subs["page"]("--limits", help="what the page says it is not for")
    subs["page"]("--packages", type=Path, help="a node_modules folder, or npm fetches the scripts")
    return parser


if __name__ == "__main__":
    main()
