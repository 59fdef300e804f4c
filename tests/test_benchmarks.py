"""The benchmarks run and print what they promise; how fast anything is, is not tested."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from emotion_tutorial import export_onnx, load_classifier
from emotion_tutorial.corpus import EMOTIONS

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from system import require_idle  # noqa: E402

pytestmark = pytest.mark.slow  # a process of its own for each run


@pytest.fixture(scope="module")
def options(corpus, tiny_checkpoint, tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp("data")
    for split, dataset in corpus.items():
        dataset.select(range(80)).to_parquet(folder / f"{split}.parquet")
    return ["--data", str(folder), "--checkpoint", str(tiny_checkpoint)]


def run(script: str, *arguments: str) -> Any:
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_speed_ups(options):
    variants = ["present", "word embeddings sparse", "cheap dropout", "batches by number of tokens"]
    short = [*options, "--texts", "160", "--repeats", "2", "--variants", *variants]
    result = run("speed_ups.py", *short)
    assert [row["variant"] for row in result] == variants
    assert result[0]["difference"] == 0
    assert all(row["tokens/s"] > 0 and len(row["accuracies"].split(", ")) == 2 for row in result)
    timed = run("speed_ups.py", *short, "--steps", "3")
    assert [row["times as fast"] > 0 for row in timed] == [True] * 4


def test_prediction_speed(options, tmp_path):
    where = ["--artifacts", str(tmp_path / "models"), "--output", str(tmp_path)]
    result = run("prediction_speed.py", *options, *where, "--texts", "80", "--repeats", "2", "--calls", "8")
    predicted, timed = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("speed", "timings"))
    ways = {"bag of words", "probe", "torch, float32", "ONNX Runtime, float32", "ONNX Runtime, int8"}
    assert ways <= result["speed"].keys() == result["timings"].keys() == {*timed["method"]}
    assert result["speed"]["ONNX Runtime, float32"]["other_labels"] == 0
    sizes = [result["speed"][f"ONNX Runtime, {kind}"]["megabytes"] for kind in ("plain int8", "int8", "float32")]
    assert sizes == sorted(sizes)
    assert predicted.groupby(["method", "without"], observed=True).size().eq(80).all()
    assert predicted[[*EMOTIONS]].sum(axis=1).to_numpy() == pytest.approx(1, abs=1e-3)
    assert timed.groupby(["method", "measure"], observed=True).size().unstack().eq([8, 2]).all(axis=None)  # noqa: PD010


@pytest.mark.parametrize("part", ["vectors", "training", "predictions"])
def test_peers(options, tmp_path, part):
    where = ["--artifacts", str(tmp_path / "models"), "--output", str(tmp_path), "--busy"]
    short = ["--texts", "70", "--repeats", "2", "--epochs", "1", "--until", "0.01"]
    found = run("peers.py", *options, *where, *short, "--parts", part)[part]
    ways = {name: way for name, way in found["ways"].items() if "not_measured" not in way}
    assert all(
        way["rounds"] == 2 and way["seconds_low"] <= way["seconds"] <= way["seconds_high"] for way in ways.values()
    )
    ours, peer = (found["compared"]["float32"][who] for who in ("ours", "peer"))
    assert ways[ours]["ours"]
    assert not ways[peer]["ours"]
    if part == "vectors":
        assert all(way["cosine"] > 0.99 for way in ways.values())  # of the same texts, in the same order
        assert "environment of its own" in found["ways"]["sentence-transformers, ONNX"]["not_measured"]
    elif part == "training":
        assert all(way["reached"] == 2 and way["accuracy"] >= 0.01 for way in ways.values())
    else:
        assert all(way["other_labels"] == 0 for way in ways.values() if way["precision"] == "float32")
    about = json.loads((tmp_path / "results.json").read_text())["parts"][f"peers, {part}"]
    assert about["busy"]


def test_benchmarks_refuse_a_machine_that_is_not_idle(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (2.0, 1.0, 1.0))
    with pytest.raises(SystemExit, match=r"2\.00.*--busy"):
        require_idle(busy=False)
    assert require_idle(busy=True) == 2


def test_growth(options, tmp_path):
    small = ["--largest", "60", "--most-labels", "2", "--longest", "8", "--repeats", "1", "--busy"]
    small += ["--output", str(tmp_path)]
    curves = ["loading by texts", "label errors by labels", "vectors by lengths"]
    found = run("growth.py", *options, *small, "--curves", *curves)
    assert {axis: [*cells] for axis, cells in found.items()} == {
        "texts": ["loading"],
        "labels": ["label errors"],
        "lengths": ["vectors"],
    }
    assert found["labels"]["label errors"]["sizes"] == [2]
    assert found["lengths"]["vectors"]["sizes"] == [8]
    again = run("growth.py", *options, *small, "--curves", "audit by texts")
    assert again["lengths"] == found["lengths"]  # what was measured before stays
    assert again["texts"].keys() == {"loading", "audit"}


def test_service(tiny_checkpoint, tokenizer, tmp_path):
    model = load_classifier(tiny_checkpoint, ["calm", "cross"], "cpu")
    folder = export_onnx(model, tokenizer, tmp_path / "export", quantize=False)
    written = tmp_path / "service.json"
    short = ["--seconds", "1", "--requests", "200", "--clients", "80", "--json", str(written)]  # more than may wait
    result = run("service.py", "--folder", str(folder), *short)
    assert result == json.loads(written.read_text())
    assert result["crowd_requests"] == 200
    assert 0 < result["steady_p50_ms"] <= result["steady_p99_ms"]


def test_hyperparameters(options):
    trials = ["1 epoch", "mean, head x5, label smoothing 0.1"]
    found = run("hyperparameters.py", *options, "--texts", "60", "--trials", *trials)
    assert [row["trial"] for row in found] == trials
    assert all(0 <= row["low"] <= row["accuracy"] <= row["high"] <= 1 for row in found)
    [final] = run("hyperparameters.py", *options, "--texts", "60", "--repeats", "2", "--final", "1 epoch")
    assert final["spread"] >= 0
