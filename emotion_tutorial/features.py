"""Texts to hidden states: a feature matrix, and its projection to two dimensions."""

import copy
from functools import partial
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from datasets import Dataset, DatasetDict, List, Value
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.caching import cached_array, digest
from emotion_tutorial.devices import has_bfloat16
from emotion_tutorial.exceptions import DataError, MissingExtraError, SettingsError
from emotion_tutorial.inference import forward_in_batches
from emotion_tutorial.tokenization import Splits, encode, warn_of_truncation

Pooling = Literal["cls", "mean"]
Precision = Literal["auto", "float32", "bfloat16"]


def extract_hidden_states(
    splits: Splits,
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pooling: Pooling = "cls",
    precision: Precision = "auto",
    cache: bool = True,
) -> Splits:
    """Add the float32 column `hidden_state`: one vector per text.

    Parameters
    ----------
    splits
        A split or splits, as loaded or as tokenized.
    encoder, tokenizer
        Of one checkpoint. The encoder computes where it is, without dropout, and is left in the mode it was in.
    pooling
        `cls`: the last hidden state of the first token; of a decoder, which has no [CLS] and whose tokens see
        only what comes before them, that of the last token. `mean`: the mean over all tokens.
    precision
        `auto`: bfloat16 where the hardware computes in it, else float32. Of bfloat16 the vectors are rounded (cosine to
        those of float32 at least 0.9998 with the bundled encoder, measured by benchmarks/feature_extraction.py).
    cache
        Keep the vectors in the artifacts folder, and read them from there the next time. Their name covers the
        texts, the encoder's weights, the pooling and the precision.

    Raises
    ------
    SettingsError
        If there is no such pooling or precision.
    """
    for name, value, known in (("pooling", pooling, Pooling), ("precision", precision, Precision)):
        if value not in get_args(known):
            raise SettingsError(f"Unknown {name} {value!r}. Choose one of {', '.join(get_args(known))}.")
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(encoder.device) else "float32"
    dtype = getattr(torch, precision)
    worker = encoder if dtype == encoder.dtype else copy.deepcopy(encoder).to(dtype)
    starts_with_cls = encode([""], tokenizer)[0][0] == tokenizer.cls_token_id
    vector = "last" if pooling == "cls" and not starts_with_cls else pooling
    extracted = {}
    for split, dataset in splits.items() if isinstance(splits, DatasetDict) else [("data", splits)]:
        dataset = dataset.with_format(None)
        if "input_ids" in dataset.column_names:
            ids = dataset["input_ids"][:]
        else:
            ids = encode(dataset["text"][:], tokenizer)
            warn_of_truncation(dataset["text"], ids, tokenizer, f"split {split!r}", stacklevel=3)
        compute = partial(_hidden_states, worker, ids, tokenizer, vector)
        shaped_by = (ids, encoder, vector, precision)
        vectors = cached_array("hidden-states", digest(*shaped_by), compute) if cache else compute()
        kept = dataset.select_columns([name for name in dataset.column_names if name != "hidden_state"])
        extracted[split] = kept.add_column("hidden_state", list(vectors), feature=List(Value("float32")))
    return DatasetDict(extracted) if isinstance(splits, DatasetDict) else extracted["data"]


def _hidden_states(
    encoder: PreTrainedModel, input_ids: list[list[int]], tokenizer: PreTrainedTokenizerBase, pooling: str
) -> npt.NDArray[np.float32]:
    # Some OPT models project their output to another size than that of their hidden states.
    size = getattr(encoder.config, "word_embed_proj_dim", encoder.config.hidden_size)
    vectors = np.empty((len(input_ids), size), dtype=np.float32)
    for rows, output, mask in forward_in_batches(encoder, input_ids, tokenizer, "hidden states"):
        vectors[rows] = pool(output.last_hidden_state, mask, pooling).cpu().numpy()
    return vectors


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, pooling: str) -> torch.Tensor:
    """Reduce hidden states to one vector per text.

    Parameters
    ----------
    hidden : (texts, tokens, dim), of any precision
    attention_mask : (texts, tokens) int, 0 on padding, which is on the right
    pooling : `cls` (the first token), `last` or `mean`

    Returns
    -------
    (texts, dim) float32
    """
    if pooling == "cls":
        return hidden[:, 0].float()
    if pooling == "last":
        return hidden[torch.arange(len(hidden), device=hidden.device), attention_mask.sum(1) - 1].float()
    mask = attention_mask.unsqueeze(-1).float()
    return (hidden.float() * mask).sum(1) / mask.sum(1)


def feature_matrix(dataset: Dataset) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the hidden states and labels of a split as arrays.

    Returns
    -------
    X : (texts, dim) float32
    y : (texts,) int64

    Raises
    ------
    DataError
        If the split has no hidden states yet.
    """
    if "hidden_state" not in dataset.column_names:
        raise DataError(f"No 'hidden_state', only {', '.join(dataset.column_names)}. Call extract_hidden_states first.")
    arrays = dataset.select_columns(["hidden_state", "label"]).with_format("numpy")[:]
    return arrays["hidden_state"].astype(np.float32), arrays["label"].astype(np.int64)


def project_2d(X: npt.NDArray[np.floating], *, seed: int = 0) -> pd.DataFrame:
    """Project features to the plane with UMAP, after scaling each to [0, 1].

    Distances are cosine distances. With one seed, one machine and one set of versions, the picture
    is always the same; the seed costs UMAP its parallelism.

    Parameters
    ----------
    X : (texts, dim) float
    seed
        For UMAP's random start and sampling.

    Returns
    -------
    DataFrame
        Columns `X` and `Y`, a row per text.

    Raises
    ------
    MissingExtraError
        If UMAP is not installed.

    Notes
    -----
    McInnes, Healy and Melville 2018, UMAP, arXiv:1802.03426.
    """
    try:
        from umap import UMAP
    except ImportError as error:
        raise MissingExtraError('UMAP is not installed. Run: pip install "emotion-tutorial[notebooks]".') from error
    from sklearn.preprocessing import MinMaxScaler

    scaled = MinMaxScaler().fit_transform(X)
    projection = UMAP(n_components=2, metric="cosine", random_state=seed, n_jobs=1).fit_transform(scaled)
    return pd.DataFrame(projection, columns=["X", "Y"])
