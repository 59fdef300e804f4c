"""Write the tables and figures that are made from docs/results.json: `python benchmarks/tables.py`.

A table replaces what stands between `<!-- results: NAME -->` and `<!-- end of results -->` in the README, the data
card, the guides and the notebooks. The figures go to docs/images.
"""

import json
import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from results import LABEL_ERRORS, RESULTS, ROOT
from summaries import KINDS, ZERO_SHOT

import emotion_tutorial as et

IMAGES = ROOT / "docs" / "images"
METHODS = {
    "majority": "majority class",
    "TF-IDF": "TF-IDF and logistic regression, scikit-learn's defaults",
    "bag of words": "bag of words, tuned",
    "probe on [CLS]": "probe on [CLS], tuned",
    "probe": "probe on the mean, tuned",
    "fine-tuned": "fine-tuned, mean of three seeds",
}
DRAWN = ("bag of words", "probe", "fine-tuned")
FEW_LABEL_METHODS = ("bag of words", "probe", "SetFit without pairs", "SetFit", "LoRA", "fine-tuned")
FEW_LABEL_SIZES = ("4", "8", "16", "64")
DATA = {"bundled": "bundled texts", "tweets": "tweets"}
DELETED_WORDS = {
    "top": "the word with the highest attribution",
    "any": "any word (mean over all of a text)",
    "most": "the word whose absence costs most",
}


def percent(cell: dict[str, float], name: str = "value") -> str:
    """Return a share with its interval, in percent."""
    return f"{100 * cell[name]:.1f} ({100 * cell['low']:.1f} to {100 * cell['high']:.1f})"


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def score_table(results: dict[str, Any], split: str) -> str:
    """Return the accuracy of every method on one split of both sets of texts."""
    sets = [data for data in DATA if data in results["scores"]]
    rows = (
        [name, *(percent(results["scores"][data][split][method]) for data in sets)] for method, name in METHODS.items()
    )
    return table((f"{split} accuracy in %, 95% interval", *(DATA[data] for data in sets)), rows)


def seed_table(results: dict[str, Any]) -> str:
    """Return the accuracy of each of three trainings beside the interval over texts."""
    rows = []
    for data, by_split in results["scores"].items():
        for split, scores in by_split.items():
            cell = scores["fine-tuned"]
            seeds = ", ".join(f"{100 * seed:.1f}" for seed in cell["seeds"])
            spread = (f"{100 * cell['std']:.1f}", f"{cell['disagreement']:.0%}")
            rows.append([f"{DATA[data]}, {split}", seeds, *spread, percent(cell)])
    head = ("fine-tuned", "three seeds, %", "standard deviation", "only one of two right")
    return table((*head, "mean, 95% interval over texts"), rows)


def kind_table(results: dict[str, Any]) -> str:
    """Return the accuracy on each kind of the bundled test texts."""
    kinds = results["kinds"]
    head = ("test accuracy in %, 95% interval", *(f"{kind} ({kinds[kind]['texts']} texts)" for kind in KINDS))
    return table(head, ([name, *(percent(kinds[kind][key]) for kind in KINDS)] for key, name in METHODS.items()))


def behavior_table(results: dict[str, Any]) -> str:
    """Return how many pairs have both texts right, for each capability."""
    methods = [method for method in METHODS if method in DRAWN]
    rows = []
    for capability, cells in results["behavior"].items():
        name = "all pairs" if capability == "all" else capability
        shown = (percent(cells[method]["both"]) for method in methods)
        rows.append([f"{name} ({cells['pairs']})", *shown])
    return table(("both texts of a pair right, in % (pairs)", *methods), rows)


def calibration_table(results: dict[str, Any]) -> str:
    """Return log loss, Brier score and calibration error before and after."""
    names = {"log_loss": "log loss", "brier_score": "Brier score", "calibration_error": "calibration error"}
    found = results["calibration"]
    head = ("", *(f"{DATA[data]}, {when}" for data in found for when in ("before", "after")))
    rows = [
        [name, *(f"{cells[when][key]:.3f}" for cells in found.values() for when in ("before", "after"))]
        for key, name in names.items()
    ]
    return table(head, rows)


def weights_table(results: dict[str, Any]) -> str:
    """Return what class weights change, as means of three seeds with their standard deviation."""
    found = results["class_weights"]
    rarest = found["rarest"]
    names = {"accuracy": "accuracy", "macro_f1": "macro F1", "log_loss": "log loss"}
    names |= {"precision": f"precision of *{rarest['label']}*"}
    names |= {"recall": f"recall of *{rarest['label']}* ({rarest['texts']} texts)"}
    rows = []
    for key, name in names.items():
        change = found["change"][key]
        interval = f"{change['value']:+.3f} ({change['low']:+.3f} to {change['high']:+.3f})"
        rows.append([name, *(f"{found[way][key]['value']:.3f}" for way in ("without", "with")), interval])
    head = ("validation, mean of three seeds", "without weights", "with class weights")
    return table((*head, "change, 95% interval over texts"), rows)


def label_error_table(results: dict[str, Any]) -> str:
    """Return how well each judge finds wrong labels."""
    rows = []
    for data, found in results["label_errors"].items():
        for judge, cell in found.items():
            if isinstance(cell, dict):
                shown = (f"{cell['average_precision']:.2f}", f"{cell['precision_at_100']:.0%}", str(cell["estimate"]))
                rows.append([DATA[data], judge.replace("fine tuned", "fine-tuned"), *shown, str(found["wrong"])])
    head = ("texts", "judge", "average precision", "wrong among the first 100", "estimated to be wrong", "planted")
    return table(head, rows)


def deletion_table(results: dict[str, Any]) -> str:
    """Return how far the probability of the predicted label falls when a word is taken out."""
    found = results["deletions"]
    rows = (
        [name, f"{cell['value']:.2f} ({cell['low']:.2f} to {cell['high']:.2f})", f"{cell['label_changes']:.0%}"]
        for name, cell in ((name, found[key]) for key, name in DELETED_WORDS.items())
    )
    head = (f"taken out of {found['texts']} validation texts", "the probability falls by", "the label changes")
    same = f"In {found['top_is_most']:.0%} of the texts, the first and the last of these are the same word."
    return f"{table(head, rows)}\n\n{same}"


def speed_table(results: dict[str, Any]) -> str:
    """Return how accurate, fast and large each way to predict is, and where that was measured."""
    head = ["predicting {texts:,} validation texts", "accuracy in %, 95% interval", "labels unlike torch's in float32"]
    head += ["texts/s (in batches of)", "one text: ms, median", "one text: ms, 99%", "MB"]
    rows = []
    for method, cell in results["speed"].items():
        times = results["timings"][method]
        rate = f"{times['texts_per_second']:,.0f} ({times['batch_size']})"
        waits = (f"{times[name]:.2f}" for name in ("median_ms", "p99_ms"))
        shown = (percent(cell), str(cell["other_labels"]), rate, *waits, f"{cell['megabytes']:.1f}")
        rows.append([METHODS.get(method, method), *shown])
    head[0] = head[0].format(texts=cell["texts"])
    where = results["parts"]["speed"]["machine"]
    return f"{table(head, rows)}\n\nMeasured by `python benchmarks/prediction_speed.py` on {where}."


def corpus_table(results: dict[str, Any]) -> str:
    """Return what a hundred million texts take, computed from the rates that were measured on two cores."""
    measured = {"speed": results["timings"]}
    measured["peers, predictions"] = results.get("peers", {}).get("predictions", {}).get("ways", {})
    rows = []
    for names in OF_CLASSIFY:
        for name, (part, found) in zip(names, measured.items(), strict=True):
            if rate := found.get(name, {}).get("texts_per_second"):
                processor = results["parts"][part]["machine"].partition("(")[2].rstrip(")")
                hours = (2 * 1e8 / rate / 3600 / cores for cores in (2, 16, 128))
                shown = (f"{each:,.0f}" if each >= 10 else f"{each:.1f}" for each in hours)
                rows.append([names[0], processor, f"{rate:,.0f}", *shown])
    head = ["a hundred million texts", "processor", "texts/s on 2 cores, measured", "hours on 2 cores, computed"]
    head += ["on 16 cores, computed", "on 128 cores, computed"]
    machines = {results["parts"][part]["machine"].partition(" (")[0] for part, found in measured.items() if found}
    said = (
        "Of the model's work alone: reading, checking and writing, and what Ray itself does, come on top. Computed from"
    )
    return f"{table(head, rows)}\n\n{said} rates of short texts on {' and '.join(sorted(machines))}."


OF_CLASSIFY = (
    ("torch, float32", "predict_proba, float32"),
    ("torch, bfloat16", "predict_proba, bfloat16"),
    ("ONNX Runtime, float32", "OnnxClassifier, float32"),
    ("ONNX Runtime, int8", "OnnxClassifier, int8"),
)
"""What `classify` computes with, as prediction_speed.py and as peers.py call it."""


def equivalence_table(results: dict[str, Any]) -> str:
    """Return whether int8 is as accurate as float32, to within the margin."""
    found = results["equivalence"]
    names = {"inside": "yes", "outside": "no", "not shown": "not shown: the interval goes beyond the margin"}
    difference, low, high, margin = (f"{100 * found[name]:.1f}" for name in ("difference", "low", "high", "margin"))
    head = ("accuracy of int8 minus float32, in points", "95% interval", "margin", "equal to within the margin?")
    return table(head, [[difference, f"{low} to {high}", f"±{margin}", names[found["verdict"]]]])


def layer_table(results: dict[str, Any]) -> str:
    """Return what plain int8 changes, with all layers and without one kind each."""
    names = {"float32": "none (float32)", "": "all, plainly", "recipe": "all, as `export_onnx` does it"}
    rows = []
    for kind, cell in results["int8_layers"].items():
        accuracy, change = f"{100 * cell['accuracy']['value']:.1f}", f"{100 * cell['change']:.2f}"
        shown = (accuracy, change, str(cell["other_labels"]), f"{cell['megabytes']:.1f}")
        rows.append([names.get(kind, f"all but {kind}"), *shown])
    change = "mean change of the true label's probability, in points"
    return table(("layers in int8", "validation accuracy in %", change, "labels unlike torch's in float32", "MB"), rows)


def few_label_table(results: dict[str, Any]) -> str:
    """Return the macro F1 of each method for each number of labels, with the standard deviation over draws."""
    found, on_all = results["few_labels"], results["scores"]["bundled"]["validation"]
    rows = []
    for method in FEW_LABEL_METHODS:
        cells = dict(found[method])
        if method in on_all:
            cells["all"] = {"value": on_all[method]["macro_f1"], "draws": []}
        draws = len(cells[FEW_LABEL_SIZES[0]]["draws"])
        ordered = [cells[size] for size in (*FEW_LABEL_SIZES, "all")]
        shown = (f"{cell['value']:.2f}" + (f" ± {cell['std']:.2f}" if "std" in cell else "") for cell in ordered)
        rows.append([method, str(draws), *shown])
    texts = results["parts"]["few labels"]["rows"]["train"]
    sizes = (f"{size} per label" for size in FEW_LABEL_SIZES)
    return table(("macro F1 on validation", "draws", *sizes, f"all {texts:,} texts"), rows)


def few_label_difference_table(results: dict[str, Any]) -> str:
    """Return the differences between methods on the same draws, in points of macro F1."""
    rows = []
    for pair, cells in results["few_label_differences"].items():
        shown = (f"{100 * c['value']:+.1f} ({100 * c['low']:+.1f} to {100 * c['high']:+.1f})" for c in cells.values())
        rows.append([pair.replace(" - ", " minus "), str(len(cells[FEW_LABEL_SIZES[0]]["draws"])), *shown])
    sizes = (f"{size} per label" for size in FEW_LABEL_SIZES)
    return table(("points of macro F1, 95% interval over draws", "draws", *sizes), rows)


def data_set_table(results: dict[str, Any]) -> str:
    """Return what notebook 1 counts, for both data sets."""
    rows = []
    for measure, values in results["data_sets"].items():
        is_share = measure.startswith("with ") or measure.endswith("share")
        form = "{:.1%}" if is_share else "{:.1f}" if "over" in measure else "{:,.0f}"
        rows.append([measure.removesuffix(", share"), *(form.format(values[data]) for data in ("bundled", "tweets"))])
    return table(("in the training texts, if nothing else is said", "bundled", "tweets"), rows)


def peers_table(results: dict[str, Any]) -> str:
    """Return a section for each part that was measured beside the peers."""
    return "\n\n".join(peers_section(results, part) for part in PEER_COLUMNS if part in results["peers"])


def peers_section(results: dict[str, Any], part: str) -> str:
    """Return the table of one part, where we are faster or slower than the best peer, and how it was measured."""
    found, about = results["peers"][part], results["parts"][f"peers, {part}"]
    columns = PEER_COLUMNS[part]
    rows, missing = [], dict[str, list[str]]()
    for name, cell in found["ways"].items():
        shown = f"**{name}** (ours)" if cell["ours"] else name
        if reason := cell.get("not_measured"):
            missing.setdefault(reason, []).append(name)
        else:
            rows.append([shown, cell["precision"], *(peer_cell(cell, column) for column in columns)])
    heading = {"vectors": "Vectors", "training": "Training to equal accuracy", "predictions": "Predictions"}[part]
    made = table([part, "precision", *columns], rows)
    lines = [f"### {heading}", made, *peer_verdicts(found["compared"]), measured_how(about)]
    left_out = [f"- *{'*, *'.join(names)}*: {reason}." for reason, names in missing.items()]
    return "\n\n".join([*lines, *(["Not measured:\n\n" + "\n".join(left_out)] if left_out else [])])


PEER_COLUMNS = {
    "vectors": ("texts/s", "smallest cosine", "peak memory, MB"),
    "training": ("seconds", "accuracy, %", "steps", "seconds per step", "peak memory, MB"),
    "predictions": ("texts/s", "accuracy, %", "other labels", "files, MB", "peak memory, MB"),
}
"""The parts that are measured beside the peers, in the order of the page, and what their tables show."""


def peer_cell(cell: dict[str, Any], column: str) -> str:
    """Return one number of a way, with the lowest and the highest of the rounds if it is a time."""
    if column == "texts/s":
        return f"{cell['texts_per_second']:,.0f} ({cell['low']:,.0f} to {cell['high']:,.0f})"
    if column == "seconds":
        failed = cell["rounds"] - cell["reached"]
        missed = f"; not reached in {failed} of {cell['rounds']}" if failed else ""
        spread = f"{cell['seconds_low']:,.1f} to {cell['seconds_high']:,.1f}" if cell["rounds"] > 1 else "one run"
        return f"{cell['seconds']:,.1f} ({spread}{missed})"
    if column == "seconds per step":
        return f"{cell['seconds'] / cell['steps']:.2f}"
    key, form, scale = {
        "smallest cosine": ("cosine", ".4f", 1),
        "accuracy, %": ("accuracy", ".1f", 100),
        "steps": ("steps", ",", 1),
        "other labels": ("other_labels", ",", 1),
        "files, MB": ("file_mb", ",.0f", 1),
        "peak memory, MB": ("peak_mb", ",.0f", 1),
    }[column]
    return format(cell[key] * scale, form) if key in cell else ""


def peer_verdicts(compared: dict[str, Any]) -> list[str]:
    """Say, for each precision, how our fastest way compares with the fastest peer."""
    lines, pairs = [], [(cell["ours"], cell["peer"]) for kind, cell in compared.items() if kind != "any"]
    for kind, cell in compared.items():
        if kind == "any" and (cell["ours"], cell["peer"]) in pairs:
            continue  # it has just been said
        where = "In any precision" if kind == "any" else f"In {kind}"
        said = f"{where}, *{cell['ours']}* is {cell['ratio']:.2f} times as fast as the fastest peer, *{cell['peer']}*"
        spread = f"{cell['low']:.2f} to {cell['high']:.2f} over the rounds"
        said += f" ({spread if cell['rounds'] > 1 else 'one round'})."
        if cell["ratio"] < 1 - SLOWER:
            said += " **Here we are not the fastest.**"
        elif cell["ratio"] < 1:
            said += f" That is slower, by less than {SLOWER:.0%}."
        lines.append(f"- {said}")
    return ["\n".join(lines)] if lines else []


SLOWER = 0.05
"""By how much we may be slower than the best peer before the page says so in bold."""


def measured_how(about: dict[str, Any]) -> str:
    """Say what was measured, with which command, where, and whether anything else was running."""
    said = f"Measured by `{about['command']}` on {about['machine']}, "
    said += f"{'while other work was running' if about['busy'] else 'idle'} (load before: {about['load_before']})."
    if tokens := about.get("tokens"):
        said += f" Texts: {'bundled' if about['source'] == 'embedded' else about['source']}, {tokens['mean']} tokens on"
        said += f" average, {tokens['longest']} at most; the book's code pads to {about['padded_to']}."
    if until := about.get("until"):
        said += f" Trained until {until:.0%} of {about['rows']['validation']:,} validation texts are right."
    names = ("torch", "transformers", "sentence-transformers", "onnxruntime")
    versions = ", ".join(f"{name} {about['versions'][name]}" for name in names if name in about["versions"])
    if elsewhere := about.get("elsewhere"):
        versions += "; in the other environment " + ", ".join(f"{name} {value}" for name, value in elsewhere.items())
    return f"{said} Versions: {versions}."


def growth_section(results: dict[str, Any]) -> str:
    """Return the slopes of all curves, the figures, and how they were measured."""
    rows, figures = [], []
    for axis, curves in results["growth"].items():
        for operation, cell in curves.items():
            sizes, seconds, peak = cell["sizes"], cell["seconds"], cell["peak_mb"]
            names = ("slope", "last", "memory_slope")
            slopes = [f"{round(cell[name], 2) + 0:.2f}" if name in cell else "" for name in names]
            worse = f"**{slopes[1]}**" if cell.get("last", 0) > WORSE_THAN_LINEAR else slopes[1]
            ends = [f"{sizes[0]:,} to {sizes[-1]:,}", f"{seconds[0]:,.3g} to {seconds[-1]:,.3g}"]
            ends.append(f"{peak[0]:,.0f} to {peak[-1]:,.0f}")
            ends.append(" to ".join(f"{max(0, cell['added_mb'][place]):,.0f}" for place in (0, -1)))
            rows.append([f"{operation}, {GROWS[axis]}", *ends, slopes[0], worse, slopes[2]])
        figures.append(f"![{growth_alt(axis, curves)}](images/growth_{axis}.png)")
    head = ["what grows", "sizes", "seconds", "peak memory, MB", "of which the call added"]
    head += ["slope of time", "between the last two", "slope of what was added"]
    bold = "Slopes of more than {:.1f} between the two largest sizes, in bold, are worse than linear."
    parts = [table(head, rows), bold.format(WORSE_THAN_LINEAR), *figures, measured_how(results["parts"]["growth"])]
    return "\n\n".join(parts)


GROWS = {"texts": "texts", "labels": "labels", "lengths": "tokens in a text"}
WORSE_THAN_LINEAR = 1.1
GROWTH_STYLES = {
    "vectors": ("#0072B2", "o"),
    "predictions": ("#D55E00", "s"),
    "label errors": ("#009E73", "D"),
    "loading": ("#E69F00", "^"),
    "audit": ("#CC79A7", "v"),
    "evaluation": ("#000000", "<"),
}
"""The color and the marker of what is called, in all figures of how cost grows."""


def growth_alt(axis: str, curves: dict[str, Any]) -> str:
    """Return the text alternative of a figure: where each curve of time begins and ends."""
    ends = (
        f"{name} from {cell['seconds'][0]:.2f} to {cell['seconds'][-1]:,.2f} seconds" for name, cell in curves.items()
    )
    return (
        f"Time and peak memory against the number of {GROWS[axis]}, with logarithmic axes of time: {'; '.join(ends)}."
    )


TABLES: dict[str, tuple[str, Callable[[dict[str, Any]], str]]] = {
    "validation": ("scores", lambda results: score_table(results, "validation")),
    "test": ("scores", lambda results: score_table(results, "test")),
    "seeds": ("scores", seed_table),
    "kinds": ("kinds", kind_table),
    "behavior": ("behavior", behavior_table),
    "calibration": ("calibration", calibration_table),
    "class_weights": ("class_weights", weights_table),
    "label_errors": ("label_errors", label_error_table),
    "deletions": ("deletions", deletion_table),
    "speed": ("speed", speed_table),
    "corpus": ("speed", corpus_table),
    "equivalence": ("equivalence", equivalence_table),
    "int8_layers": ("int8_layers", layer_table),
    "few_labels": ("few_labels", few_label_table),
    "few_label_differences": ("few_label_differences", few_label_difference_table),
    "data_sets": ("data_sets", data_set_table),
    "peers": ("peers", peers_table),
    "growth": ("growth", growth_section),
}
"""Each table, with the key of docs/results.json that it needs."""


def tables(results: dict[str, Any]) -> dict[str, str]:
    """Return the Markdown tables, by the name in their marker, of whatever was measured."""
    return {name: make(results) for name, (needs, make) in TABLES.items() if needs in results}


def draw_intervals(ax: Axes, rows: dict[str, dict[str, Any]], methods: Iterable[str]) -> None:
    """Draw the score of each method in each row, with its interval."""
    for i, method in enumerate(methods):
        cells = pd.DataFrame([row[method] for row in rows.values()])
        y = np.arange(len(rows)) + 0.22 * (i - 1)
        color = et.METHOD_COLORS[method]
        ax.hlines(y, cells["low"], cells["high"], color=color, linewidth=2.5, alpha=0.6)
        ax.plot(cells["value"], y, "o", color=color, label=method)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.grid(axis="x", color="0.92")
    ax.legend(ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)


def draw_scores(results: dict[str, Any]) -> Figure:
    """Draw the test accuracy on both sets of texts and on each kind of the bundled ones."""
    rows = {}
    for data in (data for data in ("tweets", "bundled") if data in results["scores"]):
        texts = results["parts"][data]["rows"]["test"]
        rows[f"{DATA[data]}\n({texts:,})"] = results["scores"][data]["test"]
    kinds = results["kinds"]
    rows |= {f"bundled, {kind}\n({kinds[kind]['texts']})": kinds[kind] for kind in KINDS}
    figure, ax = plt.subplots(figsize=(7.2, 4.8), layout="constrained")
    draw_intervals(ax, rows, DRAWN)
    ax.set(xlim=(0.3, 1), xlabel="accuracy on the test split (bars: 95% interval)")
    ax.set_title("Six emotions: how often is it right?", loc="left", pad=28)
    return figure


def draw_seeds(results: dict[str, Any]) -> Figure:
    """Draw the accuracy of three trainings, above the interval over texts of their mean, beside the baselines."""
    rows = {}
    for data, by_split in results["scores"].items():
        for split, scores in by_split.items():
            texts = results["parts"][data]["rows"][split]
            rows[f"{DATA[data]}, {split}\n({texts:,} texts)"] = scores
    figure, ax = plt.subplots(figsize=(7.2, 1.6 + 0.75 * len(rows)), layout="constrained")
    color = et.METHOD_COLORS["fine-tuned"]
    for i, scores in enumerate(rows.values()):
        cell = scores["fine-tuned"]
        ax.hlines(i + 0.15, cell["low"], cell["high"], color=color, linewidth=2.5, alpha=0.5)
        for j, seed in enumerate(cell["seeds"]):  # one above the other, as two may be equal
            ax.plot(seed, i - 0.1 - 0.12 * j, "o", color=color, markersize=5)
        for method in ("bag of words", "probe"):
            ax.plot(scores[method]["value"], i, "D", color=et.METHOD_COLORS[method], label="" if i else method)
    ax.plot([], [], "o", color=color, label="fine-tuned, three seeds")
    ax.plot([], [], color=color, linewidth=2.5, alpha=0.5, label="interval over texts")
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.xaxis.set_major_formatter("{x:.0%}")
    ax.set(xlabel="accuracy")
    ax.set_title("Two kinds of doubt: other texts, and another training", loc="left", pad=28)
    ax.grid(axis="x", color="0.92")
    ax.legend(ncols=4, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=8, columnspacing=1)
    return figure


def draw_behavior(results: dict[str, Any]) -> Figure:
    """Draw the share of pairs of which both texts are right; in a panel of its own, what turning the order costs."""
    found = results["behavior"]
    rows = {
        f"{'all pairs' if name == 'all' else name} ({cells['pairs']})": {
            method: cells[method]["both"] for method in DRAWN
        }
        for name, cells in found.items()
    }
    figure, (ax, order) = plt.subplots(
        1, 2, figsize=(9.6, 5.2), width_ratios=(2, 1), sharey=False, layout="constrained"
    )
    draw_intervals(ax, rows, DRAWN)
    ax.axhline(len(rows) - 1.5, color="0.8", linewidth=1)
    ax.set(xlim=(0, 1), xlabel="pairs with both texts right (bars: 95% interval)")
    ax.set_title("Two texts that differ in one thing", loc="left", pad=28)
    for i, method in enumerate(DRAWN):
        cells = [found["order"][method][variant] for variant in ("a", "b")]
        x, color = np.arange(2) + 0.06 * (i - 1), et.METHOD_COLORS[method]
        order.vlines(x, [cell["low"] for cell in cells], [cell["high"] for cell in cells], color=color, alpha=0.5)
        order.plot(x, [cell["value"] for cell in cells], "o-", color=color)
    order.set_xticks((0, 1), ("own feeling\nlast", "own feeling\nfirst"))
    order.set(xlim=(-0.4, 1.4), ylim=(0, 1), ylabel="texts that are labeled right")
    order.yaxis.set_major_formatter("{x:.0%}")
    order.set_title("order: turned round", loc="left", pad=28)
    return figure


def draw_calibration(results: dict[str, Any]) -> Figure:
    """Draw how often predictions are right, against how sure the model is."""
    found = results["calibration"]
    figure, axes = plt.subplots(1, len(found), figsize=(3.8 * len(found), 3.8), squeeze=False, layout="constrained")
    for ax, (data, cells) in zip(axes.flat, found.items(), strict=True):
        ax.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        for when, style in (("before", "o--"), ("after", "s-")):
            bins = pd.DataFrame(cells[when]["bins"])
            ax.plot(bins["confidence"], bins["accuracy"], style, label=f"{when} scaling", markersize=4)
        ax.set(
            title=f"{DATA[data]}, T = {cells['temperature']:.2f}",
            xlabel="how sure the model is",
            ylabel="how often right",
        )
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        ax.legend()
    return figure


def draw_class_weights(results: dict[str, Any]) -> Figure:
    """Draw what class weights change, with an interval over texts, and for each seed."""
    found = results["class_weights"]
    names = {"accuracy": "accuracy", "macro_f1": "macro F1"}
    names |= {key: f"{key} of {found['rarest']['label']}" for key in ("precision", "recall")}
    figure, ax = plt.subplots(figsize=(7.2, 3.2), layout="constrained")
    for row, measure in enumerate(names):
        change = found["change"][measure]
        label = "" if row else "mean of three trainings, 95% interval over texts"
        color = et.METHOD_COLORS["fine-tuned"]
        ax.hlines(row - 0.1, 100 * change["low"], 100 * change["high"], color=color, linewidth=2.5, alpha=0.6)
        ax.plot(100 * change["value"], row - 0.1, "o", color=color, label=label)
        label, seeds = "" if row else "each training", [100 * seed for seed in change["seeds"]]
        ax.plot(seeds, [row + 0.2] * 3, "|", color="0.3", markersize=10, label=label)
    ax.axvline(0, color="0.8", zorder=0)
    ax.set_yticks(range(len(names)), names.values())
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set(xlabel="change on validation, points")
    ax.set_title("Class weights: more of the rarest label is found", loc="left", pad=28)
    ax.legend(ncols=2, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=9)
    ax.grid(axis="x", color="0.92")
    return figure


def draw_label_errors(results: dict[str, Any]) -> Figure:
    """Draw how many of the first k suspects are wrong, for each judge."""
    errors, found = pd.read_parquet(LABEL_ERRORS), results["label_errors"]
    figure, axes = plt.subplots(1, len(found), figsize=(3.8 * len(found), 3.6), squeeze=False, layout="constrained")
    for ax, data in zip(axes.flat, found, strict=True):
        for judge, rows in errors[errors["data"] == data].groupby("method", observed=True, sort=False):
            rows = rows.sort_values("score", ascending=False, kind="stable")
            wrong = (rows["label"] != rows["truth"]).to_numpy()[:400]
            shares = wrong.cumsum() / np.arange(1, len(wrong) + 1)
            name = str(judge).replace("fine tuned", "fine-tuned")
            ax.plot(np.arange(20, len(wrong) + 1), shares[19:], color=et.METHOD_COLORS[name], label=name)
        chance = found[data]["wrong"] / found[data]["texts"]
        ax.axhline(chance, color="0.6", linewidth=1)
        ax.text(400, chance + 0.01, "in random order", color="0.4", ha="right", va="bottom", fontsize=8)
        ax.set(
            title=DATA[data],
            xlabel="suspects that are read (from 20)",
            ylabel="share that is wrong",
            xlim=(0, 400),
            ylim=(0, 1),
        )
        ax.yaxis.set_major_formatter("{x:.0%}")
        ax.grid(color="0.92")
    axes.flat[0].legend()
    figure.suptitle("How many of the suspects have a wrong label?", fontsize="medium")
    return figure


def draw_deletions(results: dict[str, Any]) -> Figure:
    """Draw how far the probability of the label falls when a word is taken out."""
    found = results["deletions"]
    figure, ax = plt.subplots(figsize=(7.2, 2.2), layout="constrained")
    for row, key in enumerate(DELETED_WORDS):
        cell = found[key]
        ax.hlines(row, cell["low"], cell["high"], color="0.3", linewidth=2.5)
        ax.plot(cell["value"], row, "o", color="0.3")
    ax.set_yticks(range(len(DELETED_WORDS)), DELETED_WORDS.values())
    ax.set_ylim(len(DELETED_WORDS) - 0.5, -0.5)
    ax.set(xlim=(0, 0.6), xlabel="fall of the label's probability (bars: 95% interval)")
    ax.set_title("What a word is worth when it is taken out", loc="left")
    ax.grid(axis="x", color="0.92")
    return figure


def draw_speed(results: dict[str, Any]) -> Figure:
    """Draw accuracy against throughput, and how long one text takes, for each way to predict."""
    found, times = results["speed"], pd.DataFrame(results["timings"]).T
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.6), width_ratios=(1.3, 1), layout="constrained")
    scores = 100 * pd.DataFrame(found).T[["value", "low", "high"]]
    markers = dict(zip(found, "osD^v<p>P", strict=False))
    hollow: dict[str, Any] = {"markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.8}
    for row, method in enumerate(found):
        style = {"color": et.METHOD_COLORS.get(method, et.METHOD_COLORS["fine-tuned"])}
        x, (value, low, high) = times["texts_per_second"][method], scores.loc[method]
        left.vlines(x, low, high, alpha=0.5, linewidth=2, **style)
        left.plot(x, value, markers[method], **hollow, **style)
        median, slow = times.loc[method, ["median_ms", "p99_ms"]]
        right.hlines(row, median, slow, alpha=0.5, linewidth=2, **style)
        right.plot(median, row, markers[method], **hollow, **style)
        right.plot(slow, row, "|", markersize=14, markeredgewidth=2, **style)
    left.plot([], [], color=et.METHOD_COLORS["fine-tuned"], linewidth=2, label="the fine-tuned model")
    left.legend(loc="center right")
    name_points(left, times["texts_per_second"], scores)
    right.set_yticks(range(len(found)), [*found])
    right.invert_yaxis()
    texts = next(iter(found.values()))["texts"]
    left.set(title=f"Accuracy and throughput on {texts:,} validation texts", xlabel="texts per second (log scale)")
    left.set(ylabel="accuracy in % (bars: 95% interval)")
    right.set(title="The time for one short text", xlabel="milliseconds (log scale; tick: 99th percentile)")
    for ax, form in ((left, "{x:,.0f}"), (right, "{x:g}")):
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.xaxis.set_major_formatter(form)
        ax.minorticks_off()
        ax.grid(axis="x", color="0.92")
    processor = results["parts"]["speed"]["machine"].rpartition(" (")[0]
    figure.supxlabel(f"Measured on {processor}", fontsize=9, color="0.4")
    return figure


def name_points(ax: Axes, x: "pd.Series[float]", scores: pd.DataFrame) -> None:
    """Write the names of methods below their intervals; of the fine-tuned model's ways, on stairs above them.

    The names of points that lie close together, from left to right, stand below each other, so that none meets another.
    """
    ways = [method for method in x.sort_values().index if method not in et.METHOD_COLORS]
    top, step = scores["high"].max(), 2.6
    for method in scores.index.difference(ways):
        ax.text(x[method], scores["low"][method] - 0.5, method, ha="center", va="top")
    for level, method in enumerate(reversed(ways), start=1):
        ax.vlines(x[method], scores["high"][method], top + step * level, color="0.75", linewidth=0.8)
        ax.annotate(method, (x[method], top + step * level), (3, 0), textcoords="offset points", va="center")
    ax.set(ylim=(scores["low"].min() - 4, top + step * (len(ways) + 1)), xlim=(x.min() / 1.3, 2 * x.max()))


def draw_few_labels(results: dict[str, Any]) -> Figure:
    """Draw the macro F1 of each method against the number of labels: every draw, and the means."""
    found, on_all = results["few_labels"], results["scores"]["bundled"]["validation"]
    labels, every = results["parts"]["few labels"]["labels"], results["parts"]["few labels"]["rows"]["train"]
    numbers = np.array([labels * int(size) for size in FEW_LABEL_SIZES])
    figure, ax = plt.subplots(figsize=(7.6, 4.8), layout="constrained")
    drawn = [method for method in FEW_LABEL_METHODS if method in et.METHOD_COLORS]
    for i, (method, marker) in enumerate(zip(drawn, "osD^v", strict=False)):
        cells, color = found[method], et.METHOD_COLORS[method]
        means = [cells[size]["value"] for size in FEW_LABEL_SIZES]
        last = on_all[method]["macro_f1"] if method in on_all else cells["all"]["value"]
        x = numbers * 1.04 ** (i - 2)  # beside each other, as some are equal
        ax.plot(x, means, f"{marker}-", color=color, label=method, markersize=6)
        ax.plot([x[-1], every], [means[-1], last], ":", color=color, linewidth=1.2)
        ax.plot(every, last, marker, color=color, markersize=6, clip_on=False)
        for position, size in zip(x, FEW_LABEL_SIZES, strict=True):
            draws = cells[size]["draws"]
            ax.plot([position] * len(draws), draws, "_", color=color, markersize=7, alpha=0.5)
    lines = {"majority": found["majority"]["0"]["value"], "zero-shot": found[ZERO_SHOT]["0"]["value"]}
    for method, value in lines.items():
        ax.axhline(value, color=et.METHOD_COLORS[method], linestyle="--", linewidth=1.2)
        name = "no labels: nearest description" if method == "zero-shot" else "always the most common label"
        ax.text(19, value + 0.008, name, color="0.4" if method == "majority" else "black", fontsize=8)
    ax.set_xscale("log")
    names = [f"{number}\n{size} of each" for number, size in zip(numbers, FEW_LABEL_SIZES, strict=True)]
    ax.set_xticks([*numbers, every], [*names, f"{every:,}\nall texts"])
    ax.minorticks_off()
    ax.set(xlabel="labels (log scale)", ylabel="macro F1 on validation", xlim=(18, 1.1 * every), ylim=(0, 0.75))
    ax.set_title("With few labels, a description is hard to beat", loc="left", pad=28)
    ax.legend(ncols=5, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=9, columnspacing=1)
    ax.grid(axis="y", color="0.92")
    return figure


def draw_active_learning(results: dict[str, Any]) -> Figure:
    """Draw the score against the number of labels for both ways to choose texts, and their difference."""
    found = results["active_learning"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 3.8), width_ratios=(1, 1), layout="constrained")
    for way, style in (("random", "o--"), ("least certain", "s-")):
        cells = pd.DataFrame(found[way]).T
        color = et.METHOD_COLORS["probe"] if way == "least certain" else "0.45"
        left.plot(cells.index.astype(int), cells["value"], style, color=color, markersize=4, label=way)
    described = results["few_labels"][ZERO_SHOT]["0"]["value"]
    left.axhline(described, color=et.METHOD_COLORS["zero-shot"], linestyle="--", linewidth=1.2)
    left.text(20, described + 0.004, "no labels: nearest description", fontsize=8)
    left.set(xlabel="labeled texts", ylabel="macro F1 on validation")
    left.set_title(f"A probe, mean of {found['starts']} starts", loc="left")
    left.legend(title="texts are chosen", loc="lower right")
    cells = 100 * pd.DataFrame(found["difference"]).T
    x = cells.index.astype(int)
    right.vlines(x, cells["low"], cells["high"], color=et.METHOD_COLORS["probe"], linewidth=2.5, alpha=0.6)
    right.plot(x, cells["value"], "s", color=et.METHOD_COLORS["probe"], markersize=4)
    right.axhline(0, color="0.6", linewidth=1)
    right.set(xlabel="labeled texts", ylabel="points of macro F1 (bars: 95% interval)")
    right.set_title("Least certain minus random", loc="left")
    for ax in (left, right):
        ax.grid(axis="y", color="0.92")
    return figure


def draw_growth(results: dict[str, Any], axis: str) -> Figure:
    """Draw time and peak memory against what grows, with the slope of time between the two largest sizes."""
    curves, about = results["growth"][axis], results["parts"]["growth"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.6, 4.2), layout="constrained")
    for name, cell in curves.items():
        color, marker = GROWTH_STYLES[name]
        style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 5}
        slope = f" (slope {round(cell['last'], 2) + 0:.2f})" if "last" in cell else ""
        left.plot(cell["sizes"], cell["seconds"], label=f"{name}{slope}", **style)
        right.plot(cell["sizes"], cell["peak_mb"], label=name, **style)
    highest = max(max(cell["peak_mb"]) for cell in curves.values())
    left.set(title=f"How time grows with {GROWS[axis]}", ylabel="seconds of one call (log scale)", yscale="log")
    right.set(title="Peak memory of the process", ylabel="MB", ylim=(0, 1.1 * highest))
    right.yaxis.set_major_formatter("{x:,.0f}")
    for ax in (left, right):
        ax.set(xlabel=f"{GROWS[axis]} (log scale)", xscale="log")
        if axis == "lengths":
            ax.set_xticks(max((cell["sizes"] for cell in curves.values()), key=len))
        ax.xaxis.set_major_formatter("{x:,.0f}")
        ax.minorticks_off()
        ax.grid(color="0.92")
    figure.legend(*left.get_legend_handles_labels(), loc="outside upper center", ncols=5, fontsize=9, frameon=False)
    processor = about["machine"].rpartition(" (")[0]
    figure.supxlabel(f"Measured on {processor}; slopes between the two largest sizes", fontsize=9, color="0.4")
    return figure


FIGURES: dict[str, tuple[str, Callable[[dict[str, Any]], Figure]]] = {
    "results": ("scores", draw_scores),
    "seeds": ("scores", draw_seeds),
    "behavior": ("behavior", draw_behavior),
    "calibration": ("calibration", draw_calibration),
    "class_weights": ("class_weights", draw_class_weights),
    "label_errors": ("label_errors", draw_label_errors),
    "deletions": ("deletions", draw_deletions),
    "speed": ("speed", draw_speed),
    "few_labels": ("few_labels", draw_few_labels),
    "active_learning": ("active_learning", draw_active_learning),
    **{f"growth_{axis}": (f"growth/{axis}", partial(draw_growth, axis=axis)) for axis in GROWS},
}
"""Each figure, by its name in docs/images, with the key of docs/results.json that it needs, `/` before one within."""


def is_there(results: dict[str, Any], key: str) -> bool:
    """Say whether a key of docs/results.json was measured."""
    for name in key.split("/"):
        results = results.get(name, {})
    return bool(results)


def write_tables(text: str, made: dict[str, str]) -> str:
    """Return a text with its tables made again; a table that was not measured stays."""
    pattern = r"(<!-- results: (\w+) -->\n).*?(<!-- end of results -->)"

    def replace(found: re.Match[str]) -> str:
        return f"{found[1]}{made[found[2]]}\n{found[3]}" if found[2] in made else found[0]

    return re.sub(pattern, replace, text, flags=re.DOTALL)


def pages() -> list[Path]:
    """Return the files that may have such tables."""
    card = ROOT / "emotion_tutorial" / "corpus" / "README.md"
    guides = [path for path in sorted((ROOT / "docs").glob("*.md")) if not re.match(r"\d\d_", path.name)]
    return [ROOT / "README.md", card, *guides, *sorted((ROOT / "notebooks").glob("*.ipynb"))]


def refresh(path: Path, made: dict[str, str]) -> str:
    """Return the content of a file with its tables made again."""
    if path.suffix != ".ipynb":
        return write_tables(path.read_text(encoding="utf-8"), made)
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = write_tables(cell.source, made)
    return nbformat.writes(notebook) + "\n"


def main() -> None:
    """Run from the command line."""
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    et.use_style()
    for name, (needs, draw) in FIGURES.items():
        if is_there(results, needs):
            figure = draw(results)
            figure.savefig(IMAGES / f"{name}.png", dpi=200)
            plt.close(figure)
    made = tables(results)
    for path in pages():
        path.write_text(refresh(path, made), encoding="utf-8")
    print("\n\n".join(made.values()))


if __name__ == "__main__":
    main()
