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


def test_a_row_a_text_a_column_a_label(model, tokenizer):
    probabilities = et.predict_proba(TEXTS, model, tokenizer)
    assert list(probabilities.columns) == NAMES  # in id order, 10 after 9 and not after 1
    assert list(probabilities.index) == list(range(len(TEXTS)))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    assert probabilities.to_numpy().min() > 0


def test_order_is_that_of_the_texts_whatever_their_length(model, tokenizer):
    """Each text alone, straight through the model, is the truth."""
    texts = TEXTS * 30  # several batches
    together = et.predict_proba(texts, model, tokenizer)
    for row in (0, 1, 2, 65, 179):
        with torch.inference_mode():
            logits = model(**tokenizer(texts[row], return_tensors="pt")).logits
        np.testing.assert_allclose(together.loc[row], logits.softmax(dim=1)[0], atol=1e-6)


def test_one_text_and_no_text(model, tokenizer):
    one = et.predict_proba("i am glad", model, tokenizer)
    pd.testing.assert_frame_equal(one, et.predict_proba(["i am glad"], model, tokenizer))
    pd.testing.assert_frame_equal(et.predict_proba([], model, tokenizer), one[:0], check_index_type=False)


def test_ten_thousand_words_are_cut_and_said(model, tokenizer):
    with pytest.warns(et.DataWarning, match=r"row 1 \(10002 tokens\)") as caught:
        long = et.predict_proba(["short", "word " * 10_000], model, tokenizer)
    assert caught[0].filename == __file__
    pd.testing.assert_frame_equal(long, et.predict_proba(["short", "word " * 510], model, tokenizer))


def test_dropout_is_off_and_the_mode_is_kept(model, tokenizer):
    expected = et.predict_proba(TEXTS, model.eval(), tokenizer)
    assert not model.training
    pd.testing.assert_frame_equal(et.predict_proba(TEXTS, model.train(), tokenizer), expected, check_exact=True)
    assert model.training


@pytest.mark.parametrize("bad", [None, 3, float("nan"), ["nested"]])
def test_what_is_no_text_is_named(model, tokenizer, bad):
    with pytest.raises(et.DataError, match=r"texts\[1\]"):
        et.predict_proba(["fine", bad], model, tokenizer)


ONE = Dataset.from_dict({"text": ["i am glad"], "label": [0]}).cast_column("label", ClassLabel(names=NAMES))
CALLS = {
    "predict_proba": lambda model, tokenizer: et.predict_proba(ONE["text"], model, tokenizer),
    "explain": lambda model, tokenizer: et.explain("i am glad", model, tokenizer, steps=2),
    "loss_frame": lambda model, tokenizer: et.loss_frame(ONE, model, tokenizer),
    "extract_hidden_states": lambda model, tokenizer: et.extract_hidden_states(ONE, model, tokenizer, cache=False),
}
"""Every function that computes with a model; hidden states are those of the classifier's body."""
all_calls = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
OF_ONE_LABEL = [name for name in CALLS if name != "extract_hidden_states"]
calls_for_labels = pytest.mark.parametrize("call", [CALLS[name] for name in OF_ONE_LABEL], ids=OF_ONE_LABEL)


@pytest.fixture
def own(model):
    """Return a copy that a test may change."""
    return copy.deepcopy(model)


@pytest.mark.parametrize("index", [[7, 3, 5], ["b", "a", "b"], pd.MultiIndex.from_tuples([(1, 2), (1, 1), (0, 0)])])
def test_index_of_a_series_is_kept(model, tokenizer, index):
    frame = pd.DataFrame({"text": TEXTS[:3]}, index=index)
    found = et.predict_proba(frame["text"], model, tokenizer)
    pd.testing.assert_index_equal(found.index, frame.index)
    np.testing.assert_array_equal(found, et.predict_proba(TEXTS[:3], model, tokenizer))


@calls_for_labels
@pytest.mark.parametrize(
    "settings",
    [
        {"problem_type": "multi_label_classification"},
        {"problem_type": "regression"},
        {"function_to_apply": "sigmoid"},
        {"id2label": {0: "score"}},
        {"id2label": dict(enumerate(NAMES[:-1]))},
        {"id2label": dict(enumerate([*NAMES, "more"]))},
        {"id2label": dict(enumerate([*NAMES[:-1], "no"]))},
        {"id2label": {i + (i > 3): name for i, name in enumerate(NAMES)}},
        {"id2label": {name: i for i, name in enumerate(NAMES)}},
        {"id2label": None},
    ],
    ids=str,
)
def test_what_is_not_one_label_of_several_is_refused(own, tokenizer, settings, call):
    for name, value in settings.items():
        setattr(own.config, name, value)
    with pytest.raises((et.CheckpointError, et.DataError)):
        call(own, tokenizer)


@pytest.mark.parametrize("id2label", [{str(i): name for i, name in enumerate(NAMES)}, NAMES, tuple(NAMES)])
def test_names_are_in_id_order_however_they_are_stored(own, tokenizer, id2label):
    own.config.id2label = id2label
    assert et.predict_proba("a", own, tokenizer).columns.tolist() == NAMES
    own.classifier.bias.data[10] = 100
    assert et.explain("a", own, tokenizer, steps=2)["label"].tolist() == [NAMES[10]]


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
@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory."), MemoryError(), torch.OutOfMemoryError("full")])
def test_a_failing_forward_pass_is_said_and_out_of_memory_stays(own, tokenizer, call, error, monkeypatch):
    def fail(raised, *args, **kwargs):
        raise raised

    parts = own.base_model.encoder.layer[1].output
    monkeypatch.setattr(parts, "forward", lambda *args, **kwargs: fail(RuntimeError("of two sizes")))
    with pytest.raises(et.CheckpointError, match="of two sizes"):
        call(own, tokenizer)
    monkeypatch.setattr(parts, "forward", lambda *args, **kwargs: fail(error))
    with pytest.raises(type(error)) as raised:
        call(own, tokenizer)
    assert raised.value is error


@all_calls
def test_each_part_stays_in_its_mode(own, tokenizer, call):
    own.train()
    own.base_model.embeddings.eval()
    before = [module.training for module in own.modules()]
    call(own, tokenizer)
    assert [module.training for module in own.modules()] == before


@pytest.mark.parametrize("said", [512, None, 64])
@pytest.mark.parametrize("config_class", [BertConfig, RobertaConfig])
def test_context_is_what_tokenizer_and_model_both_read(tokenizer, tmp_path, config_class, said):
    """RoBERTa's first position is the one after that of padding."""
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    offset = 0 if config_class is BertConfig else 1
    config = config_class(**sizes, vocab_size=len(tokenizer), max_position_embeddings=64, pad_token_id=0)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(tmp_path)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.model_max_length = said or int(1e30)
    tokenizer.save_pretrained(tmp_path)
    long, limit = "word " * 70, 64 - offset
    model = et.load_classifier(tmp_path, ["no", "yes"], "cpu")
    for each in (et.load_tokenizer(tmp_path), AutoTokenizer.from_pretrained(tmp_path)):
        with pytest.warns(et.DataWarning, match=rf"the {limit} tokens .*row 0 \(72 tokens\)"):
            found = et.predict_proba(long, model, each)
        pd.testing.assert_frame_equal(found, et.predict_proba("word " * (limit - 2), model, each))
        with pytest.warns(et.DataWarning, match=f"the {limit} tokens"):
            frame = et.explain(long, model, each, steps=2)
        assert frame["attribution"].iloc[limit - 2 :].eq(0).all()
    split = Dataset.from_dict({"text": [long]})
    with pytest.warns(et.DataWarning, match=f"the {limit} tokens"):
        fits = et.tokenize(split, et.load_tokenizer(tmp_path)).remove_columns("text")
    et.extract_hidden_states(fits, model, tokenizer, cache=False)
    tokenizer.model_max_length = 512
    uncut = et.tokenize(split, tokenizer).remove_columns("text")
    with pytest.raises(et.CheckpointError, match=rf"72 tokens.*reads {limit}"):
        et.extract_hidden_states(uncut, model, tokenizer, cache=False)


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


def test_batches_of_a_size_give_the_same(model, tokenizer, capsys):
    sizes = []
    hook = model.register_forward_pre_hook(
        lambda m, a, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    few = et.predict_proba(TEXTS, model, tokenizer, batch_size=np.int64(4), progress=False)
    hook.remove()
    assert sizes == [4, 2]
    pd.testing.assert_frame_equal(few, et.predict_proba(TEXTS, model, tokenizer))
    for size in (0, -1, 2.5, "many", True):
        with pytest.raises(et.SettingsError, match="batch_size"):
            et.predict_proba(TEXTS, model, tokenizer, batch_size=size)


@all_calls
@pytest.mark.parametrize("wrong", ["nothing", "name", "parallel", "tokenizer", "padding"])
def test_what_is_no_model_or_no_tokenizer_is_said(model, tokenizer, call, wrong):
    unpadded = copy.deepcopy(tokenizer)
    unpadded.pad_token = None
    given = {
        "nothing": (None, tokenizer),
        "name": ("embedded", tokenizer),
        "parallel": (torch.nn.DataParallel(model), tokenizer),
        "tokenizer": (model, "embedded"),
        "padding": (model, unpadded),
    }
    with pytest.raises(et.TutorialError, match="load_"):
        call(*given[wrong])


def test_body_without_a_head_is_said(model, tokenizer):
    with pytest.raises(et.CheckpointError, match="load_classifier"):
        et.predict_proba("a", model.base_model, tokenizer)
