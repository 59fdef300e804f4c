"""Drawings of how a transformer classifies a text, and of what is trained."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

DATA, FROZEN, TRAINED = "#f2f2f2", "#c6dbef", "#fdd0a2"


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
        Of the text, as of `token_table`.
    layers, dim
        Of the encoder: `config.num_hidden_layers`, `config.hidden_size`.
    label_names
        In id order; at most three are shown.

    Raises
    ------
    ValueError
        If there is not one id per token.
    """
    if len(tokens) != len(ids):
        raise ValueError(f"Expected one id per token, got {len(tokens)} tokens and {len(ids)} ids.")
    figure, ax = plt.subplots(figsize=(9.6, 0.52 * len(tokens) + 1.9))
    n, top = len(tokens), len(tokens) * 1.0
    columns = {"tokens": 0.0, "token ids": 1.5, "embeddings": 3.0, "encoder": 5.1, "hidden states": 7.2}
    for row, (token, number) in enumerate(zip(tokens, ids, strict=True)):
        y = top - 1 - row
        vectors = f"{dim} numbers"
        cells = {"tokens": token, "token ids": str(number), "embeddings": vectors, "hidden states": vectors}
        for column, content in cells.items():
            chosen = column == "hidden states" and row == 0
            _box(ax, columns[column], y, 1.2, 0.72, content, TRAINED if chosen else DATA)
        for start, end in (("tokens", "token ids"), ("token ids", "embeddings")):
            _arrow(ax, columns[start] + 1.2, columns[end], y + 0.36)
        _arrow(ax, columns["embeddings"] + 1.2, 4.55, y + 0.36)
        _arrow(ax, 6.75, columns["hidden states"], y + 0.36)
    _box(ax, 4.6, 0, 2.1, top - 0.28, f"encoder:\n{layers} layers of\nself-attention and\nfeed-forward net", FROZEN)
    _arrow(ax, 8.4, 8.9, top - 0.64)
    _box(ax, 8.95, top - 1, 1.1, 0.72, "head", TRAINED)
    shown = [name if len(name) <= 13 else f"{name[:12]}…" for name in label_names[:3]]
    if len(label_names) > 3:
        shown[2] = "..."
    _box(ax, 8.85, max(top - 3.6, 0), 1.3, 2.0, "a score for\n" + "\n".join(shown), DATA)
    _arrow(ax, 9.5, 9.5, top - 1.04, max(top - 3.6, 0) + 2.04)
    for x, name in ((0.6, "tokens"), (2.1, "token ids"), (3.6, "embeddings"), (5.65, "body"), (7.8, "hidden states")):
        ax.text(x, top + 0.15, name, ha="center", weight="bold", fontsize=9)
    ax.text(9.5, top + 0.15, "classifier", ha="center", weight="bold", fontsize=9)
    ax.text(
        5.1, -0.45, "Every hidden state has seen every token. The first one, of [CLS], stands for the whole text.",
        ha="center", fontsize=9,
    )  # fmt: skip
    _frame(ax, (-0.1, 10.3), (-0.8, n + 0.6))
    ax.set_title("From a text to a label")
    return figure


def draw_training_modes() -> Figure:
    """Draw what is computed once and what is trained, for feature extraction and for fine-tuning."""
    figure, axes = plt.subplots(2, 1, figsize=(8.4, 4.4))
    modes = (
        ("Feature extraction: the body is frozen, each text passes through it once", FROZEN, "body\n(frozen)"),
        ("Fine-tuning: body and head are trained together, each text passes every epoch", TRAINED, "body\n(trained)"),
    )
    for ax, (title, colour, body) in zip(axes, modes, strict=True):
        head = "any classifier\n(trained)" if colour == FROZEN else "head\n(trained)"
        boxes = ((0, "texts", DATA), (2.2, body, colour), (4.4, "hidden\nstates", DATA), (6.6, head, TRAINED))
        for x, name, fill in (*boxes, (8.8, "labels", DATA)):
            _box(ax, x, 0, 1.6, 1.2, name, fill)
        for x in (1.6, 3.8, 6.0, 8.2):
            _arrow(ax, x, x + 0.6, 0.6)
        ax.set_title(title, fontsize=10)
        back = "the error corrects the classifier only" if colour == FROZEN else "the error corrects all weights"
        start = 6.6 if colour == FROZEN else 2.2
        ax.annotate(
            "", (start + 0.2, -0.25), (9.6, -0.25), arrowprops={"arrowstyle": "->", "color": "#d55e00", "ls": "--"}
        )
        ax.text(9.6, -0.62, back, ha="right", color="#a63603", fontsize=9)
        _frame(ax, (-0.1, 10.5), (-0.8, 1.3))
    return figure


def _box(ax: Axes, x: float, y: float, width: float, height: float, text: str, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.08"
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle=style, facecolor=colour, edgecolor="0.35"))
    ax.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9, parse_math=False)


def _arrow(ax: Axes, x: float, to_x: float, y: float, to_y: float | None = None) -> None:
    end = (to_x, y if to_y is None else to_y)
    ax.add_patch(FancyArrowPatch((x, y), end, arrowstyle="-|>", mutation_scale=9, color="0.35", shrinkA=1, shrinkB=1))


def _frame(ax: Axes, x: tuple[float, float], y: tuple[float, float]) -> None:
    ax.set(xlim=x, ylim=y)
    ax.set_axis_off()
