"""Two ways to run the tutorial: `quick` on a laptop without a network, `full` as in earnest."""

import dataclasses
import os
from dataclasses import dataclass
from typing import TypedDict

from emotion_tutorial.exceptions import UnknownProfileError


@dataclass(frozen=True)
class Profile:
    """Which data, which checkpoint, which hyperparameters.

    Parameters
    ----------
    name
        `quick`, `full`, or a name of your own.
    data
        A source for `load_splits`.
    checkpoint
        A checkpoint for `load_tokenizer`, `load_encoder` and `load_classifier`.
    learning_rate
        The highest rate of the schedule. It depends on the checkpoint: 2e-5 is usual for
        DistilBERT, a small sentence encoder wants ten times as much.
    epochs
        Passes over the training texts.
    batch_size
        Texts per optimizer step.
    weight_decay
        AdamW's decoupled weight decay.
    warmup_steps
        Share of the optimizer steps (below 1) over which the learning rate rises.
    seed
        Of the fresh classification head, dropout, batch order and projections.
    text_column, label_column
        What the columns of the data are called.
    """

    name: str
    data: str
    checkpoint: str
    learning_rate: float
    epochs: int
    batch_size: int
    weight_decay: float = 0.01
    warmup_steps: float = 0.06
    seed: int = 0
    text_column: str = "text"
    label_column: str = "label"

    @property
    def columns(self) -> "Columns":
        """The columns, as arguments of `load_splits`."""
        return {"text_column": self.text_column, "label_column": self.label_column}


class Columns(TypedDict):
    """What the columns of a source are called."""

    text_column: str
    label_column: str


PROFILES = {
    "quick": Profile("quick", "embedded", "embedded", learning_rate=2e-4, epochs=2, batch_size=32),
    "full": Profile("full", "hub", "distilbert-base-uncased", learning_rate=2e-5, epochs=2, batch_size=64),
}


def get_profile(name: str | None = None, **overrides: object) -> Profile:
    """Return a profile, with some of its settings replaced.

    Parameters
    ----------
    name
        `quick` or `full`. None takes the environment's `EMOTION_TUTORIAL_PROFILE`, else `quick`.
    **overrides
        Settings of `Profile` to replace. They win over the environment's `EMOTION_TUTORIAL_DATA`,
        `EMOTION_TUTORIAL_CHECKPOINT`, `EMOTION_TUTORIAL_TEXT_COLUMN` and
        `EMOTION_TUTORIAL_LABEL_COLUMN`, which win over the profile's own.

    Raises
    ------
    UnknownProfileError
        If there is no such profile or setting.
    """
    name = name or os.environ.get("EMOTION_TUTORIAL_PROFILE") or "quick"
    if name not in PROFILES:
        raise UnknownProfileError(
            f"Unknown profile {name!r}. Choose one of {', '.join(map(repr, PROFILES))}, "
            "as the argument or in the environment variable EMOTION_TUTORIAL_PROFILE."
        )
    known = [field.name for field in dataclasses.fields(Profile)]
    if unknown := sorted(set(overrides) - set(known)):
        raise UnknownProfileError(
            f"A profile has no setting {', '.join(map(repr, unknown))}. Its settings are {', '.join(known)}."
        )
    from_environment = {
        setting: value
        for setting in ("data", "checkpoint", "text_column", "label_column")
        if (value := os.environ.get(f"EMOTION_TUTORIAL_{setting.upper()}"))
    }
    return dataclasses.replace(PROFILES[name], **(from_environment | overrides))  # type: ignore[arg-type]
