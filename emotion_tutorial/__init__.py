"""Train transformers for text classification: the helpers that the notebooks import.

What there is stands in `__init__.pyi`. A module is loaded when a name of it is first used, so
that `import emotion_tutorial` costs nothing.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
__version__ = "0.2.0"
