from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import emotion_tutorial as et
from emotion_tutorial.exceptions import DataError

LOG = [
    {"epoch": 1.0, "loss": 1.0},
    {"epoch": 1.0, "eval_loss": 0.8, "eval_accuracy": 0.9},
    {"epoch": 2.0, "loss": 0.5},
    {"epoch": 2.0, "eval_loss": 0.7, "eval_accuracy": 0.8},
]


@pytest.fixture
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {"text": ["one", "two words", "three words here", "a b c d"], "label_name": ["rare", "often", "often", "often"]}
    )


def test_class_distribution_is_sorted_with_the_commonest_on_top(frame):
    ax = et.plot_class_distribution(frame)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["rare", "often"]
    assert [bar.get_width() for bar in ax.patches] == [1, 3]
    assert "3  (75%)" in [text.get_text() for text in ax.texts]


def test_text_lengths_have_a_box_per_label_and_no_outliers(frame):
    ax = et.plot_text_lengths(frame)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["rare", "often"]
    medians = [line.get_xdata() for line in ax.lines if line.get_linewidth() == 2]
    assert [float(xs[0]) for xs in medians] == [1, 3]


@pytest.mark.parametrize("classes", [1, 2, 3, 6, 7, 11])
def test_hexbins_have_a_panel_per_label(classes):
    rng = np.random.default_rng(0)
    projection = pd.DataFrame(rng.normal(size=(50, 2)), columns=["X", "Y"])
    labels = rng.integers(0, max(1, classes - 1), 50)  # the last label has no text
    names = [f"label {i}" for i in range(classes)]
    figure = et.plot_hexbins(projection, labels, names)
    titles = [ax.get_title() for ax in figure.axes if ax.axison]
    assert len(titles) == classes
    assert titles[0] == f"label 0 ({(labels == 0).sum()})"


def test_confusion_matrix_rows_are_shares_of_the_true_label():
    ax = et.plot_confusion_matrix(y_true=[0, 0, 1, 1], y_pred=[0, 1, 1, 1], label_names=["a", "b", "c"])
    np.testing.assert_array_equal(ax.images[0].get_array(), [[0.5, 0.5, 0], [0, 1, 0], [0, 0, 0]])
    texts = [text.get_text() for text in ax.texts]
    assert texts == ["0.50", "0.50", "0.00", "0.00", "1.00", "0.00", "", "", ""]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["a", "b", "c"]


def test_confusion_matrix_refuses_an_id_without_a_name():
    with pytest.raises(DataError, match=r"\[2\], but label_names has the ids 0 to 1"):
        et.plot_confusion_matrix(y_true=[0, 2], y_pred=[0, 0], label_names=["a", "b"])


@pytest.mark.parametrize(("sort", "order"), [(True, ["joy", "fear", "love"]), (False, ["love", "joy", "fear"])])
def test_class_probabilities_keep_their_labels(sort, order):
    scores = {"love": 0.1, "joy": 0.7, "fear": 0.2}
    ax = et.plot_class_probabilities(scores, title="a text", sort=sort)
    assert [label.get_text() for label in ax.get_xticklabels()] == order
    assert [round(bar.get_height()) for bar in ax.patches] == [round(scores[name] * 100) for name in order]


def test_learning_curve_marks_the_best_epoch():
    figure = et.plot_learning_curve(LOG)
    loss, accuracy = figure.axes
    assert [line.get_ydata().tolist() for line in loss.lines] == [[1.0, 0.5], [0.8, 0.7]]
    star = accuracy.lines[1]
    assert (star.get_xdata()[0], star.get_ydata()[0]) == (1.0, 90.0)


def test_scores_are_sorted_with_their_intervals():
    scores = pd.DataFrame({"value": [0.9, 0.5], "low": [0.8, 0.4], "high": [0.95, 0.6]}, index=["good", "poor"])
    ax = et.plot_scores(scores, title="t", xlabel="x")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["poor", "good"]
    assert [text.get_text() for text in ax.texts] == ["50.0%", "90.0%"]
    segments = ax.collections[0].get_segments()
    np.testing.assert_allclose(segments[1][:, 0], [0.8, 0.95])


def test_calibration_of_a_sure_and_right_model_lies_on_the_diagonal():
    confidence = np.repeat([0.25, 0.75], 100)
    correct = np.concatenate([np.arange(100) < 25, np.arange(100) < 75])
    line = et.plot_calibration(correct, confidence).lines[1]
    np.testing.assert_allclose(line.get_xdata(), [25, 75])
    np.testing.assert_allclose(line.get_ydata(), [25, 75])


def test_calibration_curves_share_one_diagonal():
    ax = et.plot_calibration([True, False], [0.9, 0.8])
    et.plot_calibration([True, False], [0.6, 0.7], label="after", ax=ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["perfectly calibrated", "the model", "after"]


def test_cost_shows_each_model_at_its_seconds():
    columns = {"value": [0.3, 0.9], "low": [0.25, 0.88], "high": [0.35, 0.92], "seconds": [0.01, 90.0]}
    scores = pd.DataFrame(columns, index=["majority $class$", "fine-tuned"])
    ax = et.plot_cost(scores, title="Cost", ylabel="accuracy")
    assert ax.get_xscale() == "log"
    said = {text.get_text(): text.xy for text in ax.texts}
    assert said == {"majority $class$\n30.0%": (0.01, 0.3), "fine-tuned\n90.0%": (90.0, 0.9)}
    ax.figure.canvas.draw()
    with pytest.raises(ValueError, match="above 0"):
        et.plot_cost(scores.assign(seconds=0), title="", ylabel="")


@pytest.mark.parametrize(("correct", "confidence"), [([], []), ([True], [0.5, 0.6]), ([True], [1.5])])
def test_calibration_refuses(correct, confidence):
    with pytest.raises(ValueError, match=r"equally long|\[0, 1\]"):
        et.plot_calibration(correct, confidence)


@pytest.mark.parametrize(
    "call",
    [
        lambda: et.plot_learning_curve([]),
        lambda: et.plot_losses(pd.DataFrame({"label": [], "predicted_label": []})),
        lambda: et.plot_explanation(explanation_of("a b").drop(columns="label")),
        lambda: et.plot_coloured_text(explanation_of("a b").drop(columns="label")),
        lambda: et.plot_class_distribution(pd.DataFrame({"a": [1]})),
        lambda: et.plot_text_lengths(pd.DataFrame({"text": ["a"]})),
        lambda: et.plot_hexbins(pd.DataFrame({"x": [1]}), [0], ["a"]),
        lambda: et.plot_scores(pd.DataFrame({"value": [1]}), title="", xlabel=""),
        lambda: et.plot_cost(pd.DataFrame({"value": [1], "low": [1], "high": [1]}), title="", ylabel=""),
    ],
)
def test_missing_columns_are_named(call):
    with pytest.raises(DataError, match="Missing column"):
        call()


def test_given_axes_are_used(frame):
    scores = pd.DataFrame({"value": [0.5], "low": [0.4], "high": [0.6]}, index=["a"])
    losses = pd.DataFrame({"label": ["a"], "predicted_label": ["a"], "loss": [0.1]})
    for draw in (
        lambda ax: et.plot_class_distribution(frame, ax=ax),
        lambda ax: et.plot_text_lengths(frame, ax=ax),
        lambda ax: et.plot_confusion_matrix(y_true=[0], y_pred=[0], label_names=["a"], ax=ax),
        lambda ax: et.plot_class_probabilities({"a": 1.0}, ax=ax),
        lambda ax: et.plot_scores(scores, title="", xlabel="", ax=ax),
        lambda ax: et.plot_calibration([True], [0.9], ax=ax),
        lambda ax: et.plot_gains([True, False], ax=ax),
        lambda ax: et.plot_losses(losses, ax=ax),
        lambda ax: et.plot_explanation(explanation_of("a b"), ax=ax),
        lambda ax: et.plot_coloured_text(explanation_of("a b"), ax=ax),
    ):
        figure, ax = plt.subplots()
        assert draw(ax) is ax
        figure.canvas.draw()


def test_diagrams_show_what_they_are_given():
    figure = et.draw_classifier(
        ["[CLS]", "hey", "[SEP]"], [101, 4931, 102], layers=3, dim=64, label_names=["no", "yes"]
    )
    said = " ".join(text.get_text() for text in figure.axes[0].texts)
    assert "hey" in said
    assert "4931" in said
    assert isinstance(et.draw_training_modes(), Figure)
    with pytest.raises(ValueError, match="one id per token, got 1 tokens and 2 ids"):
        et.draw_classifier(["a"], [1, 2])


def test_losses_are_split_by_right_and_wrong():
    losses = pd.DataFrame(
        {"label": ["a", "a", "b"], "predicted_label": ["a", "b", "b"], "loss": [0.0, 3.0, 0.2]}  # 0 has no logarithm
    )
    ax = et.plot_losses(losses)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "predicted as labelled (2)",
        "predicted otherwise (1)",
    ]
    assert ax.get_xscale() == "log"
    assert sum(bar.get_height() for bar in ax.patches) == 3


def test_gains_count_what_is_found():
    ax = et.plot_gains([True, False, True, False])
    found, best, chance = (line.get_ydata() for line in ax.lines)
    np.testing.assert_allclose(found, [0, 50, 50, 100, 100])
    np.testing.assert_allclose(best, [0, 50, 100, 100, 100])
    np.testing.assert_allclose(chance, [0, 100])
    assert ax.get_ylabel() == "found (% of 2)"
    with pytest.raises(ValueError, match="None of the 3 texts"):
        et.plot_gains([False] * 3)


def explanation_of(text: str, attributions=None) -> pd.DataFrame:
    words = text.split()
    if attributions is None:
        attributions = np.random.default_rng(0).normal(size=len(words))
    return pd.DataFrame({"word": words, "attribution": attributions, "label": "joy"})


def boxes(ax: Axes) -> list:
    """Return the ground of each word as it is drawn, in pixels."""
    ax.figure.canvas.draw()
    return [text.get_bbox_patch().get_window_extent() for text in ax.texts]


def contrast(ground) -> float:
    """Return the contrast of black on a colour, by WCAG 2.2."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in ground[:3]]
    return (float(np.dot(parts, [0.2126, 0.7152, 0.0722])) + 0.05) / 0.05


AWKWARD = [
    "so happy",
    "word " * 40,
    "and some longer words " * 90,
    f"a https://example.com/{'path/' * 200} b",
    "costs $5 or $x^2$ \\frac{ 100% _a_",
    "\U0001f600 漢字 Ünïcode ÅÊg مرحبا \u200b e\u0301",
    "w",
]


def test_explanation_is_read_from_the_top():
    ax = et.plot_explanation(explanation_of("so $happy$ and so sad", [0.1, 0.5, 0.0, 0.1, -0.3]))
    assert [label.get_text() for label in ax.get_yticklabels()] == ["so", "$happy$", "and", "so", "sad"]
    assert [bar.get_width() for bar in ax.patches] == [0.1, 0.5, 0.0, 0.1, -0.3]
    bottom, top = ax.get_ylim()
    assert bottom > top
    colours = [bar.get_facecolor() for bar in ax.patches]
    assert colours[0] == colours[1] == colours[3] != colours[4]


def test_explanation_of_a_long_text_shows_the_strongest_words_in_their_order():
    attributions = [(-1) ** i * ((i * 7) % 40) / 100 for i in range(40)]
    ax = et.plot_explanation(explanation_of(" ".join(f"w{i}" for i in range(40)), attributions))
    strongest = sorted(range(40), key=lambda i: -abs(attributions[i]))[:25]
    assert [label.get_text() for label in ax.get_yticklabels()] == [f"w{i}" for i in sorted(strongest)]


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("text", AWKWARD)
@pytest.mark.parametrize("style", [True, False])
def test_coloured_words_are_all_there_and_do_not_overlap(text, style):
    with plt.rc_context():
        if style:
            et.use_style()
        ax = et.plot_coloured_text(explanation_of(text))
        grounds = boxes(ax)
    assert "".join(word.get_text() for word in ax.texts) == "".join(text.split())
    frame = ax.figure.bbox
    for i, box in enumerate(grounds):
        assert frame.x0 <= box.x0 < box.x1 <= frame.x1
        assert frame.y0 <= box.y0 < box.y1 <= frame.y1
        assert not any(box.overlaps(other) for other in grounds[i + 1 : i + 60])
    title = ax.title.get_window_extent()
    assert title.y0 >= max(box.y1 for box in grounds)
    assert title.y1 <= frame.y1
    et.plot_explanation(explanation_of(text)).figure.canvas.draw()


def test_coloured_words_can_be_read():
    ax = et.plot_coloured_text(explanation_of("a b c d e", [1.0, -1.0, 0.5, -0.2, 0.0]))
    assert {text.get_color() for text in ax.texts} == {"black"}
    contrasts = [contrast(text.get_bbox_patch().get_facecolor()) for text in ax.texts]
    assert min(contrasts) >= 4.5
    assert contrasts[0] < contrasts[2] < contrasts[4] == pytest.approx(21)
    assert contrasts[1] < contrasts[3]
    blue, orange = (ax.texts[i].get_bbox_patch().get_facecolor() for i in (0, 1))
    assert blue[2] > blue[0]
    assert orange[0] > orange[2]
    assert not ax.axison


@pytest.mark.parametrize("layout", [None, "constrained"])
def test_a_figure_grows_for_a_coloured_text(layout):
    figure, axes = plt.subplots(2, 1, figsize=(5, 2), layout=layout)
    assert et.plot_coloured_text(explanation_of("word " * 60), ax=axes[0]) is axes[0]
    lowest = min(box.y0 for box in boxes(axes[0]))
    assert lowest >= axes[0].get_window_extent().y0 - 2
    assert figure.get_figheight() > 2


@pytest.mark.parametrize("draw", [et.plot_explanation, et.plot_coloured_text])
def test_explanations_without_words_or_weight_are_drawn(draw):
    ax = draw(explanation_of(""))
    assert "without words" in (ax.get_title(loc="left") or ax.get_title())
    draw(explanation_of("a b", [0.0, 0.0])).figure.canvas.draw()


LONG = [f"a label whose name is much too long for one line of any figure, number {i}" for i in range(11)]


def overlapping(ax: Axes, labels) -> list[tuple[str, str]]:
    """Return neighbours among tick labels whose boxes overlap by more than a pixel."""
    ax.figure.canvas.draw()
    boxes = [(label.get_text(), label.get_window_extent()) for label in labels]
    return [
        (a, b)
        for (a, box), (b, other) in pairwise(boxes)
        if min(box.y1, other.y1) - max(box.y0, other.y0) > 1 and min(box.x1, other.x1) - max(box.x0, other.x0) > 1
    ]


@pytest.mark.parametrize("names", [LONG, ["$ 1", "$ 2 $"], ["only", "two"]], ids=["long", "dollars", "short"])
def test_label_names_of_any_kind_have_room_and_are_not_mixed_up(names):
    frame = pd.DataFrame({"text": ["a b", "a"] * len(names), "label_name": names + names[::-1]})
    ids = list(range(len(names)))
    scores = pd.DataFrame({"value": 0.5, "low": 0.4, "high": 0.6}, index=names)
    rows = [et.plot_class_distribution(frame), et.plot_text_lengths(frame), et.plot_scores(scores, title="", xlabel="")]
    rows.append(et.plot_confusion_matrix(y_true=ids, y_pred=ids, label_names=names))
    for ax in rows:
        labels = ax.get_yticklabels()
        assert len(labels) == len(names)
        assert overlapping(ax, labels) == []
        assert not any(label.get_parse_math() for label in labels)
    bars = et.plot_class_probabilities(dict.fromkeys(names, 1 / len(names)), title="it costs $5 or $6")
    assert len(bars.patches) == len(names)
    assert not bars.title.get_parse_math()
    if len(names) <= 3:
        assert [label.get_text() for label in bars.get_xticklabels()] == names
