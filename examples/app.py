"""A page to try a text classifier on: `MODEL=my-classifier python app.py` starts it on this computer.

A Space on the Hugging Face Hub wants three files: this one; a `requirements.txt` with the lines `torch` and
`transformers`; and a `README.md` that begins with

    ---
    title: Which emotion is it?
    sdk: gradio
    sdk_version: 6.31.0
    app_file: app.py
    ---

There, set the variable MODEL to the id of a model on the Hub, in the settings of the Space.
"""

import os

import gradio as gr
from transformers import pipeline

MODEL = os.environ.get("MODEL", "my-classifier")  # a folder, or the id of a model on the Hub
LIMITS = """The model guesses from words alone, and it is often wrong. Don't use it to judge, rank, monitor or diagnose
anyone, or to find people in distress."""

classifier = pipeline("text-classification", model=MODEL)


def classify(text: str | None) -> dict[str, float] | None:
    """Return the probability of each label, or nothing for an empty text, which may be None on a page."""
    if not text or not text.strip():
        gr.Info("Please type a text first.")
        return None
    scores = classifier(text, top_k=None, truncation=True)  # of all labels; a long text is cut
    return {score["label"]: score["score"] for score in scores}


demo = gr.Interface(
    classify,
    inputs=gr.Textbox(label="Text", lines=3, placeholder="Type a text in English"),
    outputs=gr.Label(label="Probability of each label"),
    examples=["I can't stop smiling today.", "Nobody came to my birthday.", "What was that noise in the cellar?"],
    title="Which emotion is it?",
    description=LIMITS,
    flagging_mode="never",  # otherwise a button writes what people typed into a file
    analytics_enabled=False,  # otherwise Gradio reports to its makers, and asks for its newest version
)

if __name__ == "__main__":
    demo.launch(run_history=False)  # otherwise the browser keeps what people typed
