"""Texts to tokens, and tables that explain them."""

import warnings
from collections.abc import Sequence
from typing import TypeVar

import pandas as pd
from datasets import Dataset, DatasetDict
from transformers import PreTrainedTokenizerBase

from emotion_tutorial.exceptions import DataError, DataWarning

Splits = TypeVar("Splits", Dataset, DatasetDict)


def tokenize(splits: Splits, tokenizer: PreTrainedTokenizerBase) -> Splits:
    """Add the columns `input_ids` and `attention_mask`, unpadded.

    Parameters
    ----------
    splits
        A split or splits with a `text` column.
    tokenizer
        The one that belongs to the model: the ids of another one mean other tokens.

    Returns
    -------
    Dataset or DatasetDict
        With two more columns, lists of ints. Nothing is padded, so that each batch can be padded
        to its own longest text later. A text longer than the model's context keeps its beginning;
        a `DataWarning` says how many texts that concerns, and where.
    """

    def encode_batch(batch: dict[str, list[str]]) -> dict[str, list[list[int]]]:
        input_ids = encode(batch["text"], tokenizer)
        return {"input_ids": input_ids, "attention_mask": [[1] * len(ids) for ids in input_ids]}

    tokenized = splits.map(encode_batch, batched=True, desc="tokenize")
    for split, dataset in tokenized.items() if isinstance(tokenized, DatasetDict) else [("data", tokenized)]:
        warn_of_truncation(dataset["text"], dataset["input_ids"], tokenizer, f"split {split!r}", stacklevel=3)
    return tokenized


def encode(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    """Return the token ids of each text, cut at the model's context.

    A text without any token, as an empty one is to GPT-2, becomes one padding token.

    Raises
    ------
    DataError
        If something is not a string.
    """
    if bad := [row for row, text in enumerate(texts) if not isinstance(text, str)]:
        raise DataError(f"texts[{bad[0]}] is {texts[bad[0]]!r}, not a string. Leave it out.")
    if not texts:
        return []
    encoded = tokenizer(list(texts), truncation=True, max_length=context_size(tokenizer))
    return [ids or [tokenizer.pad_token_id] for ids in encoded["input_ids"]]


def context_size(tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the largest number of tokens that the model reads at once; 512 if it is not recorded."""
    # transformers marks "unknown" by a very large integer.
    return tokenizer.model_max_length if tokenizer.model_max_length < 10**6 else 512


def token_table(text: str, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """Return one row per token of a text: `token`, `id`, `special`, and the characters it covers.

    `covers` is empty for tokens that the tokenizer added, such as [CLS].
    """
    encoded = tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True)
    table = pd.DataFrame({"token": tokenizer.convert_ids_to_tokens(encoded["input_ids"]), "id": encoded["input_ids"]})
    table["special"] = [bool(special) for special in encoded["special_tokens_mask"]]
    table["covers"] = [text[start:end] for start, end in encoded["offset_mapping"]]
    return table


def warn_of_truncation(
    texts: Sequence[str], ids: Sequence[Sequence[int]], tokenizer: PreTrainedTokenizerBase, where: str, stacklevel: int
) -> None:
    """Say, with a `DataWarning`, which texts were longer than the model's context."""
    limit = context_size(tokenizer)
    # Only texts that fill the context can have been cut: those few are encoded again in full.
    full = [row for row, kept in enumerate(ids) if len(kept) >= limit]
    lengths = {row: len(tokenizer(texts[row], verbose=False)["input_ids"]) for row in full}
    if cut := [f"row {row} ({length} tokens)" for row, length in lengths.items() if length > limit]:
        shown = f"{', '.join(cut[:5])}{' ...' if len(cut) > 5 else ''}"
        message = (
            f"{len(cut)} texts of {where} are longer than the {limit} tokens that the model reads, and were "
            f"cut there: {shown}."
        )
        warnings.warn(message, DataWarning, stacklevel=stacklevel)
