"""A classifier that was exported to ONNX: class probabilities without torch or transformers."""

import hashlib
import json
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import softmax

from emotion_tutorial.exceptions import CheckpointError, DataWarning, needed_from
from emotion_tutorial.replacing import as_folder, whole
from emotion_tutorial.texts import Texts, as_texts, require_number

BATCH_SIZE, BATCH_TOKENS = 16, 2048
"""Texts computed together, and tokens with padding: more gain nothing on a CPU (notebook 8), and cost memory."""
MODEL, TOKENIZER, ABOUT = "model.onnx", "tokenizer.json", "export.json"
MADE_FROM = ("*.safetensors", "*config.json", TOKENIZER, "*tokens*.json", "vocab.*", "merges.txt", "*.model")
"""The files of a saved model that shape what it answers."""


def digest_of_model(folder: Path) -> str | None:
    """Return a SHA-256 of what a saved model answers by: weights, label names, tokenizer; None if there is no model.

    It is computed from what the files hold. Neither their dates nor where the folder lies are in it.
    """
    found = hashlib.sha256()
    with whole(folder):
        if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
            return None
        for path in sorted({path for pattern in MADE_FROM for path in folder.glob(pattern)}):
            with path.open("rb") as file:
                found.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()} ".encode())
    return found.hexdigest()


def find_export(folder: Path) -> Path | None:
    """Return the folder of the export that answers for `folder`; None if it holds a model that has no current export.

    The export of a saved model lies in its folder `onnx`, and is current if it was made from what the model's files
    hold now, also if it is asked for itself. Another folder without a saved model is an export, or has one in `onnx`.
    """
    places = (folder.absolute(), folder.resolve())  # a link may point to it, or be it
    folder = next((path.parent for path in places if path.name == "onnx" and digest_of_model(path.parent)), folder)
    current, export = digest_of_model(folder), folder / "onnx"
    if current is None:
        return export if export.is_dir() and not (folder / ABOUT).is_file() else folder
    # Without a readable description it is not current.
    with suppress(OSError, ValueError, TypeError, KeyError), whole(export):
        if json.loads((export / ABOUT).read_text(encoding="utf-8"))["made_from"] == current:
            return export
    return None


class OnnxClassifier:
    """A model that `export_onnx` wrote, ready to classify texts. Threads may share it.

    Parameters
    ----------
    folder
        As written by `export_onnx`; or a saved model with such a folder in it, named `onnx`.
    threads
        Threads of the CPU for one prediction. None means all.

    Attributes
    ----------
    label_names : list of str
        In label-id order.
    about : dict
        What `export.json` says: label names, the longest input, versions, a digest of what was exported, and how
        closely the export was found to follow the model.

    Raises
    ------
    CheckpointError
        If the folder is not an export, or a file of it is missing or damaged; or if it holds a saved model and the
        export in it was made from another one.
    SettingsError
        If something is no folder, or no number of threads.
    MissingExtraError
        If onnxruntime is not installed.
    """

    def __init__(self, folder: str | Path, *, threads: int | None = None):
        with needed_from("onnx"):
            import onnxruntime
            from tokenizers import Tokenizer
        options = onnxruntime.SessionOptions()
        if threads is not None:
            require_number(1, 4 * (os.cpu_count() or 1), threads=threads)
            options.intra_op_num_threads = threads
        folder = as_folder(folder)
        if (export := find_export(folder)) is None:
            advice = "Export into the folder onnx in the model's own, or run `python -m emotion_tutorial serve`."
            raise CheckpointError(f"{folder}: there is a saved model, and no export of it as it is now. {advice}")
        with whole(export):
            if missing := [name for name in (MODEL, TOKENIZER, ABOUT) if not (export / name).is_file()]:
                raise CheckpointError(f"{export} is no export: it has no {', '.join(missing)}. Call export_onnx.")
            try:
                self.about = json.loads((export / ABOUT).read_text(encoding="utf-8"))
                self.label_names: list[str] = self.about["label_names"]
                self._pad: int = self.about["pad_token_id"]
                self._tokenizer = Tokenizer.from_file(str(export / TOKENIZER))
                self._tokenizer.no_padding()
                self._tokenizer.encode_special_tokens = self.about.get("split_special_tokens", False)
                self._tokenizer.enable_truncation(self.about["max_length"], direction=self.about["truncation_side"])
                self._session = onnxruntime.InferenceSession(export / MODEL, options, ["CPUExecutionProvider"])
            except Exception as error:  # the libraries raise bare exceptions of their own
                reason = (str(error).strip() or repr(error)).splitlines()[0]
                raise CheckpointError(f"The export in {export} is damaged: {reason}. Export it again.") from error
        if self._session.get_outputs()[0].shape[-1] != len(self.label_names):
            raise CheckpointError(f"{export / ABOUT} does not name each label of the model. Export it again.")

    def predict_proba(self, texts: Texts) -> pd.DataFrame:
        """Return how probable the model finds each label for each text, as `emotion_tutorial.predict_proba` does.

        Parameters
        ----------
        texts
            One text, or any number of them in one column. One that is longer than the model's context is cut there,
            and a `DataWarning` says so.

        Returns
        -------
        DataFrame
            One row per text, in the order given and with the index of a Series; one float64 column per label name, in
            label-id order. A row sums to 1. With a quantized model, the last digits depend on which texts are computed
            together: activations are rounded by their range in a batch.

        Raises
        ------
        DataError
            If the texts are not one column of strings.
        CheckpointError
            If the model gives values that are not finite.
        """
        strings, index = as_texts(texts)
        logits, cut = self.compute_logits(strings)
        if cut:
            found = f"{len(cut)} texts are longer than {self.about['max_length']} tokens, and were cut there"
            warnings.warn(f"{found}, such as row {min(cut)}.", DataWarning, stacklevel=2)
        probabilities = softmax(logits.astype(np.float64), axis=1)
        return pd.DataFrame(probabilities, index=index, columns=self.label_names)

    def compute_logits(self, texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], list[int]]:
        """Return the logits, (texts, labels) float32, in the order of the texts, and the rows of those that were cut.

        However many texts there are, `BATCH_TOKENS` tokens or one text are computed at a time. Raises as
        `predict_proba` does.
        """
        logits = np.empty((len(texts), len(self.label_names)), dtype=np.float32)
        cut: list[int] = []
        order = sorted(range(len(texts)), key=lambda row: -len(texts[row]))  # texts of similar length together
        for start in range(0, len(texts), BATCH_SIZE):  # what is cut off is larger than what is kept
            rows = order[start : start + BATCH_SIZE]
            encoded = self._tokenizer.encode_batch([texts[row] for row in rows])
            cut += [row for row, encoding in zip(rows, encoded, strict=True) if encoding.overflowing]
            ids = [encoding.ids or [self.about.get("empty_text_id", self._pad)] for encoding in encoded]
            batch = np.array([*zip_longest(*ids, fillvalue=-1)], dtype=np.int64).T
            mask = (batch >= 0).astype(np.int64)
            batch[mask == 0] = self._pad
            step = max(1, BATCH_TOKENS // batch.shape[1])
            for part in (slice(first, first + step) for first in range(0, len(rows), step)):
                inputs = {"input_ids": batch[part], "attention_mask": mask[part]}
                [logits[rows[part]]] = self._session.run(["logits"], inputs)
        if not (finite := np.isfinite(logits).all(axis=1)).all():
            advice = "The training has probably diverged: train again with a lower learning rate, and export again."
            raise CheckpointError(f"What the model gives for texts[{finite.argmin()}] is not finite. {advice}")
        return logits, cut
