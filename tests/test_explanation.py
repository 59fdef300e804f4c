import copy
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForSequenceClassification as AutoClassifier
from transformers import (
    BartConfig,
    BertConfig,
    ByT5Tokenizer,
    GPT2Config,
    PreTrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLNetConfig,
    set_seed,
)

from emotion_tutorial import explain, load_classifier, predict_proba
from emotion_tutorial.exceptions import CheckpointError, DataError, DataWarning, MissingExtraError

NAMES = ["no", "yes", "maybe"]
TEXT = "I am so happy, happy with this unbelievable naïve day!"
TINY = {"num_labels": 3, "pad_token_id": 0, "vocab_size": 30522, "max_position_embeddings": 514}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
CONFIGS = {
    "bert": BertConfig(**SIZES, **TINY),
    "roberta": RobertaConfig(**SIZES, **TINY),  # counts positions by the ids that are no padding
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=2, **TINY),  # takes the last token that is no padding
    "bart": BartConfig(
        d_model=32, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=64, decoder_ffn_dim=64, eos_token_id=102, **TINY
    ),
    "xlnet": XLNetConfig(d_model=32, n_layer=2, n_head=2, d_inner=64, num_labels=3, vocab_size=30522),
}


def classifier(config: str | PreTrainedConfig):
    """Return a random model whose weights are so large that words change its probabilities."""
    set_seed(0)
    model = AutoClassifier.from_config(CONFIGS[config] if isinstance(config, str) else config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(15)
    model.config.id2label = dict(enumerate(NAMES))
    return model


@pytest.fixture(scope="module")
def model():
    return classifier("bert")


def model_that_reads(token_id: int, vocabulary: int = 30522):
    """Return a model to which all tokens but one are as [PAD]."""
    model = classifier(BertConfig(**SIZES, **TINY | {"vocab_size": vocabulary}))
    with torch.no_grad():
        embeddings = model.get_input_embeddings().weight
        own = embeddings[token_id].clone()
        embeddings[:] = embeddings[0]
        embeddings[token_id] = own
    return model


def p_of(model, tokenizer, label: str, *, baseline: bool) -> float:
    encoded = tokenizer(TEXT, return_special_tokens_mask=True, return_tensors="pt")
    ids = encoded["input_ids"]
    if baseline:
        ids = torch.where(encoded["special_tokens_mask"].bool(), ids, tokenizer.pad_token_id)
    with torch.no_grad():
        logits = model(inputs_embeds=model.get_input_embeddings()(ids), attention_mask=encoded["attention_mask"]).logits
    return float(logits.softmax(dim=-1)[0, NAMES.index(label)])


@pytest.mark.parametrize("architecture", ["bert", "roberta", "gpt2"])
@pytest.mark.parametrize("label", NAMES)
def test_attributions_sum_to_what_the_words_change(architecture, label, tokenizer):
    model = classifier(architecture)
    frame = explain(TEXT, model, tokenizer, label=label)
    text, baseline = (p_of(model, tokenizer, label, baseline=baseline) for baseline in (False, True))
    assert text == pytest.approx(predict_proba(TEXT, model, tokenizer)[label][0], abs=1e-4)
    assert frame["attribution"].sum() == pytest.approx(text - baseline, abs=0.02)
    assert label != "no" or abs(text - baseline) > 0.1


def test_a_row_a_word_for_the_predicted_label(model, tokenizer):
    frame = explain(f"\n {TEXT}\t", model, tokenizer)
    assert list(frame.columns) == ["word", "attribution", "label"]
    assert frame["word"].tolist() == TEXT.split()
    assert frame["attribution"].dtype == np.float64
    assert set(frame["label"]) == {predict_proba(TEXT, model, tokenizer).idxmax(axis=1)[0]}
    pd.testing.assert_frame_equal(frame, explain(TEXT, model, tokenizer, label=frame["label"][0]))


def test_the_only_word_that_counts_gets_all(tokenizer):
    model = model_that_reads(tokenizer.convert_tokens_to_ids("happy"))
    text = "I am not that very-happy today, <b>Happy</b>"  # in two words, each with more tokens than this
    frame = explain(text, model, tokenizer)
    assert frame.loc[frame["attribution"] != 0, "word"].tolist() == ["very-happy", "<b>Happy</b>"]
    label = frame["label"][0]
    with_it, without = (
        predict_proba(t, model, tokenizer)[label][0] for t in (text, text.lower().replace("happy", "x"))
    )
    assert frame["attribution"].sum() == pytest.approx(with_it - without, abs=0.002)
    assert abs(with_it - without) > 0.02


def test_a_token_that_begins_with_the_space_belongs_to_the_word_after_it():
    vocabulary = {token: i for i, token in enumerate(["[PAD]", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    bytewise = Tokenizer(models.BPE(vocabulary, []))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bytewise, pad_token="[PAD]", model_max_length=64)
    frame = explain("ab cd é ", model_that_reads(vocabulary["Ġ"], len(vocabulary)), tokenizer)
    assert frame["word"].tolist() == ["ab", "cd", "é"]  # the last has the space after it, too
    assert (frame["attribution"] != 0).tolist() == [False, True, True]


def test_beyond_the_context_is_nothing(model, tokenizer):
    short = copy.deepcopy(tokenizer)
    short.model_max_length = 6
    with pytest.warns(DataWarning, match="cut there") as caught:
        frame = explain("one two three four five six", model, short)
    assert caught[0].filename == __file__
    assert (frame["attribution"] != 0).tolist() == [True] * 4 + [False] * 2


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_words_no_rows(text, model, tokenizer):
    frame = explain(text, model, tokenizer)
    assert frame.empty
    assert list(frame.columns) == ["word", "attribution", "label"]


def test_model_is_left_as_it_was(tokenizer):
    model = classifier("bert")
    before = explain(TEXT, model, tokenizer)
    model.train()
    model.bert.pooler.eval()
    model.bert.encoder.requires_grad_(False)
    model.classifier.weight.grad = torch.ones_like(model.classifier.weight)
    weights = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    needed = [parameter.requires_grad for parameter in model.parameters()]
    pd.testing.assert_frame_equal(explain(TEXT, model, tokenizer), before)  # without dropout
    assert [module.training for module in model.modules()] == modes
    assert [parameter.requires_grad for parameter in model.parameters()] == needed
    assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    assert list(gradients) == ["classifier.weight"]
    assert (gradients["classifier.weight"] == 1).all()


def test_failure_leaves_the_model_as_it_was(tokenizer, monkeypatch):
    model = classifier("bert").train()
    monkeypatch.setattr("captum.attr.LayerIntegratedGradients.attribute", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explain(TEXT, model, tokenizer)
    assert all(module.training for module in model.modules())


def test_frozen_model_is_explained_too(tokenizer):
    model = classifier("bert")
    expected = explain(TEXT, model, tokenizer)
    model.requires_grad_(False)
    with torch.no_grad():
        pd.testing.assert_frame_equal(explain(TEXT, model, tokenizer), expected)


@pytest.mark.parametrize(
    ("text", "options", "error", "said"),
    [
        (None, {}, DataError, "not a string"),
        (["a", "b"], {}, DataError, "not a string"),
        ("a", {"label": "joy"}, DataError, r"no label 'joy'\. Take one of no, yes, maybe"),
        ("a", {"steps": 0}, ValueError, "steps is 0"),
    ],
)
def test_what_is_refused(text, options, error, said, model, tokenizer):
    with pytest.raises(error, match=said):
        explain(text, model, tokenizer, **options)


def test_tokenizer_without_offsets_or_padding_is_refused(model, tokenizer):
    with pytest.raises(CheckpointError, match="ByT5Tokenizer is no fast tokenizer"):
        explain("a", model, ByT5Tokenizer())
    without = copy.deepcopy(tokenizer)
    without.pad_token = None
    with pytest.raises(CheckpointError, match=r"has no \[PAD\]"):
        explain("a", model, without)


@pytest.mark.parametrize("architecture", ["bart", "xlnet"])
def test_model_that_does_not_read_each_embedding_once_is_refused(architecture, tokenizer):
    model = classifier(architecture)
    with pytest.raises(CheckpointError, match="ForSequenceClassification does not read the embedding of each token"):
        explain(TEXT, model, tokenizer)


def test_missing_captum_is_named(model, tokenizer, monkeypatch):
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(MissingExtraError, match=r"emotion-tutorial\[notebooks\]"):
        explain("a", model, tokenizer)


def test_distilbert_of_a_folder(tiny_distilbert, tokenizer):
    set_seed(0)
    frame = explain(TEXT, load_classifier(tiny_distilbert, NAMES), tokenizer)
    assert (frame["attribution"] != 0).all()
