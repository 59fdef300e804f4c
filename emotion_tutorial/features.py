"""Hidden states as a feature matrix, and its projection to two dimensions."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd
from datasets import Dataset

from emotion_tutorial.exceptions import MissingColumnError, MissingExtraError


def feature_matrix(dataset: Dataset) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Return the hidden states and labels of a split as arrays.

    Returns
    -------
    X : (texts, dim) float32
    y : (texts,) int64

    Raises
    ------
    MissingColumnError
        If the split has no hidden states yet.
    """
    if "hidden_state" not in dataset.column_names:
        raise MissingColumnError(
            f"No column 'hidden_state', only {', '.join(dataset.column_names)}. Call extract_hidden_states first."
        )
    table = dataset.with_format("arrow")[:]
    column = table.column("hidden_state").combine_chunks()
    X = column.flatten().to_numpy().reshape(len(column), -1)
    return X.astype(np.float32), table.column("label").to_numpy().astype(np.int64)


def project_2d(X: npt.NDArray[np.floating], *, seed: int = 0) -> pd.DataFrame:
    """Project features to the plane with UMAP, after scaling each to [0, 1].

    Distances are cosine distances. With one seed, one machine and one set of versions, the picture
    is always the same; the seed costs UMAP its parallelism.

    Parameters
    ----------
    X : (texts, dim) float

    Returns
    -------
    DataFrame
        Columns `X` and `Y`, a row per text.

    Notes
    -----
    McInnes, Healy and Melville 2018, UMAP, arXiv:1802.03426.
    """
    try:
        with _without_tensorflow():
            from umap import UMAP
    except ImportError as error:
        raise MissingExtraError('UMAP is not installed. Run: pip install "emotion-tutorial[notebooks]".') from error
    from sklearn.preprocessing import MinMaxScaler

    scaled = MinMaxScaler().fit_transform(X)
    projection = UMAP(n_components=2, metric="cosine", random_state=seed, n_jobs=1).fit_transform(scaled)
    return pd.DataFrame(projection, columns=["X", "Y"])


@contextmanager
def _without_tensorflow() -> Iterator[None]:
    """Keep UMAP from loading TensorFlow where it is installed: seconds, and pages of log, for a part not used here."""
    modules = cast(dict[str, Any], sys.modules)
    loaded = "tensorflow" in modules
    modules.setdefault("tensorflow", None)  # importing it raises ImportError, for which UMAP is prepared
    try:
        yield
    finally:
        if not loaded:
            del modules["tensorflow"]
