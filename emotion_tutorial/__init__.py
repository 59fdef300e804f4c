"""Train transformers for text classification: the helpers that the notebooks import.

Names are loaded when they are first used, so that ``import emotion_tutorial`` costs nothing.
"""

import importlib

_HOMES = {
    "profiles": ("Profile", "get_profile"),
    "data": ("audit", "load_splits", "to_frame"),
    "encoders": ("best_device", "describe_setup", "load_classifier", "load_encoder", "load_tokenizer"),
    "tokenization": ("special_tokens_table", "token_table", "tokenize"),
    "features": ("extract_hidden_states", "feature_matrix", "project_2d"),
    "baselines": ("fit_bag_of_words", "fit_majority", "fit_probe"),
    "evaluation": ("compute_metrics", "evaluate"),
    "finetuning": ("build_trainer", "train_or_resume"),
    "artifacts": ("artifact_folder", "build_once"),
    "plotting": (
        "plot_calibration",
        "plot_class_distribution",
        "plot_class_probabilities",
        "plot_confusion_matrix",
        "plot_encoder_classifier",
        "plot_hexbins",
        "plot_learning_curve",
        "plot_scores",
        "plot_text_lengths",
        "use_style",
    ),
}
"""Modules in the order in which data flows, and the names that each offers here."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME_OF)  # noqa: PLE0605


def __getattr__(name: str) -> object:
    if name in _HOME_OF:
        return getattr(importlib.import_module(f"emotion_tutorial.{_HOME_OF[name]}"), name)
    raise AttributeError(f"module 'emotion_tutorial' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
