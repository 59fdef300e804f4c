"""Put the classifier of notebook 8 on the site, as a page that answers in the reader's browser."""

import os
import tempfile
from pathlib import Path

import pandas as pd
from datasets import Dataset

import emotion_tutorial as et
from emotion_tutorial.live_page import write_page

ROOT = Path(__file__).parents[1]
EXAMPLES = (
    "I finally finished the painting, and I keep walking past it just to look.",
    "You said you would call. I sat by the phone until midnight.",
    "Something moved behind the curtain.",
)
BUNDLED = "fine-tuned on the bundled corpus of emotion_tutorial"
"""What the model card says of a model that the page may show."""
LIMITS = "It was trained on short English texts that a language model wrote. Don't use it to judge people."


def threshold_for(classifier: et.OnnxClassifier, split: Dataset, accuracy: float = 0.9) -> float:
    """Return the lowest confidence from which on so many answers to a split are right, as in notebook 7."""
    probabilities = classifier.predict_proba(split["text"][:]).to_numpy()
    right = probabilities.argmax(axis=1) == split["label"][:]
    answers = pd.DataFrame({"confidence": probabilities.max(axis=1), "right": right})
    answers = answers.sort_values("confidence", ascending=False, ignore_index=True)
    return float(answers.loc[answers["right"].expanding().mean() >= accuracy, "confidence"].min())


def add_live_page(site: Path, model: Path | None = None) -> None:
    """Calibrate and export a saved model, that of notebook 8 unless another is given, and write the page into a site.

    Without npm, or if notebook 8 has not run or read other texts, the site stays as it is, and a line says so.

    Raises
    ------
    SystemExit
        If a model is given, and there is no page.
    """
    artifacts = Path(os.environ.get("EMOTION_TUTORIAL_ARTIFACTS") or ROOT / "notebooks" / "artifacts")
    packages = ROOT / ".venv" / "js" / "node_modules"
    saved = model or artifacts / "faster-classifier"
    card = saved / "README.md"
    if not model and not card.is_file():
        print("The site is without its live classifier, because notebook 8 has not run.")
        return
    try:
        if BUNDLED not in card.read_text(encoding="utf-8"):
            raise et.CheckpointError(f"{saved} is of other texts than the bundled ones, about which the page speaks.")
        classifier, tokenizer = et.load_classifier(saved, device="cpu"), et.load_tokenizer(saved)
        split = et.load_splits("embedded")["validation"]
        et.calibrate(classifier, tokenizer, split)
        with tempfile.TemporaryDirectory() as scratch:
            export = et.export_onnx(classifier, tokenizer, Path(scratch) / "onnx")
            threshold = threshold_for(et.OnnxClassifier(export), split)
            write_page(
                export,
                site / "live",
                examples=EXAMPLES,
                threshold=threshold,
                limits=LIMITS,
                packages=packages if packages.is_dir() else None,
            )
    except (et.TutorialError, OSError) as error:
        if model:
            raise SystemExit(f"The site has no live classifier: {error}") from error
        print(f"The site is without its live classifier: {error}")
