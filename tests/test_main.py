"""The command line: in this process, and in several started by torchrun."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from datasets import load_from_disk
from fastapi.testclient import TestClient
from transformers import Trainer

import emotion_tutorial as et
from emotion_tutorial.__main__ import main

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]


@pytest.fixture(scope="module")
def data(corpus, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split, rows in {"train": 480, "validation": 100, "test": 101}.items():
        corpus[split].select(range(rows)).to_parquet(folder / f"{split}.parquet")
    return folder


def finetune(data: Path, checkpoint: Path, output: Path, epochs: int = 1) -> list[str]:
    paths = ["--data", str(data), "--checkpoint", str(checkpoint), "--output", str(output)]
    return ["finetune", *paths, "--learning-rate", "3e-3", "--epochs", str(epochs), "--batch-size", "32", "--cpu"]


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
    assert run(epochs=1) == first
    assert [args.use_cpu for args in trained] == [True]
    answers = []
    for epochs in (1, 3):  # the second model takes the place of the first, whose export is then an old one
        run(epochs)
        main(["serve", first["model"]])
        answer = TestClient(served.pop(), base_url="http://127.0.0.1").post("/predict", json={"texts": "what a day"})
        answers.append(list(answer.json()["predictions"][0]["probabilities"].values()))
        model = et.load_classifier(first["model"], device="cpu")
        expected = et.predict_proba("what a day", model, et.load_tokenizer(first["model"]))
        np.testing.assert_allclose(answers[-1], expected.to_numpy()[0], atol=0.02)
    assert len(trained) == 2
    assert np.abs(np.subtract(*answers)).max() > 0.02


def test_extract_writes_what_datasets_reads(data, tiny_checkpoint, tokenizer, tmp_path, capsys):
    paths = ["--data", str(data), "--checkpoint", str(tiny_checkpoint), "--output", str(tmp_path / "states")]
    main(["extract", *paths, "--pooling", "mean", "--cpu"])
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    found, splits = load_from_disk(said["folder"]), et.load_splits(data)
    encoder = et.load_encoder(tiny_checkpoint, "cpu")
    expected = et.extract_hidden_states(splits, encoder, tokenizer, pooling="mean", cache=False)
    for split in splits:
        assert found[split]["text"][:] == splits[split]["text"][:]
        np.testing.assert_allclose(found[split]["hidden_state"][:], expected[split]["hidden_state"][:], atol=1e-5)


def test_error_of_the_input_is_one_line_and_exit_code_1(tmp_path):
    command = [sys.executable, "-m", "emotion_tutorial", "extract", "--data", "nowhere/at all", "--output", "."]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("NotFoundError: ")
    assert done.stderr.count("\n") == 1
    with pytest.raises(SystemExit, match="CheckpointError: "):
        main(["serve", str(tmp_path)])


@pytest.mark.slow
def test_several_processes_train_as_well_as_one(data, tiny_checkpoint, tmp_path):
    said = {}
    for launcher in ([sys.executable], TORCHRUN):
        output = tmp_path / str(len(launcher))
        command = [*launcher, "-m", "emotion_tutorial", *finetune(data, tiny_checkpoint, output, epochs=3)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        said[result["processes"]] = result
        [state] = output.glob("training/fine-tuned-*/trainer_state.json")
        assert json.loads(state.read_text())["global_step"] == 3 * 15  # texts per step are those of all processes
        assert et.load_classifier(result["model"], device="cpu").config.num_labels == 6
    assert set(said) == {1, 2}
    for name in ("validation_accuracy", "test_accuracy"):
        assert said[2][name] == pytest.approx(said[1][name], abs=0.1)
