"""What comes from the Hugging Face Hub, and what its clients' errors mean."""

import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
from datasets import DatasetDict
from datasets.exceptions import DatasetNotFoundError
from datasets.packaged_modules.csv.csv import Csv
from huggingface_hub import constants, errors
from huggingface_hub.utils import validate_repo_id

from emotion_tutorial.exceptions import DataError, HubError, NotFoundError, SettingsError, damage_is_said

HUB_DATASET = "dair-ai/emotion"
HUB_CONFIGS = {HUB_DATASET: "split"}
"""The configuration to take of a data set that has several."""
CHECKPOINT_FILES: dict[str, Any] = {
    "allow_patterns": ["*.json", "*.txt", "*.model", "model*.safetensors"],
    "ignore_patterns": ["*/*"],
}
"""No code, and no weights in pickles."""
ABSENT = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError, DatasetNotFoundError)
NOT_HERE = (errors.LocalEntryNotFoundError, errors.LocalTokenNotFoundError)
ABOUT_THE_HUB = (errors.HTTPError, ConnectionError, *ABSENT, *NOT_HERE)
"""What the clients raise: the Hub's own answers are HTTPErrors, and a ConnectionError is that of HF_HUB_OFFLINE."""


def download_checkpoint(repo_id: str, revision: str | None = None) -> Path:
    """Download a checkpoint's configuration, tokenizer and weights, or find them in the cache; return their folder.

    Raises
    ------
    NotFoundError, HubError
        As `translate_hub_errors` does.
    """
    with translate_hub_errors(repo_id, f" Nor is there a folder {repo_id} in the working folder."):
        return Path(huggingface_hub.snapshot_download(repo_id, revision=revision, **CHECKPOINT_FILES))


def load_hub_dataset(dataset_id: str, name: str | None = None, revision: str | None = None) -> DatasetDict:
    """Load all splits of one configuration of a data set on the Hub, at a branch, tag or commit.

    Raises
    ------
    SettingsError
        If it has several configurations and none was named, or none of that name.
    DataError
        If its files cannot be read.
    NotFoundError, HubError
        As `translate_hub_errors` does.
    """
    otherwise = f" Nor is there a file or folder {dataset_id} in the working folder."
    which = {"path": dataset_id, "name": name or HUB_CONFIGS.get(dataset_id), "revision": revision}
    damaged = damage_is_said(f"{dataset_id!r} on the Hub", "Choose another data set, or another revision.")
    try:
        with damaged, translate_hub_errors(dataset_id, otherwise):
            # Of a CSV file, nothing is converted, as when it is read from a folder.
            is_csv = isinstance(datasets.load_dataset_builder(**which), Csv)
            found = datasets.load_dataset(**which, **({"dtype": str, "na_filter": False} if is_csv else {}))
            # If the Hub cannot be reached, datasets takes what was downloaded last, of whatever revision.
            if revision and not re.fullmatch("[0-9a-f]{40}", revision):
                revision = huggingface_hub.dataset_info(dataset_id, revision=revision).sha
    except DataError as error:
        said = textwrap.shorten(str(error.__cause__), 400)
        if said.startswith(("BuilderConfig", "Config name")):
            raise SettingsError(f"{dataset_id!r}: {said} Choose one with name=.") from error
        if said.startswith("Couldn't find cache"):
            raise HubError(f"{dataset_id!r}: the Hub could not be reached, and {said}") from error
        raise
    files = [file["filename"] for part in found.values() for file in part.cache_files]
    if revision and not all(revision in file for file in files):
        raise HubError(f"{dataset_id!r}: the Hub could not be reached, and another revision was downloaded.")
    return found


@contextmanager
def translate_hub_errors(repo_id: str, otherwise: str = "", *, push: bool = False) -> Iterator[None]:
    """Turn what the Hub's clients raise about a repository into our errors.

    What is not about the Hub passes through; a full disk or a missing permission is the system's own `OSError`, also
    where a client wraps it. `otherwise` ends the message if there is no such repository or the Hub does not answer.

    Raises
    ------
    SettingsError
        If the Hub allows no repository of the name to which something is to be pushed.
    NotFoundError
        If there is no such repository or revision, or it is not for this user.
    HubError
        If there is no token, it is not accepted, or the Hub cannot be reached or does not do what it is asked.
    """
    try:
        if push:
            validate_repo_id(repo_id)
        yield
    except Exception as error:
        causes = list(_causes(error))
        first = next((c for c in causes if isinstance(c, ABOUT_THE_HUB) or getattr(c, "errno", None)), error)
        if not isinstance(first, ABOUT_THE_HUB):
            raise first from first.__cause__
        found = next((c for c in causes if isinstance(c, errors.HTTPError)), first)
        said = textwrap.shorten(str(found), 500)
        if push and isinstance(found, errors.HFValidationError):
            raise SettingsError(f"The Hub allows no such name. {said} Choose another repo_id.") from error
        if isinstance(found, ABSENT):
            said = f"The Hub has no {repo_id!r} that you may see, or no such revision. Check the spelling"
            raise NotFoundError(f"{said}; if it is not public, log in with `hf auth login`.{otherwise}") from error
        status = getattr(getattr(found, "response", None), "status_code", None)
        if isinstance(found, errors.LocalTokenNotFoundError) or status in (401, 403):
            advice = "Log in with a token that may: `hf auth login`, or huggingface_hub.notebook_login()."
            raise HubError(f"The Hub refuses this for {repo_id!r} ({said}). {advice}") from error
        reason = f"the Hub could not be reached, or refused ({type(found).__name__}: {said}). Try again later."
        if constants.HF_HUB_OFFLINE:
            reason = "it is not here, and HF_HUB_OFFLINE=1 forbids asking the Hub. Unset it before Python starts."
        raise HubError(f"{repo_id!r}: {reason}{otherwise}") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from, which datasets hides behind a plain FileNotFoundError.

    That a repository lacks a file is not about the Hub.
    """
    while error is not None and not isinstance(error, errors.RemoteEntryNotFoundError):
        yield error
        error = error.__cause__ or (error.__context__ if type(error) is FileNotFoundError else None)
