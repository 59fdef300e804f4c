"""Figures of data: how many texts, how long, and where on a map.

Functions that draw one panel take `ax=` and return it; nothing calls `show`.
"""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from emotion_tutorial.figure_style import ORANGE, name_rows, new_axes, require_columns, wrap


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
