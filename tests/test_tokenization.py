import warnings

import pytest
from datasets import Dataset, DatasetDict

import emotion_tutorial as et

IDS = [101, 19204, 6026, 3793, 2003, 1037, 4563, 4708, 1997, 17953, 2361, 1012, 102]
TOKENS = ["[CLS]", "token", "##izing", "text", "is", "a", "core", "task", "of", "nl", "##p", ".", "[SEP]"]


def test_token_table(tokenizer):
    table = et.token_table("Tokenizing text is a core task of NLP.", tokenizer)
    assert [table["id"].tolist(), table["token"].tolist()] == [IDS, TOKENS]
    assert table["covers"].tolist()[:3] == ["", "Token", "izing"]
    assert table["special"].tolist() == [True] + [False] * 11 + [True]


def test_tokenize_adds_unpadded_columns_also_to_a_split_without_rows(small, tokenizer):
    splits = DatasetDict(small, empty=small["test"].select([]))
    for given in (splits, et.tokenize(splits, tokenizer)):
        tokenized = et.tokenize(given, tokenizer)
        assert tokenized["empty"].features == tokenized["train"].features
        assert tokenized["train"].column_names == ["text", "label", "input_ids", "attention_mask"]
        assert tokenized["empty"].num_rows == 0
    for row in tokenized["test"]:
        assert row["input_ids"] == tokenizer(row["text"])["input_ids"]
        assert row["attention_mask"] == [1] * len(row["input_ids"])


def test_columns_of_an_earlier_tokenizing_are_dropped(small, tokenizer):
    padded = {"padding": "max_length", "max_length": 200, "return_token_type_ids": True}
    mine = small["test"].map(lambda rows: tokenizer(rows["text"], **padded), batched=True)
    again = et.tokenize(mine, tokenizer)
    assert {*again.column_names} == {"text", "label", "input_ids", "attention_mask"}
    assert again["attention_mask"][:] == et.tokenize(small["test"], tokenizer)["attention_mask"][:]


def test_only_texts_beyond_the_context_are_said_to_be_cut(tokenizer):
    splits = DatasetDict(test=Dataset.from_dict({"text": ["short", "word " * 510, "word " * 511]}))
    with pytest.warns(et.DataWarning, match=r"1 texts of split 'test' .* 512 tokens .*row 2 \(513 tokens\)") as caught:
        tokenized = et.tokenize(splits, tokenizer)
    assert caught[0].filename == __file__
    ids = tokenized["test"]["input_ids"][:]
    assert [len(row) for row in ids] == [3, 512, 512]
    assert ids[2][-1] == tokenizer.sep_token_id
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        et.tokenize(splits["test"].select([0, 1]), tokenizer)


def test_context_that_is_not_recorded_is_512(tiny_checkpoint):
    tokenizer = et.load_tokenizer(tiny_checkpoint)
    tokenizer.model_max_length = int(1e30)
    with pytest.warns(et.DataWarning, match="512"):
        et.tokenize(Dataset.from_dict({"text": ["word " * 511]}), tokenizer)
