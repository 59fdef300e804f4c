"""The Hub: look before loading, so that what fails is said in one line and within seconds."""

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import datasets
import huggingface_hub
from datasets import DatasetDict
from datasets.exceptions import DatasetGenerationError
from huggingface_hub import constants
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from emotion_tutorial.exceptions import DataError, HubError, NotFoundError, SettingsError, TutorialError

HUB_DATASET = "dair-ai/emotion"
HUB_CONFIGS = {HUB_DATASET: "split"}
"""Configurations of datasets that have several."""
TOKENIZER_FILES = ["*.json", "*.txt", "*.model"]
WEIGHT_FILES = ["model*.safetensors"]
LOCAL_TROUBLE = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}
"""A full disk or a missing permission: errors of this machine, not of the Hub."""
PATIENCE = 15.0
"""Seconds after which a Hub that is busy is given up."""

T = TypeVar("T")


def hub_answers(timeout: float = 5) -> bool:
    """Say whether the Hub can be reached, within `timeout` seconds; never with `HF_HUB_OFFLINE=1`."""
    try:
        huggingface_hub.get_session().get(
            f"{constants.ENDPOINT}/api/datasets?limit=1", timeout=timeout
        ).raise_for_status()
    except (OfflineModeIsEnabled, HTTPError, OSError):
        return False
    return True


def require_repo(repo_id: str, repo_type: str, revision: str | None = None) -> str | None:
    """Ask the Hub whether a repository can be loaded, and return the commit that a revision stands for.

    A Hub that is busy is asked again, for 15 s at most. With `HF_HUB_OFFLINE=1` nothing is asked and
    None returned: the clients then use what they downloaded before.

    Raises
    ------
    NotFoundError
        If there is no such dataset or model, or it is private or gated.
    HubError
        If the Hub does not answer.
    """
    api = huggingface_hub.HfApi()
    with _explained(repo_id, repo_type):
        try:
            ask = partial(api.repo_info, repo_id, repo_type=repo_type, revision=revision, timeout=10)
            return patiently(repo_id, ask).sha
        except OfflineModeIsEnabled:
            return None


def download_checkpoint(repo_id: str, revision: str | None = None, *, weights: bool = True) -> Path:
    """Download a checkpoint's files, or find them in the cache, and return their folder.

    Only configuration, tokenizer and weights in safetensors are fetched: no code, no pickles. A
    download that was cut off goes on where it stopped, and each file is compared with its digest
    on the Hub. Raises as `require_repo` does, and `HubError` for files that arrived damaged.
    """
    online = require_repo(repo_id, "model", revision) is not None
    patterns = TOKENIZER_FILES + (WEIGHT_FILES if weights else [])
    download = partial(huggingface_hub.snapshot_download, allow_patterns=patterns, ignore_patterns="*/*")
    with _explained(repo_id, "model"):
        folder = Path(patiently(repo_id, lambda: download(repo_id, revision=revision)))
        if online:
            _verify(repo_id, "model", folder.name)  # the cache names folders after commits
    return folder


def load_hub_dataset(dataset_id: str, name: str | None = None) -> DatasetDict:
    """Load all splits of a Hub dataset, of one of its configurations, compared with their digests on the Hub.

    Raises as `require_repo` does, `HubError` for files that arrived damaged, `SettingsError` for a configuration that
    is not there or not named, and `DataError` for files that are whole but cannot be read.
    """
    commit = require_repo(dataset_id, "dataset")

    def prepare() -> datasets.DatasetBuilder:
        try:
            builder = datasets.load_dataset_builder(dataset_id, name or HUB_CONFIGS.get(dataset_id), revision=commit)
        except ValueError as error:  # no such configuration, or several and none named
            raise SettingsError(f"{dataset_id!r}: {' '.join(str(error).split())} Name one with name=.") from error
        try:
            builder.download_and_prepare()
        except DatasetGenerationError as error:
            _verify(dataset_id, "dataset", commit)
            cause = error.__cause__ or error
            raise DataError(f"The files of {dataset_id!r} on the Hub cannot be read: {cause}") from error
        return builder

    with _explained(dataset_id, "dataset"):
        builder = patiently(dataset_id, prepare)
        try:
            _verify(dataset_id, "dataset", commit)
        except HubError:
            shutil.rmtree(builder.cache_dir, ignore_errors=True)  # made from the damaged files
            raise
    return builder.as_dataset()


def patiently(repo_id: str, call: Callable[[], T]) -> T:
    """Make a call to the Hub, and make it again while the Hub says that it is busy (429 or 5xx).

    It waits as long as the Hub asks for (`Retry-After`), else 1, 2, 4 s, and gives up with a
    `HubError` when it would take more than 15 s in all. Other errors pass through.
    """
    deadline = time.monotonic() + PATIENCE
    wait = 1.0
    while True:
        try:
            return call()
        except TutorialError:
            raise
        except (HTTPError, OSError) as error:
            response = _refusal(error)
            if response is None or response.status_code not in (429, 500, 502, 503, 504):
                raise
            asked = response.headers.get("Retry-After", "")
            seconds = float(asked) if asked.isdecimal() else wait
            if time.monotonic() + seconds > deadline:
                raise hub_unavailable(repo_id, error) from error
        time.sleep(seconds)
        wait *= 2


@contextmanager
def _explained(repo_id: str, repo_type: str) -> Iterator[None]:
    """Turn the clients' errors into ours."""
    try:
        yield
    except TutorialError:
        raise
    except (HTTPError, OSError) as error:
        if getattr(error, "errno", None) in LOCAL_TROUBLE:
            raise
        raise _explain(repo_id, repo_type, error) from error


def _explain(repo_id: str, repo_type: str, error: BaseException) -> TutorialError:
    """Return our error for one of the clients': not there, not for you, or not answering."""
    causes = list(_causes(error))
    if any(isinstance(cause, RevisionNotFoundError) for cause in causes):
        return NotFoundError(f"{repo_id!r} on the Hub has no such revision. Check the spelling after the @.")
    if any(isinstance(cause, RepositoryNotFoundError) for cause in causes):  # gated ones too
        return NotFoundError(
            f"The Hub has no {repo_type} {repo_id!r} that you may see. Check the spelling; for a private or gated "
            "one log in with `hf auth login` (a token may also have expired)."
        )
    return hub_unavailable(repo_id, error)


def hub_unavailable(repo_id: str, error: BaseException) -> HubError:
    """Return the error to raise when the Hub does not answer."""
    response = _refusal(error)
    found = type(error).__name__ if response is None else f"{type(error).__name__}, HTTP status {response.status_code}"
    if response is not None and (seconds := response.headers.get("Retry-After")):
        found += f", it asks to wait for {seconds} s"
    return HubError(
        f"Could not reach {repo_id!r} on the Hub ({found}). Check the network, or try again later. HF_HUB_OFFLINE=1, "
        "set before Python starts, uses an earlier download; the name 'embedded' needs no network at all."
    )


def _refusal(error: BaseException) -> "huggingface_hub.utils._http.httpx2.Response | None":
    """Return the Hub's answer that an error is about, or that the error was raised from."""
    return next((cause.response for cause in _causes(error) if isinstance(cause, HfHubHTTPError)), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _verify(repo_id: str, repo_type: str, commit: str | None) -> None:
    """Compare what was downloaded with the Hub's digests; delete what differs, and say so."""
    if commit is None:  # offline
        return
    api = huggingface_hub.HfApi()
    try:
        found = patiently(repo_id, lambda: api.verify_repo_checksums(repo_id, repo_type=repo_type, revision=commit))
    except ValueError:  # nothing of it is in the cache: a dataset that was prepared earlier
        return
    for mismatch in found.mismatches:
        path = found.verified_path / mismatch["path"]
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    if found.mismatches:
        first = found.mismatches[0]
        raise HubError(
            f"{first['path']} of {repo_id!r} did not arrive as it is on the Hub: its {first['algorithm']} is "
            f"{first['actual']}, expected {first['expected']} ({len(found.mismatches)} such files). It was deleted: "
            "run this again to download it anew. If that does not help, something on the way changes files."
        )
