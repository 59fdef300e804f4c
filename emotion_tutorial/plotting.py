"""Every figure: frames and arrays in, matplotlib Axes or Figures out.

Functions that draw one panel take `ax=` and return it; nothing calls `show`.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.metrics import confusion_matrix

from emotion_tutorial.exceptions import DataError


def plot_class_distribution(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many texts each label has, the commonest on top, with its share.

    Parameters
    ----------
    frame
        With a column `label_name`, as of `to_frame`.
    """
    _require_columns(frame, "label_name")
    counts = frame["label_name"].value_counts(ascending=True)
    ax = _axes(ax, height=1.2 + 0.4 * len(counts))
    bars = ax.barh(range(len(counts)), counts)
    _name_rows(ax, counts.index)
    ax.bar_label(bars, [f"{count:,}  ({count / len(frame):.0%})" for count in counts], padding=4)
    ax.set(title="Texts per label", xlabel="number of texts", xlim=(0, counts.max() * 1.2))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.grid(axis="x")
    return ax


def plot_text_lengths(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a box plot of words per text for each label, outliers left out.

    Box: the middle half of the texts; line: the median; whiskers: the last text within 1.5 box
    lengths.

    Parameters
    ----------
    frame
        With columns `text` and `label_name`.
    """
    _require_columns(frame, "text", "label_name")
    lengths = frame["text"].map(lambda text: len(text.split()))
    groups = {str(name): group for name, group in lengths.groupby(frame["label_name"], sort=False)}
    names = sorted(groups, key=lambda name: groups[name].median())
    ax = _axes(ax, height=1.2 + 0.45 * len(names))
    ax.boxplot(
        [groups[name] for name in names],
        orientation="horizontal",
        positions=range(len(names)),
        showfliers=False,
        patch_artist=True,
        boxprops={"facecolor": "#9ecae1"},
        medianprops={"color": "black", "linewidth": 2},
        widths=0.6,
    )
    _name_rows(ax, names)
    ax.set(title="Words per text", xlabel="number of words", xlim=(0, None))
    ax.grid(axis="x")
    return ax


def plot_hexbins(projection: pd.DataFrame, labels: npt.ArrayLike, label_names: Sequence[str]) -> Figure:
    """Draw one panel per label: where in the plane its texts lie, over all texts in grey.

    Parameters
    ----------
    projection
        Columns `X` and `Y`, as of `project_2d`.
    labels : (texts,) int
        Ids into `label_names`.
    """
    _require_columns(projection, "X", "Y")
    labels = np.asarray(labels)
    columns = min(3, len(label_names))
    rows = math.ceil(len(label_names) / columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(2.8 * columns, 2.6 * rows + 0.6), sharex=True, sharey=True, squeeze=False
    )
    x, y = projection["X"].to_numpy(), projection["Y"].to_numpy()
    extent = (x.min(), x.max(), y.min(), y.max())
    for panel, ax in enumerate(axes.flat):
        if panel >= len(label_names):
            ax.set_axis_off()
            continue
        chosen = labels == panel
        ax.scatter(x, y, s=1, color="0.88", linewidths=0, rasterized=True)
        if chosen.any():
            ax.hexbin(x[chosen], y[chosen], gridsize=20, extent=extent, mincnt=1, cmap="Blues", linewidths=0)
        ax.set_title(f"{_wrap(label_names[panel], 20, lines=2)} ({chosen.sum():,})", fontsize=10, parse_math=False)
        ax.set(xticks=[], yticks=[])
        ax.spines[["top", "right"]].set_visible(True)
    figure.suptitle("Texts per label on the map of all texts (dark: many)", x=0.01, ha="left", weight="bold")
    figure.supxlabel("first map axis (no unit)", fontsize=9)
    figure.supylabel("second map axis (no unit)", fontsize=9)
    return figure


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
    y_true, y_pred = np.asarray(y_true), np.asarray(y_pred)
    classes = len(label_names)
    for ids in (y_true, y_pred):
        if unknown := sorted({int(i) for i in ids if not 0 <= i < classes}):
            raise DataError(f"Found the ids {unknown}, but label_names has the ids 0 to {classes - 1}.")
    counts = confusion_matrix(y_true, y_pred, labels=range(classes))
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    ax = _axes(ax, width=1.8 + 0.75 * classes, height=1.4 + 0.6 * classes)
    ax.imshow(shares, vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        ax.text(
            column,
            row,
            f"{share:.2f}" if totals[row, 0] else "",
            ha="center",
            va="center",
            color="white" if share > 0.55 else "black",
            fontsize=9 if classes <= 12 else 6,
        )
    names = [_wrap(name, 14, lines=2) for name in label_names]
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if classes > 4 else {}
    ax.set_xticks(range(classes), names, parse_math=False, **turned)
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
        The most probable first; False keeps the order given. A bar always has its own label.
    """
    scores = pd.Series(probabilities, dtype=float)
    if sort:
        scores = scores.sort_values(ascending=False, kind="stable")
    ax = _axes(ax, width=max(7, 0.8 * len(scores)), height=3.6)
    bars = ax.bar(range(len(scores)), scores * 100)
    turned: dict[str, Any] = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if len(scores) > 8 else {}
    names = [_wrap(name, 14) for name in scores.index]
    ax.set_xticks(range(len(scores)), names, parse_math=False, **turned)
    ax.bar_label(bars, [f"{score:.1%}" for score in scores], padding=2)
    ax.set_title(_wrap(title, 60), parse_math=False)
    ax.set(ylabel="probability (%)", xlabel="label", ylim=(0, 112))
    ax.set_yticks(range(0, 101, 20))
    ax.grid(axis="y")
    return ax


def plot_learning_curve(log_history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw loss and accuracy against epochs.

    Parameters
    ----------
    log_history
        `trainer.state.log_history` of a training that was evaluated after each epoch.

    Raises
    ------
    DataError
        If nothing was evaluated yet.
    """
    logs = pd.DataFrame(list(log_history))
    _require_columns(logs, "epoch", "loss", "eval_loss", "eval_accuracy")
    training = logs.dropna(subset="loss")
    validation = logs.dropna(subset="eval_loss")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4))
    left.plot(training["epoch"], training["loss"], "o-", label="training (mean over the epoch)")
    left.plot(validation["epoch"], validation["eval_loss"], "s--", label="validation (at its end)")
    left.set(title="Loss", xlabel="epoch", ylabel="cross-entropy (nats)", ylim=(0, None))
    left.legend()
    accuracy = validation["eval_accuracy"] * 100
    right.plot(validation["epoch"], accuracy, "s--", color="C1")
    best = accuracy.argmax()
    right.plot(
        validation["epoch"].iloc[best], accuracy.iloc[best], "*", color="C3", markersize=16, label="best epoch, kept"
    )
    right.set(title="Validation accuracy", xlabel="epoch", ylabel="accuracy (%)")
    right.margins(x=0.1, y=0.2)
    right.legend(loc="lower right")
    for ax in (left, right):
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        ax.set_xlim(0.8, max(logs["epoch"]) + 0.2)
        ax.grid(axis="y")
    return figure


def plot_scores(scores: pd.DataFrame, *, title: str, xlabel: str, ax: Axes | None = None) -> Axes:
    """Draw scores with their intervals, one model a line, the best on top.

    Parameters
    ----------
    scores
        Indexed by model name, columns `value`, `low`, `high` in [0, 1], as of `evaluate`.
    """
    _require_columns(scores, "value", "low", "high")
    scores = scores.sort_values("value")
    ax = _axes(ax, height=1.2 + 0.5 * len(scores))
    margins = np.stack([scores["value"] - scores["low"], scores["high"] - scores["value"]])
    _name_rows(ax, scores.index)
    ax.errorbar(scores["value"], range(len(scores)), xerr=margins, fmt="o", capsize=4, markersize=7)
    for y, (value, high) in enumerate(zip(scores["value"], scores["high"], strict=True)):
        ax.annotate(f"{value:.1%}", (high, y), xytext=(6, 0), textcoords="offset points", va="center")
    ax.set(title=title, xlabel=xlabel, xlim=(max(0, scores["low"].min() - 0.05), min(1.08, scores["high"].max() + 0.1)))
    ax.margins(y=0.2)
    ax.xaxis.set_major_formatter(PercentFormatter(xmax=1))
    ax.grid(axis="x")
    return ax


def plot_cost(scores: pd.DataFrame, *, title: str, ylabel: str, ax: Axes | None = None) -> Axes:
    """Draw scores with their intervals against the seconds that they took, on a logarithmic axis.

    Parameters
    ----------
    scores
        Indexed by model name, columns `value`, `low`, `high` in [0, 1], as of `evaluate`, and `seconds`,
        above 0.
    """
    _require_columns(scores, "value", "low", "high", "seconds")
    if not (scores["seconds"] > 0).all():
        raise ValueError(f"Seconds must be above 0 on a logarithmic axis, found {scores['seconds'].min()}.")
    ax = _axes(ax, width=8)
    for name, row in scores.sort_values("seconds")[["seconds", "value", "low", "high"]].iterrows():
        x, y, low, high = row.astype(float)
        ax.errorbar(x, y, yerr=[[y - low], [high - y]], fmt="o", capsize=4, markersize=7)
        label = f"{_wrap(name)}\n{y:.1%}"
        ax.annotate(label, (x, y), xytext=(8, 0), textcoords="offset points", va="center", parse_math=False)
    ax.set(title=title, xlabel="training time (seconds, logarithmic)", ylabel=ylabel, xscale="log")
    seconds = scores["seconds"]
    ax.set(xlim=(seconds.min() / 2, seconds.max() * 12))
    ax.margins(y=0.1)
    ax.yaxis.set_major_formatter(PercentFormatter(xmax=1))
    ax.grid()
    return ax


def plot_losses(losses: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many texts have which loss, by whether the prediction agrees with the label.

    Parameters
    ----------
    losses
        As of `loss_frame`. The axis of the losses is logarithmic.
    """
    _require_columns(losses, "label", "predicted_label", "loss")
    values = losses["loss"].clip(lower=1e-6)
    edges = np.geomspace(values.min(), max(values.max(), values.min() * 10), 41)
    right = losses["label"] == losses["predicted_label"]
    ax = _axes(ax, height=3.4)
    ax.hist(
        [values[right], values[~right]],
        bins=list(edges),
        stacked=True,
        label=[f"predicted as labelled ({right.sum():,})", f"predicted otherwise ({(~right).sum():,})"],
    )
    ax.set_xscale("log")
    ax.set(title="Loss per text", xlabel="loss (nats, logarithmic)", ylabel="number of texts")
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.legend()
    return ax


def plot_gains(hits: npt.ArrayLike, *, title: str = "", ax: Axes | None = None) -> Axes:
    """Draw how many of the things searched for are found, against texts read (a cumulative gains curve).

    Parameters
    ----------
    hits : (texts,) bool
        In the order of reading: whether each text is one of those.
    title
        Of the panel.

    Raises
    ------
    ValueError
        If there is nothing to be found.
    """
    hits = np.asarray(hits, dtype=bool)
    total = int(hits.sum())
    if total == 0:
        raise ValueError(f"None of the {hits.size} texts is one of those searched for: there is no curve to draw.")
    read = np.arange(hits.size + 1)
    ax = _axes(ax, height=3.6)
    ax.plot(read, np.concatenate([[0], hits.cumsum()]) / total * 100, label="in this order")
    ax.plot(read, np.minimum(read / total, 1) * 100, ":", color="0.3", label="best possible")
    ax.plot([0, hits.size], [0, 100], "--", color="0.5", label="in random order")
    ax.set(title=title, xlabel="texts read", ylabel=f"found (% of {total})", xlim=(0, hits.size), ylim=(0, 102))
    ax.legend(loc="lower right")
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

    Parameters
    ----------
    correct : (texts,) bool
        Whether the predicted label was the true one.
    confidence : (texts,) float in [0, 1]
        The predicted label's probability.
    bins
        Equal intervals of confidence; empty ones are not drawn.
    label
        Of this curve in the legend. Called again with the same `ax`, it adds another curve.

    Notes
    -----
    Guo, Pleiss, Sun and Weinberger 2017, On Calibration of Modern Neural Networks, section 2.
    """
    correct, confidence = np.asarray(correct, dtype=float), np.asarray(confidence, dtype=float)
    if correct.shape != confidence.shape or correct.size == 0:
        raise ValueError(f"Expected two equally long lists, got shapes {correct.shape} and {confidence.shape}.")
    if confidence.min() < 0 or confidence.max() > 1:
        raise ValueError(f"Confidence must be in [0, 1], found {confidence.min():.3g} to {confidence.max():.3g}.")
    members = np.minimum((confidence * bins).astype(int), bins - 1)
    filled = [b for b in range(bins) if (members == b).any()]
    ax = _axes(ax, width=4.8, height=4.4)
    if not ax.lines:
        ax.plot([0, 100], [0, 100], color="0.5", linestyle="--", label="perfectly calibrated")
    x = [confidence[members == b].mean() * 100 for b in filled]
    y = [correct[members == b].mean() * 100 for b in filled]
    ax.plot(x, y, "o-", label=label)
    ax.set(title="How often it is right when it is so sure", xlim=(0, 102), ylim=(0, 102))
    ax.set(xlabel="confidence (%)", ylabel="accuracy (%)")
    ax.legend(loc="best")
    ax.grid()
    return ax


def _axes(ax: Axes | None, *, width: float = 7, height: float = 4) -> Axes:
    return ax if ax is not None else plt.subplots(figsize=(width, height))[1]


def _wrap(text: object, width: int = 24, lines: int = 3) -> str:
    return textwrap.fill(str(text), width, max_lines=lines, placeholder=" …")


def _name_rows(ax: Axes, names: Iterable[object]) -> None:
    """Name the rows 0, 1, ...: by position, since two names may be cut to the same."""
    wrapped = [_wrap(name, 28, lines=2) for name in names]
    ax.set_yticks(range(len(wrapped)), wrapped, parse_math=False)


def _require_columns(frame: pd.DataFrame, *columns: str) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise DataError(
            f"Missing column {', '.join(map(repr, missing))}; the frame has "
            f"{', '.join(map(repr, frame.columns)) or 'no columns'}."
        )
