"""Where to keep what is expensive, so that no notebook computes it twice."""

import errno
import glob
import hashlib
import json
import os
import re
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pandas as pd
from datasets import DatasetDict
from filelock import FileLock

from emotion_tutorial.exceptions import ArtifactError, ArtifactWarning, CheckpointError

SUMS = "SHA256SUMS"
"""The digests of the files in a folder, as `sha256sum --check` reads them."""
UNFINISHED = "emotion-tutorial-unfinished"
"""In the name of what is being made, or was when a process was killed."""
REFUSALS = tuple(
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS", "EACCES", "EPERM")
    if hasattr(errno, name)  # Windows has not all of them
)
"""What a system says that does not let us write."""


def artifacts_root() -> Path:
    """Return `EMOTION_TUTORIAL_ARTIFACTS`, or `artifacts` in the working folder."""
    return Path(os.environ.get("EMOTION_TUTORIAL_ARTIFACTS") or "artifacts")


def artifact_folder(kind: str, **shaped_by: object) -> Path:
    """Return the folder of an artifact: its kind, and a digest of everything that shaped it.

    Parameters
    ----------
    kind
        Such as `hidden-states` or `fine-tuned`.
    **shaped_by
        What a change of should make another artifact: a `DatasetDict` counts by its texts and
        labels, everything else by its JSON or text.
    """
    parts = {name: digest(value) if isinstance(value, DatasetDict) else value for name, value in shaped_by.items()}
    key = json.dumps(parts, sort_keys=True, default=str).encode()
    return artifacts_root() / f"{kind}-{hashlib.sha256(key).hexdigest()[:12]}"


def digest(splits: DatasetDict) -> str:
    """Return a digest of the texts, labels and label names of all splits."""
    sha = hashlib.sha256()
    for split, dataset in splits.items():
        frame = dataset.select_columns(["text", "label"]).to_pandas()
        sha.update(json.dumps([split, dataset.features["label"].names]).encode())
        sha.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return sha.hexdigest()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to, and rename what was written at the end: the file is there whole or not at all."""
    unfinished = path.with_name(f"{path.name}.{UNFINISHED}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_sums(sums: Path, files: Iterable[Path], names: Iterable[str] = ()) -> None:
    """Write the SHA-256 of files that are beside it, as `sha256sum` does: under their names, or those given."""
    digests = {path.name: sha256(path) for path in files}
    lines = zip(digests.values(), names or digests, strict=True)
    with whole_file(sums) as unfinished:
        unfinished.write_text("".join(f"{digest}  {name}\n" for digest, name in lines), encoding="utf-8")


def damaged_files(sums: Path, pattern: str = "*") -> list[str]:
    """Return the names of the files that are missing or not as `write_sums` found them: none if all is well."""
    try:
        lines = [line.partition("  ") for line in sums.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return [sums.name]
    if not lines or not all(name for _, _, name in lines):
        return [sums.name]
    paths = [(digest, sums.with_name(name)) for digest, _, name in lines]
    return [
        path.name for digest, path in paths if path.match(pattern) and not (path.is_file() and sha256(path) == digest)
    ]


def kept_file(path: Path, write: Callable[[Path], None], *, timeout: float = -1) -> None:
    """See to it that a file is there and whole: made now if it is missing, or is not what its checksum says.

    The checksum is beside it, in `<name>.sha256`. One process makes the file, others wait; where it is
    there and whole, nothing is written or locked.

    Parameters
    ----------
    path
        Its place. Without a checksum beside it, what is there counts as whole: it was renamed when it was.
    write
        Called with another path, to write the file there.
    timeout
        Seconds to wait while another process makes the file; -1: as long as it takes.

    Raises
    ------
    filelock.Timeout
        If another process is at it still.
    ArtifactError
        If the system does not let us write.
    """
    sums = Path(f"{path}.sha256")
    if _is_whole(path, sums):
        return
    with said_if_refused(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=timeout):
            if _is_whole(path, sums):
                return
            if path.exists():
                warnings.warn(
                    f"{path} is damaged: it is not what {sums.name} says. It is made anew.",
                    ArtifactWarning,
                    stacklevel=2,
                )
                path.unlink()
            with whole_file(path) as unfinished:
                write(unfinished)
                write_sums(sums, [unfinished], [path.name])


def _is_whole(path: Path, sums: Path) -> bool:
    return path.exists() and not (sums.exists() and damaged_files(sums))


@contextmanager
def said_if_refused(folder: Path) -> Iterator[None]:
    """Turn what libraries raise on a full or read-only disk into an ArtifactError; other errors pass."""
    try:
        yield
    except Exception as error:
        if not _is_refusal(error):
            raise
        said = str(error).strip().splitlines()[0]
        raise ArtifactError(
            f"Could not write to {folder.resolve()}: {said}. Free space there, or keep artifacts on a disk that has "
            "room and lets you write: set EMOTION_TUTORIAL_ARTIFACTS, or --output on the command line, to a folder "
            "there. What was finished stays; run it again to go on."
        ) from error


def _is_refusal(error: Exception) -> bool:
    if isinstance(error, ArtifactError):
        return False
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in REFUSALS
    # Rust's (safetensors, tokenizers), NumPy's and PyTorch's own words.
    rust = "|".join(map(str, REFUSALS))
    torch = "PytorchStreamWriter|unexpected pos |open file failed"
    return bool(
        re.search(rf"\(os error ({rust})\)|\d requested and \d+ written|inline_container.*({torch})", str(error))
    )


@contextmanager
def whole_folder(folder: Path, marker: str) -> Iterator[Path]:
    """Give an empty folder to write into, and put it in its place at the end: there it is whole or not at all.

    One process makes it at a time, others wait. What killed attempts left is removed, and if one was
    killed between the two renames that replace a folder, the one that was there before is put back.

    Parameters
    ----------
    folder
        Its place. What is there is replaced if it has the file `marker`, or is an empty folder.
    marker
        The file by which a folder of this kind is known, such as `config.json`.

    Raises
    ------
    CheckpointError
        If something else is there: it is left as it is.
    ArtifactError
        If the system does not let us write.
    """
    folder = folder.resolve()
    # Not beside the folder, where it would stay: a lock that is removed locks nobody out.
    key = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    user = getattr(os, "getuid", int)()
    lock = FileLock(Path(tempfile.gettempdir()) / f"emotion-tutorial-{user}-{key}.lock")
    with said_if_refused(folder), lock:
        for leftover in folder.parent.glob(f"{glob.escape(folder.name)}.{UNFINISHED}-*"):
            _put_back(leftover, folder)
        if folder.exists() and not (folder / marker).is_file() and (folder.is_file() or any(folder.iterdir())):
            raise CheckpointError(f"{folder} is there and has no {marker}. Choose another folder, or empty this one.")
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f"{folder.name}.{UNFINISHED}-", dir=folder.parent))
        try:
            made = beside / "new"
            made.mkdir()
            yield made
            if folder.exists():
                folder.rename(beside / "old")
            made.rename(folder)
        finally:
            _put_back(beside, folder)


def _put_back(beside: Path, folder: Path) -> None:
    """Remove what `whole_folder` made beside a place, after moving the former folder back if the place is empty."""
    if not folder.exists() and (beside / "old").exists():
        with suppress(OSError):
            (beside / "old").rename(folder)
    if not (beside / "old").exists() or folder.exists():
        shutil.rmtree(beside, ignore_errors=True)
