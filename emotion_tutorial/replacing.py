"""Sets of files that are replaced as a whole, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from emotion_tutorial.exceptions import CheckpointError, SettingsError
from emotion_tutorial.texts import shorten

LOCK, UNFINISHED, COMPLETE = ".saving.lock", ".unfinished-", ".complete"
"""Hidden names: whoever writes holds the lock, writes into a folder of the second name, and gives it the third."""


def as_folder(given: object) -> Path:
    """Return the path of a folder, in which `~` is the home folder.

    Raises
    ------
    SettingsError
        If it is neither a string nor a path, or is empty.
    """
    if not isinstance(given, str | Path) or not str(given).strip() or "\0" in str(given):
        raise SettingsError(f"folder is {shorten(given)}. Give the path of a folder.")
    return Path(os.path.expanduser(given))  # noqa: PTH111 - that of pathlib fails if there is no such user


@contextmanager
def replaced_whole(folder: Path) -> Iterator[Path]:
    """Give an empty folder to write into, and at the end move what was written into `folder`, file by file.

    Files of the same name are replaced, and everything else in `folder` stays. Nothing changes if writing fails, or if
    the first and largest file cannot be moved, as on Windows while another program has the old one mapped into its
    memory. A process that is killed while it moves files leaves the complete set in a hidden folder, and
    `require_whole` or the next save moves the rest. What a process that was killed earlier left is removed. Threads and
    processes that save into the same folder wait for each other.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        _move_complete(folder)
        for left in folder.glob(f"{UNFINISHED}*"):  # whoever lives and writes here would hold the lock
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder, ignore_cleanup_errors=True) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            yield new
            written = _files_in(new)
            new.rename(folder / COMPLETE)
            try:
                _move_complete(folder)
            except OSError:
                if len(_files_in(folder / COMPLETE)) == len(written):
                    shutil.rmtree(folder / COMPLETE)
                raise


def require_whole(folder: Path) -> None:
    """Complete a save that was interrupted while it replaced files: until then old files may lie beside new ones.

    Everything that reads a folder which `replaced_whole` may have written calls it first.

    Raises
    ------
    CheckpointError
        If the rest cannot be moved.
    """
    if _files_in(folder / COMPLETE):
        try:
            with FileLock(folder / LOCK):
                _move_complete(folder)
        except OSError as error:
            advice = "Make the folder writable, or save the model again."
            raise CheckpointError(f"A save into {folder} was interrupted and cannot end: {error}. {advice}") from error


def _files_in(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, the largest first; none if it is a link, or is not there."""
    files = [] if folder.is_symlink() else [path for path in folder.rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: path.stat().st_size, reverse=True)


def _move_complete(folder: Path) -> None:
    for path in _files_in(folder / COMPLETE):
        target = folder / path.relative_to(folder / COMPLETE)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
    if (folder / COMPLETE).is_dir():
        shutil.rmtree(folder / COMPLETE)
