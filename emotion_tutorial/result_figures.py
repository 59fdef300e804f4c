"""Figures of what a model does: confusions, probabilities, learning curves, scores, explanations.

Functions that draw one panel take one Axes as `ax=` and return it; a `SettingsError` refuses anything else. Nothing
calls `show`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from emotion_tutorial.evaluation import Ids
from emotion_tutorial.exceptions import DataError, needed_from
from emotion_tutorial.figure_style import BLUE, METHOD_COLORS, ORANGE, new_axes, require_columns, row_axes, wrap
from emotion_tutorial.texts import as_column, as_ids, as_matrix, require_number, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_WITH_NUMBERS = 30
"""The number of classes up to which a cell of a confusion matrix has room for its number, and an axis for all names."""


def plot_confusion_matrix(
    *, y_true: Ids, y_pred: Ids, label_names: Sequence[str], title: str = "Confusion matrix", ax: "Axes | None" = None
) -> "Axes":
    """Draw the shares of each true label's texts by predicted label; every row sums to 1.

    Labels that no text has, true or predicted, keep their row and column. With more than `MOST_WITH_NUMBERS` labels
    there are colors only, without numbers, and some of the names are left out.

    Parameters
    ----------
    y_true, y_pred : (texts,) int
        Ids into `label_names`.
    label_names
        The names of the labels in the order of their ids.

    Raises
    ------
    DataError
        If an id has no name, or there are not as many predicted as true ids.
    """
    names = [wrap(name, 14, lines=2) for name in as_column(label_names, "label_names")[0]]
    classes = len(names)
    y_true, y_pred = as_ids(classes, y_true=y_true, y_pred=y_pred)
    shares = confusion_matrix(y_true, y_pred, labels=range(classes), normalize="true")
    cell, size = (0.75, 9) if classes <= 12 else (0.45, 6)
    side = cell * min(classes, MOST_WITH_NUMBERS)
    ax = new_axes(ax, width=1.8 + side, height=1.4 + 0.8 * side)
    looks = {"cmap": "Blues", "values_format": ".2f", "text_kw": {"fontsize": size}, "colorbar": False}
    ConfusionMatrixDisplay(shares).plot(include_values=classes <= MOST_WITH_NUMBERS, **looks, ax=ax)
    shown = range(0, classes, math.ceil(classes / MOST_WITH_NUMBERS))
    ax.set_xticks(shown, names[:: shown.step], parse_math=False, rotation=45, ha="right", rotation_mode="anchor")
    ax.set_yticks(shown, names[:: shown.step], parse_math=False)
    ax.set_title(title, parse_math=False)
    return ax


def plot_class_probabilities(
    probabilities: Mapping[str, float] | pd.Series, *, title: str = "", sort: bool = True, ax: "Axes | None" = None
) -> "Axes":
    """Draw the probability of each label as a bar.

    Parameters
    ----------
    probabilities
        Label name to probability, such as a row of what `predict_proba` returns.
    title
        The text that was classified, which is wrapped.
    sort
        True puts the most probable label on top, and False keeps the order given. A bar always has its own label.

    Raises
    ------
    DataError
        If these are not probabilities by label name.
    """
    scores = pd.Series(probabilities, dtype=float)[::-1] if isinstance(probabilities, Mapping | pd.Series) else None
    if scores is None or scores.empty or not scores.between(-1e-6, 1 + 1e-6).all():
        found = f"Expected label names with probabilities from 0 to 1, found {shorten(probabilities)}"
        raise DataError(f"{found}. Give a row of what predict_proba returns, such as .iloc[0].")
    if sort:
        scores = scores.sort_values(kind="stable")
    ax = row_axes(ax, scores.index, title, "probability", [*scores], [f"{score:.1%}" for score in scores])
    ax.barh(range(len(scores)), scores)
    ax.set(xlim=(0, 1.12), xticks=np.linspace(0, 1, 6))
    ax.xaxis.set_major_formatter("{x:.0%}")
    return ax


def plot_learning_curve(log_history: Sequence[Mapping[str, float]], *, metric: str = "accuracy") -> "Figure":
    """Draw loss, and a metric of the validation texts, against epochs.

    What the history does not have, such as a training loss, is left out, and so are values that are not finite, as
    after a training that diverged, and what was measured after the training, perhaps on other texts. The star marks the
    epoch with the best metric, the first of several that are equally good, which is the one that the Trainer keeps.

    Parameters
    ----------
    log_history
        `trainer.state.log_history`.
    metric
        What was measured on the validation texts: `accuracy`, `macro_f1`, or anything that `compute_metrics` returned.
        The most is the best, except of a loss.

    Raises
    ------
    DataError
        If the history has nothing to draw, or not the metric that was asked for.
    """
    score, name = f"eval_{metric}", metric.replace("_", " ")
    given = log_history if isinstance(log_history, list) else []
    logs = pd.DataFrame([log for log in given if isinstance(log, Mapping)])
    end = logs["train_runtime"].last_valid_index() if "train_runtime" in logs else None  # the training's last entry
    numbers = logs[:end].reindex(columns=["epoch", *{"loss", "eval_loss", score}]).set_index("epoch")
    numbers = numbers.astype(float).replace([np.inf, -np.inf], np.nan)
    panels = [panel for panel in (["loss", "eval_loss"], [score]) if numbers[panel].notna().any(axis=None)]
    if not panels or (metric != "accuracy" and [score] not in panels):
        there = ", ".join(logs.columns) or f"a {type(log_history).__name__}"
        raise DataError(f"No {score} in log_history=, only {there}. Give trainer.state.log_history of a training.")
    with needed_from("figures"):
        import matplotlib.pyplot as plt
    figure, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.4), squeeze=False)
    for ax, panel in zip(axes.flat, panels, strict=True):
        for column in numbers[panel].dropna(axis=1, how="all"):
            points = numbers[column].dropna()
            style, label = ("C0o-", "training") if column == "loss" else ("C1s--", "validation")
            ax.plot(points.index, points, style, label=label)
        if panel == [score]:
            best = int((-points if metric.endswith("loss") else points).argmax())  # the first of several
            ax.plot(points.index[best], points.iloc[best], "C3*", markersize=14, label=f"best {name}")
        ax.set(title=name.capitalize() if panel == [score] else "Cross-entropy loss", xlabel="epoch", xlim=(0, None))
        ax.margins(y=0.12)  # room for the star
        if panel != [score]:
            ax.set_ylim(min(0, ax.get_ylim()[0]), None)
        ax.legend()
        ax.grid(axis="y")
    return figure


def plot_scores(scores: pd.DataFrame, *, title: str, xlabel: str, ax: "Axes | None" = None) -> "Axes":
    """Draw scores with their intervals, one model a row, the best on top, each in the color of its method.

    A name that begins with one of `METHOD_COLORS`, such as "probe on the mean", has that color.

    Parameters
    ----------
    scores
        A frame indexed by model name, with the columns `value`, `low`, `high` in [0, 1], such as rows of what
        `evaluate` returns.

    Raises
    ------
    DataError
        If a column is not there, there are no rows, a number is not finite, or a value is not from 0 to 1.
    """
    require_columns(scores, "value", "low", "high")
    scores = scores.sort_values("value", kind="stable")
    value, low, high = as_matrix(scores[["value", "low", "high"]], "scores").T
    if value.min() < 0 or value.max() > 1 + 1e-6:
        raise DataError(f"scores= has values from {value.min():g} to {value.max():g}. Give shares from 0 to 1.")
    ax = row_axes(ax, scores.index, title, xlabel, np.maximum(value, high), [f"{number:.1%}" for number in value])
    for row, name in enumerate(scores.index):
        color = next((METHOD_COLORS[method] for method in METHOD_COLORS if str(name).startswith(method)), BLUE)
        margins = np.maximum([[value[row] - low[row]], [high[row] - value[row]]], 0)
        ax.errorbar(value[row], row, xerr=margins, fmt="o", capsize=4, color=color)
    ax.set_xlim(max(0, low.min() - 0.05), min(1.08, high.max() + 0.1))
    ax.xaxis.set_major_formatter("{x:.0%}")
    return ax


def plot_explanation(explanation: pd.DataFrame, *, bars: int = 25, ax: "Axes | None" = None) -> "Axes":
    """Draw what each word adds to the label's probability as a bar, in the order of the text from the top.

    Parameters
    ----------
    explanation
        A frame such as `explain` returns.
    bars
        If there are more words, only the longest bars are drawn, and the title says so.

    Raises
    ------
    DataError
        If a column is not there, there are no words, or an attribution is not finite.
    SettingsError
        If `bars` is not a whole number from 1.
    """
    require_columns(explanation, "word", "attribution", "label")
    require_number(1, bars=bars)
    [attributions] = as_matrix(explanation[["attribution"]], "attribution").T
    strongest = np.sort(np.argsort(-np.abs(attributions), kind="stable")[:bars])
    shown = attributions[strongest]
    label = explanation["label"].iloc[0]
    some = f": the {bars} strongest of {len(explanation)}" if len(shown) < len(explanation) else ""
    title = f"Words for (blue) and against (orange) {label!r}{some}"
    ax = row_axes(ax, explanation["word"].iloc[strongest], title, f"part of the probability of {label!r}")
    ax.barh(range(len(shown)), shown, color=[BLUE if value > 0 else ORANGE for value in shown])
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.invert_yaxis()
    return ax
