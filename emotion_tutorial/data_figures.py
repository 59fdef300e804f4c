"""Figures of data: how many texts there are, how long they are, and where they lie on a map.

Functions that draw one panel take one Axes as `ax=` and return it; a `SettingsError` refuses anything else. Nothing
calls `show`.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from emotion_tutorial.exceptions import DataError, needed_from
from emotion_tutorial.figure_style import BLUE, MOST_ROWS, require_columns, row_axes, wrap
from emotion_tutorial.texts import as_column, as_ids, as_labels, as_matrix, as_texts, require_one_index
from emotion_tutorial.words import word_spans

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_class_distribution(frame: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Draw how many texts each label has, the most common on top, with its share.

    Parameters
    ----------
    frame
        A frame with a column `label_name`, such as `to_frame` returns.

    Raises
    ------
    DataError
        If there is no such column, it has no rows, or a label is missing.
    """
    require_columns(frame, "label_name")
    as_labels(frame["label_name"], "label_name", len(frame))
    counts = frame["label_name"].value_counts(ascending=True)
    shares = [f"{count:,}  ({count / len(frame):.0%})" for count in counts]
    ax = row_axes(ax, counts.index, "Texts per label", "number of texts", [*counts], shares)
    ax.barh(range(len(counts)), counts)
    ax.set_xlim(0, counts.max() * 1.2)
    return ax


def plot_text_lengths(frame: pd.DataFrame, *, ax: "Axes | None" = None) -> "Axes":
    """Draw a box plot of words per text for each label, in the order of `plot_class_distribution`.

    The box is the middle half of the texts, and the line in it is the median. The whiskers reach to the last text
    within 1.5 box lengths, and the dots are the texts beyond.

    Parameters
    ----------
    frame
        A frame with the columns `text` and `label_name`. Words are what stands between spaces; in scripts without
        spaces, each character counts as one.

    Raises
    ------
    DataError
        If a column is not there, there are no rows, or a text or a label is missing.
    """
    require_columns(frame, "text", "label_name")
    texts, index = as_texts(frame["text"], "text")
    as_labels(frame["label_name"], "label_name", len(index))
    lengths = np.array([len(word_spans(text)) for text in texts])
    names = frame["label_name"].value_counts(ascending=True).index
    boxes = [lengths[(frame["label_name"] == name).to_numpy()] for name in names]
    looks: dict[str, Any] = {"sym": ".", "widths": 0.6, "medianprops": {"linewidth": 2}, "manage_ticks": False}
    ax = row_axes(ax, names, "Words per text", "number of words")
    ax.boxplot(boxes, orientation="horizontal", positions=range(len(names)), **looks)
    ax.set_xlim(0, None)
    return ax


def plot_projection(projection: pd.DataFrame, labels: npt.ArrayLike, label_names: Sequence[str]) -> "Figure":
    """Draw one panel per label: where in the plane its texts lie, over all texts in gray, all on one scale.

    Parameters
    ----------
    projection
        A frame with the columns `X` and `Y`, such as `project_2d` returns.
    labels : (texts,) int
        Ids into `label_names`, one for each row.
    label_names
        The names of the labels in the order of their ids, `MOST_ROWS` of them or fewer.

    Raises
    ------
    DataError
        If a column is not there, a point is not finite, an id has no name, or there are too many labels.
    """
    require_columns(projection, "X", "Y")
    require_one_index(projection=projection, labels=labels)
    points = as_matrix(projection[["X", "Y"]], "projection").astype(np.float64)
    names, _ = as_column(label_names, "label_names")
    if len(names) > MOST_ROWS:
        raise DataError(f"{len(names)} labels are too many for one figure. Give the rows of {MOST_ROWS} or fewer.")
    [ids] = as_ids(len(names), len(points), labels=labels)
    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    size = (2.6 * columns, 2.5 * rows + 0.6)
    with needed_from("figures"):
        import matplotlib.pyplot as plt
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, sharey=True, squeeze=False)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    for label, (name, ax) in enumerate(zip(names, axes.flat, strict=False)):
        chosen = ids == label
        ax.set(xticks=[], yticks=[])
        ax.set_title(f"{wrap(name, 20, lines=2)} ({chosen.sum():,})", fontsize=10, parse_math=False)
        ax.scatter(*points.T, s=2, color="0.8", linewidths=0, rasterized=True)
        ax.scatter(*points[chosen].T, s=7, color=BLUE, linewidths=0, rasterized=True)
    return figure
