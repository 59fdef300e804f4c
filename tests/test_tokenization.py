import warnings

import pytest
from datasets import Dataset, DatasetDict

from emotion_tutorial import special_tokens_table, token_table, tokenize
from emotion_tutorial.exceptions import DataWarning
from emotion_tutorial.tokenization import context_size

IDS = [101, 19204, 6026, 3793, 2003, 1037, 4563, 4708, 1997, 17953, 2361, 1012, 102]
TOKENS = ["[CLS]", "token", "##izing", "text", "is", "a", "core", "task", "of", "nl", "##p", ".", "[SEP]"]
TEXT = "Tokenizing text is a core task of NLP."


def test_token_table(tokenizer):
    table = token_table(TEXT, tokenizer)
    assert table["id"].tolist() == IDS
    assert table["token"].tolist() == TOKENS
    assert table["covers"].tolist()[:3] == ["", "Token", "izing"]
    assert table["special"].tolist() == [True] + [False] * 11 + [True]


def test_token_table_of_an_empty_text(tokenizer):
    assert token_table("", tokenizer)["token"].tolist() == ["[CLS]", "[SEP]"]
    with pytest.raises((TypeError, ValueError)):
        token_table(None, tokenizer)


def test_special_tokens_table(tokenizer):
    table = special_tokens_table(tokenizer)
    assert dict(zip(table["token"], table["id"], strict=True)) == {
        "[PAD]": 0,
        "[UNK]": 100,
        "[CLS]": 101,
        "[SEP]": 102,
        "[MASK]": 103,
    }
    assert table.loc[0, "role"] == "pad"
    with pytest.raises(AttributeError):
        special_tokens_table("bert")


def test_tokenize_adds_unpadded_columns(small, tokenizer):
    tokenized = tokenize(small, tokenizer)
    assert tokenized["train"].column_names == ["text", "label", "input_ids", "attention_mask"]
    row = tokenized["test"][3]
    assert row["input_ids"] == tokenizer(row["text"])["input_ids"]
    assert row["attention_mask"] == [1] * len(row["input_ids"])
    assert len({len(ids) for ids in tokenized["train"]["input_ids"]}) > 10


def test_tokenize_one_split(small, tokenizer):
    assert tokenize(small["test"], tokenizer)["input_ids"][0] == tokenizer(small["test"][0]["text"])["input_ids"]


def test_only_texts_beyond_the_context_are_said_to_be_cut(tokenizer):
    splits = DatasetDict(test=Dataset.from_dict({"text": ["short", "word " * 510, "word " * 511]}))
    with pytest.warns(DataWarning, match=r"1 texts of split 'test' .* 512 tokens .*row 2 \(513 tokens\)"):
        tokenized = tokenize(splits, tokenizer)
    ids = tokenized["test"]["input_ids"][:]
    assert [len(row) for row in ids] == [3, 512, 512]
    assert ids[2][-1] == tokenizer.sep_token_id
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tokenize(splits["test"].select([0, 1]), tokenizer)


def test_context_size(tokenizer, monkeypatch):
    assert context_size(tokenizer) == 512
    monkeypatch.setattr(tokenizer, "model_max_length", int(1e30))
    assert context_size(tokenizer) == 512


def test_tokenize_refuses_data_without_text(tokenizer):
    with pytest.raises(KeyError, match="text"):
        tokenize(Dataset.from_dict({"words": ["a"]}), tokenizer)
