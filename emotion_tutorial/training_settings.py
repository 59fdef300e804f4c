"""The settings of a training: defaults that yield, values that are possible, and what of it shapes a model."""

import dataclasses
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.utils.class_weight import compute_class_weight
from transformers import TrainingArguments

from emotion_tutorial.devices import best_device, has_bfloat16
from emotion_tutorial.exceptions import SettingsError
from emotion_tutorial.replacing import as_folder
from emotion_tutorial.texts import require_number, shorten

ClassWeights: TypeAlias = Literal["balanced"] | Mapping[Any, float] | Sequence[float] | npt.ArrayLike
LIMITS: dict[str, tuple[float, float]] = {"num_train_epochs": (1e-6, math.inf), "learning_rate": (0.0, math.inf)}
LIMITS |= {"batch_size": (1, 10**9), "seed": (0, 2**32 - 1), "label_smoothing_factor": (0.0, 1.0)}
"""The smallest and the largest value of settings. Where these are integers, a setting is an integer."""
HARMLESS = re.compile(
    "ddp_|debug|disable_tqdm|do_|enable_jit|hub_|include_|local_rank|log|output_dir|project|push_to_hub|report_to|"
    "resume_from|run_name|save_(on|total)|skip_memory|trackio|use_cpu|dataloader_(num|pin|per|pre|mult)"
)
"""How the names of the arguments begin that cannot shape a model: where it is trained, watched and stored, and how."""
UNFIT = {"dataloader_drop_last", "label_names", "prediction_loss_only", "push_to_hub", "remove_unused_columns"}
UNFIT |= {"resume_from_checkpoint", "batch_eval_metrics", "eval_do_concat_batches"}
"""Arguments of `TrainingArguments` that would leave texts out, do not fit a classifier of texts, or have no effect."""
NOT_KEPT = {"output_dir", "save_only_model"}
"""Those that `build_trainer` takes and `load_or_train` does not: a training of its could not be found or go on."""


def training_arguments(*, output_dir: str | Path, **settings: Any) -> TrainingArguments:
    """Return the arguments of a training, with our defaults where nothing is asked for; see `build_trainer`.

    Raises
    ------
    SettingsError
        If a value is impossible, values contradict each other, or the batch cannot be divided among devices.
    """
    given = _resolved(**settings)
    batch = given.pop("batch_size")
    folder = str(as_folder(output_dir))
    with explain_refusal():
        args = TrainingArguments(output_dir=folder, **given)
    if "per_device_train_batch_size" not in given:
        parts = args.world_size * max(1, args.n_gpu) * args.gradient_accumulation_steps
        if batch % parts:
            shared = f"{parts} equal parts (processes, times devices of each, times accumulated steps)"
            raise SettingsError(f"A batch of {batch} cannot be divided into {shared}. Choose a multiple.")
        args.per_device_train_batch_size = batch // parts
    return args


@contextmanager
def explain_refusal() -> Iterator[None]:
    """Raise a SettingsError where transformers refuses settings, or does not find what they need."""
    try:
        yield
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        if isinstance(error, RuntimeError) and "install" not in str(error):
            raise
        said = " ".join(str(error).split())[:300].rstrip(".")
        raise SettingsError(f"These settings of a training are impossible: {said}. Change them.") from error


def _resolved(*, epochs: float, **settings: Any) -> dict[str, Any]:
    """Return possible settings, and defaults that do not contradict them: evaluation and saving follow each other."""
    given = {"num_train_epochs": epochs} | settings
    if unfit := sorted(given.keys() & UNFIT):
        raise SettingsError(f"{unfit[0]}= does not fit this training. Leave it out.")
    given = {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}
    for name, (low, high) in LIMITS.items():
        require_number(low, high, **{name: given.get(name, low)})
    best = given.get("metric_for_best_model") or "loss"
    if not re.fullmatch("(eval_)?(loss|accuracy|weighted_f1|macro_f1)", str(best)):
        raise SettingsError(f"metric_for_best_model= is {shorten(best)}. Take loss, accuracy, weighted_f1 or macro_f1.")
    device = torch.device("cpu") if given.get("use_cpu") else best_device()
    # A number of steps asks for them, unless a strategy is given.
    evaluated, saved, logged = ("steps" if given.get(f"{what}_steps") else None for what in ("eval", "save", "logging"))
    asked = [given.get("eval_strategy", evaluated), given.get("save_strategy", saved)]
    rhythm = next((strategy for strategy in asked if strategy in ("epoch", "steps")), "epoch")
    evaluated, saved = (strategy or rhythm for strategy in asked)
    defaults: dict[str, Any] = {
        "per_device_eval_batch_size": 64,
        "weight_decay": 0.01,
        "warmup_steps": 0.06,  # below 1: a share of all steps
        # Inside of an epoch, a training can only be resumed in the same order of texts if that is random.
        "train_sampling_strategy": "random" if saved == "steps" else "group_by_length",
        "bf16": has_bfloat16(device) and not given.get("fp16"),
        "use_cpu": device.type == "cpu",
        "eval_strategy": evaluated,
        "save_strategy": saved,
        "logging_strategy": logged or "epoch",
        "logging_nan_inf_filter": False,
        "save_total_limit": 2,  # the best and the last; of 1, the Trainer deletes the last and would train it again
        "load_best_model_at_end": evaluated != "no" and saved in (evaluated, "best"),
        "metric_for_best_model": "accuracy",
        "report_to": "none",
        "dataloader_pin_memory": device.type == "cuda",
    }
    if rhythm == "steps":
        defaults["eval_steps"] = defaults["save_steps"] = given.get("eval_steps") or given.get("save_steps") or 500
    return defaults | given


def shaping_settings(
    names: Sequence[str],
    ids: Sequence[int],
    *,
    class_weights: ClassWeights | None = None,
    new_head: bool = False,
    **settings: Any,
) -> dict[str, Any]:
    """Return what shapes a trained model besides its texts, labels and checkpoint, in a form that JSON can express.

    Settings that mean the same, such as 1 and 1.0 epochs, give the same, and the device's number format is resolved.
    What cannot shape a model is left out (see `HARMLESS`); so are the device and the number of processes.

    Parameters
    ----------
    names, ids
        The label names, and the label ids of the training texts.
    class_weights, new_head, **settings
        For `build_trainer`.

    Raises
    ------
    SettingsError
        As `training_arguments` does, and for settings that no name of a kept model can cover, such as callbacks.
    """
    known = {field.name: field.default for field in dataclasses.fields(TrainingArguments)}
    if wrong := settings.keys() - (known.keys() - NOT_KEPT) - {"epochs", "batch_size"}:
        advice = "Leave it out, or train with build_trainer"
        raise SettingsError(f"{min(wrong)}= is no setting of a model that is kept. {advice}.")
    resolved = known | _resolved(**settings)
    shaping = {name: value for name, value in resolved.items() if not HARMLESS.match(name)}
    shaping["class_weights"] = None if class_weights is None else weights_by_id(class_weights, names, ids)
    return json.loads(json.dumps(shaping | {"new_head": new_head}, default=str), parse_int=float)


def weights_by_id(given: Any, names: Sequence[str], ids: Sequence[int]) -> list[float]:
    """Return one weight for each label, in id order; see `build_trainer`.

    Parameters
    ----------
    given
        `balanced`; one number for each label, in id order; or a mapping from label names or ids to numbers.
    names, ids
        The label names, and the label ids of the training texts.

    Raises
    ------
    SettingsError
        If these are not positive, finite numbers, one for each label.
    """
    weights: Any = given
    if isinstance(given, str) and given == "balanced":
        weights, present = np.ones(len(names)), np.unique(ids)  # of a label without texts, the weight does not matter
        weights[present] = compute_class_weight("balanced", classes=present, y=np.asarray(ids))
    elif isinstance(given, Mapping | pd.Series) and len(given) == len(names):
        by_label = dict(given)
        weights = [by_label.get(name, by_label.get(i)) for i, name in enumerate(names)]
    try:
        tensor = torch.as_tensor(weights, dtype=torch.float32)
    except (TypeError, ValueError, RuntimeError):
        tensor = torch.empty(0)
    if tensor.shape != (len(names),) or not (tensor.isfinite() & (tensor > 0)).all():
        expected = f"'balanced' or {len(names)} positive numbers, one for each of {', '.join(names)}"
        raise SettingsError(f"class_weights are {shorten(given)}; expected {expected}.")
    return tensor.tolist()
