"""Save a model with a card that says what was measured, and push it to the Hub."""

import importlib.metadata
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import huggingface_hub
import pandas as pd
from huggingface_hub import CommitOperationAdd, EvalResult, ModelCard, ModelCardData
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.checkpoints import EMBEDDED_CHECKPOINT
from emotion_tutorial.exceptions import CheckpointError, DataError, HubError
from emotion_tutorial.hub import HUB_DATASET, translate_hub_errors
from emotion_tutorial.models import label_names_of
from emotion_tutorial.replacing import as_folder, replaced_whole, require_whole
from emotion_tutorial.tokenization import context_size

SAVED_FILES = "saved_files.json"
"""The list of the files that `save_model` wrote, beside them: `push_model` uploads these and nothing else."""
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
    are written. If the process is killed meanwhile, the folder holds the old model, or a complete new one that loading
    puts in place. On Windows the old weights cannot be replaced while another program has them mapped into its memory:
    then this is an `OSError`, and nothing was changed. `load_classifier` does not keep them mapped.

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
    CheckpointError
        If the model does not choose one of several labels.
    DataError
        If the metrics lack a column.
    SettingsError
        If something is no model, no tokenizer or no folder.
    """
    folder, length = as_folder(folder), context_size(tokenizer, model)
    label_names = label_names_of(getattr(model, "config", None))
    if metrics is not None and (missing := [column for column in METRICS if column not in metrics.columns]):
        raise DataError(f"metrics= has no column {', '.join(map(repr, missing))}; give it what evaluate returns.")
    if checkpoint == "embedded":
        checkpoint = EMBEDDED_CHECKPOINT
    elif checkpoint and Path(checkpoint).exists():
        checkpoint = None  # the path of a folder means nothing to others
    known = {"hub": HUB_DATASET, "embedded": "the bundled corpus of emotion_tutorial"}
    dataset = known.get(data, Path(data).name if Path(data).exists() else data) if data else None
    sentences = [limits] if isinstance(limits, str) else limits
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
        title=escaped(title),
        labels=[escaped(label) for label in label_names],
        base_model=checkpoint and escaped(checkpoint.partition("@")[0]),
        dataset=dataset and escaped(dataset),
        hyperparameters={escaped(key): escaped(value) for key, value in (hyperparameters or {}).items()},
        metrics=[row | {"name": escaped(row["name"])} for row in rows],
        limits=[f"It reads at most {length} tokens of a text.", *(" ".join(limit.split()) for limit in sentences)],
        versions={package: importlib.metadata.version(package) for package in ("torch", "transformers")},
    )
    with replaced_whole(folder) as new:
        model.save_pretrained(new)
        tokenizer.save_pretrained(new)
        card.save(new / "README.md")
        names = sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if path.is_file())
        (new / SAVED_FILES).write_text(json.dumps(names, indent=1), encoding="utf-8")
    return folder


def escaped(thing: object) -> str:
    """Return what Markdown and HTML show as this text, in one line and one cell of a table."""
    return re.sub(r"([\\`*\[\]<>|#~$&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", " ".join(str(thing).split()))


def push_model(folder: str | Path, repo_id: str, *, private: bool = True) -> str:
    """Upload a saved model to the Hub.

    Exactly the files that `save_model` wrote are uploaded, whatever else lies in the folder. It is one commit: others
    see all of it or nothing, and repeating it does no harm. Log in first, with
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
    folder = as_folder(folder)
    require_whole(folder)
    try:
        names = [str(name) for name in json.loads((folder / SAVED_FILES).read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError):
        found = f"{folder} holds no saved model: it has no {SAVED_FILES}, the list of what save_model writes"
        raise CheckpointError(f"{found}. Call save_model first.") from None
    if wrong := [name for name in names if ".." in name or not (folder / name).is_file() or Path(name).is_absolute()]:
        raise CheckpointError(f"{folder} lacks {', '.join(wrong)}, which save_model wrote. Save the model again.")
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
        files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names]
        commit = api.create_commit(repo_id, files, commit_message="Upload model, tokenizer and card")
    return commit.commit_url
