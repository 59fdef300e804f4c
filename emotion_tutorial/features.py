"""Tokens to hidden states, a feature matrix from them, and a projection to two dimensions."""

from typing import Literal, Never

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import torch
from datasets import Dataset, DatasetDict
from tqdm.auto import tqdm
from transformers import DataCollatorWithPadding, PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.exceptions import MissingColumnError, MissingExtraError
from emotion_tutorial.tokenization import Splits, tokenize

Pooling = Literal["cls", "mean"]
Precision = Literal["auto", "float32", "bfloat16"]
BATCH_SIZE = 64


def extract_hidden_states(
    splits: Splits,
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pooling: Pooling = "cls",
    precision: Precision = "auto",
) -> Splits:
    """Add the column `hidden_state`: one vector per text.

    Texts are sorted by length, padded per batch, and put back into their order.

    Parameters
    ----------
    splits
        A split or splits, as loaded or as tokenized.
    encoder, tokenizer
        Of one checkpoint. The encoder computes where it is.
    pooling
        `cls`: the last hidden state of the first token. `mean`: the mean over all tokens.
    precision
        `auto`: bfloat16 where the hardware computes in it, else float32.

    Returns
    -------
    Dataset or DatasetDict
        With a float32 column `hidden_state` of `dim` values.
    """
    if pooling not in ("cls", "mean"):
        raise ValueError(f"Unknown pooling {pooling!r}. Choose 'cls' or 'mean'.")
    dtype = _compute_dtype(encoder.device, precision)
    if isinstance(splits, DatasetDict):
        splits = _ensure_tokens(splits, tokenizer)
        total = sum(dataset.num_rows for dataset in splits.values())
        with tqdm(total=total, desc="hidden states", unit="text") as progress:
            return DatasetDict(
                {
                    split: _add_hidden_states(dataset, encoder, tokenizer, pooling, dtype, progress)
                    for split, dataset in splits.items()
                }
            )
    dataset = _ensure_tokens(splits, tokenizer)
    with tqdm(total=dataset.num_rows, desc="hidden states", unit="text") as progress:
        return _add_hidden_states(dataset, encoder, tokenizer, pooling, dtype, progress)


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Reduce hidden states to one vector per text.

    Parameters
    ----------
    hidden : (texts, tokens, dim) float
    attention_mask : (texts, tokens) int, 0 on padding
    pooling : `cls` or `mean`

    Returns
    -------
    (texts, dim), of the dtype of `hidden`
    """
    if pooling == "cls":
        return hidden[:, 0]
    mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
    return (hidden * mask).sum(1) / mask.sum(1)


def feature_matrix(dataset: Dataset) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the hidden states and labels of a split as arrays.

    Returns
    -------
    X : (texts, dim) float32
    y : (texts,) int64

    Raises
    ------
    MissingColumnError
        If the split has no hidden states yet.
    """
    if "hidden_state" not in dataset.column_names:
        raise MissingColumnError(
            f"No column 'hidden_state', only {', '.join(dataset.column_names)}. Call extract_hidden_states first."
        )
    table = dataset.with_format("arrow")[:]
    column = table.column("hidden_state").combine_chunks()
    X = column.flatten().to_numpy().reshape(len(column), -1)
    return X.astype(np.float32), table.column("label").to_numpy().astype(np.int64)


def project_2d(X: npt.NDArray[np.floating], *, seed: int = 0) -> pd.DataFrame:
    """Project features to the plane with UMAP, after scaling each to [0, 1].

    Distances are cosine distances. With one seed, one machine and one set of versions, the picture
    is always the same; the seed costs UMAP its parallelism.

    Parameters
    ----------
    X : (texts, dim) float

    Returns
    -------
    DataFrame
        Columns `X` and `Y`, a row per text.

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


def _ensure_tokens(splits: Splits, tokenizer: PreTrainedTokenizerBase) -> Splits:
    columns = splits.column_names
    names = next(iter(columns.values())) if isinstance(columns, dict) else columns
    return splits if "input_ids" in names else tokenize(splits, tokenizer)


def _compute_dtype(device: torch.device, precision: Precision) -> torch.dtype:
    if precision == "auto":
        return torch.bfloat16 if has_bfloat16(device) else torch.float32
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"Unknown precision {precision!r}. Choose 'auto', 'float32' or 'bfloat16'.")
    return getattr(torch, precision)


def has_bfloat16(device: torch.device) -> bool:
    """Say whether a device computes bfloat16 in hardware: elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _add_hidden_states(
    dataset: Dataset,
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    pooling: Pooling,
    dtype: torch.dtype,
    progress: "tqdm[Never]",
) -> Dataset:
    collate = DataCollatorWithPadding(tokenizer)
    inputs = dataset.select_columns(["input_ids", "attention_mask"])[:]
    order = np.argsort([-len(ids) for ids in inputs["input_ids"]], kind="stable")  # longest first
    vectors = np.empty((len(order), encoder.config.hidden_size), dtype=np.float32)
    for start in range(0, len(order), BATCH_SIZE):
        rows = order[start : start + BATCH_SIZE]
        batch = collate([{name: inputs[name][row] for name in inputs} for row in rows])
        batch = {name: tensor.to(encoder.device) for name, tensor in batch.items()}
        with (
            torch.inference_mode(),
            torch.autocast(encoder.device.type, dtype=torch.bfloat16, enabled=dtype is torch.bfloat16),
        ):
            hidden = encoder(**batch).last_hidden_state
            vectors[rows] = pool(hidden.float(), batch["attention_mask"], pooling).cpu().numpy()
        progress.update(len(rows))
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    if "hidden_state" in dataset.column_names:
        dataset = dataset.remove_columns("hidden_state")
    return dataset.add_column("hidden_state", column)
