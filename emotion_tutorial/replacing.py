"""Sets of files that are replaced as a whole, or not at all."""

import itertools
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from emotion_tutorial.exceptions import CheckpointError, SettingsError
from emotion_tutorial.texts import shorten

LOCK, UNFINISHED, COMPLETE = ".saving.lock", ".unfinished-", ".complete"
"""Hidden names: who writes holds the lock and writes into a folder of the second name, which then gets the third."""
STAMPS = ".replaces.json"
"""In a complete set: the size and the time of each file that it is to replace."""
GATES = ("config.json", "export.json", "dataset_dict.json")
"""Files without which nobody reads a folder. They leave it first and come back last, so that no mixture is read."""


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
    the largest file cannot be moved, as on Windows while another program has the old one mapped into its memory. A
    process that is killed while it moves files leaves the complete set in a hidden folder, and `whole` or the next save
    moves the rest, unless somebody has changed the files since. What a process that was killed earlier left is removed.
    Threads and processes that save into the same folder wait for each other.

    Raises
    ------
    SettingsError
        If a folder has the name of a file that is to be written.
    OSError
        If the system refuses to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        try:
            _move_complete(folder)
        except CheckpointError:  # nothing is lost: it may be wanted
            names = (folder / f"interrupted-save-{i}" for i in itertools.count(1))
            (folder / COMPLETE).rename(next(name for name in names if not name.exists()))
        for left in folder.glob(f"{UNFINISHED}*"):  # a living process that writes here would hold the lock
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder, ignore_cleanup_errors=True) as scratch:
            new = Path(scratch) / "new"
            new.mkdir()
            try:
                yield new
            except Exception as error:  # safetensors and tokenizers have errors of their own for those of the system
                if isinstance(error, OSError) or not (found := re.search(r"\(os error (\d+)\)", str(error))):
                    raise
                raise OSError(int(found[1]), os.strerror(int(found[1])), str(folder)) from error
            targets = {str(path.relative_to(new)): folder / path.relative_to(new) for path in _files_in(new)}
            if folders := [str(target) for target in targets.values() if target.is_dir()]:
                raise SettingsError(f"{folders[0]} is a folder, where a file is to be written. Choose another place.")
            stamps = {name: _stamp(target) for name, target in targets.items()}
            (new / STAMPS).write_text(json.dumps(stamps), encoding="utf-8")
            new.rename(folder / COMPLETE)
            _move_complete(folder)


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Keep savers out while a folder is read, and first complete a save that was interrupted while it moved files.

    Everything that reads a folder which `replaced_whole` may have written does it within this.

    Raises
    ------
    CheckpointError
        If the interrupted save cannot be completed.
    """
    folder = folder.resolve()
    lock = None
    if (folder / LOCK).is_file():
        with suppress(OSError):  # of a folder that may only be read
            lock = _lock(folder).acquire()
    try:
        if (folder / COMPLETE).is_dir():
            try:
                _move_complete(folder)
            except OSError as error:
                found = f"A save into {folder} was interrupted and cannot end: {error}"
                raise CheckpointError(f"{found}. Make the folder writable, or save the model again.") from error
        yield
    finally:
        if lock is not None:
            lock.lock.release()


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.resolve() / LOCK, is_singleton=True)  # which the thread that has it may take again


def _files_in(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders, the largest first, but gates last."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != STAMPS]
    return sorted(files, key=lambda path: (path.name in GATES, -path.stat().st_size))


def _stamp(path: Path) -> list[int] | None:
    with suppress(FileNotFoundError):
        return [path.stat().st_size, path.stat().st_mtime_ns]
    return None


def _move_complete(folder: Path) -> None:
    """Move a complete set to its place, if there is one."""
    complete = folder / COMPLETE
    if complete.is_symlink() or not (complete / STAMPS).is_file():
        return
    stamps = json.loads((complete / STAMPS).read_text(encoding="utf-8"))
    files = [path for path in _files_in(complete) if path.suffix != ".old"]
    for path in files:
        name = str(path.relative_to(complete))
        is_out = (complete / f"{name}.old").is_file()
        if _stamp(folder / name) not in (stamps[name], None if is_out else stamps[name]):
            found = f"A save into {folder} was interrupted, and {name} was changed since"
            raise CheckpointError(f"{found}. Delete {complete} to keep what is there now, or save the model again.")
    try:
        for gate in GATES:
            if (complete / gate).is_file() and (folder / gate).is_file():
                (folder / gate).replace(complete / f"{gate}.old")
        for path in files:
            target = folder / path.relative_to(complete)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)
    except OSError:
        if files[0].is_file():  # nothing was replaced yet
            for old in complete.glob("*.old"):
                old.replace(folder / old.stem)
            shutil.rmtree(complete)
        raise
    shutil.rmtree(complete)
