"""Figures of what was measured: learning curves, scores, gains, calibration, explanations.

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
from sklearn.calibration import CalibrationDisplay

from emotion_tutorial.exceptions import DataError
from emotion_tutorial.plotting import BLUE, ORANGE, name_rows, new_axes, require_columns, wrap


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
    left.set(title="Loss", ylabel="cross-entropy (nats)", ylim=(0, None))
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


def plot_gains(hits: npt.ArrayLike, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw how many of the things searched for are found, against texts read (a cumulative gains curve).

    The curve is drawn up to five times as many texts as there are things to find.

    Parameters
    ----------
    hits : (texts,) bool
        In the order of reading: whether each text is one of those.
    title
        Of the panel.

    Raises
    ------
    DataError
        If there is nothing to be found.
    """
    hits = np.asarray(hits, dtype=bool)
    total = int(hits.sum())
    if total == 0:
        raise DataError(f"None of the {hits.size} texts is one of those searched for: there is no curve to draw.")
    read = np.arange(min(hits.size, 5 * total) + 1)
    ax = new_axes(ax, height=3.6)
    ax.plot(read, np.concatenate([[0], hits.cumsum()])[read] / total, label="in this order")
    ax.plot(read, np.minimum(read / total, 1), ":", color="0.3", label="best possible")
    ax.plot(read, read / hits.size, "--", color="0.5", label="in random order")
    ax.set(title=title, xlabel=f"texts read (of {hits.size:,})", ylabel=f"found (of {total})", ylim=(0, 1.02))
    ax.set_xlim(0, read[-1])
    ax.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    ax.legend(loc="best")
    ax.grid()
    return ax


def plot_calibration(
    correct: npt.ArrayLike,
    confidence: npt.ArrayLike,
    *,
    bins: int = 10,
    label: str = "the model",
    ax: Axes | None = None,
) -> Axes:
    """Draw how often predictions were right, by how sure the model was (a reliability diagram).

    Each point stands for as many texts as every other.

    Parameters
    ----------
    correct : (texts,) bool
        Whether the predicted label was the true one.
    confidence : (texts,) float in [0, 1]
        The predicted label's probability.
    bins
        How many points.
    label
        Of this curve in the legend. Called again with the same `ax`, it adds another curve.

    Raises
    ------
    DataError
        If there is not one confidence between 0 and 1 for each prediction.

    Notes
    -----
    Guo, Pleiss, Sun and Weinberger 2017, On Calibration of Modern Neural Networks, section 2.
    """
    correct, confidence = np.asarray(correct, dtype=int), np.asarray(confidence, dtype=float)
    if correct.shape != confidence.shape or not correct.size or confidence.min() < 0 or confidence.max() > 1:
        raise DataError(
            f"Expected a confidence in [0, 1] for each prediction, got {confidence.size} for {correct.size}."
        )
    ax = new_axes(ax, width=4.8, height=4.4)
    again = bool(ax.lines)
    CalibrationDisplay.from_predictions(
        correct, confidence, n_bins=bins, strategy="quantile", name=label, ax=ax, ref_line=not again
    )
    ax.set(title="How often is it right when it is this sure?", xlim=(0, 1.02), ylim=(0, 1.02))
    ax.set(
        xlabel=f"confidence (each point: {correct.size // bins} texts)", ylabel="share of predictions that are right"
    )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(xmax=1))
    ax.grid()
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
