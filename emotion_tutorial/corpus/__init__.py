"""The embedded corpus: 6,000 first-person sentences, six emotions, licence CC0 (see README.md)."""

from pathlib import Path

CORPUS_FOLDER = Path(__file__).parent
EMOTIONS = ("sadness", "joy", "love", "anger", "fear", "surprise")
"""The label names, in the id order of the corpus and of ``dair-ai/emotion``."""
