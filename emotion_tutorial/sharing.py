"""Save a model with a card that says what was measured, and push it to the Hub."""

import copy
import hashlib
import importlib.metadata
import itertools
import json
import os
import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import huggingface_hub
import pandas as pd
from huggingface_hub import CommitOperationAdd, EvalResult, ModelCard, ModelCardData
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from emotion_tutorial.checkpoints import EMBEDDED_CHECKPOINT, HUB_ID
from emotion_tutorial.exceptions import CheckpointError, DataError, DataWarning, HubError, SettingsError
from emotion_tutorial.hub import HUB_DATASET, translate_hub_errors
from emotion_tutorial.models import label_names_of
from emotion_tutorial.replacing import as_folder, replaced_whole, whole
from emotion_tutorial.texts import shorten
from emotion_tutorial.tokenization import context_size

SAVED_FILES = "saved_files.json"
"""The digests of the files that `save_model` wrote, beside them: `push_model` uploads these and nothing else."""
CARD = "README.md"
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
    elif checkpoint and _is_path(checkpoint):
        checkpoint = None  # the path of a folder means nothing to others
    known = {"hub": HUB_DATASET, "embedded": "the bundled corpus of emotion_tutorial"}
    dataset = known.get(data, re.split(r"[/\\\\]", data)[-1] if _is_path(data) else data) if data else None
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
        _unlimited(tokenizer).save_pretrained(new)
        card.save(new / "README.md")
        _keep_readme(folder)
        written = {path.relative_to(new).as_posix(): _digest(path) for path in new.rglob("*") if path.is_file()}
        (new / SAVED_FILES).write_text(json.dumps(written, indent=1), encoding="utf-8")
    return folder


def _digest(path: Path) -> str | None:
    """Return a SHA-256; None if it is no file."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _saved_files(folder: Path) -> dict[str, str]:
    """Return the digests of the files that `save_model` wrote last; nothing if it wrote none."""
    try:
        return {str(Path(name)): str(digest) for name, digest in json.loads((folder / SAVED_FILES).read_text()).items()}
    except (AttributeError, OSError, ValueError):
        return {}


def _keep_readme(folder: Path) -> None:
    """Rename a card that is not as `save_model` wrote it, as somebody may have worked on it."""
    if (folder / CARD).is_file() and _digest(folder / CARD) != _saved_files(folder).get(CARD):
        kept = next(new for i in itertools.count(1) if not (new := folder / f"README-{i}.md").exists())
        (folder / CARD).rename(kept)
        warnings.warn(f"{folder / CARD} was written by hand, and is now called {kept.name}.", DataWarning, stacklevel=4)


def _unlimited(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Return a copy of a tokenizer that does not remember how its last call cut and padded texts."""
    tokenizer = copy.deepcopy(tokenizer)
    if tokenizer.is_fast:
        tokenizer.backend_tokenizer.no_truncation()
        tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _is_path(name: str) -> bool:
    """Say whether this is a path and not the name of something that others know."""
    return os.path.exists(os.path.expanduser(name)) or bool(re.match(r"[~./\\]|[A-Za-z]:", name))  # noqa: PTH110, PTH111


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
        If the folder holds no saved model, or a file but the card was changed since it was saved.
    HubError
        If there is no token, it is not accepted, the repository should be private but is public or the other way
        round, or the Hub does not answer.
    SettingsError
        If it is no name of a repository.
    """
    folder = as_folder(folder)
    if not isinstance(repo_id, str) or not re.fullmatch(HUB_ID, repo_id):
        raise SettingsError(f"repo_id is {shorten(repo_id)}. Give owner/name, or a name under your own account.")
    with whole(folder):
        saved = _saved_files(folder)
        # The card may be edited by hand.
        inside = [name for name in saved if ".." not in name and not Path(name).is_absolute()]
        wrong = [
            name for name in saved if name not in inside or (name != CARD and _digest(folder / name) != saved[name])
        ]
        if wrong or not saved:
            found = f"{folder} holds no saved model: no list of files in {SAVED_FILES}"
            found = f"{', '.join(wrong)} in {folder} is not what save_model wrote" if saved else found
            raise CheckpointError(f"{found}. Call save_model.")
        return _push(folder, [*saved], repo_id, private)


def _push(folder: Path, names: list[str], repo_id: str, private: bool) -> str:
    api = huggingface_hub.HfApi()
    with translate_hub_errors(repo_id, push=True):
        user = api.whoami()["name"]  # raises if there is no token, or one that is not accepted
        repo_id = repo_id if "/" in repo_id else f"{user}/{repo_id}"
        api.create_repo(repo_id, private=private, exist_ok=True)
        if private != api.model_info(repo_id).private:
            found = f"{repo_id!r} is on the Hub already and is {'public' if private else 'private'}"
            advice = f"Choose another name, or pass private={not private} if that is as it should be"
            raise HubError(f"{found}, so nothing was uploaded. {advice}.")
        files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in names]
        commit = api.create_commit(repo_id, files, commit_message="Upload model, tokenizer and card")
    return commit.commit_url
