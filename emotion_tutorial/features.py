"""Texts to hidden states: a feature matrix, and its projection to two dimensions."""

import copy
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from datasets import Dataset, DatasetDict, List, Value
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.caching import cached_array, digest
from emotion_tutorial.devices import has_bfloat16
from emotion_tutorial.exceptions import DataError, SettingsError, needed_from
from emotion_tutorial.inference import evaluating, forward_in_batches, require_finite
from emotion_tutorial.texts import as_ids, as_matrix, require_number
from emotion_tutorial.tokenization import Splits, context_size, encode, encode_splits

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
    batch_size: int | None = None,
    progress: bool = True,
) -> Splits:
    """Add the float32 column `hidden_state`: one vector per text.

    Parameters
    ----------
    splits
        A split or splits with a column `text`, which is tokenized for this encoder.
    encoder, tokenizer
        Of one checkpoint. The encoder computes where it is, without dropout, and is left in the mode it was in. Of a
        classifier, the body is used.
    pooling
        `cls` takes the last hidden state of the first token. A decoder has no [CLS], and its tokens see only what
        comes before them: there it takes that of the last token. `mean` takes the mean over all tokens.
    precision
        `auto` means bfloat16 where the hardware computes in it, and float32 elsewhere. In bfloat16 the vectors are
        rounded: with the bundled encoder their cosine to those of float32 is at least 0.9998, as
        tests/test_features.py checks.
    cache
        Whether the vectors are kept in the artifacts folder, and read from there the next time. Their name covers the
        texts, the encoder's weights, the pooling and the precision. Those of a quantized encoder are not kept.
    batch_size, progress
        As in `predict_proba`.

    Raises
    ------
    DataError
        If a split has no texts, or one is missing.
    CheckpointError
        If the token ids are not the encoder's, or it fails, or it gives values that are not finite.
    SettingsError
        If there is no such pooling, precision or batch size.
    """
    for name, value, known in (("pooling", pooling, Pooling), ("precision", precision, Precision)):
        if value not in get_args(known):
            raise SettingsError(f"Unknown {name} {value!r}. Choose one of {', '.join(get_args(known))}.")
    limit = context_size(tokenizer, encoder)
    body: Any = encoder.base_model
    if precision == "auto":
        precision = "bfloat16" if has_bfloat16(body.device) else "float32"
    dtype = getattr(torch, precision)
    with evaluating(body):  # not while another thread explains something, with a hook that would be copied
        worker = body if dtype == body.dtype else copy.deepcopy(body).to(dtype)
    vector = pooling_for(pooling, tokenizer, limit)
    weights = body.state_dict().values()  # quantized ones have no bytes that a name could cover
    cache = cache and all(torch.is_tensor(weight) and not weight.is_quantized for weight in weights)
    extracted = {}
    for split, dataset, ids in encode_splits(splits, tokenizer, limit):
        options = (f"split {split!r}, row ", batch_size, progress)
        compute = partial(_hidden_states, worker, ids, tokenizer, vector, *options)
        key = (ids, body, vector, precision)
        vectors = cached_array("hidden-states", digest(*key), compute) if cache else compute()
        kept = dataset.select_columns([name for name in dataset.column_names if name != "hidden_state"])
        extracted[split] = kept.add_column("hidden_state", list(vectors), feature=List(Value("float32")))
    return DatasetDict(extracted) if isinstance(splits, DatasetDict) else extracted["data"]


def _hidden_states(
    encoder: PreTrainedModel, input_ids: list[list[int]], tokenizer: Any, pooling: str, *options: Any
) -> npt.NDArray[np.float32]:
    vectors = np.empty((len(input_ids), 0), dtype=np.float32)
    for rows, output, mask in forward_in_batches(encoder, input_ids, tokenizer, *options):
        pooled = pool(output.last_hidden_state, mask, pooling).cpu().numpy()
        vectors = vectors if vectors.size else np.empty((len(input_ids), pooled.shape[1]), dtype=np.float32)
        vectors[rows] = pooled
    require_finite(vectors, options[0])
    return vectors


def pooling_for(pooling: Pooling, tokenizer: PreTrainedTokenizerBase, limit: int) -> str:
    """Return the pooling of `pool` that is meant: for `cls` it is `last` if texts do not begin with [CLS]."""
    starts_with_cls = encode([""], tokenizer, limit)[0][0][0] == tokenizer.cls_token_id
    return "last" if pooling == "cls" and not starts_with_cls else pooling


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

    Parameters
    ----------
    dataset
        As `extract_hidden_states` returns it, with a `label`.

    Returns
    -------
    X : (texts, dim) float32
    y : (texts,) int64

    Raises
    ------
    DataError
        If the split has no hidden states yet, one is not finite, or a label is missing or is not an id.
    """
    columns = dataset.column_names if isinstance(dataset, Dataset) else [type(dataset).__name__]
    if not {"hidden_state", "label"} <= {*columns}:
        found = f"Found {', '.join(columns)}, not the columns 'hidden_state' and 'label' of a Dataset"
        raise DataError(f"{found}. Call extract_hidden_states first.")
    [labels] = as_ids(None, label=dataset.with_format(None)["label"])
    vectors = dataset.select_columns(["hidden_state"]).with_format("numpy")[:]["hidden_state"]
    return as_matrix(vectors, "hidden_state").astype(np.float32), labels


def project_2d(X: npt.NDArray[np.floating], *, seed: int = 0) -> pd.DataFrame:
    """Project features to the plane with UMAP.

    Distances are cosine distances, so the features are taken as they are: scaling would move their origin. With one
    seed, one machine and one set of versions, the picture is always the same. The seed costs UMAP its parallelism.

    Parameters
    ----------
    X : (texts, dim) float, of four texts or more
    seed
        For UMAP's random start and sampling.

    Returns
    -------
    DataFrame
        Columns `X` and `Y`, a row per text.

    Raises
    ------
    DataError
        If X is no such matrix, or holds a value that is not finite.
    MissingExtraError
        If UMAP is not installed.

    Notes
    -----
    McInnes, Healy and Melville 2018, UMAP, arXiv:1802.03426.
    """
    with needed_from("notebooks"):
        from umap import UMAP

    require_number(0, 2**32 - 1, seed=seed)
    matrix = as_matrix(X, "X")
    if len(matrix) < 4:
        raise DataError(f"X= has {len(matrix)} rows. Give the X of feature_matrix, with four texts or more.")
    projection = UMAP(n_components=2, metric="cosine", random_state=seed, n_jobs=1).fit_transform(matrix)
    return pd.DataFrame(projection, columns=["X", "Y"])
