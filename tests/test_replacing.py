"""Saves that are interrupted, or that readers and people come in between; more with real models in test_sharing.py."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from emotion_tutorial.exceptions import CheckpointError
from emotion_tutorial.replacing import replaced_whole, whole

NAMES = ["weights", "tokenizer", "README.md", "config.json"]


def save(folder: Path, what: str) -> None:
    with replaced_whole(folder) as new:
        for size, name in zip((40, 30, 20, 10), NAMES, strict=True):
            (new / name).write_text(what * size)


def read(folder: Path) -> dict[str, str]:
    with whole(folder):
        return {path.name: path.read_text()[:1] for path in folder.iterdir() if path.name in NAMES}


def all_of(what: str) -> dict[str, str]:
    return dict.fromkeys(NAMES, what)


@pytest.fixture
def stop(monkeypatch):
    """Let moves to a name fail, or end the process if the error is a KeyboardInterrupt; None: they work again."""
    replace, wanted = Path.replace, {}

    def moved(self, target):
        if error := ".complete" in str(self) and wanted.get(Path(target).name):
            raise error("in use")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", moved)
    return lambda name, error: wanted.update({name: error})


@pytest.fixture
def killed(tmp_path, stop):
    """Return a function that saves a, and then b by a process that is killed before it moves a file of this name."""

    def save_and_kill(name: str) -> Path:
        save(tmp_path, "a")
        stop(name, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            save(tmp_path, "b")
        stop(name, None)
        return tmp_path

    return save_and_kill


def test_save_that_stops_between_two_files_waits_until_it_can_be_completed(tmp_path, stop):
    save(tmp_path, "a")
    stop("tokenizer", PermissionError)
    for what in ("b", "c"):
        with pytest.raises(PermissionError):
            save(tmp_path, what)
        with pytest.raises(CheckpointError, match="interrupted and cannot end"):
            read(tmp_path)
        assert not (tmp_path / "config.json").exists()  # the old one does not stand beside new weights
    stop("tokenizer", None)
    assert read(tmp_path) == all_of("b")


@pytest.mark.parametrize("attempt", [read, lambda folder: save(folder, "c")], ids=["read", "save"])
def test_set_that_waits_is_not_deleted_by_others(killed, stop, attempt):
    folder = killed("weights")
    stop("weights", PermissionError)
    with pytest.raises((CheckpointError, PermissionError)):
        attempt(folder)
    assert {name: (folder / name).read_text()[0] for name in NAMES} == all_of("a")
    stop("weights", None)
    assert read(folder) == all_of("b")


def test_save_that_cannot_begin_to_move_leaves_nothing(tmp_path, stop):
    save(tmp_path, "a")
    stop("weights", PermissionError)
    with pytest.raises(PermissionError):
        save(tmp_path, "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*NAMES, ".saving.lock"])
    assert read(tmp_path) == all_of("a")


@pytest.mark.parametrize("stopped_at", ["weights", "tokenizer"])
@pytest.mark.parametrize("changed", ["tokenizer", "README.md"])
def test_advice_where_a_file_was_changed_loses_nothing(killed, stopped_at, changed):
    folder = killed(stopped_at)
    (folder / changed).write_text("mine")
    with pytest.raises(CheckpointError, match=r"was changed since. Rename .*complete to keep"):
        read(folder)
    (folder / ".complete").rename(folder / "kept")
    before = all_of("a") | {changed: "m"}
    if stopped_at == "tokenizer":  # the weights were replaced, and the old configuration does not fit them
        before["weights"] = "b"
        assert (folder / "kept" / "config.json.old").read_text()[0] == before.pop("config.json")
    assert read(folder) == before
    save(folder, "c")
    assert read(folder) == all_of("c")


def test_damaged_list_of_files_is_said_and_the_next_save_sets_the_files_aside(killed):
    folder = killed("tokenizer")
    (folder / ".complete" / ".replaces.json").write_bytes(b"")
    with pytest.raises(CheckpointError, match="list of its files is damaged"):
        read(folder)
    save(folder, "c")
    assert read(folder) == all_of("c")
    assert (folder / "interrupted-save-1" / "tokenizer").read_text()[0] == "b"


def test_nothing_is_moved_out_of_the_folder(killed):
    folder = killed("tokenizer")
    stamps = folder / ".complete" / ".replaces.json"
    (folder / "outside").write_text("")
    stamps.write_text(json.dumps(json.loads(stamps.read_text()) | {"../outside": None, "../../outside": None}))
    assert read(folder) == all_of("b")
    assert not (folder.parent / "outside").exists()


def test_first_save_into_a_folder_while_it_is_read_is_noticed(tmp_path):
    for name in NAMES:  # as save_pretrained does
        (tmp_path / name).write_text("a")
    with pytest.raises(CheckpointError, match="was written while it was read"), whole(tmp_path):
        save(tmp_path, "b")
    assert read(tmp_path) == all_of("b")


def test_threads_that_save_into_one_folder_do_not_mix(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: save(tmp_path, str(number % 10)), range(50)))
    assert len({*read(tmp_path).values()}) == 1
