"""How every figure looks: the style, the fonts, the colors, and rows that are named."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pandas as pd

from emotion_tutorial.exceptions import DataError, SettingsError, needed_from
from emotion_tutorial.texts import shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE = "#0072B2", "#D55E00"
"""Two of the colors of Okabe and Ito 2008, which the style file lists."""
METHOD_COLORS = {
    "majority": "#999999",
    "bag of words": "#E69F00",
    "probe": "#56B4E9",
    "fine-tuned": ORANGE,
    "combined": "#009E73",
    "zero-shot": "#000000",
    "SetFit": "#CC79A7",
    "LoRA": BLUE,
}
"""The color of each method, in every figure that compares methods."""
MOST_ROWS = 60
"""The number of rows of a figure, or panels, that have room for their names."""
TALLEST = 0.4 * MOST_ROWS
"""The height of a figure in inches that more rows don't increase."""
FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Hiragino Sans", "Microsoft YaHei", "Malgun Gothic"),
    *("Noto Sans Devanagari", "Kohinoor Devanagari", "Nirmala UI", "Noto Sans Thai", "Noto Emoji", "Segoe UI Emoji"),
)
"""Fonts of Linux, macOS and Windows with letters that matplotlib's own font lacks."""


def use_style() -> None:
    """Give matplotlib this tutorial's look for the session, and fonts for other scripts if there are any."""
    with needed_from("figures"):
        import matplotlib.pyplot as plt
        from matplotlib.font_manager import get_font_names
    plt.style.use(str(files("emotion_tutorial") / "emotion_tutorial.mplstyle"))
    plt.rcParams["font.family"] = ["sans-serif", *(name for name in FONTS if name in set(get_font_names()))]


def new_axes(ax: "Axes | None", *, width: float = 7, height: float = 4) -> "Axes":
    """Return the given Axes, or new ones of this size in inches, which are never taller than `TALLEST`.

    Raises a `SettingsError` if something else is given, such as the array of Axes that `plt.subplots(2)` returns.
    """
    with needed_from("figures"):
        import matplotlib.pyplot as plt
        from matplotlib.axes import Axes
    if not isinstance(ax, Axes | None):
        raise SettingsError(f"ax= is a {type(ax).__name__}, not one Axes. Give one of them, such as axes[0].")
    return ax if ax is not None else plt.subplots(figsize=(width, min(height, TALLEST)))[1]


def wrap(text: object, width: int = 24, lines: int = 3) -> str:
    """Break a text into lines of this many characters, and cut what does not fit."""
    return textwrap.fill(str(text), width, max_lines=lines, placeholder=" …")


def row_axes(
    ax: "Axes | None", names: Iterable[object], title: str, xlabel: str, ends: Any = (), numbers: Sequence[str] = ()
) -> "Axes":
    """Return Axes whose rows 0, 1, ... have names, and numbers at their ends; of more than `MOST_ROWS`, only some.

    Rows are known by their position, since two names may be cut to the same. A $ in a name does not begin a formula.
    """
    wrapped = [wrap(name, 28, lines=2) for name in names]
    ax = new_axes(ax, height=1.2 + 0.4 * len(wrapped))
    shown = range(0, len(wrapped), math.ceil(len(wrapped) / MOST_ROWS))
    ax.set_yticks(shown, wrapped[:: shown.step], parse_math=False)
    for row in shown if numbers else ():
        ax.annotate(numbers[row], (ends[row], row), xytext=(4, 0), textcoords="offset points", va="center")
    ax.set_title(wrap(title, 60), parse_math=False)
    ax.set_xlabel(wrap(xlabel, 60), parse_math=False)
    ax.grid(axis="x")
    return ax


def require_columns(frame: pd.DataFrame, *columns: str) -> None:
    """Raise a DataError unless this is a frame that has rows, and each of these columns once."""
    found = [*frame.columns] if isinstance(frame, pd.DataFrame) else []
    if any(found.count(column) != 1 for column in columns) or frame.empty:
        there = f"a {type(frame).__name__} of {len(frame) if found else 0} rows with the columns {shorten(found, 200)}"
        raise DataError(f"Expected a DataFrame that has rows, and one column {', '.join(columns)} each; found {there}.")
