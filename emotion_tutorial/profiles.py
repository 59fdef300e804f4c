"""The tutorial's settings: `quick` for a laptop without a network, `real` for tweets, `full` for a GPU."""

import dataclasses
import os
from dataclasses import dataclass
from typing import Any

from emotion_tutorial.exceptions import SettingsError

ENVIRONMENT = ("profile", "data", "checkpoint", "text_column", "label_column")
"""What the environment may replace, with the variable `EMOTION_TUTORIAL_PROFILE` and so on."""


@dataclass(frozen=True)
class Profile:
    """Which data, which checkpoint, and which hyperparameters.

    Parameters
    ----------
    name
        `quick`, `real`, `full`, or a name of your own.
    data
        A source for `load_splits`.
    checkpoint
        A checkpoint for `load_tokenizer`, `load_encoder` and `load_classifier`.
    learning_rate
        The peak of the schedule. It depends on the checkpoint: 2e-5 is usual for DistilBERT, while a
        small sentence encoder needs ten times as much.
    epochs
        Passes over the training texts.
    batch_size
        Texts per optimizer step.
    weight_decay
        AdamW's decoupled weight decay.
    warmup_steps
        The share of the optimizer steps (below 1) during which the learning rate rises.
    label_smoothing_factor
        The share of each label's probability that the training spreads evenly over all labels. 0: none.
    seed
        For the new classification head, dropout, the order of the batches, and projections.
    text_column, label_column
        The names of the columns in the data.
    """

    name: str
    data: str
    checkpoint: str
    learning_rate: float
    epochs: float
    batch_size: int
    weight_decay: float = 0.01
    warmup_steps: float = 0.06
    label_smoothing_factor: float = 0.0
    seed: int = 0
    text_column: str = "text"
    label_column: str = "label"

    @property
    def columns(self) -> dict[str, Any]:
        """The column names, as keyword arguments for `load_splits`."""
        return {"text_column": self.text_column, "label_column": self.label_column}

    @property
    def hyperparameters(self) -> dict[str, Any]:
        """The settings of the training, as keyword arguments for `build_trainer`."""
        names = ("learning_rate", "epochs", "batch_size", "weight_decay", "warmup_steps", "label_smoothing_factor")
        return {name: getattr(self, name) for name in (*names, "seed")}


PROFILES = {
    "quick": Profile("quick", "embedded", "embedded", learning_rate=2e-4, epochs=4, batch_size=32),
    "real": Profile("real", "hub", "embedded", learning_rate=2e-4, epochs=3, batch_size=32),
    "full": Profile("full", "hub", "distilbert-base-uncased", learning_rate=2e-5, epochs=2, batch_size=64),
}
"""`quick`: the bundled texts. `real`: tweets from the Hub. `full`: the tweets and the book's checkpoint, for a GPU.

Results are measured on `quick` and `real`, in docs/results.json; none has been measured on `full`.
"""


def get_profile(name: str = "quick", /, **overrides: Any) -> Profile:
    """Return a profile, with some of its settings replaced.

    Environment variables win over the name and over the profile's own settings, so that notebooks can be run on other
    data or with another checkpoint without being edited. They are `EMOTION_TUTORIAL_PROFILE`, which replaces the name,
    and `EMOTION_TUTORIAL_DATA`, `_CHECKPOINT`, `_TEXT_COLUMN` and `_LABEL_COLUMN`. A blank variable counts as not set.

    Parameters
    ----------
    name
        `quick`, `real` or `full`.
    **overrides
        Settings of `Profile` to replace. They win over the environment variables. Here `name` is a name of your own.

    Raises
    ------
    SettingsError
        If there is no such profile, or the name of one is given as `name=`.
    TypeError
        If there is no such setting.

    Examples
    --------
    >>> get_profile("quick", epochs=1).epochs
    1
    """
    values = {setting: os.environ.get(f"EMOTION_TUTORIAL_{setting.upper()}", "").strip() for setting in ENVIRONMENT}
    given = {setting: value for setting, value in values.items() if value}
    name = given.pop("profile", name)
    if name not in [*PROFILES]:  # a list, as the name may be of a type that no dictionary takes
        raise SettingsError(f"No profile {name!r}. Choose one of {[*PROFILES]}, here or in EMOTION_TUTORIAL_PROFILE.")
    if overrides.get("name") in [*PROFILES]:
        raise SettingsError(f"name= is for a name of your own. Write get_profile({overrides['name']!r}).")
    return dataclasses.replace(PROFILES[name], **(given | overrides))
