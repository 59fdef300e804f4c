"""Integrated gradients, on random models whose weights are so large that words change the probabilities."""

import copy

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from transformers import AutoModelForSequenceClassification as AutoClassifier
from transformers import BartConfig, BertConfig, ByT5Tokenizer, GPT2Config, PreTrainedTokenizerFast, RobertaConfig

from emotion_tutorial import CheckpointError, DataError, DataWarning, SettingsError, explain, predict_proba, token_table

NAMES = ["no", "yes", "maybe"]
TEXT = "I am so happy, happy with this unbelievable naïve day!"
TINY = {"num_labels": 3, "pad_token_id": 0, "vocab_size": 30522, "max_position_embeddings": 514}
SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
ENDS = {"bos_token_id": 101, "eos_token_id": 102}
CONFIGS = {
    "bert": BertConfig(**SIZES, **TINY),
    "roberta": RobertaConfig(**SIZES, **TINY),  # counts positions by the ids that are no padding
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=2, **ENDS, **TINY),  # takes the last token that is no padding
    "bart": BartConfig(d_model=32, encoder_layers=1, decoder_layers=1, **ENDS, **TINY),
}


def classifier(architecture: str):
    torch.manual_seed(0)
    model = AutoClassifier.from_config(CONFIGS[architecture]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(15)
    model.config.id2label = dict(enumerate(NAMES))
    return model


@pytest.fixture
def model():
    return classifier("bert")


@pytest.mark.parametrize("architecture", ["bert", "roberta", "gpt2"])
def test_attributions_sum_to_what_the_words_change(architecture, tokenizer):
    model = classifier(architecture)
    encoded = tokenizer(TEXT, return_special_tokens_mask=True, return_tensors="pt")
    ids = torch.where(encoded["special_tokens_mask"].bool(), encoded["input_ids"], tokenizer.pad_token_id)
    with torch.no_grad():
        baseline = model(inputs_embeds=model.get_input_embeddings()(ids)).logits.softmax(dim=-1)[0]
    changes = []
    for label, p_baseline in zip(NAMES, baseline.tolist(), strict=True):
        frame = explain(TEXT, model, tokenizer, label=label)
        assert frame["word"].tolist() == TEXT.split()
        assert set(frame["label"]) == {label}
        changes.append(predict_proba(TEXT, model, tokenizer)[label][0] - p_baseline)
        assert frame["attribution"].sum() == pytest.approx(changes[-1], abs=0.02)
    assert max(map(abs, changes)) > 0.1


def test_the_only_word_that_counts_gets_all(model, tokenizer):
    embeddings = model.get_input_embeddings().weight.detach()
    happy = tokenizer.convert_tokens_to_ids("happy")
    own = embeddings[happy].clone()
    embeddings[:] = embeddings[0]  # all tokens are as [PAD]
    embeddings[happy] = own
    frame = explain("\n I am not that very-happy today, <b>Happy</b>", model, tokenizer)
    assert frame.loc[frame["attribution"] != 0, "word"].tolist() == ["very-happy", "<b>Happy</b>"]


def test_predicted_label_is_explained_and_the_model_left_as_it_was(model, tokenizer):
    predicted = predict_proba(TEXT, model, tokenizer).loc[0].idxmax()
    expected = explain(TEXT, model, tokenizer, label=predicted)
    model.train().requires_grad_(False)
    with torch.inference_mode():
        assert explain(TEXT, model, tokenizer, steps=np.int64(50)).equals(expected)  # without dropout
    assert model.training
    assert all(not p.requires_grad and p.grad is None for p in model.parameters())


def test_beyond_the_context_is_nothing(model, tokenizer):
    short = copy.deepcopy(tokenizer)
    short.model_max_length = 6
    with pytest.warns(DataWarning, match="cut there"):
        frame = explain("one two three four five six", model, short, label="yes")
    assert (frame["attribution"] != 0).tolist() == [True] * 4 + [False] * 2
    assert explain(" \n", model, short).empty


@pytest.mark.parametrize("text", ["今日は嬉しい日です", "mixed 今日は text", "a" * 100, "मैं खुश हूँ", "ผมดีใจ"])
def test_words_in_any_script(model, tokenizer, text):
    frame = explain(text, model, tokenizer, label="yes", steps=5)
    assert "".join(frame["word"]) == text.replace(" ", "")
    assert len(frame) > 1


def test_token_over_several_pieces_is_shared_among_them(model):
    made = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1, "今日は": 2, "嬉しい": 3}, unk_token="[UNK]"))
    made.pre_tokenizer = Split("今日は", "isolated")
    frame = explain("今日は嬉しい", model, PreTrainedTokenizerFast(tokenizer_object=made, pad_token="[PAD]"), steps=5)
    assert frame["word"].tolist() == list("今日は嬉しい")
    assert frame["attribution"].iloc[:3].nunique() == frame["attribution"].iloc[3:].nunique() == 1


def test_what_is_refused(model, tokenizer):
    with pytest.raises(DataError, match="one text"):
        explain(None, model, tokenizer)
    for options in ({"label": "joy"}, {"steps": 0}, {"steps": 2.5}):
        with pytest.raises(SettingsError, match=str(*options.values())):
            explain("a", model, tokenizer, **options)
    for refused in (explain, lambda text, _, tokenizer: token_table(text, tokenizer)):
        with pytest.raises(CheckpointError, match="fast tokenizer"):
            refused("a", model, ByT5Tokenizer())
    with pytest.raises(CheckpointError, match="is an encoder-decoder"):
        explain(TEXT, classifier("bart"), tokenizer)
