"""Save a model with a card that says what was measured, and push it to the Hub."""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path

import huggingface_hub
import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.checkpoints import EMBEDDED_CHECKPOINT
from emotion_tutorial.exceptions import CheckpointError, DataError, HubError
from emotion_tutorial.hub import HUB_DATASET, translate_hub_errors
from emotion_tutorial.models import label_names_of
from emotion_tutorial.replacing import replaced_whole
from emotion_tutorial.tokenization import context_size

SHARED_FILES = ["README.md", "*.json", "*.txt", "*.model", "*.safetensors"]
"""What `push_model` uploads: no training checkpoints, no pickles, nothing hidden."""
METRICS = ["name", "metric", "value", "low", "high", "support"]
"""The columns that `evaluate` returns."""


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: str | Path,
    *,
    name: str | None = None,
    data: str | None = None,
    checkpoint: str | None = None,
    hyperparameters: Mapping[str, object] | None = None,
    metrics: pd.DataFrame | None = None,
    limits: Sequence[str] = (),
    language: str | None = None,
    license: str | None = None,  # noqa: A002 - the Hub's name for it
) -> Path:
    """Write a model, its tokenizer and a model card into a folder that `load_classifier` and `pipeline` read.

    Like `save_pretrained`, it replaces files of the same name and deletes nothing. They are replaced when all of them
    are written, each at once, so that an interrupted save leaves the old model as it was.

    Parameters
    ----------
    model, tokenizer
        Of one fine-tuned checkpoint.
    folder
        Created if it is not there.
    name
        The model's name in the card. None: that of the folder.
    data, checkpoint
        As in a profile: what the model was trained on, and from which checkpoint.
    hyperparameters
        Name to value.
    metrics
        As `evaluate` returns them, for texts that took part in no decision. What is not given is not claimed.
    limits
        Sentences on what the model cannot do or was not tested for.
    language, license
        For the card's header, such as `en` and `mit`.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DataError
        If the metrics lack a column.
    """
    folder = Path(folder)
    if metrics is not None and (missing := [column for column in METRICS if column not in metrics.columns]):
        raise DataError(f"metrics= has no column {', '.join(map(repr, missing))}; give it what evaluate returns.")
    if checkpoint == "embedded":
        checkpoint = EMBEDDED_CHECKPOINT
    elif checkpoint and Path(checkpoint).exists():
        checkpoint = None  # the path of a folder means nothing to others
    known = {"hub": HUB_DATASET, "embedded": "the bundled corpus of emotion_tutorial"}
    dataset = known.get(data, Path(data).name if Path(data).exists() else data) if data else None
    title = name or folder.resolve().name
    rows = [] if metrics is None else sorted(metrics.to_dict("records"), key=lambda row: row["name"] != "overall")
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=dataset or "unnamed data",
            dataset_name=dataset or "unnamed data",
            dataset_split="test",
            metric_type=row["metric"].rpartition("_")[2],
            metric_name=row["metric"].replace("_", " "),
            metric_value=round(row["value"], 4),
        )
        for row in rows
        if row["name"] == "overall"
    ]
    header = ModelCardData(
        language=language,
        license=license,
        library_name="transformers",
        pipeline_tag="text-classification",
        base_model=checkpoint and checkpoint.partition("@")[0],
        datasets=HUB_DATASET if data == "hub" else None,
        model_name=title,
        eval_results=results or None,
    )
    card = ModelCard.from_template(
        header,
        template_path=str(Path(__file__).with_name("model_card.md")),
        title=title,
        labels=label_names_of(model.config),
        dataset=dataset,
        hyperparameters=hyperparameters,
        metrics=rows,
        limits=[f"It reads at most {context_size(tokenizer)} tokens of a text.", *limits],
        versions={package: importlib.metadata.version(package) for package in ("torch", "transformers")},
    )
    with replaced_whole(folder) as new:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        card.save(new / "README.md")
    return folder


def push_model(folder: str | Path, repo_id: str, *, private: bool = True) -> str:
    """Upload a saved model to the Hub.

    It is one commit: others see all of it or nothing, and repeating it does no harm. Log in first, with
    `hf auth login` in a terminal, `huggingface_hub.notebook_login()`, or the environment variable `HF_TOKEN`.

    Parameters
    ----------
    folder
        As written by `save_model`.
    repo_id
        `owner/name`, or a name under your own account.
    private
        Whether only you can see it.

    Returns
    -------
    str
        The address of the commit; of the newest one if nothing had changed.

    Raises
    ------
    CheckpointError
        If the folder holds no saved model.
    HubError
        If there is no token, it is not accepted, the repository should be private but is public, or the Hub
        does not answer.
    """
    folder = Path(folder)
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise CheckpointError(f"{folder} holds no saved model (config.json, model.safetensors). Call save_model first.")
    api = huggingface_hub.HfApi()
    with translate_hub_errors(repo_id):
        user = api.whoami()["name"]  # raises if there is no token, or one that is not accepted
        repo_id = repo_id if "/" in repo_id else f"{user}/{repo_id}"
        api.create_repo(repo_id, private=private, exist_ok=True)
        if private and not api.model_info(repo_id).private:
            raise HubError(
                f"{repo_id!r} is on the Hub already and is public, so nothing was uploaded. Choose another name, or "
                "pass private=False if everyone may see this model."
            )
        commit = api.upload_folder(
            repo_id=repo_id,
            folder_path=folder,
            allow_patterns=SHARED_FILES,
            ignore_patterns="*/*",
            commit_message="Upload model, tokenizer and card",
        )
    return commit.commit_url
