"""The command line: in this process, and in several started by torchrun."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import uvicorn
from datasets import load_from_disk
from fastapi import FastAPI
from fastapi.testclient import TestClient
from transformers import BertConfig, BertForSequenceClassification, Trainer

import emotion_tutorial as et
from emotion_tutorial.__main__ import main

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture(scope="module")
def data(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split, rows in {"train": 480, "validation": 100, "test": 101}.items():
        corpus[split].select(range(rows)).to_parquet(folder / f"{split}.parquet")
    return folder


def finetune(data: Path, checkpoint: Path | str, output: Path, epochs: int = 1, rate: str = "3e-3") -> list[str]:
    paths = ["--data", str(data), "--checkpoint", str(checkpoint), "--output", str(output)]
    return ["finetune", *paths, "--learning-rate", rate, "--epochs", str(epochs), "--batch-size", "32", "--cpu"]


def test_finetune_trains_once_and_serve_exports(data, tiny_checkpoint, tmp_path, capsys, monkeypatch):
    trained, served, train = [], [], Trainer.train
    monkeypatch.setattr(Trainer, "train", lambda self, *a, **k: trained.append(self.args) or train(self, *a, **k))
    monkeypatch.setattr(uvicorn, "run", lambda app, **settings: served.append(app))

    def run(epochs: int) -> dict[str, float]:
        main(finetune(data, tiny_checkpoint, tmp_path / "out", epochs))
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    first = run(epochs=1)
    assert first["model"] == str(tmp_path / "out" / "model")
    card = (tmp_path / "out" / "model" / "README.md").read_text(encoding="utf-8")
    assert "0.003" in card
    assert f"{first['test_accuracy']:.3f}" in card
    assert '101 texts of the split "test". These texts took part in no decision' in card
    assert run(epochs=1) == first
    assert [args.use_cpu for args in trained] == [True]
    main(["serve", first["model"]])
    assert answers(served.pop())


def test_finetune_replaces_the_head_of_a_classifier_when_asked(data, tmp_path, capsys):
    command = finetune(data, saved(tmp_path / "other"), tmp_path / "out")
    with pytest.raises(SystemExit, match=r"labels no, yes, .* new_head=True\.$"):
        main(command)
    main([*command, "--new-head"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert et.load_classifier(said["model"], device="cpu").config.num_labels == 6


def answers(app: FastAPI) -> dict[str, float]:
    answer = TestClient(app, base_url="http://127.0.0.1").post("/predict", json={"texts": "what a day"})
    return answer.json()["predictions"][0]["probabilities"]


def saved(
    folder: Path, seed: int = 0, scale: float = 0.3, head: float = 1, dtype: torch.dtype = torch.float32, **options
) -> Path:
    """Save a small random classifier, of weights so large that it does not say the same of all texts."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = BertConfig(**sizes, initializer_range=scale, id2label={0: "no", 1: "yes"})
    model = BertForSequenceClassification(config).to(dtype)
    model.classifier.weight.data *= head
    et.save_model(model, et.load_tokenizer("embedded"), folder)
    if options:
        model.save_pretrained(folder, **options)
        (folder / "model.safetensors").unlink()
    return folder


def exported(model: Path, folder: Path) -> Path:
    return et.export_onnx(et.load_classifier(model, device="cpu"), et.load_tokenizer(model), folder, quantize=False)


def edit(path: Path, **settings) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


CASES: dict[str, tuple[Callable[[Path], object], int]] = {
    "copied": (lambda folder: [path.touch() for path in folder.iterdir()], 0),
    "half precision": (lambda folder: exported(saved(folder, dtype=torch.bfloat16), folder / "onnx"), 0),
    "in parts": (lambda folder: exported(saved(folder, max_shard_size="2MB"), folder / "onnx"), 0),
    "saved again": (saved, 0),
    "other weights": (lambda folder: saved(folder, seed=1), 1),
    "so alike answers that int8 loses them": (lambda folder: saved(folder, seed=1, scale=0.04, head=50), 2),
    "other names": (lambda folder: edit(folder / "config.json", id2label={0: "yes", 1: "no"}), 1),
    "other limit": (lambda folder: edit(folder / "tokenizer_config.json", model_max_length=4), 1),
}
FAST = {"copied", "half precision", "other weights"}  # an export takes seconds, and the others make several


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    folder = saved(tmp_path_factory.mktemp("first"))
    exported(folder, folder / "onnx")
    return folder


@pytest.mark.parametrize("case", [pytest.param(case, marks=[pytest.mark.slow] * (case not in FAST)) for case in CASES])
@pytest.mark.filterwarnings("ignore::emotion_tutorial.exceptions.DataWarning")  # that the text is longer than the limit
def test_the_model_that_is_saved_now_answers(first, tmp_path, monkeypatch, case):
    change, expected_exports = CASES[case]
    folder = Path(shutil.copytree(first, tmp_path / "model"))
    change(folder)
    model, tokenizer = et.load_classifier(folder, device="cpu"), et.load_tokenizer(folder)
    expected = pytest.approx(et.predict_proba("what a day", model, tokenizer).loc[0].to_dict(), abs=0.05)
    for read in (et.create_app, et.OnnxClassifier) if expected_exports else ():
        with pytest.raises(et.CheckpointError, match="no export of it as it is now"):
            read(folder)
    exports, served, export = [], [], et.export_onnx
    monkeypatch.setattr(et, "export_onnx", lambda *a, **k: exports.append(a) or export(*a, **k))
    monkeypatch.setattr(uvicorn, "run", lambda app, **settings: served.append(app))
    for _ in range(2):
        main(["serve", str(folder), "--threads", "1"])
        assert answers(served.pop()) == answers(et.create_app(folder)) == expected
    assert len(exports) == expected_exports


def test_extract_writes_what_datasets_reads_and_not_in_place_of_the_texts(data, tiny_checkpoint, tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    splits = et.load_splits(data)
    splits.save_to_disk(tmp_path / "texts")
    command = ["extract", "--data", str(tmp_path / "texts"), "--checkpoint", str(tiny_checkpoint), "--cpu"]
    with pytest.raises(SystemExit, match=r"^SettingsError: .*holds the texts"):
        main([*command, "--output=~/texts"])
    assert load_from_disk(tmp_path / "texts")["test"].column_names == ["text", "label"]
    main([*command, "--output=~/states", "--pooling=mean"])
    found = load_from_disk(tmp_path / "states")
    encoder, tokenizer = et.load_encoder(tiny_checkpoint, "cpu"), et.load_tokenizer(tiny_checkpoint)
    expected = et.extract_hidden_states(splits, encoder, tokenizer, pooling="mean", cache=False)
    for split in splits:
        assert found[split]["text"][:] == splits[split]["text"][:]
        np.testing.assert_allclose(found[split]["hidden_state"][:], expected[split]["hidden_state"][:], atol=1e-5)


def test_output_that_would_replace_what_is_read_is_refused(data, tiny_checkpoint, tmp_path):
    et.load_splits(data).save_to_disk(tmp_path / "mine")
    checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / "run" / "model")
    command = ["extract", "--cpu", "--checkpoint", str(tiny_checkpoint), "--output", str(tmp_path / "mine")]
    commands = [
        [*command, "--data", str(tmp_path / "mine" / "train")],
        [*command, "--data", str(data)],
        ["extract", "--cpu", "--data", str(data), "--checkpoint", str(checkpoint), "--output", str(tmp_path / "run")],
        finetune(data, checkpoint, tmp_path / "run"),
    ]
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for said in ("holds the texts", "without hidden states", "or the checkpoint", "or the checkpoint"):
        with pytest.raises(SystemExit, match=rf"^SettingsError: .*{said}.*--output"):
            main(commands.pop(0))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_error_of_the_input_is_one_line_and_exit_code_1(tmp_path):
    command = [sys.executable, "-m", "emotion_tutorial", "extract", "--data", "nowhere/at all", "--output", "."]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("NotFoundError: ")
    with pytest.raises(SystemExit, match="CheckpointError: "):
        main(["serve", str(tmp_path)])


@pytest.mark.slow
def test_several_processes_train_as_well_as_one_and_better_than_the_baselines(corpus, tmp_path):
    (data := tmp_path / "data").mkdir()
    for split, rows in {"train": 960, "validation": 300, "test": 300}.items():
        corpus[split].select(range(rows)).to_parquet(data / f"{split}.parquet")
    splits, said = et.load_splits(data), {}
    train, test = splits["train"], splits["test"]
    bag_of_words = et.fit_bag_of_words(train["text"][:], train["label"][:])
    right = sum(bag_of_words.predict(test["text"][:]) == test["label"][:])
    floor = max(right, np.bincount(test["label"][:]).max()) / test.num_rows
    for launcher in ([sys.executable], TORCHRUN):
        output = tmp_path / str(len(launcher))
        command = [*launcher, "-m", "emotion_tutorial", *finetune(data, "embedded", output, 3, "3e-4")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        said[result["processes"]] = result
        [state] = output.glob("training/fine-tuned-*/trainer_state.json")
        assert json.loads(state.read_text())["global_step"] == 3 * 30  # texts per step are those of all processes
        assert et.load_classifier(result["model"], device="cpu").config.num_labels == 6
    assert set(said) == {1, 2}
    for name in ("validation_accuracy", "test_accuracy"):
        assert said[2][name] == pytest.approx(said[1][name], abs=0.1)
    assert min(result["test_accuracy"] for result in said.values()) > floor + 0.05  # else neither has learned
