"""Sets of files that are replaced as a whole, or not at all."""

import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from emotion_tutorial.exceptions import CheckpointError, SettingsError, translate_os_errors
from emotion_tutorial.texts import shorten

LOCK, UNFINISHED, COMPLETE = ".saving.lock", ".unfinished-", ".complete"
"""Hidden names: who writes holds the lock and writes into a folder of the second name, which then gets the third."""
STAMPS = ".replaces.json"
"""In a complete set: its files in the order of their moves, with size and time of what each of them is to replace."""
GATES = ("config.json", "export.json", "dataset_dict.json", "page.json")
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
    the largest file cannot be moved, as on Windows while another program has the old one mapped into its memory. If a
    process is killed while it moves files, or a later file cannot be moved, the complete set waits in a hidden folder,
    and `whole` or the next save moves the rest. If somebody has changed the files since, the next save renames the set.
    What a process that was killed while it wrote has left is removed. Threads and processes that save into the same
    folder wait for each other.

    Raises
    ------
    OSError
        If the system refuses to write, or the folder has the name of a file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        with suppress(CheckpointError):
            _move_complete(folder)
        if (folder / COMPLETE).exists():  # it cannot be moved, and may be wanted
            (folder / COMPLETE).rename(unused(folder, "interrupted-save-{}"))
        for left in folder.glob(f"{UNFINISHED}*"):  # a living process that writes here would hold the lock
            shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=folder, ignore_cleanup_errors=True) as scratch:
            (new := Path(scratch) / "new").mkdir()
            with translate_os_errors(folder):
                yield new
            sizes = {str(path.relative_to(new)): path.stat().st_size for path in new.rglob("*") if path.is_file()}
            names = sorted(sizes, key=lambda name: (name in GATES, -sizes[name]))
            (new / STAMPS).write_text(json.dumps({name: _stamp(folder / name) for name in names}), encoding="utf-8")
            new.rename(folder / COMPLETE)
            _move_complete(folder, back=new)


@contextmanager
def whole(folder: Path) -> Iterator[None]:
    """Keep savers out while a folder is read, and first complete a save that was interrupted while it moved files.

    Everything that reads a folder which `replaced_whole` may have written does it within this.

    Raises
    ------
    CheckpointError
        If the interrupted save cannot be completed; or if the folder was written while it was read, as the first save
        into it may do, and what is not of this package.
    """
    folder = folder.resolve()
    with ExitStack() as held:
        try:
            if (folder / LOCK).exists() or (folder / COMPLETE).exists():
                held.enter_context(_lock(folder))
                _move_complete(folder)
        except OSError as error:
            if (folder / COMPLETE / STAMPS).is_file():  # else it is a folder that may only be read
                found = f"A save into {folder} was interrupted and cannot end: {error}"
                raise CheckpointError(f"{found}. Make the folder writable, or try again later.") from error
        before = [_stamp(folder / gate) for gate in GATES]
        try:
            yield
        finally:
            if before != [_stamp(folder / gate) for gate in GATES]:
                raise CheckpointError(f"{folder} was written while it was read. Read it again.")


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.resolve() / LOCK, is_singleton=True)  # which the thread that has it may take again


def _stamp(path: Path) -> list[int] | None:
    with suppress(OSError):
        return [path.stat().st_size, path.stat().st_mtime_ns]
    return None


def unused(folder: Path, pattern: str) -> Path:
    """Return a path in a folder that nothing has: the pattern, with a number in place of its `{}`."""
    return next(path for i in itertools.count(1) if not (path := folder / pattern.format(i)).exists())


def _move_complete(folder: Path, back: Path | None = None) -> None:
    """Move a complete set to its place, if there is one.

    If it cannot be moved, it stays. Then the old files are all in their place too, unless some were replaced; if none
    was, the save that made the set takes it `back`.
    """
    complete = folder / COMPLETE
    if complete.is_symlink() or not (complete / STAMPS).is_file():
        return
    found = f"A save into {folder} was interrupted"
    advice = f"Rename {complete} to keep what is there now, or save the model again."
    old = {gate: complete / f"{gate}.old" for gate in GATES}
    try:
        stamps = json.loads((complete / STAMPS).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{found}, and the list of its files is damaged. {advice}") from error
    # Nothing from outside of it, whatever the list says.
    present = {str(path.relative_to(complete)) for path in complete.rglob("*") if path.is_file()}
    left = [name for name in stamps if name in present]
    try:
        if changed := [name for name in left if _stamp(folder / name) not in (stamps[name], None)]:
            raise CheckpointError(f"{found}, and {changed[0]} was changed since. {advice}")
        out = [(folder / gate, old[gate]) for gate in GATES if gate in left and (folder / gate).is_file()]
        for source, target in [*out, *((complete / name, folder / name) for name in left)]:
            target.parent.mkdir(parents=True, exist_ok=True)
            source.replace(target)
    except (CheckpointError, OSError):
        if all((complete / name).is_file() for name in stamps):  # nothing was replaced yet
            for gate in GATES:
                if old[gate].is_file() and not (folder / gate).exists():
                    old[gate].replace(folder / gate)
            if back:
                complete.rename(back)
        raise
    shutil.rmtree(complete)
