"""How every figure looks: the style, the fonts, the colors, and rows that are named."""

import textwrap
from collections.abc import Iterable
from importlib.resources import files

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.font_manager import get_font_names

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
