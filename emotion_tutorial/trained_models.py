"""Trained models that are found again, and interrupted trainings that go on."""

import copy
import math
import os
import re
import shutil
import warnings
import zipfile
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, extract_model_from_parallel
from datasets import Dataset, DatasetDict
from filelock import FileLock, Timeout
from safetensors import safe_open
from transformers import Trainer, TrainerState

from emotion_tutorial.caching import artifacts_folder, versioned_digest
from emotion_tutorial.checkpoints import locate_checkpoint
from emotion_tutorial.exceptions import SettingsError, TrainingWarning, translate_os_errors
from emotion_tutorial.models import load_classifier
from emotion_tutorial.profiles import Profile
from emotion_tutorial.replacing import as_folder, unused
from emotion_tutorial.texts import shorten
from emotion_tutorial.training import LOCK, ClassifierTrainer, build_trainer, training_splits
from emotion_tutorial.training_settings import HARMLESS, shaping_settings

STATE = "trainer_state.json"
"""The file in which the Trainer keeps its history; of a checkpoint, it writes it last."""


def load_or_train(
    splits: DatasetDict,
    profile: Profile,
    *,
    trainer: Trainer | None = None,
    folder: str | Path | None = None,
    **settings: Any,
) -> ClassifierTrainer:
    """Return a model that was trained on these texts, with these labels and settings; train it if there is none.

    A finished model is kept in a folder that is named after everything that shapes it: texts, labels and their names,
    the checkpoint's files, all settings, whether it is trained in bfloat16, and the version of this package. The
    folder gets its name when it is complete. An interrupted training goes on from its last checkpoint. A training
    checkpoint that cannot be read is renamed, so that the training goes on from the one before or starts again. A
    `TrainingWarning` says so. Any other error is raised, and leaves all checkpoints where they are. If another process
    is training the same model, this one says so and waits.

    Parameters
    ----------
    splits
        `train` and `validation`.
    profile
        Its checkpoint and hyperparameters.
    trainer
        A `transformers.Trainer` of yours that has been trained: its model is kept, and found by later calls without it,
        if it comes from this checkpoint, these tokenized texts and these settings. What no trace is left of can't be
        checked: the seed of its head, other weights before the training, `train` called twice or resumed, what
        callbacks and `compute_metrics` did. If a model of this training is kept already, that one is returned.
    folder
        Where the trained models are. None means the artifacts folder.
    **settings
        For `build_trainer`, except for `callbacks`, which no name of a folder can cover.

    Returns
    -------
    ClassifierTrainer
        With the best epoch's weights in `model`, the tokenizer in `processing_class`, and the history of the
        training in `state.log_history`.

    Raises
    ------
    SettingsError
        If `profile` is something else, the training was stopped before its last step, or `trainer` is not what would
        be trained here; otherwise this raises what `build_trainer` and its `train()` raise.
    """
    names, parts = training_splits(splits)
    if not isinstance(profile, Profile):
        raise SettingsError(f"profile= is {shorten(profile)}. Give what get_profile returns.")
    settings = profile.hyperparameters | settings
    columns = [part[name][:] for part in parts.values() for name in ("text", "label")]
    shaped_by = shaping_settings(names, parts["train"]["label"][:], **settings)
    key = versioned_digest(columns, names, locate_checkpoint(profile.checkpoint), shaped_by)
    finished = (artifacts_folder() if folder is None else as_folder(folder)) / f"fine-tuned-{key}"
    if trainer is not None:
        return _keep_trained(trainer, parts, profile, finished, settings)
    if not finished.is_dir():
        finished.parent.mkdir(parents=True, exist_ok=True)
        # The processes of one training (torchrun) work together, and the first of them has the lock.
        with _lock(f"{finished}.lock") if os.environ.get("RANK", "0") == "0" else nullcontext():
            if not finished.is_dir():
                return _train(parts, profile, finished, settings)
    # If it is trained further, what is kept stays, and nobody takes that for the training of this model.
    further = {"output_dir": finished.with_suffix(".further"), "new_head": False}
    trainer = build_trainer(parts, finished, **(settings | further))
    trainer.state = TrainerState.load_from_json(str(finished / STATE))
    return trainer


def _train(parts: DatasetDict, profile: Profile, finished: Path, settings: dict[str, Any]) -> ClassifierTrainer:
    """Train, or go on with an interrupted training, and keep the model; each process of a training does this."""
    unfinished = finished.with_suffix(".training")
    trainer = build_trainer(parts, profile.checkpoint, output_dir=unfinished, **settings)
    is_first = trainer.is_world_process_zero()
    [newest] = broadcast_object_list([_newest_checkpoint(unfinished, trainer) if is_first else None])
    state = TrainerState.load_from_json(str(Path(newest) / STATE)) if newest else None
    if state and state.global_step >= state.max_steps:  # nothing is left to train
        weights = (trainer.args.load_best_model_at_end and state.best_model_checkpoint) or newest
        trainer = build_trainer(parts, weights, output_dir=unfinished, **(settings | {"new_head": False}))
        trainer.state = state
    else:
        trainer.train(resume_from_checkpoint=newest)
    if trainer.state.global_step < trainer.state.max_steps:
        found = f"The training was stopped after {trainer.state.global_step} of {trainer.state.max_steps} steps"
        raise SettingsError(f"{found}, and is not finished. Call this again to go on with it.")
    if is_first:
        _keep(trainer, unfinished / "model", finished)
        for path in unfinished.glob("checkpoint-*"):
            shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # what was renamed stays
            (unfinished / LOCK).unlink(missing_ok=True)
            unfinished.rmdir()
    trainer.args.output_dir = str(finished.with_suffix(".further"))
    trainer.accelerator.wait_for_everyone()  # now a second call finds the model in each process
    return trainer


def _keep(trainer: ClassifierTrainer, new: Path, finished: Path) -> None:
    """Save a model, its tokenizer and the history of its training; the folder is there complete, or not at all."""
    with translate_os_errors(new):
        for part in (trainer.model, trainer.processing_class):
            part.save_pretrained(new)  # type: ignore[union-attr, operator]
        trainer.state.save_to_json(str(new / STATE))
    new.rename(finished)


def _keep_trained(
    trainer: Any, parts: DatasetDict, profile: Profile, finished: Path, settings: dict[str, Any]
) -> ClassifierTrainer:
    """Keep the model of a reader's own Trainer, if it is the one that would be trained here, unless one is kept."""
    if type(trainer) not in (Trainer, ClassifierTrainer):
        raise SettingsError(f"trainer= is {shorten(trainer)}. Give a transformers.Trainer that has been trained.")
    expected: Any = build_trainer(parts, profile.checkpoint, output_dir=trainer.args.output_dir, **settings)
    if different := _differences(trainer, expected, profile):
        found = f"This trainer is not the training that {profile.name!r} and the settings ask for: {different}"
        advice = "Train one that is, or give the settings to load_or_train, too"
        raise SettingsError(f"{found}. {advice}.")
    expected.state = copy.deepcopy(trainer.state)
    expected.model.load_state_dict(extract_model_from_parallel(trainer.model).state_dict())
    expected._require_finite(expected.model.parameters())
    vars(expected.model.config).pop("calibration_temperature", None)  # it is of another training
    expected.args.output_dir = str(finished.with_suffix(".further"))
    if expected.is_world_process_zero():
        finished.parent.mkdir(parents=True, exist_ok=True)
        with _lock(f"{finished}.lock"):
            if not finished.exists():
                new = finished.with_suffix(".new")
                shutil.rmtree(new, ignore_errors=True)  # of a process that was killed
                _keep(expected, new, finished)
            elif not (finished / STATE).is_file():
                raise SettingsError(f"{finished} is there and holds no finished model. Delete it, and call this again.")
    expected.accelerator.wait_for_everyone()
    kept = load_classifier(finished, list(parts["train"].features["label"].names), "cpu").state_dict()
    if any(not torch.equal(weight.cpu(), kept[name]) for name, weight in expected.model.state_dict().items()):
        _warn(f"{finished} has a model of this training with other weights. It stays; delete it to keep this one.")
        expected.model.load_state_dict(kept)
        expected.state = TrainerState.load_from_json(str(finished / STATE))
    return expected


def _differences(trainer: Any, expected: Any, profile: Profile) -> str:
    """Say in what a trained Trainer differs from the one that would be trained, or nothing."""
    model, state = extract_model_from_parallel(trainer.model), trainer.state
    for name, dataset in {"train_dataset": trainer.train_dataset, "eval_dataset": trainer.eval_dataset}.items():
        theirs = getattr(expected, name)
        if not isinstance(dataset, Dataset) or dataset.format["type"] == "custom" or "label_ids" in dataset.features:
            return f"its {name} is {shorten(dataset, 200)}, and not a tokenized split as it comes"
        for column in ("input_ids", "label"):
            if column not in dataset.column_names or dataset.with_format(None)[column][:] != theirs[column][:]:
                return f"the {column} of its {name} are others, or missing"
    if type(model) is not type(expected.model):
        return f"its model is a {type(model).__name__}, and not a {type(expected.model).__name__}"
    names = {str(profile.checkpoint), str(expected.model.name_or_path)}
    if model.name_or_path not in names and Path(model.name_or_path).resolve() != Path(max(names, key=len)).resolve():
        return f"its model was made from {model.name_or_path!r}, and not from {profile.checkpoint!r}"
    for what, of in {"labels": _labels, "configuration": _configuration, "weights that are trained": _weights}.items():
        ours, wanted = of(model), of(expected.model)
        if ours != wanted:
            other = next((name for name in {**ours, **wanted} if ours.get(name) != wanted.get(name)), "")
            return f"its model has other {what}, such as {other!r}: {shorten(ours.get(other))}"
    ours, wanted = trainer.args.to_dict(), expected.args.to_dict()
    for name, value in wanted.items():
        same = str(ours.get(name)).removeprefix("eval_") == str(value).removeprefix("eval_")
        if not same and not HARMLESS.match(name) and not name.startswith(("per_device_eval", "eval_accumulation")):
            return f"its {name} is {shorten(ours.get(name))}, and not {shorten(value)}"
    if (trainer.compute_loss_func is None) != (expected.compute_loss_func is None) or (
        expected.compute_loss_func is not None and type(trainer) is Trainer
    ):
        return "its loss is another one"
    if type(trainer.data_collator) is not type(expected.data_collator):
        return f"its data collator is a {type(trainer.data_collator).__name__}"
    accumulated = expected.args.gradient_accumulation_steps > 1
    if accumulated and trainer.model_accepts_loss_kwargs != expected.model_accepts_loss_kwargs:
        return "it does not divide the loss by the accumulated batches"
    batches = -(-len(expected.get_train_dataloader()) // expected.args.gradient_accumulation_steps)
    steps = expected.args.max_steps if expected.args.max_steps > 0 else math.ceil(batches * ours["num_train_epochs"])
    if (
        state.global_step < steps
        or state.max_steps != steps
        or not any("train_runtime" in log for log in state.log_history)
    ):
        return f"it has done {state.global_step} of {steps} steps or was stopped, so call its train()"
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    if type(optimizer) is not expected.get_optimizer_cls_and_kwargs(expected.args, expected.model)[0]:
        return f"its optimizer is {type(optimizer).__name__}"
    return ""


def _labels(model: Any) -> dict[Any, str]:
    return dict(model.config.id2label)


def _configuration(model: Any) -> dict[str, Any]:
    """Return what shapes a model's outputs: not what a training, a tokenizer or a first prediction writes down."""
    written = ("_name_or_path", "architectures", "calibration", "dtype", "problem_type", "torch_dtype", "transformers")
    return {
        name: value
        for name, value in model.config.to_dict().items()
        if not name.startswith(written) and not name.endswith("_token_id")
    }


def _weights(model: Any) -> dict[str, Any]:
    return {name: (weight.shape, weight.dtype, weight.requires_grad) for name, weight in model.named_parameters()}


def _newest_checkpoint(folder: Path, trainer: ClassifierTrainer) -> str | None:
    """Return the newest training checkpoint that can be read, if there is one, and rename those that are newer."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{STATE}") if re.search(r"-\d+$", path.parent.name)]
    for path in sorted(found, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        try:
            _read_checkpoint(path, trainer)
        except Exception as error:
            if isinstance(error, MemoryError | OSError) and not isinstance(error, FileNotFoundError):
                raise
            # The Trainer counts, and may delete, all folders whose names begin with "checkpoint-".
            aside = path.rename(unused(folder, f"damaged-{{}}-{path.name}"))
            _warn(f"{path} cannot be read ({type(error).__name__}: {error}). It is now called {aside.name}.")
        else:
            _warn(f"An earlier training was interrupted. It goes on from {path}.")
            return str(path)
    if found:
        _warn(f"No checkpoint of an earlier training in {folder} can be read. The training starts from the beginning.")
    return None


def _read_checkpoint(folder: Path, trainer: ClassifierTrainer) -> None:
    """Raise an error if a training checkpoint, or the one that was the best so far, is not whole."""
    state = TrainerState.load_from_json(str(folder / STATE))
    best = folder.with_name(f"checkpoint-{state.best_global_step}")
    has_best = trainer.args.load_best_model_at_end and state.best_global_step
    for weights in {folder, best if has_best else folder}:
        for path in [*weights.glob("*.safetensors")] or [weights / "model.safetensors"]:
            with path.open("rb"), safe_open(path, "pt"):
                pass
    for path in [*folder.glob("*.pt"), *folder.glob("*.pth")]:
        if zipfile.ZipFile(path).testzip():
            raise ValueError(f"{path.name} is damaged")
    if has_best and state.best_model_checkpoint != str(best):  # the folder was moved, and the Trainer would not find it
        state.best_model_checkpoint = str(best)
        state.save_to_json(str(folder / f"{STATE}.new"))
        (folder / f"{STATE}.new").replace(folder / STATE)


def _lock(path: str) -> AbstractContextManager[Any]:
    """Take a lock, and say so before waiting for it."""
    try:
        return FileLock(path).acquire(timeout=0)
    except Timeout:
        if os.environ.get("WORLD_SIZE", "1") != "1":  # the others would not wait
            raise SettingsError("Another process is training this model. Wait until it is done.") from None
        _warn("Another process is training this model. This one waits until it is done.")
        return FileLock(path).acquire()


def _warn(message: str) -> None:
    warnings.warn(message, TrainingWarning, stacklevel=4)
