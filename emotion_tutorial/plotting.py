"""Figures: frames and arrays in, matplotlib Axes or Figures out.

Functions that draw one panel take `ax=` and return it; nothing calls `show`.
"""

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import get_font_names
from matplotlib.ticker import MaxNLocator, PercentFormatter
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from emotion_tutorial.exceptions import DataError

FOR, AGAINST = "#0072B2", "#D55E00"
"""Blue and orange of Okabe and Ito 2008, as in the style file."""
FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Hiragino Sans", "Microsoft YaHei", "Malgun Gothic"),
    *("Noto Sans Devanagari", "Kohinoor Devanagari", "Nirmala UI", "Noto Sans Thai", "Noto Emoji", "Segoe UI Emoji"),
)
"""Fonts of Linux, macOS and Windows with letters that matplotlib's own font lacks."""


def use_style() -> None:
    """Give matplotlib this tutorial's look for the session, and fonts for other scripts if there are any."""
    plt.style.use(str(files("emotion_tutorial") / "emotion_tutorial.mplstyle"))
    plt.rcParams["font.family"] = ["sans-serif", *(name for name in FONTS if name in set(get_font_names()))]


def plot_class_distribution(frame: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw how many texts each label has, the most common on top, with its share.

    Parameters
    ----------
    frame
        With a column `label_name`, as `to_frame` returns it.
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


def plot_text_lengths(frame: pd.DataFrame, *, limit: int | None = None, ax: Axes | None = None) -> Axes:
    """Draw a box plot of words per text for each label, in the order of `plot_class_distribution`.

    Box: the middle half of the texts; line: the median; whiskers: the last text within 1.5 box lengths; dots: the texts
    beyond.

    Parameters
    ----------
    frame
        With columns `text` and `label_name`.
    limit
        Words that the model reads at most; drawn as a line.
    """
    _require_columns(frame, "text", "label_name")
    lengths = frame["text"].map(lambda text: len(text.split()))
    names = frame["label_name"].value_counts(ascending=True).index
    ax = _axes(ax, height=1.2 + 0.45 * len(names))
    ax.boxplot(
        [lengths[frame["label_name"] == name] for name in names],
        orientation="horizontal",
        positions=range(len(names)),
        patch_artist=True,
        boxprops={"facecolor": "#9ecae1"},
        medianprops={"color": "black", "linewidth": 2},
        flierprops={"marker": ".", "markersize": 4, "markerfacecolor": "0.5", "markeredgecolor": "none"},
        widths=0.6,
    )
    _name_rows(ax, names)
    if limit is not None:
        ax.axvline(limit, color=AGAINST, linestyle="--", label=f"the model reads about {limit} words")
        ax.legend(loc="lower right")
    ax.set(title="Words per text", xlabel="number of words", xlim=(0, None))
    ax.grid(axis="x")
    return ax


def plot_hexbins(projection: pd.DataFrame, labels: npt.ArrayLike, label_names: Sequence[str]) -> Figure:
    """Draw one panel per label: where in the plane its texts lie, over all texts in gray, all on one scale.

    Parameters
    ----------
    projection
        Columns `X` and `Y`, as `project_2d` returns them.
    labels : (texts,) int
        Ids into `label_names`.
    """
    _require_columns(projection, "X", "Y")
    x, y, labels = projection["X"].to_numpy(), projection["Y"].to_numpy(), np.asarray(labels)
    columns = min(3, len(label_names))
    rows = math.ceil(len(label_names) / columns)
    size = (2.6 * columns + 0.8, 2.5 * rows + 0.6)
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    extent = (x.min(), x.max(), y.min(), y.max())
    panels = []
    for label, ax in enumerate(axes.flat):
        if label >= len(label_names):
            ax.set_axis_off()
            continue
        chosen = labels == label
        ax.scatter(x, y, s=2, color="0.8", linewidths=0, rasterized=True)
        if chosen.any():
            share = np.full(chosen.sum(), 100 / chosen.sum())
            panels.append(
                ax.hexbin(x[chosen], y[chosen], share, gridsize=18, extent=extent, mincnt=1, reduce_C_function=np.sum)
            )
        ax.set_title(f"{_wrap(label_names[label], 20, lines=2)} ({chosen.sum():,})", fontsize=10, parse_math=False)
        ax.set(xticks=[], yticks=[])
        ax.spines[["top", "right"]].set_visible(True)
    largest = max((panel.get_array().max() for panel in panels), default=1)
    for panel in panels:
        panel.set(clim=(0, largest), cmap="viridis_r", linewidth=0)
    if panels:
        figure.colorbar(panels[0], ax=axes, label="share of the label's texts (%)", shrink=0.8)
    figure.suptitle("Where each label's texts lie among all texts (gray)", x=0.01, ha="left", weight="bold")
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
    classes = len(label_names)
    if unknown := sorted({*np.asarray(y_true).tolist(), *np.asarray(y_pred).tolist()} - set(range(classes))):
        raise DataError(f"Found the ids {unknown}, but label_names has the ids 0 to {classes - 1}.")
    ax = _axes(ax, width=1.8 + 0.75 * classes, height=1.4 + 0.6 * classes)
    shares = confusion_matrix(y_true, y_pred, labels=range(classes), normalize="true")
    size = {"fontsize": 9 if classes <= 12 else 6}
    ConfusionMatrixDisplay(shares).plot(ax=ax, cmap="Blues", values_format=".2f", colorbar=False, text_kw=size)
    names = [_wrap(name, 14, lines=2) for name in label_names]
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
    ax = _axes(ax, height=1.2 + 0.4 * len(scores))
    bars = ax.barh(range(len(scores)), scores)
    ax.bar_label(bars, [f"{score:.1%}" for score in scores], padding=4)
    _name_rows(ax, scores.index)
    ax.set_title(_wrap(title, 60), parse_math=False)
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
    _require_columns(logs, "epoch", "loss", "eval_loss", "eval_accuracy")
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
    ax = _axes(ax, height=3.6)
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
    ax = _axes(ax, width=4.8, height=4.4)
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
    _require_columns(explanation, "word", "attribution", "label")
    shown = explanation.loc[explanation["attribution"].abs().nlargest(bars).index.sort_values()]
    ax = _axes(ax, height=1.3 + 0.25 * max(len(shown), 3))
    ax.barh(range(len(shown)), shown["attribution"], color=[FOR if v > 0 else AGAINST for v in shown["attribution"]])
    ax.axvline(0, color="0.3", linewidth=0.8)
    ax.invert_yaxis()
    _name_rows(ax, shown["word"])
    label = repr(explanation["label"].iloc[0]) if len(explanation) else "a label"
    some = f": the {bars} strongest of {len(explanation)}" if len(shown) < len(explanation) else ""
    ax.set_title(_wrap(f"Words for (blue) and against (orange) {label}{some}", 52), parse_math=False)
    ax.set_xlabel(_wrap(f"part of the probability of {label}", 60), parse_math=False)
    ax.grid(axis="x")
    return ax


def _axes(ax: Axes | None, *, width: float = 7, height: float = 4) -> Axes:
    return ax if ax is not None else plt.subplots(figsize=(width, height))[1]


def _wrap(text: object, width: int = 24, lines: int = 3) -> str:
    return textwrap.fill(str(text), width, max_lines=lines, placeholder=" …")


def _name_rows(ax: Axes, names: Iterable[object]) -> None:
    """Name the rows 0, 1, ...: by position, since two names may be cut to the same; a $ in a name is no formula."""
    wrapped = [_wrap(name, 28, lines=2) for name in names]
    ax.set_yticks(range(len(wrapped)), wrapped, parse_math=False)


def _require_columns(frame: pd.DataFrame, *columns: str) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise DataError(
            f"Missing column {', '.join(map(repr, missing))}; the frame has "
            f"{', '.join(map(repr, frame.columns)) or 'no columns'}."
        )
