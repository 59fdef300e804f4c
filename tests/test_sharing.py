"""Saving and the model card; pushing is tested against the Hub on loopback in test_faults.py."""

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from transformers import pipeline, set_seed

from emotion_tutorial import evaluate, load_classifier, load_tokenizer, predict_proba, push_model, save_model
from emotion_tutorial.exceptions import CheckpointError, DataError
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
        "README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"
    }  # fmt: skip
    again = predict_proba(TEXTS, load_classifier(folder, device="cpu"), load_tokenizer(folder))
    pd.testing.assert_frame_equal(again, predict_proba(TEXTS, model, tokenizer), check_exact=True)


def test_pipeline_reads_the_folder_and_knows_the_labels(model, tokenizer, tmp_path):
    folder = save_model(model, tokenizer, tmp_path / "saved")
    scores = pipeline("text-classification", model=str(folder), device="cpu")(TEXTS[0], top_k=None)
    ours = predict_proba(TEXTS[0], model, tokenizer).loc[0]
    assert {score["label"]: score["score"] for score in scores} == pytest.approx(ours.to_dict(), abs=1e-6)


def test_failed_save_leaves_what_was_there(model, tokenizer, tmp_path, monkeypatch):
    folder = save_model(model, tokenizer, tmp_path / "saved", limits=["first"])
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(tokenizer, "save_pretrained", lambda *args: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_model(model, tokenizer, folder, limits=["second"])
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_no_path_of_this_machine_is_saved(model, tokenizer, tmp_path, tiny_checkpoint):
    folder = save_model(model, tokenizer, tmp_path / "saved", checkpoint=str(tiny_checkpoint))
    for path in (*folder.glob("*.json"), folder / "README.md"):
        assert str(tmp_path.parent) not in path.read_text(encoding="utf-8"), path


def test_card_says_what_was_measured(model, tokenizer, metrics):
    text = model_card(
        model,
        tokenizer,
        name="mine",
        data="hub",
        checkpoint="embedded",
        hyperparameters={"learning_rate": 2e-4},
        metrics=metrics,
        limits=["Tested on English only."],
        language="en",
    ).content
    accuracy = metrics.set_index("metric").loc["accuracy"]
    measured = f"{accuracy['value']:.3f} | {accuracy['low']:.3f} to {accuracy['high']:.3f} | 200 |"
    assert f"| all | accuracy | {measured}" in text
    assert r"| a\|b | f1 |" in text
    assert "- Tested on English only." in text
    assert "| learning_rate | 0.0002 |" in text
    header = ModelCard(text).data  # as the Hub reads it
    assert header.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert header.datasets == "dair-ai/emotion"
    assert header.language == "en"
    values = {result.metric_name: result.metric_value for result in header.eval_results}
    assert values["accuracy"] == round(accuracy["value"], 4)


def test_card_claims_nothing_that_is_not_given(model, tokenizer):
    card = model_card(model, tokenizer, name="mine")
    assert "Nothing was measured." in card.content
    assert "## Training" not in card.content
    assert card.data.eval_results is None
    assert card.data.base_model is None
    assert "None" not in card.content.replace("top_k=None", "")


def test_card_refuses_other_metrics(model, tokenizer):
    with pytest.raises(DataError, match="'low', 'high'"):
        model_card(model, tokenizer, name="mine", metrics=pd.DataFrame(columns=["name", "metric", "value", "support"]))


def test_push_wants_a_saved_model(tmp_path):
    with pytest.raises(CheckpointError, match="no saved model"):
        push_model(tmp_path, "me/mine")
