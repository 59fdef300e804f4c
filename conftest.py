"""For unit tests and notebooks alike: no network, and everything that is written goes to a temporary folder."""

import atexit
import os
import shutil
import tempfile

# Before the libraries are imported, and inherited by the kernels that run the notebooks: caches
# and artifacts go to a folder of this run, and the Hub is a port on which nothing listens.
_SCRATCH = tempfile.mkdtemp(prefix="emotion-tutorial-tests-")
atexit.register(shutil.rmtree, _SCRATCH, ignore_errors=True)
os.environ["HF_HOME"] = os.path.join(_SCRATCH, "hub")
os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
for name in ("PROFILE", "DATA", "CHECKPOINT"):
    os.environ.pop(f"EMOTION_TUTORIAL_{name}", None)
os.environ["EMOTION_TUTORIAL_ARTIFACTS"] = os.path.join(_SCRATCH, "artifacts")
