"""The checkpoints of a training: which of them are whole, and what they keep."""

import shutil
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from emotion_tutorial.artifacts import SUMS, UNFINISHED, damaged_files, write_sums
from emotion_tutorial.exceptions import ArtifactWarning


def newest_checkpoint(folder: Path) -> tuple[Path | None, TrainerState | None]:
    """Return the newest complete checkpoint in a training's folder, with the state of the training.

    None if there is none, or if the best one, which the state names, is missing or damaged.
    """
    states = {path: state for path, state in _states(folder).items() if state and not _damage(path)}
    newest = max(states, key=lambda path: states[path].global_step, default=None)
    if newest is None:
        return None, None
    best = states[newest].best_model_checkpoint
    return (newest, states[newest]) if not best or folder / Path(best).name in states else (None, None)


def repair_checkpoints(folder: Path) -> Path | None:
    """Return the newest complete checkpoint; remove those that are damaged, or useless without the best, and say so."""
    remove_unfinished_checkpoints(folder)
    for path in _states(folder):
        if damage := _damage(path):
            warnings.warn(
                f"The checkpoint {path} is damaged: {', '.join(damage)} missing, or not what its {SUMS} says. It is "
                "removed, and the training goes on without it.",
                ArtifactWarning,
                stacklevel=3,
            )
            shutil.rmtree(path, ignore_errors=True)
    newest, _ = newest_checkpoint(folder)
    if newest is None and (others := _states(folder)):
        warnings.warn(
            f"The best checkpoint of the training in {folder} is damaged or gone. The training starts anew.",
            ArtifactWarning,
            stacklevel=3,
        )
        for path in others:
            shutil.rmtree(path, ignore_errors=True)
    return newest


def remove_unfinished_checkpoints(folder: Path) -> None:
    """Remove the checkpoints that were not written to their end."""
    for path, state in _states(folder).items():
        if state is None and not (path / SUMS).exists():
            shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(f"checkpoint-*/*.{UNFINISHED}"):
        with suppress(OSError):
            path.unlink()


def _states(folder: Path) -> dict[Path, TrainerState | None]:
    """Return the checkpoints in a training's folder, and the state of the training at those that are complete."""
    states: dict[Path, TrainerState | None] = {}
    for path in folder.glob("checkpoint-*"):
        if path.is_dir() and path.name.removeprefix("checkpoint-").isdigit():
            try:  # the Trainer writes the state last
                states[path] = TrainerState.load_from_json(str(path / "trainer_state.json"))
            except (OSError, ValueError, TypeError):
                states[path] = None
    return states


def _damage(checkpoint: Path) -> list[str]:
    return damaged_files(checkpoint / SUMS) if (checkpoint / SUMS).exists() else []


def is_finished(state: TrainerState | None) -> bool:
    """Say whether a training has no step left."""
    return state is not None and state.global_step == state.max_steps


def training_seconds(trainer: Trainer) -> float:
    """Return the seconds that a training took up to its last checkpoint, evaluations included, interruptions not.

    Raises
    ------
    ValueError
        If the trainer was not trained, or is not of `build_trainer`.
    """
    kept = cast(dict[str, Any], trainer.state.stateful_callbacks).get(TrainingTime.__name__)
    if not kept or not kept["attributes"]["seconds"]:
        raise ValueError("This trainer has no checkpoint of a training yet. Call train_or_resume(trainer) first.")
    return float(kept["attributes"]["seconds"])


class TrainingTime(TrainerCallback, ExportableState):
    """Keep the seconds of a training in its checkpoints, so that they are known when it is not repeated."""

    def __init__(self, seconds: float = 0):
        self.seconds = seconds
        self._since: float | None = None

    def on_train_begin(
        self,
        args: TrainingArguments,  # noqa: ARG002
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Start, or go on from what the checkpoint says."""
        callbacks = cast(dict[str, Any], state.stateful_callbacks)
        kept = callbacks.setdefault(type(self).__name__, {"args": {}, "attributes": {"seconds": 0}})
        # A trainer that begins again has the seconds of its attempt that was lost.
        self.seconds = kept["attributes"]["seconds"] if state.global_step else 0
        self._since = time.perf_counter()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        if self._since is not None:
            now = time.perf_counter()
            self.seconds, self._since = self.seconds + now - self._since, now
        return {"args": {}, "attributes": {"seconds": self.seconds}}


class Checksums(TrainerCallback):
    """Keep the digests of a checkpoint's files in it, so that a damaged one is not taken for whole."""

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Find the best checkpoint in a folder that was moved: the state has its former path."""
        best = Path(str(args.output_dir)) / f"checkpoint-{state.best_global_step}"
        if best.is_dir():
            state.best_model_checkpoint = str(best)

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002
        **kwargs: Any,  # noqa: ARG002
    ) -> None:
        """Write the digests of the files that the first process wrote; others write their random states."""
        folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
        if state.is_world_process_zero:
            others = set(folder.glob("rng_state_*.pth")) - {folder / "rng_state_0.pth"}
            write_sums(folder / SUMS, sorted(path for path in set(folder.iterdir()) - others if path.is_file()))
