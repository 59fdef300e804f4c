import multiprocessing
from pathlib import Path

import pytest
from datasets import DatasetDict

from emotion_tutorial import artifact_folder, build_once


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


def test_built_once(root):
    calls = []

    def build(folder: Path) -> None:
        calls.append(folder)
        (folder / "file").write_text("x")

    for _ in range(2):
        assert (build_once(root / "a", build) / "file").read_text() == "x"
    assert len(calls) == 1


def test_failed_build_leaves_nothing_and_is_repeated(root):
    def fail(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_once(root / "a", fail)
    assert [path.name for path in root.iterdir() if path.is_dir()] == []
    assert build_once(root / "a", lambda folder: (folder / "whole").write_text("x")).joinpath("whole").exists()


def _build_in_a_process(folder: Path, log: Path) -> None:
    import time

    def build(target: Path) -> None:
        with log.open("a") as file:
            file.write("built\n")
        time.sleep(0.3)

    build_once(folder, build)


def test_two_processes_build_once(root):
    context = multiprocessing.get_context("spawn")
    log = root / "log"
    workers = [context.Process(target=_build_in_a_process, args=(root / "a", log)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert log.read_text() == "built\n"
