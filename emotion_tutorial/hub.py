"""The Hub: look before loading, so that what fails is said in one line and within seconds."""

import datasets
import huggingface_hub
from datasets import DatasetDict
from huggingface_hub import constants
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from emotion_tutorial.exceptions import CheckpointError, HubUnavailableError, TutorialError, UnknownSourceError

HUB_DATASET = "dair-ai/emotion"
HUB_CONFIGS = {HUB_DATASET: "split"}
"""Configurations of datasets that have several."""


def hub_answers(timeout: float = 5) -> bool:
    """Say whether the Hub can be reached, within `timeout` seconds; never with `HF_HUB_OFFLINE=1`."""
    try:
        huggingface_hub.get_session().get(
            f"{constants.ENDPOINT}/api/datasets?limit=1", timeout=timeout
        ).raise_for_status()
    except (OfflineModeIsEnabled, HTTPError, OSError):
        return False
    return True


def require_repo(repo_id: str, repo_type: str, revision: str | None = None) -> None:
    """Ask the Hub, once and for 10 s at most, whether a repository can be loaded.

    With `HF_HUB_OFFLINE=1` nothing is asked: the clients then use what they downloaded before.

    Raises
    ------
    UnknownSourceError, CheckpointError
        If there is no such dataset or model, or it is private or gated.
    HubUnavailableError
        If the Hub does not answer.
    """
    try:
        huggingface_hub.HfApi().repo_info(repo_id, repo_type=repo_type, revision=revision, timeout=10)
    except OfflineModeIsEnabled:
        return
    except RepositoryNotFoundError as error:
        missing: type[TutorialError] = CheckpointError if repo_type == "model" else UnknownSourceError
        raise missing(
            f"The Hub has no {repo_type} {repo_id!r} that you may see. Check the spelling; for a private or gated "
            "one log in with `hf auth login`."
        ) from error
    except (HTTPError, OSError) as error:
        raise hub_unavailable(repo_id, error) from error


def hub_unavailable(repo_id: str, error: Exception) -> HubUnavailableError:
    """Return the error to raise when the Hub does not answer."""
    return HubUnavailableError(
        f"Could not load {repo_id!r} from the Hub ({type(error).__name__}). Check the network. HF_HUB_OFFLINE=1, set "
        "before Python starts, uses an earlier download; the name 'embedded' needs no network at all."
    )


def load_hub_dataset(dataset_id: str) -> DatasetDict:
    """Load all splits of a Hub dataset; raises as `require_repo` does."""
    require_repo(dataset_id, "dataset")
    try:
        return datasets.load_dataset(dataset_id, HUB_CONFIGS.get(dataset_id))
    except ConnectionError as error:
        raise hub_unavailable(dataset_id, error) from error
