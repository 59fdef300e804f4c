import os
import subprocess
import sys

import numpy as np
import pytest

from emotion_tutorial import extract_hidden_states, feature_matrix, load_encoder, project_2d
from emotion_tutorial.exceptions import MissingColumnError, MissingExtraError


@pytest.fixture(scope="module")
def encoder(tiny_checkpoint):
    return load_encoder(tiny_checkpoint, "cpu")


def test_feature_matrix_of_selected_rows(small, encoder, tokenizer):
    features = extract_hidden_states(small["test"], encoder, tokenizer)
    X, y = feature_matrix(features)
    some, labels = feature_matrix(features.select([5, 2]))
    np.testing.assert_array_equal(some, X[[5, 2]])
    assert labels.tolist() == y[[5, 2]].tolist()


def test_feature_matrix_refuses_data_without_hidden_states(small):
    with pytest.raises(MissingColumnError, match=r"'hidden_state', only text, label"):
        feature_matrix(small["train"])


def test_projection_is_seeded():
    X = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    first = project_2d(X, seed=1)
    assert list(first.columns) == ["X", "Y"]
    assert len(first) == 60
    np.testing.assert_array_equal(first, project_2d(X, seed=1))
    assert not np.allclose(first, project_2d(X, seed=2))


def test_projection_names_the_extra_when_umap_is_absent(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "umap", None)
    with pytest.raises(MissingExtraError, match=r"emotion-tutorial\[notebooks\]"):
        project_2d(np.zeros((3, 2)))


def test_projection_does_not_load_tensorflow():
    """Even where it is installed, and without keeping others from loading it."""
    code = (
        "import sys, numpy as np; from emotion_tutorial import project_2d;"
        "project_2d(np.random.default_rng(0).random((40, 5)));"
        "print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "False"
    assert "oneDNN" not in done.stderr
