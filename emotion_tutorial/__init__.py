"""Train transformers for text classification: the helpers that the notebooks import.

The public names are listed in `__init__.pyi`. A module is loaded when one of its names is first used, so that
`import emotion_tutorial` takes almost no time.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.3.0"
