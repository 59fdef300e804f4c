"""For unit tests and notebooks alike: no network, and everything that is written goes to a temporary folder."""

import atexit
import importlib.util
import os
import shutil
import tempfile

collect_ignore = [
    "examples/app.py",  # it loads a model when it is imported; tests/test_demo.py does that
    "emotion_tutorial/report.ipynb",  # the same as examples/own_data.ipynb, which runs
]
collect_ignore_glob = ["notebooks/exercises/*"]  # readers solve them; the solutions run, with their checks
if importlib.util.find_spec("keras_hub") is None:  # make test-all installs it
    collect_ignore.append("examples/keras_hub.ipynb")

if "PYTEST_XDIST_WORKER" in os.environ:  # several tests at a time: a thread each, or they wait for one another
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Before the libraries are imported, and inherited by the kernels that run the notebooks: caches
# and artifacts go to a folder of this run, and the Hub is at a port where connections are refused.
_SCRATCH = tempfile.mkdtemp(prefix="emotion-tutorial-tests-")
atexit.register(shutil.rmtree, _SCRATCH, ignore_errors=True)
os.environ["HF_HOME"] = os.path.join(_SCRATCH, "hub")
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["KERAS_HOME"] = os.path.join(_SCRATCH, "keras")
for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE"):
    os.environ.pop(name, None)
for name in ("PROFILE", "DATA", "TEXT_COLUMN", "LABEL_COLUMN", "CHECKPOINT"):
    os.environ.pop(f"EMOTION_TUTORIAL_{name}", None)
os.environ["EMOTION_TUTORIAL_ARTIFACTS"] = os.path.join(_SCRATCH, "artifacts")


def pytest_collection_modifyitems(items):
    """Start with the notebooks that train longest, so that no process is left with one of them at the end."""
    items.sort(key=lambda item: item.path.name != "04_fine_tuning.ipynb")
