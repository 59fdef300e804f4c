"""What can go wrong. A message says what was found, where, and what to do about it."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager


class TutorialError(Exception):
    """Base of the errors that this package raises; each kind is also the built-in error that fits."""


class DataError(TutorialError, ValueError):
    """Texts, labels, columns or files that cannot be used as they are."""


class NotFoundError(TutorialError, FileNotFoundError):
    """A file, a folder, a split, a data set or a checkpoint that is not there."""


class CheckpointError(TutorialError, ValueError):
    """A checkpoint or an exported model that is damaged, or that the helpers cannot work with."""


class SettingsError(TutorialError, ValueError):
    """An argument or a setting that is not one of the possible ones."""


class HubError(TutorialError, OSError):
    """The Hub refuses a request, or does not answer."""


class MissingExtraError(TutorialError, ImportError):
    """An optional dependency is not installed."""


class DataWarning(UserWarning):
    """The data can be used, but something about them is worth knowing."""


class TrainingWarning(UserWarning):
    """A training did not simply run from its start to its end."""


@contextmanager
def needed_from(extra: str) -> Iterator[None]:
    """Say which optional dependencies to install if an import fails.

    Raises
    ------
    MissingExtraError
        If something is not installed, or cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        if isinstance(error, MissingExtraError):
            raise
        what = f"{error.name} is not installed" if isinstance(error, ModuleNotFoundError) else str(error)
        raise MissingExtraError(f'{what}. Run: pip install "emotion-tutorial[{extra}]".') from error


@contextmanager
def damage_is_said(what: object, advice: str) -> Iterator[None]:
    """Raise a DataError where a library cannot make sense of what it reads, of whatever kind its own error is.

    Raises
    ------
    DataError
        With the library's reason. Errors of the system, such as a missing permission, pass through.
    """
    try:
        yield
    except Exception as error:
        of_the_system = PermissionError | TimeoutError | ConnectionError  # which storage raises without a number
        if isinstance(error, TutorialError | MemoryError | Warning | of_the_system) or getattr(error, "errno", None):
            raise
        said = f"{error} {error.__cause__ or ''}".strip() or type(error).__name__
        raise DataError(f"{what} could not be read: {' '.join(said.split())[:300].rstrip('.')}. {advice}") from error


@contextmanager
def translate_os_errors(folder: object) -> Iterator[None]:
    """Raise an OSError where safetensors, tokenizers or PyTorch raise errors of their own because they cannot write.

    Raises
    ------
    OSError
        With the system's number of the error. PyTorch does not tell it, and then it is `errno.EIO`.
    """
    try:
        yield
    except Exception as error:
        found = re.search(r"\(os error (\d+)\)|unexpected pos|StreamWriter", str(error))
        if isinstance(error, OSError) or not found:
            raise
        number = int(found[1] or errno.EIO)
        raise OSError(number, f"{os.strerror(number)} (is the disk full?)", str(folder)) from error
