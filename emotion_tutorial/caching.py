"""Where slow results are cached, under names that cover everything that shaped them."""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from datasets import Dataset

import emotion_tutorial
from emotion_tutorial.exceptions import DataWarning, SettingsError
from emotion_tutorial.replacing import as_folder, replaced_whole

LOADED = re.compile(
    r"(adapter_)?config\.json|.*\.safetensors(\.index\.json)?|"
    r".*token.*\.json|vocab.*|merges\.txt|bpe\.codes|.*\.(model|spm|tiktoken)"
)
"""The files of a checkpoint that are loaded: its configuration, weights, and tokenizer."""


def artifacts_folder() -> Path:
    """Return the folder for trained models and cached results.

    It is the one that the environment variable `EMOTION_TUTORIAL_ARTIFACTS` names, in which `~` is the home folder,
    or else `artifacts` in the working folder.
    """
    return as_folder(os.environ.get("EMOTION_TUTORIAL_ARTIFACTS", "").strip() or "artifacts")


def digest(*things: Any) -> str:
    """Return 16 hexadecimal digits that differ whenever the things differ in content.

    Parameters
    ----------
    *things
        Any number of `Dataset` (for splits, give each one), models (their configuration and weights are read),
        folders of checkpoints as `Path` (the files that are loaded are read, and not a README beside them), and
        whatever JSON can express (for an array, give its `tolist()`).

    Raises
    ------
    TypeError
        If something is of another type: its name alone would not tell what it holds.
    """
    sha = hashlib.sha256()
    for thing in things:
        for piece in _pieces(thing):
            sha.update(len(piece).to_bytes(8, "big"))
            sha.update(piece)
    return sha.hexdigest()[:16]


def versioned_digest(*things: Any) -> str:
    """Return the `digest` of things and of the package's version, as another version may make other results of them."""
    version: str = emotion_tutorial.__version__  # type: ignore[attr-defined]
    return digest(version, *things)


def _pieces(thing: Any) -> Iterator[bytes]:
    yield type(thing).__name__.encode()
    if isinstance(thing, Dataset):
        yield repr(thing.features).encode()
        for batch in thing.with_format(None).iter(10_000):
            yield json.dumps(batch, default=str).encode()
    elif isinstance(thing, torch.nn.Module):
        yield str(getattr(thing, "config", "")).encode()
        for name, weight in thing.state_dict().items():
            yield f"{name} {weight.dtype} {tuple(weight.shape)}".encode()
            yield weight.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(thing, Path):
        for path in sorted(path for path in thing.iterdir() if path.is_file() and LOADED.fullmatch(path.name)):
            yield path.name.encode()
            with path.open("rb") as file:
                yield hashlib.file_digest(file, "sha256").digest()
    else:
        yield json.dumps(thing, sort_keys=True).encode()


def cached_array(kind: str, key: str, compute: Callable[[], npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return an array from the artifacts folder, or compute it and keep it there.

    Parameters
    ----------
    kind, key
        They make the name of the file, together with the version of the package. The key is a `digest` of everything
        else that shapes the array.
    compute
        Called if there is no such file, or it cannot be read.
    """
    path = artifacts_folder() / f"{kind}-{versioned_digest(key)}.npy"
    with suppress(Exception):  # it is not there, or damaged: each kind of damage has an error of its own
        return np.load(path, allow_pickle=False)
    array = compute()
    try:
        with replaced_whole(path.parent) as new:
            np.save(new / path.name, array, allow_pickle=False)
    except (OSError, SettingsError) as error:  # such as a full disk: what was computed is worth more than its copy
        warnings.warn(f"The result could not be cached, and will be computed again: {error}", DataWarning, stacklevel=2)
    return array
