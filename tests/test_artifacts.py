from pathlib import Path

import pytest
from datasets import DatasetDict

from emotion_tutorial import artifact_folder


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
