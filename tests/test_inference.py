import copy
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import ClassLabel, Dataset
from transformers import AutoModelForSequenceClassification, AutoTokenizer, BertConfig, RobertaConfig, set_seed

import emotion_tutorial as et

NAMES = ["no", "yes", "maybe", "never", "always", "often", "rarely", "seldom", "later", "now", "soon"]
TEXTS = ["i am glad", "", "a " * 40, "i saw a movie today and it was really good", "😀 ünïcode", "x"]


@pytest.fixture(scope="module")
def model(tiny_checkpoint):
    set_seed(0)
    return et.load_classifier(tiny_checkpoint, NAMES, "cpu")


def test_a_row_a_text_in_their_order_and_a_column_a_label_with_dropout_off(model, tokenizer):
    """Each text alone, straight through the model, is the truth."""
    texts = TEXTS * 30  # several batches
    together = et.predict_proba(texts, model.train(), tokenizer)
    assert model.training
    assert list(together.columns) == NAMES  # in id order, 10 after 9 and not after 1
    assert list(together.index) == list(range(len(texts)))
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-12)
    model.eval()
    for row in (0, 1, 2, 65, 179):
        with torch.inference_mode():
            logits = model(**tokenizer(texts[row], return_tensors="pt")).logits
        np.testing.assert_allclose(together.loc[row], logits.softmax(dim=1)[0], atol=1e-6)


def test_one_text_no_text_and_a_series(model, tokenizer):
    series = pd.Series(TEXTS[:3], index=["b", "a", "b"])
    found = et.predict_proba(series, model, tokenizer)
    pd.testing.assert_index_equal(found.index, series.index)
    one = et.predict_proba("i am glad", model, tokenizer)
    np.testing.assert_allclose(one.loc[0], found.iloc[0], atol=1e-6)
    pd.testing.assert_frame_equal(et.predict_proba([], model, tokenizer), one[:0], check_index_type=False)
    pd.testing.assert_frame_equal(et.predict_proba(np.array("i am glad"), model, tokenizer), one)


ONE = Dataset.from_dict({"text": ["i am glad"], "label": [0]}).cast_column("label", ClassLabel(names=NAMES))
CALLS = {
    "predict_proba": lambda model, tokenizer: et.predict_proba(ONE["text"], model, tokenizer),
    "explain": lambda model, tokenizer: et.explain("i am glad", model, tokenizer, steps=2),
    "loss_frame": lambda model, tokenizer: et.loss_frame(ONE, model, tokenizer),
    "extract_hidden_states": lambda model, tokenizer: et.extract_hidden_states(ONE, model, tokenizer, cache=False),
}
"""Every function that computes with a model; hidden states are those of the classifier's body."""
all_calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@pytest.fixture
def own(model):
    """Return a copy that a test may change."""
    return copy.deepcopy(model)


@pytest.mark.parametrize(
    "settings",
    [
        {"problem_type": "multi_label_classification"},
        {"function_to_apply": "sigmoid"},
        {"id2label": dict(enumerate(NAMES[:-1]))},
        {"id2label": dict(enumerate([*NAMES[:-1], "no"]))},
        {"id2label": None},
    ],
    ids=str,
)
def test_what_is_not_one_label_of_several_is_refused(own, tokenizer, settings):
    for name, value in settings.items():
        setattr(own.config, name, value)
    for name in ("predict_proba", "explain", "loss_frame"):
        with pytest.raises((et.CheckpointError, et.DataError)):
            CALLS[name](own, tokenizer)


@all_calls
def test_values_that_are_not_finite_are_refused(own, tokenizer, call):
    own.base_model.encoder.layer[0].output.dense.bias.data[0] = torch.nan
    with pytest.raises(et.CheckpointError, match=r"(?s)\[0\].*not finite.*diverged"):
        call(own, tokenizer)


@all_calls
def test_added_tokens_without_embeddings_are_refused(own, tokenizer, call):
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_tokens("i am glad")
    with pytest.raises(et.CheckpointError, match=r"resize_token_embeddings\(len\(tokenizer\)\)"):
        call(own, tokenizer)
    own.resize_token_embeddings(len(tokenizer))
    call(own, tokenizer)


@all_calls
def test_a_failing_forward_pass_is_said_and_out_of_memory_stays(own, tokenizer, call, monkeypatch):
    errors = iter([RuntimeError("of two sizes"), RuntimeError("CUDA out of memory."), MemoryError()])

    def fail(*args, **kwargs):
        raise next(errors)

    monkeypatch.setattr(own.base_model.encoder.layer[1].output, "forward", fail)
    for kind, said in ((et.CheckpointError, "of two sizes"), (RuntimeError, "out of memory"), (MemoryError, "^$")):
        with pytest.raises(kind, match=said):
            call(own, tokenizer)


@all_calls
def test_each_part_stays_in_its_mode(own, tokenizer, call):
    own.train()
    own.base_model.embeddings.eval()
    before = [module.training for module in own.modules()]
    call(own, tokenizer)
    assert [module.training for module in own.modules()] == before


@pytest.mark.parametrize("config_class", [BertConfig, RobertaConfig])
def test_context_is_what_tokenizer_and_model_both_read(tokenizer, tmp_path, config_class):
    """RoBERTa's first position is the one after that of padding."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    offset = 0 if config_class is BertConfig else 1
    config = config_class(**sizes, vocab_size=len(tokenizer), max_position_embeddings=64, pad_token_id=0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = int(1e30)
    tokenizer.save_pretrained(tmp_path)
    long, limit = "word " * 70, 64 - offset
    model = et.load_classifier(tmp_path, ["no", "yes"], "cpu")
    for each in (et.load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        with pytest.warns(et.DataWarning, match=rf"the {limit} tokens .*row 0 \(72 tokens\)") as caught:
            found = et.predict_proba(long, model, each)
        assert caught[0].filename == __file__
        pd.testing.assert_frame_equal(found, et.predict_proba("word " * (limit - 2), model, each))
        with pytest.warns(et.DataWarning, match=f"the {limit} tokens"):
            frame = et.explain(long, model, each, steps=2)
        assert frame["attribution"].iloc[limit - 2 :].eq(0).all()


def test_threads_share_a_tokenizer_and_a_model(own, tokenizer):
    """Some texts are too long, and the model is in training mode."""
    own.train()
    texts = ["i am glad", "word " * 700, "so", "very " * 600, "a movie"]
    calls = [
        lambda: et.predict_proba(texts, own, tokenizer),
        lambda: et.tokenize(Dataset.from_dict({"text": texts}), tokenizer).to_pandas(),
        lambda: et.token_table(texts[1], tokenizer),
        lambda: et.explain(texts[0], own, tokenizer, steps=2),
        lambda: et.extract_hidden_states(Dataset.from_dict({"text": texts}), own, tokenizer, cache=False).to_pandas(),
    ]
    with pytest.warns(et.DataWarning, match="2 texts"):  # noqa: PT031 - threads are awaited inside
        expected = [call() for call in calls]
        with ThreadPoolExecutor(16) as pool:
            found = [pool.submit(calls[i % len(calls)]) for i in range(60)]
            for i, each in enumerate(found):
                pd.testing.assert_frame_equal(each.result(), expected[i % len(calls)])
    assert own.training


def test_batches_of_a_size_give_the_same(own, tokenizer):
    sizes = []
    own.register_forward_pre_hook(lambda _, __, given: sizes.append(len(given["input_ids"])), with_kwargs=True)
    few = et.predict_proba(TEXTS, own, tokenizer, batch_size=np.int64(4), progress=False)
    assert sizes[-2:] == [4, 2]
    pd.testing.assert_frame_equal(few, et.predict_proba(TEXTS, own, tokenizer))
    with pytest.raises(et.SettingsError, match="batch_size"):
        et.predict_proba(TEXTS, own, tokenizer, batch_size=0)


@all_calls
def test_what_is_no_model_or_no_tokenizer_is_said(model, tokenizer, call):
    unpadded = copy.deepcopy(tokenizer)
    unpadded.pad_token = None
    for given in ((None, tokenizer), ("embedded", tokenizer), (model, "embedded"), (model, unpadded)):
        with pytest.raises(et.TutorialError, match="load_"):
            call(*given)
    with pytest.raises(et.CheckpointError, match="load_classifier"):
        et.predict_proba("a", model.base_model, tokenizer)


def test_a_thread_whose_prediction_failed_does_not_keep_others_waiting(model, tokenizer):
    with ThreadPoolExecutor(1) as pool:
        error = pool.submit(et.predict_proba, "a", model.base_model, tokenizer).exception()
    assert error.__traceback__ is not None  # which keeps the frames of that thread
    assert len(et.predict_proba("a", model, tokenizer)) == 1
