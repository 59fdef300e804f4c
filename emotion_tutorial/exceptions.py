"""What can go wrong: one class per cause, each saying what was found, where, and what to do."""


class TutorialError(ValueError):
    """Base of all errors that the package raises on input that it cannot use."""


class UnknownProfileError(TutorialError):
    """There is no profile of that name, or no such setting in a profile."""


class UnknownSourceError(TutorialError):
    """The source is neither `embedded`, `hub`, a Hub id, a file nor a folder."""


class MissingFileError(TutorialError):
    """A path does not exist, or a folder holds no training file."""


class MissingColumnError(TutorialError):
    """A text or label column is not in the data."""


class MalformedFileError(TutorialError):
    """A file is not of the format that its name says, or a line of it cannot be read."""


class NotUtf8Error(TutorialError):
    """A text file holds bytes that are not UTF-8."""


class UnknownLabelError(TutorialError):
    """A label is missing or outside the known set."""


class NotATextError(TutorialError):
    """Something that should be a text is not a string."""


class NotProbabilitiesError(TutorialError, ValueError):
    """Numbers that should be probabilities are not."""


class EmptySplitError(TutorialError):
    """A split has no rows."""


class MissingSplitError(TutorialError):
    """There is no split of that name."""


class TooFewClassesError(TutorialError):
    """A classifier needs at least two classes."""


class TooFewRowsError(TutorialError):
    """There are too few rows of a class to cut a split from the training data."""


class CheckpointError(TutorialError):
    """A checkpoint cannot be found or is damaged."""


class ExportDiffersError(TutorialError):
    """An exported model does not compute what the model that it was made from computes."""


class HubUnavailableError(TutorialError):
    """The Hub does not answer."""


class DamagedDownloadError(TutorialError):
    """A file did not arrive as it is on the Hub."""


class NotLoggedInError(TutorialError):
    """Sharing needs a token of the Hub, and there is none."""


class TokenRefusedError(TutorialError):
    """The Hub does not accept the token, or the token may not do this."""


class RepositoryIsPublicError(TutorialError):
    """A model that should be private would go to a repository that everyone can see."""


class OtherArtifactError(TutorialError):
    """A folder holds an artifact that was made from other things."""


class MissingExtraError(TutorialError, ImportError):
    """An optional dependency is not installed."""


class DataWarning(UserWarning):
    """The data can be used, but something about them is worth knowing."""


class UnknownEncodingError(TutorialError):
    """There is no text encoding of that name."""


class WrongEncodingError(TutorialError):
    """A text file holds bytes that the given encoding does not have."""


class SameColumnError(TutorialError):
    """Texts and labels are to come from one and the same column."""


class SeveralLabelsError(UnknownLabelError):
    """A text has several labels."""


class TooManyClassesError(TutorialError):
    """So many distinct labels that the column must hold something else, such as an id or a text."""


class LabelNamesError(TutorialError):
    """The given names of labels are not distinct, or not names."""


class ArtifactError(TutorialError):
    """What should be kept cannot be written: the disk is full or read-only."""


class OutOfMemoryError(TutorialError):
    """A device has no memory for even one text."""


class ArtifactWarning(UserWarning):
    """Something that was kept is damaged, and is made anew."""


class OutOfMemoryWarning(UserWarning):
    """A device had no memory for a batch, and smaller ones are taken."""
