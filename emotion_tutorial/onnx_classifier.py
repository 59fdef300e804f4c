"""A classifier that was exported to ONNX: class probabilities without torch or transformers."""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from emotion_tutorial.exceptions import CheckpointError, DataError, DataWarning, MissingExtraError

try:
    import onnxruntime
    from tokenizers import Tokenizer
except ImportError as error:
    raise MissingExtraError(f'{error.name} is not installed. Run: pip install "emotion-tutorial[onnx]".') from error

BATCH_SIZE = 16
"""Texts computed together: more gain nothing on a CPU (notebook 8)."""
MODEL, TOKENIZER, ABOUT = "model.onnx", "tokenizer.json", "export.json"


class OnnxClassifier:
    """A folder that `export_onnx` wrote, ready to classify texts.

    Parameters
    ----------
    folder
        As written by `export_onnx`.
    threads
        Threads of the CPU for one prediction. None: all.

    Attributes
    ----------
    label_names : list of str
        In label-id order.
    about : dict
        What `export.json` says: label names, the longest input, versions, and how closely the export was found to
        follow the model.

    Raises
    ------
    CheckpointError
        If the folder is not an export, or a file of it is missing or damaged.
    MissingExtraError
        If onnxruntime is not installed.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None):
        folder = Path(folder)
        if missing := [name for name in (MODEL, TOKENIZER, ABOUT) if not (folder / name).is_file()]:
            raise CheckpointError(f"{folder} is not an export: it has no {', '.join(missing)}. Call export_onnx.")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        try:
            self.about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
            self.label_names: list[str] = self.about["label_names"]
            self._pad: int = self.about["pad_token_id"]
            self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(self.about["max_length"])
            providers = ["CPUExecutionProvider"]
            self._session = onnxruntime.InferenceSession(str(folder / MODEL), options, providers=providers)
        except Exception as error:  # the libraries raise bare exceptions of their own
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise CheckpointError(f"The export in {folder} is damaged: {reason}. Export the model again.") from error
        if self._session.get_outputs()[0].shape[-1] != len(self.label_names):
            raise CheckpointError(f"{folder / ABOUT} does not name each label of the model. Export it again.")

    def predict_proba(self, texts: str | Sequence[str]) -> pd.DataFrame:
        """Return how probable the model finds each label for each text, as `emotion_tutorial.predict_proba` does.

        Parameters
        ----------
        texts
            One text, or any number of them. One that is longer than the model's context is cut there, and a
            `DataWarning` says so.

        Returns
        -------
        DataFrame
            One row per text, in the order given; one float64 column per label name, in label-id order. A row sums
            to 1. With a quantized model, the last digits depend on which texts are computed together: activations are
            rounded by their range in a batch.

        Raises
        ------
        DataError
            If something is not a string, or has half a character (a lone surrogate).
        """
        logits = self.predict_logits(texts).astype(np.float64)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        return pd.DataFrame(powers / powers.sum(axis=1, keepdims=True), columns=self.label_names)

    def predict_logits(self, texts: str | Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the logits, (texts, labels) float32, in the order of the texts; see `predict_proba`."""
        texts = [texts] if isinstance(texts, str) else list(texts)
        try:
            encoded = self._tokenizer.encode_batch(texts)
        except (TypeError, UnicodeEncodeError) as error:
            raise DataError(f"Texts must be strings of whole characters: {error}. Leave out what is not.") from error
        if cut := [row for row, encoding in enumerate(encoded) if encoding.overflowing]:
            which = f"rows {', '.join(map(str, cut[:5]))}{' ...' if len(cut) > 5 else ''}"
            message = (
                f"{len(cut)} texts are longer than {self.about['max_length']} tokens, and were cut there: {which}."
            )
            warnings.warn(message, DataWarning, stacklevel=3)
        logits = np.empty((len(texts), len(self.label_names)), dtype=np.float32)
        ids = [encoding.ids or [self._pad] for encoding in encoded]
        order = sorted(range(len(texts)), key=lambda row: len(ids[row]))  # texts of similar length together
        for start in range(0, len(order), BATCH_SIZE):
            rows = order[start : start + BATCH_SIZE]
            longest = len(ids[rows[-1]])
            batch = np.array([ids[row] + [self._pad] * (longest - len(ids[row])) for row in rows], dtype=np.int64)
            mask = np.array([[1] * len(ids[row]) + [0] * (longest - len(ids[row])) for row in rows], dtype=np.int64)
            [logits[rows]] = self._session.run(["logits"], {"input_ids": batch, "attention_mask": mask})
        return logits
