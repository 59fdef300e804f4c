"""Texts to tokens, and tables that explain them."""

import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import pandas as pd
from datasets import Dataset, DatasetDict, Features, List, Value
from transformers import BatchEncoding, PreTrainedTokenizerBase

from emotion_tutorial.exceptions import CheckpointError, DataError, DataWarning, SettingsError
from emotion_tutorial.models import positions_of
from emotion_tutorial.texts import as_texts, shorten

Splits = TypeVar("Splits", Dataset, DatasetDict)
UNLIMITED = 10**6
"""What is said to be longer than this is not recorded: transformers has very large integers for it."""
TEXTS_AT_ONCE = 1000
_tokenizer_lock = threading.Lock()
"""A tokenizer remembers how its last call wanted texts to be cut, so that two threads must not call it at once."""


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
        With two more columns, lists of integers, and without a format. Other columns for a model, such as
        `token_type_ids`, are dropped: they fit other ids. Nothing is padded, so that each batch can be padded to its
        own longest text later. A text that is longer than the model's context keeps its beginning, and a `DataWarning`
        says how many texts were cut, and which.

    Raises
    ------
    DataError
        If something is not a split with texts, or a text is missing.
    CheckpointError
        If the tokenizer has no padding token, or leaves no room for a text.
    """
    limit, tokenized = context_size(tokenizer), dict[str, Dataset]()
    for split, dataset, ids in encode_splits(splits, tokenizer, limit):
        stale = [name for name in ("token_type_ids", "position_ids") if name in dataset.features]
        kept = dataset.remove_columns(stale)
        columns = {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}
        types = {"input_ids": List(Value("int32")), "attention_mask": List(Value("int8"))}
        features = Features(kept.features | types)
        # Not by map(): it turns truncation off, for other threads too, to make a fingerprint of the tokenizer.
        tokenized[split] = Dataset.from_dict(kept[:] | columns, features=features)
    return DatasetDict(tokenized) if isinstance(splits, DatasetDict) else tokenized["data"]


def encode_splits(
    splits: Any, tokenizer: PreTrainedTokenizerBase, limit: int
) -> Iterator[tuple[str, Dataset, list[list[int]]]]:
    """Yield the name of each split, the split without a format, and the token ids of its texts; see `encode`.

    A split alone is called `data`. A `DataWarning` at the caller's caller says which texts were cut.

    Raises
    ------
    DataError
        If something is neither a `Dataset` nor a `DatasetDict` of them, there is no column `text`, or a text is
        missing or is no string.
    CheckpointError
        As `encode` does.
    """
    for split, dataset in splits.items() if isinstance(splits, DatasetDict) else [("data", splits)]:
        if not isinstance(dataset, Dataset) or "text" not in dataset.column_names:
            found = dataset.column_names if isinstance(dataset, Dataset) else type(dataset).__name__
            raise DataError(f"Split {split!r} is no Dataset that has 'text', but {found}. Load it with load_splits.")
        plain = dataset.with_format(None)
        ids, cut = encode(as_texts(plain["text"], f"split {split!r}, text")[0], tokenizer, limit)
        warn_of_truncation(cut, limit, f"split {split!r}", stacklevel=4)
        yield split, plain, ids


def encode(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, limit: int
) -> tuple[list[list[int]], dict[int, int]]:
    """Return the token ids of each text, cut at `limit` tokens, and of each text that was cut, its number of tokens.

    A text without any token, as an empty one is to GPT-2, becomes one padding token.

    Raises
    ------
    CheckpointError
        If the tokenizer has no padding token, or leaves no room for a text.
    """
    added = tokenizer.num_special_tokens_to_add()
    if tokenizer.pad_token_id is None or limit <= added:
        found = f"The tokenizer pads with {tokenizer.pad_token} and adds {added} tokens to a text; {limit} are read"
        raise CheckpointError(f"{found}. Load it with load_tokenizer, or choose another checkpoint.")
    ids: list[list[int]] = []
    lengths: dict[int, int] = {}
    for start in range(0, len(texts), TEXTS_AT_ONCE):
        with _tokenizer_lock:
            some = list(texts[start : start + TEXTS_AT_ONCE])
            ids += tokenizer(some, truncation=True, max_length=limit)["input_ids"]
            # Only texts that fill the context can have been cut: those few are encoded again in full.
            full = [row for row in range(start, len(ids)) if len(ids[row]) == limit]
            lengths |= {row: len(tokenizer(texts[row], verbose=False)["input_ids"]) for row in full}
    return [row or [tokenizer.pad_token_id] for row in ids], {row: n for row, n in lengths.items() if n > limit}


def encode_with_offsets(text: Any, tokenizer: PreTrainedTokenizerBase, **options: Any) -> BatchEncoding:
    """Return the tokens of one text, with the characters that each covers, and which ones are special.

    Raises
    ------
    DataError
        If it is not one text.
    CheckpointError
        If the tokenizer cannot say which characters a token covers.
    """
    if not isinstance(text, str):
        raise DataError(f"Expected one text, a string, and got {shorten(text)}. Give one text.")
    [text], _ = as_texts(text, "text")
    if not getattr(tokenizer, "is_fast", False):
        raise CheckpointError(f"{type(tokenizer).__name__} cannot say where a token stands. Load a fast tokenizer.")
    with _tokenizer_lock:
        return tokenizer(text, return_offsets_mapping=True, return_special_tokens_mask=True, verbose=False, **options)


def context_size(tokenizer: PreTrainedTokenizerBase, *models: Any) -> int:
    """Return how many tokens of a text are read: what tokenizer and model both can, or 512 if neither records it.

    Raises
    ------
    SettingsError
        If they are not a tokenizer and a model.
    """
    parts = [(tokenizer, "num_special_tokens_to_add"), *((model, "get_input_embeddings") for model in models)]
    if wrong := [type(given).__name__ for given, part in parts if not hasattr(given, part)]:
        found = f"Expected a tokenizer and a model of transformers, and found a {wrong[0]}"
        raise SettingsError(f"{found}. Use load_tokenizer, and load_classifier or load_encoder.")
    limits = (tokenizer.model_max_length, *map(positions_of, models))
    return min((limit for limit in limits if 0 < limit < UNLIMITED), default=512)


def token_table(text: str, tokenizer: PreTrainedTokenizerBase) -> pd.DataFrame:
    """Return one row per token of a text: `token`, `id`, `special`, and the characters that it covers.

    `covers` is empty for tokens that the tokenizer added, such as [CLS]. Nothing is cut. Raises as
    `encode_with_offsets` does.
    """
    encoded = encode_with_offsets(text, tokenizer)
    ids = encoded["input_ids"]
    special = [bool(mark) for mark in encoded["special_tokens_mask"]]
    covers = [text[start:end] for start, end in encoded["offset_mapping"]]
    return pd.DataFrame(
        {"token": tokenizer.convert_ids_to_tokens(ids), "id": ids, "special": special, "covers": covers}
    )


def warn_of_truncation(cut: Mapping[int, int], limit: int, where: str, stacklevel: int) -> None:
    """Say, with a `DataWarning`, which texts were cut, given the number of tokens of each; see `encode`."""
    if cut:
        shown = ", ".join(f"row {row} ({length} tokens)" for row, length in [*cut.items()][:5])
        message = f"{len(cut)} texts of {where} are longer than the {limit} tokens that the model reads, and were cut"
        warnings.warn(f"{message} there: {shown}.", DataWarning, stacklevel=stacklevel)
