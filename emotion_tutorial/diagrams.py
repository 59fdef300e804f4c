"""Drawings of how a transformer classifies a text, and of what is trained."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Patch

DATA, FROZEN, TRAINED = "#f2f2f2", "#c6dbef", "#fdd0a2"
MEANINGS = {DATA: "data", FROZEN: "weights from pretraining", TRAINED: "weights that we train"}


def draw_classifier(
    tokens: Sequence[str] = ("[CLS]", "this", "is", "a", "test", "[SEP]"),
    ids: Sequence[int] = (101, 2023, 2003, 1037, 3231, 102),
    *,
    layers: int = 6,
    dim: int = 384,
    label_names: Sequence[str] = ("label 0", "label 1", "..."),
) -> Figure:
    """Draw the way of a text through an encoder and a classification head, left to right.

    Parameters
    ----------
    tokens, ids
        Of the text, as `token_table` returns them.
    layers, dim
        Of the encoder: `config.num_hidden_layers`, `config.hidden_size`.
    label_names
        In id order; at most three are shown.

    Raises
    ------
    ValueError
        If there is not one id per token.
    """
    top = len(tokens)
    figure, ax = _canvas(9.6, 0.52 * top + 2.2, (-0.1, 10.4), (-1, top + 0.6))
    columns = {"tokens": 0.0, "token ids": 1.5, "embeddings": 3.0, "hidden states": 7.2}
    for row, (token, number) in enumerate(zip(tokens, ids, strict=True)):
        y = top - 1 - row
        for (name, x), text in zip(columns.items(), (token, number, f"{dim} numbers", f"{dim} numbers"), strict=True):
            _box(ax, x, y, 1.2, 0.72, str(text), DATA, thick=name == "hidden states" and row == 0)
        for start, end in ((1.2, 1.5), (2.7, 3.0), (4.2, 4.55), (6.75, 7.2)):
            _arrow(ax, start, end, y + 0.36)
    _box(ax, 4.6, 0, 2.1, top - 0.28, f"encoder:\n{layers} layers of\nself-attention and\nfeed-forward nets", FROZEN)
    _arrow(ax, 8.4, 8.9, top - 0.64)
    _box(ax, 8.95, top - 1, 1.3, 0.72, "head", TRAINED)
    shown = [*(name[:13] for name in label_names[:2]), "..."] if len(label_names) > 3 else list(label_names)
    _arrow(ax, 9.6, 9.6, top - 1.04, max(top - 3.6, 0) + 2.04)
    _box(ax, 8.95, max(top - 3.6, 0), 1.3, 2.0, "a score for\n" + "\n".join(shown), DATA)
    for x, name in ((0.6, "tokens"), (2.1, "token ids"), (3.6, "embeddings"), (5.65, "body"), (7.8, "hidden states")):
        ax.text(x, top + 0.15, name, ha="center", weight="bold", fontsize=9)
    ax.text(9.6, top + 0.15, "classifier", ha="center", weight="bold", fontsize=9)
    note = "Every hidden state has seen every token. The first one (thick frame) stands for the whole text."
    ax.text(5.1, -0.3, note, ha="center", fontsize=9)
    _legend(ax, DATA, FROZEN, TRAINED)
    ax.set_title("From a text to a label")
    return figure


def draw_training_modes() -> Figure:
    """Draw what is trained, in feature extraction and in fine-tuning."""
    figure, ax = _canvas(8.4, 5, (-0.1, 10.5), (-1.4, 5))
    modes = (
        (3.1, "Feature extraction: each text passes through the body once", FROZEN, "any\nclassifier"),
        (0, "Fine-tuning: each text passes through body and head in every epoch", TRAINED, "head"),
    )
    for y, title, body, head in modes:
        boxes = (("texts", DATA), ("body", body), ("hidden\nstates", DATA), (head, TRAINED), ("labels", DATA))
        for place, (text, color) in enumerate(boxes):
            _box(ax, 2.2 * place, y, 1.6, 1.1, text, color)
            if place:
                _arrow(ax, 2.2 * place - 0.6, 2.2 * place, y + 0.55)
        ax.text(0, y + 1.35, title, weight="bold", fontsize=10)
        trained = "the classifier only" if body == FROZEN else "all weights"
        arrow = {"arrowstyle": "->", "color": "#d55e00", "linestyle": "--"}
        ax.annotate("", (6.8 if body == FROZEN else 2.4, y - 0.25), (9.6, y - 0.25), arrowprops=arrow)
        ax.text(9.6, y - 0.6, f"the error corrects {trained}", ha="right", color="#a63603", fontsize=9)
    _legend(ax, DATA, FROZEN, TRAINED)
    return figure


def _canvas(width: float, height: float, x: tuple[float, float], y: tuple[float, float]) -> tuple[Figure, Axes]:
    figure, ax = plt.subplots(figsize=(width, height))
    ax.set(xlim=x, ylim=y)
    ax.set_axis_off()
    return figure, ax


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, color: str, thick: bool = False) -> None:
    style = "round,pad=0,rounding_size=0.08"
    line = 2.5 if thick else 1
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=color, edgecolor="0.3", lw=line))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9, parse_math=False)


def _arrow(ax: Axes, x: float, to_x: float, y: float, to_y: float | None = None) -> None:
    end = (to_x, y if to_y is None else to_y)
    ax.annotate("", end, (x, y), arrowprops={"arrowstyle": "-|>", "color": "0.35", "shrinkA": 1, "shrinkB": 1})


def _legend(ax: Axes, *colors: str) -> None:
    patches = [Patch(facecolor=color, edgecolor="0.3", label=MEANINGS[color]) for color in colors]
    ax.legend(handles=patches, loc="lower center", ncols=len(patches), fontsize=9)
