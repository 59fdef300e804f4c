"""What follows from the predictions for each text: every number in docs/results.json."""

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm, t
from sklearn.metrics import average_precision_score, f1_score

import emotion_tutorial as et
from emotion_tutorial.calibration import fit_temperature
from emotion_tutorial.corpus import EMOTIONS

KINDS = ("explicit", "situation", "contrast", "irony")
NAMES = [*EMOTIONS]
RESAMPLES = 2000
SPREAD = {"": "median", "_low": "min", "_high": "max"}
"""The ends of the names of numbers over rounds, and what they are."""
LEAST_MB = 5
"""Memory below this is not fitted: it is as large as what a process needs by chance."""
Frame = pd.DataFrame


def wilson(share: float, texts: int) -> tuple[float, float]:
    """Return the 95% interval of a share of texts; of a mean over trainings, as if they had the same texts right."""
    z = norm.ppf(0.975)
    center, scale = share + z**2 / (2 * texts), 1 + z**2 / texts
    half = z * np.sqrt(share * (1 - share) / texts + z**2 / (4 * texts**2))
    return (center - half) / scale, (center + half) / scale


def share(runs: list[float], texts: int) -> dict[str, Any]:
    """Return the mean of some trainings, its interval over texts and, of several, their spread."""
    low, high = wilson(float(np.mean(runs)), texts)
    found: dict[str, Any] = {"value": np.mean(runs), "low": low, "high": high}
    return found | spread(runs)


def spread(runs: list[float]) -> dict[str, Any]:
    """Return each training's number and their standard deviation, if there are several."""
    return {"seeds": [rounded(run) for run in runs], "std": np.std(runs, ddof=1)} if len(runs) > 1 else {}


def rounded(thing: Any) -> Any:
    """Round every number in nested dictionaries and lists to four digits."""
    if isinstance(thing, dict):
        return {str(name): rounded(value) for name, value in thing.items()}
    if isinstance(thing, list):
        return [rounded(value) for value in thing]
    return round(float(thing), 4) if isinstance(thing, float | np.floating) else thing


def runs_of(rows: Frame) -> list[Frame]:
    """Return the rows of each training."""
    return [run for _, run in rows.sort_values("row", kind="stable").groupby("seed")]


def by_method(rows: Frame) -> dict[str, list[Frame]]:
    """Return the trainings of each method, in the order in which they were measured."""
    return {method: runs_of(rows[rows["method"] == method]) for method in dict.fromkeys(rows["method"])}


def score(runs: list[Frame]) -> dict[str, Any]:
    """Return the accuracy with its interval, the macro F1 and, of several trainings, how often two of them disagree."""
    right = np.array([run["label"].to_numpy() == run["predicted"].to_numpy() for run in runs])
    macro_f1 = [f1_score(run["label"], run["predicted"], average="macro", zero_division=0) for run in runs]
    found = share([float(run.mean()) for run in right], right.shape[1]) | {"macro_f1": float(np.mean(macro_f1))}
    pairs = [(a != b).mean() for a, b in itertools.combinations(right, 2)]
    return found | ({"disagreement": float(np.mean(pairs))} if pairs else {})


def scores(predictions: Frame) -> dict[str, Any]:
    """Return the scores on validation and test of both sets of texts."""
    found: dict[str, Any] = {}
    rows = predictions[predictions["part"].isin(["bundled", "tweets"]) & (predictions["split"] != "pairs")]
    for data in dict.fromkeys(rows["data"]):
        for split in ("validation", "test"):
            chosen = by_method(rows[(rows["data"] == data) & (rows["split"] == split)])
            found.setdefault(data, {})[split] = {method: score(runs) for method, runs in chosen.items()}
    return found


def differences(predictions: Frame) -> dict[str, Any]:
    """Return paired comparisons on validation and test; of the fine-tuned models, the first is compared."""
    found: dict[str, Any] = {}
    pairs = (("bag of words", "probe"), ("bag of words", "fine-tuned"), ("probe", "fine-tuned"))
    for data, split in [(data, split) for data in ("bundled", "tweets") for split in ("validation", "test")]:
        runs = by_method(predictions[(predictions["part"] == data) & (predictions["split"] == split)])
        for a, b in pairs if runs else ():
            first, second = runs[a][0], runs[b][0]
            result = et.compare(first["label"].array, first["predicted"].array, second["predicted"].array)
            found.setdefault(data, {}).setdefault(split, {})[f"{b} - {a}"] = result.to_dict()
    return found


def kinds(predictions: Frame) -> dict[str, Any]:
    """Return the scores on each kind of the bundled test texts."""
    rows = predictions[(predictions["part"] == "bundled") & (predictions["split"] == "test")]
    if rows.empty:
        return {}
    kind_of = et.load_corpus_notes().query("split == 'test'").set_index("row")["kind"]
    found = {}
    for kind in KINDS:
        chosen = by_method(rows[rows["row"].map(kind_of) == kind])
        found[kind] = {"texts": len(chosen["majority"][0])} | {name: score(runs) for name, runs in chosen.items()}
    return found


def behavior(predictions: Frame) -> dict[str, Any]:
    """Return how often both texts of a pair, and each of them, are labeled right, for each capability."""
    rows = predictions[predictions["split"] == "pairs"]
    pairs = et.load_behavior_pairs()
    found: dict[str, Any] = {}
    for method, runs in by_method(rows).items():
        given = [[NAMES[i] for i in run["predicted"]] for run in runs]
        tables = [et.check_behavior(pairs, partial(_given, labels)) for labels in given]
        for capability, right in tables[0].index:
            values = [table.loc[(capability, right), "value"] for table in tables]
            support = int(tables[0].loc[(capability, right), "support"])
            found.setdefault(capability, {"pairs": support}).setdefault(method, {})[right] = share(values, support)
    return found


def _given(labels: list[str], _: list[str]) -> list[str]:
    return labels


def calibration(predictions: Frame) -> dict[str, Any]:
    """Find the temperature of the first fine-tuned model on a half of validation, and judge it on the other."""
    found = {}
    for data in ("bundled", "tweets"):
        of_data = (predictions["part"] == data) & (predictions["split"] == "validation")
        rows = predictions[of_data & (predictions["method"] == "fine-tuned") & (predictions["seed"] == 0)]
        if rows.empty:
            continue
        y = rows["label"].to_numpy()
        logits = np.log(np.clip(rows[NAMES].to_numpy(dtype=np.float64), 1e-12, 1))
        order = np.random.default_rng(0).permutation(len(rows))
        fitted, judged = np.split(order, [len(order) // 2])
        temperature = fit_temperature(logits[fitted], y[fitted])
        ways = {}
        for name, scaled in (("before", logits[judged]), ("after", logits[judged] / temperature)):
            probabilities = np.exp(scaled) / np.exp(scaled).sum(axis=1, keepdims=True)
            ways[name] = et.calibration_scores(y[judged], probabilities).to_dict()
            table = et.calibration_table(y[judged], probabilities)
            ways[name]["bins"] = table.astype(float).to_dict(orient="list")
            losses = -np.log(probabilities[np.arange(len(judged)), y[judged]])
            ways[name]["losses"] = losses
        difference = ways["after"].pop("losses") - ways["before"].pop("losses")
        margin = norm.ppf(0.975) * difference.std(ddof=1) / np.sqrt(len(difference))
        change = {"value": difference.mean(), "low": difference.mean() - margin, "high": difference.mean() + margin}
        about = {"temperature": temperature, "texts": len(judged), "log_loss_change": change}
        found[data] = about | ways
    return found


def class_weights(predictions: Frame) -> dict[str, Any]:
    """Return what class weights do to all texts of validation, and to the rarest label; intervals by the bootstrap."""
    rows = predictions[(predictions["data"] == "bundled") & (predictions["split"] == "validation")]
    methods, found = by_method(rows), {}
    if "fine-tuned, class weights" not in methods or "fine-tuned" not in methods:
        return {}
    rarest = int(rows["label"].value_counts().index[-1])
    y = methods["fine-tuned"][0]["label"].to_numpy()
    draws = np.random.default_rng(0).multinomial(len(y), np.full(len(y), 1 / len(y)), size=RESAMPLES)
    resampled: dict[str, list[dict[str, Any]]] = {}
    for method, name in (("fine-tuned", "without"), ("fine-tuned, class weights", "with")):
        runs = [_measures(run, np.ones((1, len(y))), rarest) for run in methods[method]]
        values = {measure: [float(run[measure][0]) for run in runs] for measure in runs[0]}
        found[name] = {measure: {"value": np.mean(runs)} | spread(runs) for measure, runs in values.items()}
        resampled[name] = [_measures(run, draws, rarest) for run in methods[method]]
    found["change"] = {}
    for measure in found["with"]:
        after, before = (np.mean([run[measure] for run in resampled[way]], axis=0) for way in ("with", "without"))
        low, high = np.percentile(after - before, [2.5, 97.5])
        seeds = np.subtract(found["with"][measure]["seeds"], found["without"][measure]["seeds"])
        found["change"][measure] = {"value": seeds.mean(), "low": low, "high": high, "seeds": seeds.tolist()}
    return found | {"rarest": {"label": NAMES[rarest], "texts": int((y == rarest).sum())}}


def _measures(run: Frame, weights: np.ndarray, label: int) -> dict[str, np.ndarray]:
    """Return each measure for each row of weights of the texts, which say how often a text was drawn."""
    ids, y = np.arange(len(NAMES)), run["label"].to_numpy()
    true, given = y[:, None] == ids, run["predicted"].to_numpy()[:, None] == ids
    hits, trues, givens = weights @ (true & given), weights @ true, weights @ given
    losses = -np.log(run[NAMES].to_numpy(dtype=np.float64)[np.arange(len(y)), y])
    return {
        "accuracy": hits.sum(axis=1) / len(y),
        "macro_f1": (2 * hits / np.maximum(trues + givens, 1)).mean(axis=1),
        "log_loss": weights @ losses / len(y),
        "precision": hits[:, label] / np.maximum(givens[:, label], 1),
        "recall": hits[:, label] / np.maximum(trues[:, label], 1),
    }


def label_errors(errors: Frame) -> dict[str, Any]:
    """Return how well each judge finds the labels that are known to be wrong, and how many it thinks there are."""
    found: dict[str, Any] = {}
    for data in dict.fromkeys(errors["data"]):
        rows = errors[errors["data"] == data]
        for judge in dict.fromkeys(rows["method"]):
            frame = rows[rows["method"] == judge].sort_values("score", ascending=False, kind="stable")
            wrong = frame["label"] != frame["truth"]
            found.setdefault(data, {"texts": len(frame), "wrong": int(wrong.sum())})[judge] = {
                "average_precision": average_precision_score(wrong, frame["score"]),
                "precision_at_100": wrong[:100].mean(),
                "estimate": int(frame["likely_error"].sum()),
            }
    return found


def deletions(rows: Frame) -> dict[str, Any]:
    """Return how far the label's probability falls, and how often the label changes, when a word is taken out.

    The word is the one with the highest attribution, any one (the mean over all words of a text), or the one whose
    absence costs most.
    """
    rows = rows.assign(fall=rows["before"] - rows["after"])
    texts = rows.groupby("row")
    ways = {
        "top": rows.loc[texts["attribution"].idxmax()],
        "any": texts[["fall", "label_changes"]].mean(),
        "most": rows.loc[texts["fall"].idxmax()],
    }
    found: dict[str, Any] = {"texts": len(texts)}
    for name, frame in ways.items():
        fall, margin = frame["fall"].astype(float), norm.ppf(0.975) / np.sqrt(len(texts))
        changes = float(frame["label_changes"].mean())
        mean, half = float(fall.mean()), float(fall.std(ddof=1) * margin)
        found[name] = {"value": mean, "low": mean - half, "high": mean + half, "label_changes": changes}
    found["top_is_most"] = float((ways["top"].index == ways["most"].index).mean())
    return found


REFERENCE, INT8, PLAIN = "torch, float32", "ONNX Runtime, int8", "ONNX Runtime, plain int8"
"""Of the ways to predict with the fine-tuned model: what the others are compared with, the export, and its rival."""
MARGIN = 0.01
"""The largest difference in accuracy at which int8 counts as good as float32, chosen before any was measured.

It is what chance does anyway: the accuracy of trainings that differ in nothing but the seed has a standard deviation of
0.6 points (see `scores`), and so the difference between two of them one of 0.9.
"""


def speed(predictions: Frame) -> dict[str, Any]:
    """Return the accuracy of each way to predict, and for how many texts it has another label than the reference."""
    runs = by_method(predictions[predictions["without"] == ""])
    reference = runs[REFERENCE][0]
    return {method: score([run]) | _other_labels(run, reference) for method, [run] in runs.items()}


def _other_labels(run: Frame, reference: Frame) -> dict[str, Any]:
    others = int((run["predicted"].array != reference["predicted"].array).sum())
    return {"texts": len(run), "other_labels": others, "megabytes": run["megabytes"].iloc[0]}


def equivalence(predictions: Frame) -> dict[str, Any]:
    """Compare int8 with the reference, text by text, and say on which side of the margin the interval lies."""
    runs = by_method(predictions[predictions["without"] == ""])
    [reference], [int8] = runs[REFERENCE], runs[INT8]
    result = et.compare(reference["label"].array, reference["predicted"].array, int8["predicted"].array)
    found = {str(name): value for name, value in result.items()}
    verdict = "not shown"
    if found["low"] > -MARGIN and found["high"] < MARGIN:
        verdict = "inside"
    elif found["low"] > MARGIN or found["high"] < -MARGIN:
        verdict = "outside"
    return found | {"margin": MARGIN, "verdict": verdict}


def int8_layers(predictions: Frame) -> dict[str, Any]:
    """Return what plain int8 changes in all layers, and in all but one kind; beside float32 and our recipe.

    `change` is by how much the probability of the true label differs from the reference, on average.
    """
    [reference], [plain], [recipe] = (by_method(predictions)[method] for method in (REFERENCE, PLAIN, INT8))
    variants = {str(without): run for without, run in plain.groupby("without", sort=False, observed=True)}
    rows = np.arange(len(reference)), reference["label"].to_numpy()
    found = {}
    for name, run in {"float32": reference, **variants, "recipe": recipe}.items():
        probable, expected = (frame[NAMES].to_numpy(dtype=np.float64)[rows] for frame in (run, reference))
        about = {"accuracy": share([float((run["label"] == run["predicted"]).mean())], len(run))}
        found[name] = about | _other_labels(run, reference) | {"change": np.abs(probable - expected).mean()}
    return found


def timings(measured: Frame) -> dict[str, Any]:
    """Return the median of the rounds, and the median and the 99th percentile of the calls for one text."""
    found = {}
    for method in dict.fromkeys(measured["method"]):
        rows = measured[measured["method"] == method]
        rates, calls = (rows[rows["measure"] == name] for name in ("texts per second", "milliseconds"))
        found[method] = {
            "texts_per_second": rates["value"].median(),
            "batch_size": int(rates["batch_size"].iloc[0]),
            "median_ms": calls["value"].median(),
            "p99_ms": calls["value"].quantile(0.99),
        }
    return found


RIVALS = (
    *(("zero-shot", method) for method in ("probe", "SetFit", "fine-tuned")),
    *(("probe", method) for method in ("SetFit without pairs", "SetFit", "LoRA", "fine-tuned")),
    ("SetFit without pairs", "SetFit"),
    ("SetFit", "fine-tuned"),
)
"""The methods for few labels that are compared: the first is taken from the second."""
ZERO_SHOT = "a list of what it covers"
"""The wording that was to be used before any was measured."""


def over_draws(values: npt.ArrayLike) -> dict[str, Any]:
    """Return the mean, its 95% interval by Student's t, and what it is the mean of."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 1:
        return {"value": float(x[0]), "draws": x.tolist()}
    half = t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
    return {
        "value": x.mean(),
        "low": x.mean() - half,
        "high": x.mean() + half,
        "std": x.std(ddof=1),
        "draws": x.tolist(),
    }


def few_labels(rows: Frame) -> dict[str, Any]:
    """Return the macro F1 of each method for each number of texts per label, over the draws."""
    found: dict[str, Any] = {}
    rows = rows[rows["what"] == "curve"]
    for method in dict.fromkeys(rows["method"]):
        for per_label, group in rows[rows["method"] == method].groupby("per_label"):
            size = "all" if per_label == -1 else str(int(per_label))
            found.setdefault(method, {})[size] = over_draws(group.sort_values("draw")["macro_f1"])
    return found


def few_label_differences(rows: Frame) -> dict[str, Any]:
    """Compare methods on the draws that both have; what needs no draw is compared with each of them."""
    few = rows[rows["per_label"] > 0]
    scores = few.pivot_table("macro_f1", ["per_label", "draw"], "method").rename(columns=str)
    scores["zero-shot"] = rows.loc[rows["method"] == ZERO_SHOT, "macro_f1"].iloc[0]
    found: dict[str, Any] = {}
    for a, b in RIVALS:
        change = (scores[b] - scores[a]).dropna()
        found[f"{b} - {a}"] = {f"{n:.0f}": over_draws(group) for n, group in change.groupby("per_label")}
    return found


def active_learning(rows: Frame) -> dict[str, Any]:
    """Return the macro F1 after each round of labeling, for both ways to choose, and their difference."""
    scores = rows.pivot_table("macro_f1", ["labels", "start"], "way").rename(columns=str)
    scores["difference"] = scores["least certain"] - scores["random"]
    found: dict[str, Any] = {}
    for way in scores:
        for labels, group in scores[way].groupby("labels"):
            cell = over_draws(group)
            found.setdefault(str(way), {})[str(labels)] = {name: cell[name] for name in ("value", "low", "high", "std")}
    return found | {"starts": int(rows["start"].nunique())}


def data_sets(rows: Frame) -> dict[str, Any]:
    """Return what was counted in each data set."""
    return {
        str(measure): dict(zip(group["data"], group["value"], strict=True))
        for measure, group in rows.groupby("measure", sort=False, observed=True)
    }


def peers(rows: Frame) -> dict[str, Any]:
    """Return how long each way of each part took, and how much faster our fastest one is than the fastest peer."""
    found: dict[str, Any] = {}
    for part, group in rows.groupby("part", sort=False, observed=True):
        ways = {str(name): peer(runs) for name, runs in group.groupby("method", sort=False, observed=True)}
        kinds = ["float32", *(kind for kind in dict.fromkeys(group["precision"]) if kind != "float32"), "any"]
        compared = {kind: beside_the_best(group, ways, kind) for kind in kinds}
        compared = {kind: cell for kind, cell in compared.items() if cell}
        found[str(part).removeprefix("peers, ")] = {"ways": ways, "compared": compared}
    return found


def peer(runs: Frame) -> dict[str, Any]:
    """Return the median, the lowest and the highest of the rounds of one way, and what it needed and gave."""
    first = runs.iloc[0]
    about = {"ours": bool(first["ours"]), "precision": str(first["precision"])}
    if first["reason"]:
        return about | {"not_measured": str(first["reason"])}
    rates = runs["texts"] / runs["seconds"]
    found = about | {"rounds": len(runs), "texts": int(first["texts"])}
    found |= {"texts_per_second": rates.median(), "low": rates.min(), "high": rates.max()}
    found |= {f"seconds{end}": getattr(runs["seconds"], how)() for end, how in SPREAD.items()}
    found |= {
        key: runs[key].median() for key in ("peak_mb", "file_mb", "cosine", "accuracy") if runs[key].notna().all()
    }
    found |= {key: int(runs[key].median()) for key in ("other_labels", "steps") if runs[key].notna().all()}
    return found | ({"reached": int(runs["reached"].sum())} if runs["reached"].notna().all() else {})


def beside_the_best(group: Frame, ways: dict[str, Any], kind: str) -> dict[str, Any]:
    """Compare our fastest way of one precision, or of any, with the fastest peer, in the rounds that both have."""
    chosen = {
        ours: {
            name: cell["texts_per_second"]
            for name, cell in ways.items()
            if cell["ours"] == ours
            and kind in (cell["precision"], "any")
            and cell.get("reached", cell.get("rounds", 0)) == cell.get("rounds")
        }
        for ours in (True, False)
    }
    if not chosen[True] or not chosen[False]:
        return {}
    ours, best = (max(rates, key=lambda name: rates[name]) for rates in chosen.values())
    cost = (group["seconds"] / group["texts"]).to_frame("cost").assign(method=group["method"], round=group["round"])
    by_round = cost.pivot_table("cost", "round", "method", observed=True)
    ratios = (by_round[best] / by_round[ours]).dropna()
    found = {"ours": ours, "peer": best, "rounds": len(ratios)}
    return found | {"ratio": ratios.median(), "low": ratios.min(), "high": ratios.max()}


def growth(rows: Frame) -> dict[str, Any]:
    """Return time and memory for each size of what grows, and the slopes of lines through their logarithms.

    A slope of 1 is cost that grows in proportion. `last` is the slope between the two largest sizes, where what every
    call costs, whatever the size, counts least. The slope of memory is that of what the call added to the process.
    """
    found: dict[str, Any] = {}
    for (axis, operation), group in rows.groupby(["axis", "method"], sort=False, observed=True):
        added = group.assign(added=group["peak_mb"] - group["before_mb"])
        points = added.groupby("size")[["seconds", "peak_mb", "added"]].median()
        cell: dict[str, Any] = {"sizes": points.index.tolist(), "seconds": points["seconds"].tolist()}
        cell |= {"peak_mb": points["peak_mb"].tolist(), "added_mb": points["added"].tolist()}
        much = points[points["added"] >= LEAST_MB]
        slopes = {"slope": points["seconds"], "last": points["seconds"].tail(2), "memory_slope": much["added"]}
        found.setdefault(str(axis), {})[str(operation)] = cell | {
            name: slope(values) for name, values in slopes.items() if len(values) > 1
        }
    return found


def slope(values: "pd.Series[float]") -> float:
    """Return the slope of the line through the logarithms of values and of the sizes in their index."""
    return float(np.polyfit(np.log(values.index.to_numpy(dtype=float)), np.log(values), 1)[0])


Summary = Callable[[Frame], dict[str, Any]]
OF_FILES: dict[str, dict[str, Summary]] = {
    "predictions": {
        "scores": scores,
        "differences": differences,
        "kinds": kinds,
        "behavior": behavior,
        "calibration": calibration,
        "class_weights": class_weights,
    },
    "label_errors": {"label_errors": label_errors},
    "deletions": {"deletions": deletions},
    "speed": {"speed": speed, "equivalence": equivalence, "int8_layers": int8_layers},
    "timings": {"timings": timings},
    "few_labels": {"few_labels": few_labels, "few_label_differences": few_label_differences},
    "active_learning": {"active_learning": active_learning},
    "data_sets": {"data_sets": data_sets},
    "peers": {"peers": peers},
    "growth": {"growth": growth},
}
"""The parquet files beside docs/results.json, and what computes each of its keys from them."""
