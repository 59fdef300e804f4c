"""Time and memory of `load_splits` on a CSV file of a million rows, in a process of its own, imports included."""

import argparse
import json
import random
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
WORDS = [f"{first}{second}" for first in "bdfgklmnprst" for second in ("al", "en", "ist", "or", "under")]
LOAD = """
import sys, warnings, emotion_tutorial as et
warnings.simplefilter("ignore")  # that splits were cut
assert sum(map(len, et.load_splits(sys.argv[1]).values())) == int(sys.argv[2])
"""


def write_csv(path: Path, rows: int) -> None:
    """Write rows of 10 to 20 words, and a label."""
    dice = random.Random(0)
    texts = (" ".join(dice.choices(WORDS, k=dice.randint(10, 20))) for _ in range(rows))
    path.write_text("text,label\n" + "".join(f"{text},{dice.choice(LABELS)}\n" for text in texts), encoding="utf-8")


def measure(path: Path, rows: int) -> dict[str, float]:
    """Load the file; return the seconds, and the peak of the memory, looked at a hundred times a second."""
    start, peak = time.perf_counter(), 0
    process = psutil.Popen([sys.executable, "-c", LOAD, str(path), str(rows)])
    while process.poll() is None:
        with suppress(psutil.Error):  # if it ended just now
            memory = process.memory_info()
            peak = max(peak, getattr(memory, "peak_wset", memory.rss))  # Windows keeps the peak itself
        time.sleep(0.01)
    if process.returncode:
        sys.exit(f"loading failed with exit status {process.returncode}")
    return {"seconds": time.perf_counter() - start, "peak_mb": peak / 1e6}


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "texts.csv"
        write_csv(path, options.rows)
        result = {"rows": options.rows, "file_mb": path.stat().st_size / 1e6} | measure(path, options.rows)
    print(json.dumps({name: round(value, 2) for name, value in result.items()}))


if __name__ == "__main__":
    main()
