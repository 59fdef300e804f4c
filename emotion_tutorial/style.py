"""The look of every figure, and its fonts."""

import logging
from importlib.resources import files

import matplotlib.pyplot as plt
from matplotlib.font_manager import get_font_names

OTHER_SCRIPTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Hiragino Sans", "Apple SD Gothic Neo"),
    *("Microsoft YaHei", "Yu Gothic", "Malgun Gothic", "Noto Sans Devanagari", "Kohinoor Devanagari"),
    *("Noto Sans Thai", "Thonburi", "Nirmala UI", "Leelawadee UI", "Arial Unicode MS"),
    *("Noto Emoji", "Segoe UI Emoji", "Symbola"),
)
"""Fonts of Linux, macOS and Windows that have letters which matplotlib's own font lacks."""


def use_style() -> None:
    """Give matplotlib this tutorial's look, for the rest of the session.

    Letters that matplotlib's own font lacks are taken from the first of `OTHER_SCRIPTS` that is installed and has
    them; where none has, matplotlib draws a box and says so.
    """
    plt.style.use(str(files("emotion_tutorial") / "emotion_tutorial.mplstyle"))
    installed = set(get_font_names())
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)  # that such a font is not there in bold
    plt.rcParams["font.family"] = ["sans-serif", *(name for name in OTHER_SCRIPTS if name in installed)]
