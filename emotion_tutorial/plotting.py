"""Figures of data and predictions: frames and arrays in, matplotlib Axes or Figures out.

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
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix

from emotion_tutorial.exceptions import DataError

BLUE, ORANGE = "#0072B2", "#D55E00"
"""Of Okabe and Ito 2008, as in the style file."""
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
    require_columns(frame, "label_name")
    counts = frame["label_name"].value_counts(ascending=True)
    ax = new_axes(ax, height=1.2 + 0.4 * len(counts))
    bars = ax.barh(range(len(counts)), counts)
    name_rows(ax, counts.index)
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
    require_columns(frame, "text", "label_name")
    lengths = frame["text"].map(lambda text: len(text.split()))
    names = frame["label_name"].value_counts(ascending=True).index
    ax = new_axes(ax, height=1.2 + 0.45 * len(names))
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
    name_rows(ax, names)
    if limit is not None:
        ax.axvline(limit, color=ORANGE, linestyle="--", label=f"the model reads about {limit} words")
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
    require_columns(projection, "X", "Y")
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
        ax.set_title(f"{wrap(label_names[label], 20, lines=2)} ({chosen.sum():,})", fontsize=10, parse_math=False)
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


def new_axes(ax: Axes | None, *, width: float = 7, height: float = 4) -> Axes:
    """Return the given Axes, or new ones of this size in inches."""
    return ax if ax is not None else plt.subplots(figsize=(width, height))[1]


def wrap(text: object, width: int = 24, lines: int = 3) -> str:
    """Break a text into lines of this many characters, and cut what does not fit."""
    return textwrap.fill(str(text), width, max_lines=lines, placeholder=" …")


def name_rows(ax: Axes, names: Iterable[object]) -> None:
    """Name the rows 0, 1, ...: by position, since two names may be cut to the same; a $ in a name is no formula."""
    wrapped = [wrap(name, 28, lines=2) for name in names]
    ax.set_yticks(range(len(wrapped)), wrapped, parse_math=False)


def require_columns(frame: pd.DataFrame, *columns: str) -> None:
    """Raise a DataError unless the frame has these columns."""
    if missing := [column for column in columns if column not in frame.columns]:
        there = ", ".join(map(repr, frame.columns)) or "no columns"
        raise DataError(f"Missing column {', '.join(map(repr, missing))}; the frame has {there}.")
