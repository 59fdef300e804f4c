import errno
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from datasets import DatasetDict
from filelock import FileLock, Timeout

from emotion_tutorial import artifact_folder
from emotion_tutorial.artifacts import (
    SUMS,
    UNFINISHED,
    damaged_files,
    kept_file,
    said_if_refused,
    whole_file,
    whole_folder,
    write_sums,
)
from emotion_tutorial.exceptions import ArtifactError, ArtifactWarning, CheckpointError


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("EMOTION_TUTORIAL_ARTIFACTS", str(tmp_path))
    return tmp_path


def test_folder_depends_on_everything_that_shaped_it(small, root):
    folder = artifact_folder("kind", splits=small, checkpoint="a", epochs=2)
    assert folder.parent == root
    assert folder.name.startswith("kind-")
    assert folder == artifact_folder("kind", splits=DatasetDict(small), checkpoint="a", epochs=2)
    other = DatasetDict(small)
    other["train"] = small["train"].select(range(119))
    relabelled = DatasetDict(small)
    relabelled["train"] = small["train"].map(lambda row: {"label": 0})
    others = [
        artifact_folder("kind", splits=other, checkpoint="a", epochs=2),
        artifact_folder("kind", splits=relabelled, checkpoint="a", epochs=2),
        artifact_folder("kind", splits=small, checkpoint="b", epochs=2),
        artifact_folder("kind", splits=small, checkpoint="a", epochs=3),
    ]
    assert len({folder, *others}) == 5


def test_folder_is_in_the_working_folder_by_default(monkeypatch):
    monkeypatch.delenv("EMOTION_TUTORIAL_ARTIFACTS")
    assert artifact_folder("kind").parent == Path("artifacts")
    with pytest.raises(TypeError):
        artifact_folder()


def test_checksums_find_what_changed(root):
    for name in ("a.txt", "b c.txt"):
        (root / name).write_text(name)
    write_sums(root / SUMS, sorted(root.glob("*.txt")))
    assert damaged_files(root / SUMS) == []
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=root, check=True, capture_output=True)
    (root / "a.txt").write_text("A.txt")
    (root / "b c.txt").unlink()
    assert damaged_files(root / SUMS) == ["a.txt", "b c.txt"]
    assert damaged_files(root / SUMS, "b*") == ["b c.txt"]


@pytest.mark.parametrize("text", [b"", b"\xff", b"nothing of the kind"])
def test_damaged_checksums_are_damage(root, text):
    (root / SUMS).write_bytes(text)
    assert damaged_files(root / SUMS, "*.safetensors") == [SUMS]
    assert damaged_files(root / "none") == ["none"]


def test_kept_file_is_made_once_and_remade_if_damaged(root):
    calls = []

    def write(path: Path) -> None:
        calls.append(path)
        path.write_text("whole")

    place = root / "deep" / "file"
    for _ in range(2):
        kept_file(place, write)
    assert len(calls) == 1
    assert calls[0] != place
    place.write_text("Whole")
    with pytest.warns(ArtifactWarning, match=r"file is damaged: it is not what file\.sha256 says. It is made anew"):
        kept_file(place, write)
    assert place.read_text() == "whole"
    place.with_name("file.sha256").unlink()  # as earlier versions left it
    kept_file(place, write)
    assert len(calls) == 2


def test_kept_file_that_fails_leaves_nothing(root):
    with pytest.raises(ZeroDivisionError):
        kept_file(root / "file", lambda path: path.write_text("half") and 1 / 0)
    assert {path.name for path in root.iterdir()} <= {"file.lock"}
    with FileLock(root / "file.lock"), pytest.raises(Timeout):
        kept_file(root / "file", Path.touch, timeout=0)


def test_leftovers_of_killed_attempts_are_removed_and_the_former_folder_put_back(root):
    def make(text: str) -> None:
        with whole_folder(root / "place", "marker") as made:
            (made / "marker").write_text(text)

    make("first")
    theirs = root / f"other.{UNFINISHED}-x"
    theirs.mkdir()
    for number in range(2):
        leftover = root / f"place.{UNFINISHED}-{number}"
        (leftover / "new").mkdir(parents=True)
        (leftover / "new" / "marker").write_text("half")
    (root / "place").rename(leftover / "old")  # killed between the two renames
    with suppress(ZeroDivisionError), whole_folder(root / "place", "marker"):
        assert (root / "place" / "marker").read_text() == "first"
        raise ZeroDivisionError
    assert sorted(path.name for path in root.iterdir()) == [theirs.name, "place"]
    make("second")
    assert (root / "place" / "marker").read_text() == "second"


def test_what_is_no_artifact_is_left_alone(root):
    (root / "place").mkdir()
    (root / "place" / "thesis").touch()
    with pytest.raises(CheckpointError, match="has no marker"), whole_folder(root / "place", "marker"):
        pass
    assert (root / "place" / "thesis").exists()


def test_folder_that_cannot_be_put_in_place_leaves_the_former(root, monkeypatch):
    def make(text: str) -> None:
        with whole_folder(root / "place", "marker") as made:
            (made / "marker").write_text(text)

    def refuse(path: Path, to: Path) -> Path:
        if path.name == "new":
            raise OSError(errno.ENOSPC, "No space left on device")
        return rename(path, to)

    make("first")
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ArtifactError, match="No space left"):
        make("second")
    assert (root / "place" / "marker").read_text() == "first"
    assert [path.name for path in root.iterdir()] == ["place"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
        OSError("100000 requested and 12484 written"),
        Exception("File too large (os error 27)"),
    ],
)
def test_refusals_of_the_system_are_said(root, error):
    said = rf"Could not write to {root}: .*EMOTION_TUTORIAL_ARTIFACTS.*run it again"
    with pytest.raises(ArtifactError, match=said), said_if_refused(root):
        raise error


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "x"), RuntimeError("shape"), KeyError("inline")])
def test_other_errors_pass(root, error):
    with pytest.raises(type(error)) as caught, said_if_refused(root):
        raise error
    assert caught.value is error


def test_writing_with_torch_on_a_full_disk_is_said(root):
    """Its error has no number: the words have to be known."""
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with pytest.raises(ArtifactError, match="inline_container"), said_if_refused(root):
        torch.save(torch.zeros(100_000), "/dev/full")


def test_file_is_there_whole_or_not_at_all(root):
    for text in ("first", "second"):
        with whole_file(root / "file") as unfinished:
            unfinished.write_text(text)
            assert (root / "file").exists() == (text == "second")
    with suppress(ZeroDivisionError), whole_file(root / "file") as unfinished:
        unfinished.write_text("half")
        raise ZeroDivisionError
    assert [path.name for path in root.iterdir()] == ["file"]
    assert (root / "file").read_text() == "second"
