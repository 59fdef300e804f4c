"""Saving and the model card; pushing is tested against the Hub on loopback in test_faults.py."""

import json

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from transformers import pipeline, set_seed

from emotion_tutorial import evaluate, load_classifier, load_tokenizer, predict_proba, push_model, save_model
from emotion_tutorial.exceptions import CheckpointError, MissingColumnError
from emotion_tutorial.sharing import model_card

NAMES = ["no", "yes", "a|b"]
TEXTS = ["I saw a movie today and it was really good.", "", "word " * 30]


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    set_seed(0)
    return load_classifier(tiny_checkpoint, NAMES, "cpu")


@pytest.fixture(scope="module")
def metrics() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 3, 200)
    y_pred = np.where(rng.random(200) < 0.8, y_true, 0)
    return evaluate(y_true, y_pred, NAMES)


def test_reloaded_model_predicts_the_same(model, tokenizer, tmp_path):
    folder = save_model(model, tokenizer, tmp_path / "saved")
    assert {path.name for path in folder.iterdir()} == {
        "README.md", "SHA256SUMS", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
    }  # fmt: skip
    again = predict_proba(TEXTS, load_classifier(folder, NAMES, "cpu"), load_tokenizer(folder))
    pd.testing.assert_frame_equal(again, predict_proba(TEXTS, model, tokenizer), check_exact=True)


def test_pipeline_reads_the_folder_and_knows_the_labels(model, tokenizer, tmp_path):
    folder = save_model(model, tokenizer, tmp_path / "saved")
    scores = pipeline("text-classification", model=str(folder), device="cpu")(TEXTS[0], top_k=None)
    ours = predict_proba(TEXTS[0], model, tokenizer).loc[0]
    assert {score["label"] for score in scores} == set(NAMES)
    for score in scores:
        assert score["score"] == pytest.approx(ours[score["label"]], abs=1e-6)


def test_saving_again_replaces_and_leaves_nothing_beside(model, tokenizer, tmp_path):
    save_model(model, tokenizer, tmp_path / "saved")
    (tmp_path / "saved" / "stale.txt").write_text("x")
    save_model(model, tokenizer, tmp_path / "saved")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]
    assert not (tmp_path / "saved" / "stale.txt").exists()


def test_failed_save_leaves_what_was_there(model, tokenizer, tmp_path, monkeypatch):
    folder = save_model(model, tokenizer, tmp_path / "saved", limits=["first"])
    monkeypatch.setattr(tokenizer, "save_pretrained", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(model, tokenizer, folder, limits=["second"])
    assert "first" in (folder / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_folder_of_something_else_is_not_overwritten(model, tokenizer, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        save_model(model, tokenizer, tmp_path / "thesis")
    with pytest.raises(CheckpointError, match=r"has no config\.json"):
        save_model(model, tokenizer, tmp_path / "thesis" / "chapter1.txt")
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


def test_no_path_of_this_machine_is_saved(model, tokenizer, tmp_path, tiny_checkpoint):
    folder = save_model(model, tokenizer, tmp_path / "saved", checkpoint=str(tiny_checkpoint))
    for path in folder.glob("*.json"):
        assert str(tmp_path.parent) not in path.read_text(encoding="utf-8"), path
    assert not json.loads((folder / "tokenizer_config.json").read_text()).get("local_files_only")


def test_card_says_what_was_measured(model, tokenizer, metrics):
    card = model_card(
        model,
        tokenizer,
        name="mine",
        data="hub",
        checkpoint="embedded",
        hyperparameters={"learning_rate": 2e-4, "epochs": 2},
        metrics=metrics,
        limits=["Tested on English only."],
        language="en",
    )
    accuracy = metrics.set_index("metric").loc["accuracy"]
    line = f"| all | accuracy | {accuracy['value']:.3f} | {accuracy['low']:.3f} to {accuracy['high']:.3f} | 200 |"
    assert line in card.content
    assert r"| a\|b | f1 |" in card.content
    worst = metrics.query("metric == 'f1'").sort_values("value").iloc[0]
    assert f"It is worst at {worst['name']}: F1 {worst['value']:.3f}" in card.content
    assert "- Tested on English only." in card.content
    assert "| learning_rate | 0.0002 |" in card.content
    read = ModelCard(card.content)  # as the Hub reads it
    assert read.data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert read.data.datasets == "dair-ai/emotion"
    assert read.data.language == "en"
    assert {result.metric_name: result.metric_value for result in read.data.eval_results}["accuracy"] == round(
        accuracy["value"], 4
    )


def test_card_claims_nothing_that_is_not_given(model, tokenizer, tiny_checkpoint):
    card = model_card(model, tokenizer, name="mine", checkpoint=str(tiny_checkpoint))
    assert "Nothing was measured." in card.content
    assert "## Training" not in card.content
    assert card.data.eval_results is None
    assert card.data.base_model is None  # a folder is no id on the Hub
    assert str(tiny_checkpoint) not in card.content
    assert "None" not in card.content.replace("top_k=None", "")


def test_card_refuses_other_metrics(model, tokenizer):
    with pytest.raises(MissingColumnError, match="'low', 'high'"):
        model_card(model, tokenizer, name="mine", metrics=pd.DataFrame(columns=["name", "metric", "value", "support"]))


def test_push_wants_a_saved_model(tmp_path):
    with pytest.raises(CheckpointError, match="no saved model"):
        push_model(tmp_path, "me/mine")


def test_damaged_weights_are_refused(model, tokenizer, tmp_path):
    """A flipped bit loads without complaint: only the checksum tells."""
    folder = save_model(model, tokenizer, tmp_path / "saved")
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:-100]):
        weights.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"model\.safetensors of .*saved is missing or not what SHA256SUMS"):
            load_classifier(folder, NAMES, "cpu")
        with pytest.raises(CheckpointError, match="SHA256SUMS"):
            push_model(folder, "me/mine")
    (folder / "SHA256SUMS").unlink()
    weights.write_bytes(whole)
    load_classifier(folder, NAMES, "cpu")  # as saved by others
