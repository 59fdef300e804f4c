"""Figures of what a model does: confusions, probabilities, learning curves, scores, explanations.

Functions that draw one panel take `ax=` and return it; nothing calls `show`.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from emotion_tutorial.exceptions import DataError
from emotion_tutorial.figure_style import BLUE, ORANGE, name_rows, new_axes, require_columns, wrap


def plot_confusion_matrix(
    *,
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    label_names: Sequence[str],
    title: str = "Confusion matrix",
    ax: Axes | None = None,
) -> Axes:
    """Draw the shares of each true label's texts by predicted label; every row sums to 1.

    Labels that no text has, true or predicted, keep their row and column.

    Parameters
    ----------
    y_true, y_pred : (texts,) int
        Ids into `label_names`.

    Raises
    ------
    DataError
        If an id has no name.
    """
    classes = len(label_names)
    if unknown := sorted({*np.asarray(y_true).tolist(), *np.asarray(y_pred).tolist()} - set(range(classes))):
        raise DataError(f"Found the ids {unknown}, but label_names has the ids 0 to {classes - 1}.")
    ax = new_axes(ax, width=1.8 + 0.75 * classes, height=1.4 + 0.6 * classes)
    shares = confusion_matrix(y_true, y_pred, labels=range(classes), normalize="true")
    size = {"fontsize": 9 if classes <= 12 else 6}
    ConfusionMatrixDisplay(shares).plot(ax=ax, cmap="Blues", values_format=".2f", colorbar=False, text_kw=size)
    names = [wrap(name, 14, lines=2) for name in label_names]
    rotation, side = (45, "right") if classes > 4 else (0, "center")
    ax.set_xticks(range(classes), names, parse_math=False, rotation=rotation, ha=side, rotation_mode="anchor")
    ax.set_yticks(range(classes), names, parse_math=False)
    ax.set(title=title, xlabel="predicted label", ylabel="true label")
    ax.spines[:].set_visible(False)
    return ax


def plot_class_probabilities(
    probabilities: Mapping[str, float] | pd.Series, *, title: str = "", sort: bool = True, ax: Axes | None = None
) -> Axes:
    """Draw the probability of each label as a bar.

    Parameters
    ----------
    probabilities
        Label name to probability: a row of `predict_proba`.
    title
        The text that was classified; it is wrapped.
    sort
        The most probable on top; False keeps the order given. A bar always has its own label.
    """
    scores = pd.Series(probabilities, dtype=float)[::-1]
    if sort:
        scores = scores.sort_values(kind="stable")
    ax = new_axes(ax, height=1.2 + 0.4 * len(scores))
    bars = ax.barh(range(len(scores)), scores)
    ax.bar_label(bars, [f"{score:.1%}" for score in scores], padding=4)
    name_rows(ax, scores.index)
    ax.set_title(wrap(title, 60), parse_math=False)
    ax.set(xlabel="probability", xlim=(0, 1.12), xticks=np.linspace(0, 1, 6))
    ax.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    ax.grid(axis="x")
    return ax


def plot_learning_curve(log_history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw loss and accuracy against epochs.

    Parameters
    ----------
    log_history
        `trainer.state.log_history` of a training that was evaluated.

    Raises
    ------
    DataError
        If nothing was evaluated yet.
    """
    logs = pd.DataFrame(list(log_history))
    require_columns(logs, "epoch", "loss", "eval_loss", "eval_accuracy")
    training, validation = logs.dropna(subset="loss"), logs.dropna(subset="eval_loss")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
    left.plot(training["epoch"], training["loss"], "o-", label="training (mean since the last point)")
    left.plot(validation["epoch"], validation["eval_loss"], "s--", label="validation")
    top = 1.1 * logs[["loss", "eval_loss"]].max().max()
    left.set(title="Loss", ylabel="cross-entropy loss", ylim=(0, top))
    right.plot(validation["epoch"], validation["eval_accuracy"], "s--", color="C1", label="validation")
    best = validation.sort_values("eval_accuracy").iloc[-1]
    right.plot(best["epoch"], best["eval_accuracy"], "*", color="C3", markersize=14, label="best")
    right.set(title="Accuracy", ylabel="share of texts predicted right", ylim=(0, 1))
    right.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    for ax in (left, right):
        ax.set(xlabel="epoch", xlim=(0, logs["epoch"].max() * 1.05))
        ax.legend(loc="lower left" if ax is left else "lower right")
        ax.grid(axis="y")
    return figure


def plot_scores(scores: pd.DataFrame, *, title: str, xlabel: str, ax: Axes | None = None) -> Axes:
    """Draw scores with their intervals, one model a row, the best on top.

    Parameters
    ----------
    scores
        Indexed by model name, columns `value`, `low`, `high` in [0, 1], as `evaluate` returns them.
    """
    require_columns(scores, "value", "low", "high")
    scores = scores.sort_values("value")
    ax = new_axes(ax, height=1.2 + 0.5 * len(scores))
    margins = np.stack([scores["value"] - scores["low"], scores["high"] - scores["value"]])
    name_rows(ax, scores.index)
    ax.errorbar(scores["value"], range(len(scores)), xerr=margins, fmt="o", capsize=4, markersize=7)
    for y, (value, high) in enumerate(zip(scores["value"], scores["high"], strict=True)):
        ax.annotate(f"{value:.1%}", (high, y), xytext=(6, 0), textcoords="offset points", va="center")
    ax.set(title=title, xlabel=xlabel, xlim=(max(0, scores["low"].min() - 0.05), min(1.08, scores["high"].max() + 0.1)))
    ax.margins(y=0.2)
    ax.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    ax.grid(axis="x")
    return ax


def plot_explanation(explanation: pd.DataFrame, *, bars: int = 25, ax: Axes | None = None) -> Axes:
    """Draw what each word adds to the label's probability as a bar, in the order of the text from the top.

    Parameters
    ----------
    explanation
        As `explain` returns it.
    bars
        If there are more words, only the longest bars are drawn, and the title says so.
    """
    require_columns(explanation, "word", "attribution", "label")
    shown = explanation.loc[explanation["attribution"].abs().nlargest(bars).index.sort_values()]
    ax = new_axes(ax, height=1.3 + 0.25 * max(len(shown), 3))
    ax.barh(range(len(shown)), shown["attribution"], color=[BLUE if v > 0 else ORANGE for v in shown["attribution"]])
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.invert_yaxis()
    name_rows(ax, shown["word"])
    label = repr(explanation["label"].iloc[0]) if len(explanation) else "a label"
    some = f": the {bars} strongest of {len(explanation)}" if len(shown) < len(explanation) else ""
    ax.set_title(wrap(f"Words for (blue) and against (orange) {label}{some}", 52), parse_math=False)
    ax.set_xlabel(wrap(f"part of the probability of {label}", 60), parse_math=False)
    ax.grid(axis="x")
    return ax
