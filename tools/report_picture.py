"""Draw the picture of a report that the README shows: the beginning of the one on 900 bundled texts of three labels.

`python tools/report_picture.py` takes about two minutes and needs chromium. It writes docs/images/report.png.
"""

import shutil
import tempfile
from pathlib import Path

import pandas as pd
from playwright.sync_api import sync_playwright

import emotion_tutorial as et
from emotion_tutorial.__main__ import main as run

PICTURE = Path(__file__).parent.parent / "docs" / "images" / "report.png"
LABELS, TEXTS = ("sadness", "joy", "anger"), 900


def main() -> None:
    """Run from the command line."""
    with tempfile.TemporaryDirectory() as folder:
        texts, report = Path(folder) / "texts.csv", Path(folder) / "report.html"
        split = et.load_splits("embedded")["train"].shuffle(seed=0)
        frame = pd.DataFrame({"text": split["text"][:], "label": split.features["label"].int2str(split["label"][:])})
        frame[frame["label"].isin(LABELS)].head(TEXTS).to_csv(texts, index=False)
        run(["report", str(texts), "--output", str(report)])
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(device_scale_factor=1.5, color_scheme="light")
            page.set_viewport_size({"width": 900, "height": 522})
            page.goto(report.as_uri())
            page.screenshot(path=PICTURE)
            browser.close()


if __name__ == "__main__":
    main()
