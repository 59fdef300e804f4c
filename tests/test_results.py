"""docs/results.json, the predictions that it is computed from, and the tables that are made from it."""

import json
import re
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import emotion_tutorial as et
from emotion_tutorial.caching import digest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from few_labels import FEW_LABELS, Runs, rows_of_draw  # noqa: E402
from peers import COLUMNS  # noqa: E402
from results import DOCS, PARTS, RESULTS, cheap_classifiers, read, summarize, write  # noqa: E402
from summaries import (  # noqa: E402
    INT8,
    NAMES,
    PLAIN,
    REFERENCE,
    ZERO_SHOT,
    active_learning,
    equivalence,
    few_label_differences,
    few_labels,
    int8_layers,
    speed,
    timings,
)
from system import typed  # noqa: E402
from tables import FIGURES, corpus_table, draw_growth, draw_speed, is_there, pages, refresh, tables, write_tables  # noqa: E402


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads(RESULTS.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", pages(), ids=lambda path: path.name)
def test_tables_show_what_was_measured(path, results):
    assert refresh(path, tables(results)) == path.read_text(encoding="utf-8"), "run python benchmarks/tables.py"


def test_numbers_follow_from_the_predictions(results):
    assert summarize(results) == results


def test_numbers_are_of_the_texts_and_settings_as_they_are(results, corpus):
    speeds = {name for name in results["parts"] if name == "growth" or name.startswith("peers, ")}
    assert results["parts"].keys() - speeds == {*PARTS, "speed", "few labels", "data sets"}
    for name, part in results["parts"].items():
        is_bundled = "tweets" not in name and part.get("source", "embedded") == "embedded"
        profile = et.get_profile("quick" if is_bundled else "real")
        assert part["settings"].items() >= (profile.hyperparameters | {"seed": part["settings"]["seed"]}).items()
        if is_bundled and name not in speeds:  # those take a part of the texts
            assert part["data"] == digest(*corpus.values())


def test_the_readme_shows_the_test_split(results):
    assert tables(results)["test"] in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_about_the_peers_says_what_was_measured(results):
    page = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
    assert "computes neither in bfloat16 nor with AVX-512" in page
    vectors, training, predictions = (results["peers"][part] for part in ("vectors", "training", "predictions"))
    for part in ("vectors", "training", "predictions"):
        assert not re.search("avx512|amx", results["parts"][f"peers, {part}"]["machine"])
    assert min(part["compared"]["float32"]["ratio"] for part in (vectors, training, predictions)) >= 0.95
    assert ("Each point was measured once" in page) == (pd.read_parquet(DOCS / "growth.parquet")["round"].max() == 0)
    ways = training["ways"]
    assert ways["build_trainer, float32"]["steps"] == ways["Trainer, grouped by length, float32"]["steps"]
    assert predictions["compared"]["any"]["ratio"] < 0.95 < vectors["compared"]["any"]["ratio"] < 1.1
    assert vectors["ways"]["sentence-transformers, ONNX, int8"]["cosine"] < 0.98
    ways = predictions["ways"]
    assert ways["ONNX Runtime, its own int8"]["other_labels"] > 2 * ways["OnnxClassifier, int8"]["other_labels"]
    assert ways["OnnxClassifier, float32"]["peak_mb"] < ways["predict_proba, float32"]["peak_mb"] / 2


def test_the_readme_quotes_what_was_measured(results):
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    seeds = results["scores"]["tweets"]["test"]["fine-tuned"]["seeds"]
    assert f"scored from {100 * min(seeds):.1f} to {100 * max(seeds):.1f}" in readme
    gains = re.search(r"by (\d+) points on the tweets and by (\d+) on the bundled texts", readme)
    assert gains
    for found, name in zip(gains.groups(), ("tweets", "bundled"), strict=True):
        test = results["scores"][name]["test"]
        assert int(found) == round(100 * (test["fine-tuned"]["value"] - test["bag of words"]["value"]))
    situations = results["kinds"]["situation"]
    assert situations["fine-tuned"]["low"] < situations["bag of words"]["high"]  # hardly where nobody names a feeling
    speed = results["timings"]["ONNX Runtime, int8"]["texts_per_second"]
    [quoted] = re.findall(r"about (\d+) short texts a second", readme)
    assert float(quoted) == pytest.approx(speed, rel=0.02)
    assert 1e6 / speed / 60 == pytest.approx(30, rel=0.2)
    assert "a million in half an hour" in readme
    ways = results["peers"]["predictions"]["ways"].values()
    [quoted] = re.findall(r"\[about (\d+)\]\(docs/peers.md\)", readme)
    assert float(quoted) == pytest.approx(max(way.get("texts_per_second", 0) for way in ways if way["ours"]), rel=0.02)
    page = (ROOT / "docs" / "04_fine_tuning.md").read_text(encoding="utf-8")
    block = re.search(r"```text\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert block
    lines = block[1].splitlines()
    assert len(lines) == 3
    assert all(f"    {line}\n" in page for line in lines)


def test_what_is_cheap_is_measured_again(results, corpus):
    for name, classifier in cheap_classifiers(corpus).items():
        for split in ("validation", "test"):
            found = sum(classifier.predict(corpus[split]["text"][:]) == corpus[split]["label"][:]) / len(corpus[split])
            assert found == pytest.approx(results["scores"]["bundled"][split][name]["value"], abs=0.005), (name, split)


def test_what_is_timed_predicts_as_what_is_scored(results):
    for name in ("bag of words", "probe") if "speed" in results else ():
        score = results["scores"]["bundled"]["validation"][name]["value"]
        assert results["speed"][name]["value"] == pytest.approx(score, abs=0.005), name


def test_a_table_is_replaced_and_the_text_around_it_stays():
    text = "before\n<!-- results: one -->\nold\n\nolder\n<!-- end of results -->\nafter <!-- results: two"
    found = write_tables(text, {"one": "| new |"})
    assert found == "before\n<!-- results: one -->\n| new |\n<!-- end of results -->\nafter <!-- results: two"


def test_a_part_is_replaced_and_the_others_stay(tmp_path):
    path = tmp_path / "rows.parquet"
    for part, value in (("one", 1), ("two", 2), ("one", 3)):
        results = write(part, {"seconds": value}, {path: pd.DataFrame({"method": ["m"], "value": [value]})})
    assert read(path)[["part", "value"]].to_numpy().tolist() == [["two", 2], ["one", 3]]
    assert results == json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert results["parts"] == {"one": {"seconds": 3}, "two": {"seconds": 2}}


def ways_to_predict(wrong: int, texts: int) -> pd.DataFrame:
    """Return predictions that are all right, but for the first rows of int8, where the second label is chosen."""
    frames = []
    for method, without in ((REFERENCE, ""), (INT8, ""), (PLAIN, ""), (PLAIN, "key")):
        predicted = np.arange(texts) < (0 if method == REFERENCE or without else wrong)
        frame = pd.DataFrame({"row": range(texts), "label": 0, "predicted": predicted.astype(int)})
        frame[NAMES] = 0.0
        frame[NAMES[0]], frame[NAMES[1]] = np.where(predicted, 0.2, 0.7), np.where(predicted, 0.8, 0.3)
        frames.append(frame.assign(method=method, without=without, seed=0, megabytes=10.0))
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize(
    ("wrong", "texts", "verdict"),
    [(0, 1000, "inside"), (2, 1000, "inside"), (8, 1000, "not shown"), (0, 50, "not shown"), (100, 1000, "outside")],
)
def test_int8_is_as_good_only_if_the_whole_interval_is_within_the_margin(wrong, texts, verdict):
    found = equivalence(ways_to_predict(wrong, texts))
    assert found["verdict"] == verdict
    assert found["difference"] == pytest.approx(-wrong / texts)


def test_ways_to_predict_are_compared_with_float32():
    predictions = ways_to_predict(100, 1000)
    found = speed(predictions)
    assert {way: cell["other_labels"] for way, cell in found.items()} == {REFERENCE: 0, INT8: 100, PLAIN: 100}
    layers = int8_layers(predictions)
    assert list(layers) == ["float32", "", "key", "recipe"]
    assert [layers[kind]["other_labels"] for kind in ("", "key")] == [100, 0]
    assert layers[""]["change"] == pytest.approx(0.1 * 0.5)  # of a tenth of the texts, from 0.7 to 0.2
    assert layers[""]["accuracy"]["value"] == pytest.approx(0.9)


def rounds_and_calls(way: str, rate: float) -> pd.DataFrame:
    rows = [("texts per second", value * rate, 16) for value in (0.9, 1, 5)]
    rows += [("milliseconds", wait, 1) for wait in range(101)]
    return pd.DataFrame(rows, columns=["measure", "value", "batch_size"]).assign(method=way)


def test_rounds_and_calls_are_summarized_by_way():
    found = timings(rounds_and_calls("m", 100))
    assert found == {"m": {"texts_per_second": 100, "batch_size": 16, "median_ms": 50, "p99_ms": 99}}


def test_speed_is_shown_in_tables_and_in_a_figure(tmp_path):
    predictions = ways_to_predict(8, 1000)
    other = predictions[predictions["method"] == INT8]
    ways = {REFERENCE: 300, INT8: 500, PLAIN: 501, "OpenVINO, bfloat16": 500.5, "probe": 800, "bag of words": 5000}
    predictions = pd.concat([predictions, *(other.assign(method=way) for way in [*ways][3:])])
    timed = pd.concat([rounds_and_calls(way, rate) for way, rate in ways.items()])
    files = {tmp_path / "speed.parquet": predictions, tmp_path / "timings.parquet": timed}
    results = write("speed", {"machine": "2 cores, Brand (avx2)"}, files)
    made = tables(results)
    assert f"| {INT8} | 99.2 (98.4 to 99.6) | 8 | 500 (16) | 50.00 | 99.00 | 10.0 |" in made["speed"]
    assert made["speed"].endswith("on 2 cores, Brand (avx2).")
    assert f"| {INT8} | avx2 | 500 | 56 | 6.9 | 0.9 |" in made["corpus"]
    ours = {"peers": {"predictions": {"ways": {"OnnxClassifier, int8": {"texts_per_second": 250}}}}}
    parts = results["parts"] | {"peers, predictions": {"machine": "2 cores, Brand (amx)"}}
    assert f"| {INT8} | amx | 250 | 111 | 14 | 1.7 |" in corpus_table(results | ours | {"parts": parts})
    assert "| -0.8 | -1.4 to -0.2 | ±1.0 | not shown" in made["equivalence"]
    assert "| all but key | 100.0 | 0.00 | 0 | 10.0 |" in made["int8_layers"]
    figure = draw_speed(results)
    figure.canvas.draw()
    names = {text.get_text(): text.get_window_extent() for text in figure.axes[0].texts}
    assert names.keys() == ways.keys()
    assert not any(a.overlaps(b) for a, b in combinations(names.values(), 2))


def test_a_command_is_written_down_without_paths_of_this_machine(monkeypatch):
    words = ["/here/benchmarks/growth.py", "--curves", "audit by texts", "--python", "/here/python", "--output=/here"]
    monkeypatch.setattr(sys, "argv", words)
    assert typed() == "python benchmarks/growth.py --curves 'audit by texts' --python PATH --output=PATH"


def rounds_beside_peers() -> pd.DataFrame:
    """Return three rounds of a peer, of ours, which is a tenth slower than it in each, and of one that is not there."""
    rows = [
        {
            "method": method,
            "ours": method == "ours",
            "round": i,
            "seconds": seconds * (1 + i),
            "texts": 100,
            "reason": "",
        }
        for method, seconds in (("peer", 1.0), ("slow peer", 9.0), ("ours", 1.1))
        for i in range(3)
    ]
    rows.append({"method": "ONNX", "ours": False, "round": 0, "reason": "needs an environment of its own"})
    frame = pd.DataFrame(rows).assign(precision="float32", peak_mb=500.0)
    return frame.reindex(columns=COLUMNS)


def test_ours_is_compared_with_the_fastest_peer_within_each_round(tmp_path):
    about = {"machine": "2 cores, Brand (avx2)", "command": "python p.py", "busy": False, "load_before": 0.1}
    about |= {"versions": {"torch": "2"}}
    results = write("peers, vectors", about, {tmp_path / "peers.parquet": rounds_beside_peers()})
    cell = results["peers"]["vectors"]["compared"]["float32"]
    assert cell == {"ours": "ours", "peer": "peer", "rounds": 3, "ratio": 0.9091, "low": 0.9091, "high": 0.9091}
    way = results["peers"]["vectors"]["ways"]["peer"]
    assert [way[name] for name in ("texts_per_second", "low", "high")] == pytest.approx([50, 100 / 3, 100], abs=0.01)
    made = tables(results)["peers"]
    assert "| **ours** (ours) | float32 | 45 (30 to 91) |  | 500 |" in made
    assert "| ONNX |" not in made
    assert "Not measured:\n\n- *ONNX*: needs an environment of its own." in made
    assert "(0.91 to 0.91 over the rounds). **Here we are not the fastest.**" in made
    assert "`python p.py` on 2 cores, Brand (avx2), idle (load before: 0.1)" in made


def test_slopes_are_of_time_and_of_what_a_call_adds_to_memory(tmp_path):
    sizes = (10, 100, 1000)
    rows = [
        {
            "method": "audit",
            "axis": "texts",
            "size": n,
            "round": 0,
            "seconds": n**2 / 1e4,
            "before_mb": 400,
            "peak_mb": 400 + n,
        }
        for n in sizes
    ]
    about = {
        "machine": "2 cores, Brand (avx2)",
        "command": "python g.py",
        "busy": True,
        "load_before": 3.0,
        "versions": {},
    }
    results = write("growth", about, {tmp_path / "growth.parquet": pd.DataFrame(rows)})
    cell = results["growth"]["texts"]["audit"]
    assert (cell["slope"], cell["last"], cell["memory_slope"]) == (2, 2, 1)
    made = tables(results)["growth"]
    assert "| audit, texts | 10 to 1,000 | 0.01 to 100 | 410 to 1,400 | 10 to 1,000 | 2.00 | **2.00** | 1.00 |" in made
    assert "![" in made
    assert "while other work was running" in made
    assert draw_growth(results, "texts").axes[0].get_legend_handles_labels()[1] == ["audit (slope 2.00)"]
    assert [name for name, (needs, _) in FIGURES.items() if is_there(results, needs)] == ["growth_texts"]


def runs_of_few_labels() -> pd.DataFrame:
    """Return ten draws of two methods, and the first five of the others; each adds a point to the luck of the draw."""
    luck = np.random.default_rng(0).normal(0.4, 0.1, 10)
    methods = {"bag of words": 10, "probe": 10, "SetFit": 5, "LoRA": 5, "fine-tuned": 5, "SetFit without pairs": 10}
    rows = [
        {"what": "curve", "method": method, "per_label": 8, "draw": draw, "macro_f1": luck[draw] + 0.01 * i}
        for i, (method, draws) in enumerate(methods.items())
        for draw in range(draws)
    ]
    zero_shot = {"what": "curve", "method": ZERO_SHOT, "per_label": 0, "draw": 0, "macro_f1": 0.3}
    return pd.DataFrame([*rows, zero_shot, {"what": "rates", "method": "LoRA", "macro_f1": 0.9}])


def test_few_labels_are_summarized_over_draws():
    rows = runs_of_few_labels().sample(frac=1, random_state=0)
    found = few_labels(rows)
    cell, draws = found["probe"]["8"], rows.query("method == 'probe'").sort_values("draw")["macro_f1"]
    assert cell["draws"] == draws.tolist()
    assert cell["value"] == pytest.approx(draws.mean())
    assert cell["low"] < cell["value"] < cell["high"]
    assert found[ZERO_SHOT] == {"0": {"value": 0.3, "draws": [0.3]}}


def test_methods_are_compared_on_the_draws_that_both_have():
    found = few_label_differences(runs_of_few_labels())
    for pair, points, draws in (
        ("SetFit without pairs - probe", 4, 10),
        ("fine-tuned - probe", 3, 5),
        ("SetFit - probe", 1, 5),
    ):
        cell = found[pair]["8"]
        assert len(cell["draws"]) == draws
        assert cell["value"] == pytest.approx(points / 100)
        assert cell["high"] - cell["low"] < 1e-6  # the luck of a draw is the same for both
    assert found["probe - zero-shot"]["8"]["high"] - found["probe - zero-shot"]["8"]["low"] > 0.05


def test_rounds_of_labeling_are_compared_from_the_same_starts():
    rows = pd.DataFrame({"way": ["random", "least certain"] * 3, "start": [0, 0, 1, 1, 2, 2], "labels": 24})
    rows["macro_f1"] = [0.1, 0.2, 0.5, 0.6, 0.3, 0.4]
    found = active_learning(rows)
    assert found["starts"] == 3
    assert found["difference"]["24"]["value"] == pytest.approx(0.1)
    assert found["difference"]["24"]["std"] == pytest.approx(0)
    assert found["random"]["24"]["std"] == pytest.approx(0.2)


def test_draws_are_balanced_and_a_larger_one_has_the_smaller():
    y = np.repeat([0, 1, 2], [50, 9, 30])
    small, large = rows_of_draw(y, 4, 1), rows_of_draw(y, 16, 1)
    assert np.bincount(y[small]).tolist() == [4, 4, 4]
    assert np.bincount(y[large]).tolist() == [16, 9, 16]  # as many as there are
    assert {*small} < {*large}
    assert {*rows_of_draw(y, 4, 2)} != {*small}


def test_an_interrupted_measurement_goes_on_where_it_was(tmp_path):
    measured = []

    def measure() -> dict[str, float]:
        measured.append(1)
        return {"macro_f1": 0.5}

    for _ in range(2):
        runs = Runs(tmp_path / "build" / "runs.jsonl", tmp_path / "none")  # reads what another process has written
        run = runs.get(measure, method="probe", draw=0)
    assert len(measured) == 1
    assert run["macro_f1"] == 0.5
    runs.get(measure, method="probe", draw=1)
    assert len(measured) == 2


def test_results_that_are_there_are_measured_again_only_if_one_asks():
    def refuse() -> dict[str, float]:
        raise AssertionError

    about = {"what": "curve", "method": "probe", "per_label": 8, "draw": 3}
    assert Runs(Path("none"), FEW_LABELS).get(refuse, **about)["macro_f1"] > 0.1
    with pytest.raises(AssertionError):
        Runs(Path("none"), FEW_LABELS, ["probe"]).get(refuse, **about)
