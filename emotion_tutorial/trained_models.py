"""Trained models that are found again, and interrupted trainings that go on."""

import os
import shutil
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from datasets import DatasetDict
from filelock import FileLock, Timeout
from transformers import TrainerState

from emotion_tutorial.caching import artifacts_folder, digest
from emotion_tutorial.checkpoints import locate_checkpoint
from emotion_tutorial.exceptions import TrainingWarning
from emotion_tutorial.profiles import Profile
from emotion_tutorial.training import ClassifierTrainer, build_trainer

STATE = "trainer_state.json"
"""The file in which the Trainer keeps its history."""


def load_or_train(
    splits: DatasetDict, profile: Profile, *, folder: str | Path | None = None, **training_arguments: Any
) -> ClassifierTrainer:
    """Return a model that was trained on these texts, with these labels and settings; train it if there is none.

    A finished model is kept in a folder that is named after everything that shapes it: texts, labels and their names,
    the checkpoint's files, and all settings. It gets its name when it is complete. An interrupted training goes on from
    its last checkpoint, or starts again if that cannot be read, and a `TrainingWarning` says which. If another process
    is training the same model, this one says so and waits.

    Parameters
    ----------
    splits
        `train` and `validation`, as loaded or as tokenized.
    profile
        Its checkpoint and hyperparameters.
    folder
        Where the trained models are. None: the artifacts folder.
    **training_arguments
        For `build_trainer`.

    Returns
    -------
    ClassifierTrainer
        With the best epoch's weights in `model`, the tokenizer in `processing_class`, and the history of the
        training in `state.log_history`. Raises as `build_trainer` does.
    """
    settings = {**profile.hyperparameters, **training_arguments}
    texts = [splits[split].select_columns(["text", "label"]) for split in ("train", "validation")]
    key = digest(*texts, locate_checkpoint(profile.checkpoint), settings)
    finished = (artifacts_folder() if folder is None else Path(folder)) / f"fine-tuned-{key}"
    if not finished.is_dir():
        finished.parent.mkdir(parents=True, exist_ok=True)
        # The processes of one training (torchrun) work together instead of waiting for each other.
        with _lock(f"{finished}.lock") if os.environ.get("WORLD_SIZE", "1") == "1" else nullcontext():
            if not finished.is_dir():
                unfinished = finished.with_name(f"{finished.name}.training")
                build = partial(build_trainer, splits, profile.checkpoint, output_dir=unfinished, **settings)
                trainer = _train_or_resume(build, unfinished)
                if trainer.is_world_process_zero():
                    new: Any = unfinished / "model"
                    for part in (trainer.model, trainer.processing_class):
                        part.save_pretrained(new)  # type: ignore[union-attr, operator]
                    trainer.state.save_to_json(str(new / STATE))
                    new.rename(finished)  # which is there complete, or not at all
                    shutil.rmtree(unfinished, ignore_errors=True)
                trainer.accelerator.wait_for_everyone()  # who asks again finds the model, in all processes
                return trainer
    trainer = build_trainer(splits, finished, output_dir=finished, **(settings | {"new_head": False}))
    trainer.state = TrainerState.load_from_json(str(finished / STATE))
    return trainer


def _train_or_resume(build: Callable[[], ClassifierTrainer], folder: Path) -> ClassifierTrainer:
    """Train, going on from the newest training checkpoint in the folder if there is one that can be read."""
    steps = [int(path.parent.name.rpartition("-")[2]) for path in folder.glob(f"checkpoint-*/{STATE}")]
    trainer = build()
    if steps:  # the Trainer writes its state last, so these checkpoints are complete
        newest = folder / f"checkpoint-{max(steps)}"
        _warn(f"An earlier training was interrupted. It goes on from step {max(steps)} ({newest}).")
        try:
            trainer.train(resume_from_checkpoint=str(newest))
            return trainer
        except Exception as error:
            if trainer.state.global_step > max(steps):  # it went on, so reading was not what failed
                raise
            _warn(f"{newest} cannot be used ({type(error).__name__}: {error}). The training starts from the beginning.")
            shutil.rmtree(folder, ignore_errors=True)  # another process of this training may be doing it too
            trainer = build()
    trainer.train()
    return trainer


def _lock(path: str) -> AbstractContextManager[Any]:
    """Take a lock, and say so before waiting for it."""
    try:
        return FileLock(path).acquire(timeout=0)
    except Timeout:
        _warn("Another process is training this model. This one waits until it is done.")
        return FileLock(path).acquire()


def _warn(message: str) -> None:
    warnings.warn(message, TrainingWarning, stacklevel=4)
