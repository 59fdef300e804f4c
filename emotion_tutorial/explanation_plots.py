"""Figures of what `explain` returns: its words as bars, and as the text on coloured grounds."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.transforms import Bbox, IdentityTransform

from emotion_tutorial.plotting import _axes, _require_columns, _wrap

FOR, AGAINST = "#0072B2", "#D55E00"
"""Blue and orange of Okabe and Ito 2008, as in the style file."""
BARS = 25
STRONGEST = 0.75
"""How much of a colour is mixed into the white behind the strongest word: the black text keeps a contrast of 6."""
FONT_SIZE, PADDING, GAP = 11.0, 2.2, 7.0
"""In points: of the text, around a word on its ground, and between words and lines, paddings included."""


def plot_explanation(explanation: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw what each word adds to the label's probability as a bar, in the order of the text from the top.

    If there are more than 25 words, only the 25 longest bars are shown, and the title says so.

    Parameters
    ----------
    explanation
        As of `explain`.
    """
    _require_columns(explanation, "word", "attribution", "label")
    values = explanation["attribution"].to_numpy()
    rows = np.sort(np.argsort(-np.abs(values), kind="stable")[:BARS])
    words = [word if len(word) <= 24 else f"{word[:23]}…" for word in explanation["word"].iloc[rows]]
    ax = _axes(ax, height=1.3 + 0.25 * max(len(rows), 3))
    ax.barh(range(len(rows)), values[rows], color=[FOR if value > 0 else AGAINST for value in values[rows]])
    ax.axvline(0, color="0.3", linewidth=0.8)
    # A text may hold $ signs, which are no formulas.
    ax.set_yticks(range(len(rows)), words, parse_math=False)
    ax.set_title(_title(explanation, f": the {BARS} strongest of {len(values)}"), parse_math=False)
    ax.set_xlabel(_wrap(f"part of the probability of {_label(explanation)}", 60), parse_math=False)
    ax.set(ylabel="words in order", ylim=(max(len(rows), 1) - 0.4, -0.6))
    ax.grid(axis="x")
    return ax


def plot_coloured_text(explanation: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Write the text, each word on a ground that shows what it adds to the label's probability.

    Blue is for the label, orange against it. The word that adds or takes most has the strongest colour, so
    that colours compare within a text, not between texts. The figure grows if the lines need more height.

    Parameters
    ----------
    explanation
        As of `explain`.
    """
    _require_columns(explanation, "word", "attribution", "label")
    ax = ax if ax is not None else plt.subplots(figsize=(7, 0.75), layout="constrained")[1]
    ax.set_axis_off()
    ax.set_title(_title(explanation), parse_math=False)
    _grow(ax, 0)
    largest = explanation["attribution"].abs().max() or 1.0
    width = _points(ax, ax.bbox).width - 2 * PADDING
    x, line, ascent, descent = 0.0, 0, 0.0, 0.0
    places = []
    for word, value in zip(explanation["word"], explanation["attribution"] / largest, strict=True):
        for piece, box in _pieces(ax, word, width):
            if x > 0 and x + box.width > width:
                x, line = 0.0, line + 1
            places.append((piece, value, x, line))
            x += box.width + GAP
            ascent, descent = max(ascent, box.y1), max(descent, -box.y0)
    pitch = ascent + descent + GAP
    for piece, value, x, line in places:
        # Placed in points from the corner, so that no later change of the axes' size moves words into each other.
        ax.annotate(
            piece,
            (0, 1),
            (x + PADDING, -(PADDING + ascent + line * pitch)),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=FONT_SIZE,
            color="black",
            bbox={"boxstyle": f"square,pad={PADDING / FONT_SIZE}", "facecolor": _ground(value), "edgecolor": "none"},
            parse_math=False,
            in_layout=False,
        )
    _grow(ax, (line + 1) * pitch)
    return ax


def _pieces(ax: Axes, word: str, width: float) -> Iterator[tuple[str, Bbox]]:
    """Cut a word that is wider than the line in halves, until all fit; give each with its box from the baseline."""
    probe = ax.text(0, 0, word, fontsize=FONT_SIZE, parse_math=False, transform=IdentityTransform())
    box = _points(ax, probe.get_window_extent())
    probe.remove()
    if box.width <= width or len(word) == 1:
        yield word, box
    else:
        yield from _pieces(ax, word[: len(word) // 2], width)
        yield from _pieces(ax, word[len(word) // 2 :], width)


def _points(ax: Axes, box: Bbox) -> Bbox:
    return Bbox(box.get_points() * 72 / ax.figure.dpi)


def _grow(ax: Axes, height: float) -> None:
    """Make the figure higher until the axes have a height, in points; their share of it is not known before."""
    figure = ax.figure.figure
    figure.draw_without_rendering()  # lays the axes out
    for _ in range(20):
        if (missing := height - _points(ax, ax.bbox).height) < 1:
            break
        figure.set_figheight(figure.get_figheight() + missing / 72)
        figure.draw_without_rendering()


def _ground(strength: float) -> tuple[float, ...]:
    """Return white mixed with a colour, (red, green, blue): the more of it, the farther the strength is from 0."""
    share = STRONGEST * abs(strength)
    return tuple(1 - share * (1 - part) for part in to_rgb(FOR if strength > 0 else AGAINST))


def _label(explanation: pd.DataFrame) -> str:
    return repr(explanation["label"].iloc[0]) if len(explanation) else "a label"


def _title(explanation: pd.DataFrame, left_out: str = "") -> str:
    if explanation.empty:
        return "A text without words"
    title = f"Words for (blue) and against (orange) {_label(explanation)}"
    return _wrap(title + left_out if len(explanation) > BARS else title, 52)
