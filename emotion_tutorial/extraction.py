"""Texts to hidden states, fast: in shards on disk, so that memory stays flat and nothing is computed twice."""

import copy
import hashlib
import json
import os
import tempfile
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, Never

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from accelerate.utils.memory import clear_device_cache, should_reduce_batch_size
from datasets import Dataset, DatasetDict, concatenate_datasets
from filelock import FileLock, Timeout
from tqdm.auto import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.artifacts import kept_file, said_if_refused, whole_file
from emotion_tutorial.encoders import has_bfloat16, keep_freed_memory, limit_kernel_caches
from emotion_tutorial.exceptions import ArtifactWarning, OtherArtifactError, OutOfMemoryError, OutOfMemoryWarning
from emotion_tutorial.tokenization import Splits, context_size, warn_of_truncation

Pooling = Literal["cls", "mean"]
Precision = Literal["auto", "float32", "bfloat16"]
SHARD_ROWS = 2048
"""Texts that are sorted by length together and written to one file."""
TOKEN_BUDGET = {"cpu": 2048, "accelerator": 65536}
_TEMPORARY: list[tempfile.TemporaryDirectory[str]] = []
"""Folders that last as long as the process: data sets are mapped into memory from there."""


def extract_hidden_states(
    splits: Splits,
    encoder: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    pooling: Pooling = "cls",
    precision: Precision = "auto",
    folder: str | Path | None = None,
    token_budget: int | None = None,
) -> Splits:
    """Add the column `hidden_state`: one vector per text.

    Texts are taken in shards of 2,048. In a shard they are sorted by length, put into batches of
    about the same number of tokens, padded per batch, and put back into their order. Each shard is
    written to disk when it is done, and read from there by memory mapping. Processes that share a
    folder share the work: started by torchrun or just at the same time, each takes shards that no
    other has taken, and the result is the same. A shard that is not what its checksum says is
    computed anew, and an `ArtifactWarning` says so.

    Parameters
    ----------
    splits
        A split or splits, as loaded or as tokenized.
    encoder, tokenizer
        Of one checkpoint. The encoder computes where it is.
    pooling
        `cls`: the last hidden state of the first token. `mean`: the mean over all tokens.
    precision
        `auto`: bfloat16 where the hardware computes in it, else float32. The result is float32
        either way; in bfloat16 it is rounded (cosine to float32 at least 0.9999 with the embedded
        encoder, by benchmarks/feature_extraction.py).
    folder
        Where the shards are kept: an interrupted run goes on after the last finished one, a finished
        run is not repeated. None: a temporary folder that lasts as long as this process.
    token_budget
        Tokens per batch, padding included. None: what suits the device. Where its memory does not
        suffice, batches are halved, and an `OutOfMemoryWarning` says so.

    Returns
    -------
    Dataset or DatasetDict
        With a float32 column `hidden_state` of `dim` values.

    Raises
    ------
    OtherArtifactError
        If the folder holds hidden states of other texts, of another encoder, or made in another way.
    ArtifactError
        If what is missing in the folder cannot be written there.
    OutOfMemoryError
        If the device has no memory for a single text.
    """
    if pooling not in ("cls", "mean"):
        raise ValueError(f"Unknown pooling {pooling!r}. Choose 'cls' or 'mean'.")
    plan = {
        "pooling": pooling,
        "precision": _resolve(precision, encoder.device),
        "token_budget": token_budget or TOKEN_BUDGET.get(encoder.device.type, TOKEN_BUDGET["accelerator"]),
        "shard_rows": SHARD_ROWS,
    }
    named = splits if isinstance(splits, DatasetDict) else DatasetDict(data=splits)
    keep_freed_memory()
    limit_kernel_caches()
    worker = encoder
    if plan["precision"] == "bfloat16":
        worker = copy.deepcopy(encoder)
        worker.bfloat16()
    if folder is None:
        _TEMPORARY.append(tempfile.TemporaryDirectory(prefix="hidden-states-", ignore_cleanup_errors=True))
        folder = _TEMPORARY[-1].name
    else:
        _require_plan(Path(folder), plan | {"encoder": _digest_weights(encoder), "texts": _digest_texts(named)})
    shards = [
        _Shard(Path(folder) / f"{split}-{first // SHARD_ROWS:05d}.arrow", split, first)
        for split, dataset in named.items()
        for first in range(0, max(1, dataset.num_rows), SHARD_ROWS)
    ]
    total = sum(dataset.num_rows for dataset in named.values())
    with tqdm(total=total, desc="hidden states", unit="text", delay=2) as progress:

        def compute(shard: _Shard, path: Path) -> None:
            rows = named[shard.split][shard.first : shard.first + SHARD_ROWS]
            ids = rows["input_ids"] if "input_ids" in rows else _tokenize(rows["text"], tokenizer, shard)
            batches = _hidden_states(ids, worker, tokenizer, plan)
            _write(_in_order(batches, len(ids), encoder.config.hidden_size, progress), path)

        _share(shards, compute)
        progress.update(total - progress.n)  # what was there before, or others did
    done = {
        split: _with_shards(dataset, [s.path for s in shards if s.split == split]) for split, dataset in named.items()
    }
    return DatasetDict(done) if isinstance(splits, DatasetDict) else done["data"]


def pool(hidden: torch.Tensor, attention_mask: torch.Tensor, pooling: Pooling) -> torch.Tensor:
    """Reduce hidden states to one vector per text.

    Parameters
    ----------
    hidden : (texts, tokens, dim), of any precision
    attention_mask : (texts, tokens) int, 0 on padding
    pooling : `cls` or `mean`

    Returns
    -------
    (texts, dim) float32
    """
    if pooling == "cls":
        return hidden[:, 0].float()
    mask = attention_mask.unsqueeze(-1).float()
    return (hidden * mask).sum(1) / mask.sum(1)


@dataclass(frozen=True)
class _Shard:
    path: Path
    split: str
    first: int
    """Its first row in the split."""


def _share(shards: Sequence[_Shard], compute: Callable[[_Shard, Path], None]) -> None:
    """Compute the shards that are missing: first those that are free, then wait for those that others took.

    A process that was killed loses its locks, so that its shards are free again.
    """
    rank, world = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    dealt = [shard for start in range(world) for shard in shards[(rank + start) % world :: world]]
    taken = []
    for shard in dealt:
        try:
            kept_file(shard.path, partial(compute, shard), timeout=0)
        except Timeout:
            taken.append(shard)
    for shard in taken:
        kept_file(shard.path, partial(compute, shard))


def _tokenize(texts: list[str], tokenizer: PreTrainedTokenizerBase, shard: _Shard) -> list[list[int]]:
    if not texts:
        return []
    ids = tokenizer(texts, truncation=True, max_length=context_size(tokenizer))["input_ids"]
    warn_of_truncation(texts, ids, tokenizer, f"split {shard.split!r} from row {shard.first}", stacklevel=5)
    return ids


def _hidden_states(
    input_ids: list[list[int]], encoder: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, plan: dict[str, Any]
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]]:
    """Yield rows and their pooled hidden states, batch by batch, the longest texts first."""
    batches = deque(_plan_batches([len(ids) for ids in input_ids], plan["token_budget"]))
    with torch.inference_mode():
        while batches:
            rows = batches.popleft()
            batch = tokenizer.pad({"input_ids": [input_ids[row] for row in rows]}, return_tensors="pt")
            try:
                batch = batch.to(encoder.device)
                hidden = encoder(**batch).last_hidden_state.float()
                pooled = pool(hidden, batch["attention_mask"], plan["pooling"]).cpu().numpy()
            except RuntimeError as error:
                require_smaller_batch(len(rows), error)
                plan["token_budget"] //= 2  # of the shards that follow; of this one the batches are halved
                halves = (half for whole in (rows, *batches) for half in np.array_split(whole, 2))
                batches = deque(half for half in halves if len(half))
                continue
            yield rows, pooled


def require_smaller_batch(size: int, error: RuntimeError) -> None:
    """Return, with a warning, if a device had no memory for a batch of more than one text; else raise.

    Parameters
    ----------
    size
        Texts in the batch.
    error
        What computing it raised: it is raised again if it says something else.

    Raises
    ------
    OutOfMemoryError
        If it was a batch of one text.
    """
    if not should_reduce_batch_size(error):
        raise error
    said = str(error).strip().splitlines()[0]
    if size == 1:
        raise OutOfMemoryError(
            f"The device has no memory for a single text: {said} End other programs that use it, cut texts to fewer "
            "tokens (tokenizer.model_max_length), take a smaller checkpoint, or compute on the CPU."
        ) from error
    clear_device_cache(garbage_collection=True)
    warnings.warn(
        f"The device has no memory for a batch of {size} texts: {said} Going on with smaller ones.",
        OutOfMemoryWarning,
        stacklevel=2,
    )


def _plan_batches(lengths: Sequence[int], token_budget: int) -> Iterator[npt.NDArray[np.intp]]:
    """Yield rows of like length: as many as fit into the budget with padding, at least one.

    A batch that fills a quarter of the budget takes no shorter text, so that most need no padding.
    """
    order = np.argsort([-length for length in lengths], kind="stable")
    start = 0
    for end in range(1, len(order) + 1):
        longest = lengths[order[start]]
        if end == len(order) or (end + 1 - start) * longest > token_budget:
            full = True
        else:
            full = lengths[order[end]] < longest and 4 * (end - start) * longest >= token_budget
        if full:
            yield order[start:end]
            start = end


def _in_order(
    batches: Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]],
    count: int,
    dim: int,
    progress: "tqdm[Never]",
) -> npt.NDArray[np.float32]:
    vectors = np.empty((count, dim), dtype=np.float32)
    for rows, pooled in batches:
        vectors[rows] = pooled
        progress.update(len(rows))
    return vectors


def _write(vectors: npt.NDArray[np.float32], path: Path) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
    table = pa.table({"hidden_state": column})
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _with_shards(dataset: Dataset, paths: list[Path]) -> Dataset:
    """Add the shards' column, in memory-mapped files, to a split."""
    hidden = concatenate_datasets([Dataset.from_file(str(path)) for path in paths])
    kept = dataset.select_columns([name for name in dataset.column_names if name != "hidden_state"])
    return concatenate_datasets([kept, hidden], axis=1)


def _resolve(precision: Precision, device: torch.device) -> str:
    if precision == "auto":
        return "bfloat16" if has_bfloat16(device) else "float32"
    if precision not in ("float32", "bfloat16"):
        raise ValueError(f"Unknown precision {precision!r}. Choose 'auto', 'float32' or 'bfloat16'.")
    return precision


def _require_plan(folder: Path, plan: dict[str, Any]) -> None:
    """Write down what a folder holds, or refuse it if it holds something else."""
    path = folder / "plan.json"
    found = _read_plan(path)
    if found is None:
        with said_if_refused(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                found = _read_plan(path)
                if found is None:
                    if path.exists():
                        warnings.warn(
                            f"{path} is damaged, so it is unknown what {folder} holds. It is computed anew.",
                            ArtifactWarning,
                            stacklevel=3,
                        )
                        for shard in folder.glob("*.arrow"):
                            shard.unlink()
                    with whole_file(path) as unfinished:
                        unfinished.write_text(json.dumps(plan, indent=1, sort_keys=True), encoding="utf-8")
                    found = plan
    if differing := [name for name in plan if found.get(name) != plan[name]]:
        raise OtherArtifactError(
            f"{folder} holds other hidden states: {', '.join(differing)} differ"
            + "".join(f"; {name} {found.get(name)!r} there, {plan[name]!r} here" for name in differing[:1])
            + ". Choose another folder, or delete this one."
        )


def _read_plan(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _digest_weights(encoder: PreTrainedModel) -> str:
    sha = hashlib.sha256()
    for name, weight in encoder.state_dict().items():
        sha.update(name.encode())
        sha.update(weight.detach().cpu().reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()


def _digest_texts(splits: DatasetDict) -> str:
    sha = hashlib.sha256()
    for split, dataset in splits.items():
        column = "text" if "text" in dataset.column_names else "input_ids"
        sha.update(f"{split} {dataset.num_rows}".encode())
        for first in range(0, dataset.num_rows, SHARD_ROWS):
            sha.update(json.dumps(dataset[first : first + SHARD_ROWS][column]).encode())
    return sha.hexdigest()
