"""One file in, its texts and labels out row by row, with the line of whatever cannot be read."""

import codecs
import csv
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from emotion_tutorial.exceptions import (
    DataWarning,
    MalformedFileError,
    MissingColumnError,
    MissingFileError,
    NotATextError,
    NotUtf8Error,
    SameColumnError,
    UnknownEncodingError,
    WrongEncodingError,
)

Row = tuple[Any, Any, int]
"""Text, label, and the number of the line (in parquet: of the row) where it begins."""
BATCH_ROWS = 10_000
BATCH_CHARACTERS = 10_000_000
"""A batch is full with this many rows, or this many characters."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
ENCODING_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
OTHER_FORMATS = {
    b"PK\x03\x04": "a spreadsheet or a zip archive. Save the sheet as CSV, or unpack the archive",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet or document. Save it as CSV",
    b"\x1f\x8b": "packed with gzip. Unpack it",
    b"PAR1\x15": "parquet. Name it .parquet",
}
"""What files begin with that are no text, whatever their name says."""
PARQUET_ERRORS = (pa.ArrowException, OSError, ValueError, OverflowError)
"""What pyarrow raises on damaged files; a text that is not UTF-8 is a ValueError."""


def read_file(
    path: str | Path, text_column: str = "text", label_column: str = "label", encoding: str = "utf-8"
) -> pd.DataFrame:
    """Read a file of labelled texts.

    Parameters
    ----------
    path
        `.txt` with `text;label` lines and no header (the last `;` separates, so texts may hold
        others), `.csv`, `.tsv`, `.jsonl` or `.parquet`. If the header of a `.csv` or `.tsv` has the
        columns only under another of `,` `;` tab `|` than the suffix says, or the first line of a
        `.txt` has a tab and no `;`, that separates, and a `DataWarning` says so.
    text_column, label_column
        Names of the columns to use. A `.txt` file has no header and ignores them.
    encoding
        Of text formats. UTF-8 may begin with a byte order mark.

    Returns
    -------
    DataFrame
        `text` and `label` as they stand in the file, one row a text; `where` says where a row
        stands (`line 3` or `row 2`). Missing texts are None. Nothing is dropped, except lines
        that hold nothing at all.

    Raises
    ------
    MissingFileError, MalformedFileError, NotUtf8Error, WrongEncodingError, UnknownEncodingError
        If the file is not there, or not what its name or the encoding says.
    MissingColumnError, SameColumnError, NotATextError
        If it does not hold texts and labels in two columns.
    """
    source = open_file(path, text_column, label_column, encoding)
    return pd.DataFrame(
        [(text, label, f"{source.unit} {place}") for text, label, place in source],
        columns=["text", "label", "where"],
        dtype=object,
    )


@dataclass
class Source:
    """Rows to iterate over, one at a time, and how to say where one stands.

    Texts are strings of whole characters; what is missing is None.
    """

    name: str
    unit: str
    rows: Iterator[Row]

    def where(self, place: int) -> str:
        """Return the place of a row, for a message."""
        return f"{self.name}, {self.unit} {place}"

    def __iter__(self) -> Iterator[Row]:
        for text, label, place in self.rows:
            if isinstance(text, str):
                try:
                    text.encode()
                except UnicodeEncodeError as error:
                    raise MalformedFileError(
                        f"{self.where(place)}: the text has half a character at position {error.start} "
                        f"({text[error.start]!r}, a lone surrogate). Write the character whole, or leave it out."
                    ) from error
                yield text, label, place
            elif text is None or text != text:
                yield None, label, place
            else:
                raise NotATextError(
                    f"{self.where(place)}: the text is {shorten(text)}, of type {type(text).__name__}. Texts are "
                    "strings; put quotes around numbers, and join lists."
                )


def open_file(
    path: str | Path, text_column: str = "text", label_column: str = "label", encoding: str = "utf-8"
) -> Source:
    """Return the rows that `read_file` reads, without reading them: the file never is in memory as a whole."""
    path = Path(path)
    suffix = path.suffix.lower()
    if path.is_dir():
        raise MissingFileError(f"{path} is a folder, not a file. Give a file in it, or load_splits() the folder.")
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}. Check the path; it is relative to {Path.cwd()}.")
    if suffix not in READERS:
        raise MalformedFileError(
            f"{path}: files named {path.suffix or 'without a suffix'!r} are not supported. "
            f"Use one of {', '.join(READERS)}."
        )
    codec = _find_codec(encoding)
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise MissingFileError(f"{path} cannot be opened ({error.strerror}). Check its permissions.") from error
    found = next((what for mark, what in OTHER_FORMATS.items() if start.startswith(mark)), None)
    if found and suffix != ".parquet":
        raise MalformedFileError(f"{path}: the file is named {suffix}, but is {found}.")
    unit = "row" if suffix == ".parquet" else "line"
    return Source(str(path), unit, READERS[suffix](path, text_column, label_column, codec))


def require_columns(source: str, found: list[str], text_column: str, label_column: str, advice: str = "") -> None:
    """Raise an error unless both columns are there, once, and not the same."""
    if text_column == label_column:
        raise SameColumnError(
            f"{source}: text_column= and label_column= both name {text_column!r}. Name the two columns."
        )
    for column in (text_column, label_column):
        if column not in found:
            raise MissingColumnError(
                f"{source}: no column {column!r}. It has {', '.join(map(shorten, found[:20])) or 'no columns'}; name "
                f"the right ones with text_column= and label_column=.{advice}"
            )
        if found.count(column) > 1:
            raise MalformedFileError(
                f"{source}: {found.count(column)} columns are named {column!r}. Rename all but the right one."
            )


def batch_rows(
    batches: Iterable[pa.RecordBatch | pa.Table], text_column: str, label_column: str, names: list[str] | None = None
) -> Iterator[Row]:
    """Yield rows of batches of columns, numbered from 0; labels that are ids into `names` by their name."""
    place = 0
    for batch in batches:
        texts, labels = (batch.column(name).to_pylist() for name in (text_column, label_column))
        if names is not None:
            labels = [None if label is None or not 0 <= label < len(names) else names[label] for label in labels]
        for text, label in zip(texts, labels, strict=True):
            yield text, label, place
            place += 1


def in_batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the rows in batches that fit into memory, whether they are many or long."""
    batch: list[Row] = []
    characters = 0
    for row in rows:
        batch.append(row)
        characters += len(row[0] or "")
        if len(batch) == BATCH_ROWS or characters > BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def warn(message: str) -> None:
    """Give a `DataWarning` for the line outside of this package that called it."""
    level, frame = 1, sys._getframe()
    while frame.f_back and Path(frame.f_code.co_filename).parent == Path(__file__).parent:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, DataWarning, stacklevel=level)


def shorten(thing: object) -> str:
    """Return how a thing is written in a message: not more than 60 characters of it."""
    return shown if len(shown := repr(thing)) <= 60 else shown[:60] + " ..."


def _find_codec(encoding: str) -> str:
    try:
        " ".encode(encoding)
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError, TypeError) as error:
        raise UnknownEncodingError(
            f"encoding={encoding!r} is not known. Common ones are 'utf-8', 'utf-16', 'cp1252' (Windows, western "
            "European), 'latin-1', 'shift_jis' and 'gb18030'."
        ) from error
    return "utf-8-sig" if name == "utf-8" else name


def _lines(path: Path, codec: str, newline: str = "\n") -> Iterator[str]:
    # Not str.splitlines: it would also split at characters that may be inside a text.
    with path.open(encoding=codec, newline=newline) as file:
        try:
            for number, line in enumerate(file, 1):
                if "\0" in line:
                    raise MalformedFileError(
                        f"{path}, line {number}: a NUL character, which no text has. Save the file as UTF-8 if it is "
                        'UTF-16 (or name it: encoding="utf-16-le"); otherwise it is damaged, or no text.'
                    )
                yield line
        except UnicodeError as error:
            raise _find_undecodable(path, codec, error) from error


def _find_undecodable(path: Path, codec: str, error: UnicodeError) -> NotUtf8Error | WrongEncodingError:
    """Return the error that says which byte cannot be decoded: the file's own reader does not know."""
    decoder = codecs.getincrementaldecoder(codec)()
    line, read = 1, 0
    found = f"{path} ({error})"
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        try:
            while chunk := file.read(1 << 16):
                read += len(chunk)
                line += decoder.decode(chunk).count("\n")
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as at_byte:
            # The decoder counts from what it kept of the chunk before, and not the byte order mark.
            at = read - len(at_byte.object) + at_byte.start
            line += at_byte.object[: at_byte.start].count(b"\n")
            found = f"{path}, line {line}: byte 0x{at_byte.object[at_byte.start]:02x} at offset {at}"
        except UnicodeError:
            pass
    if codec != "utf-8-sig":
        return WrongEncodingError(f"{found} is not {codec}. Give another encoding=, or save the file as UTF-8.")
    mark = next((name for bytes_, name in ENCODING_MARKS.items() if start.startswith(bytes_)), None)
    advice = (
        f'The file begins as {mark.upper()} does: give encoding="{mark}".'
        if mark
        else "Save the file as UTF-8 (in a spreadsheet: 'CSV UTF-8'), or name what it is, such as encoding=\"cp1252\"."
    )
    return NotUtf8Error(f"{found} is not UTF-8. {advice}")


def _numbered_lines(path: Path, codec: str) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(_lines(path, codec), 1) if line.strip())


def _refuse_old_line_ends(path: Path, number: int, line: str) -> None:
    if "\r" in line.strip():
        raise MalformedFileError(
            f"{path}, line {number}: a carriage return (\\r) inside the line. Save the file with line ends "
            "\\n or \\r\\n."
        )


def _read_txt(path: Path, _text_column: str, _label_column: str, codec: str) -> Iterator[Row]:
    separator = ""
    for number, line in _numbered_lines(path, codec):
        _refuse_old_line_ends(path, number, line)
        if not separator:
            separator = "\t" if ";" not in line and "\t" in line.strip() else ";"
            if separator == "\t":
                warn(f"{path}, line {number}: no ';', but a tab: tabs are taken to separate texts from labels.")
        text, found, label = line.rpartition(separator)
        if not found:
            raise MalformedFileError(
                f"{path}, line {number}: no {separator!r} between text and label in {shorten(line.strip())}. "
                f"Write {f'text{separator}label'!r} on every line, or use .csv."
            )
        yield text.strip(), label.strip() or None, number


def _read_header(path: Path, codec: str, separator: str) -> list[str]:
    reader = csv.reader(_lines(path, codec, newline=""), delimiter=separator, strict=True)
    try:
        return [name.strip() for name in next(filter(None, reader), [])]
    except csv.Error:
        return []


def _find_separator(path: Path, codec: str, wanted: set[str]) -> str:
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    headers = {}
    for separator in sorted(SEPARATORS, key=lambda one: one != usual):
        headers[separator] = _read_header(path, codec, separator)
        if wanted.issubset(headers[separator]):
            if separator != usual:
                warn(
                    f"{path}: the columns are separated by {SEPARATORS[separator]}, not by {SEPARATORS[usual]} as in "
                    f"other {path.suffix} files. The file was read so."
                )
            return separator
    return max(headers, key=lambda one: len(headers[one]))


def _read_delimited(path: Path, text_column: str, label_column: str, codec: str) -> Iterator[Row]:
    # csv rather than pandas.read_csv: it tells the line of every row, takes no text such as "NA"
    # for missing, and does not pad rows that are too short.
    separator = _find_separator(path, codec, {text_column, label_column})
    reader = csv.reader(_lines(path, codec, newline=""), delimiter=separator, strict=True)
    advice = f" If its first line is data, write {text_column + separator + label_column!r} above it."
    header: list[str] = []
    text_at = label_at = 0
    first = 1
    try:
        for row in reader:
            if row and not header:
                header = [name.strip() for name in row]
                require_columns(str(path), header, text_column, label_column, advice)
                text_at, label_at = header.index(text_column), header.index(label_column)
            elif row:
                if len(row) != len(header):
                    raise MalformedFileError(
                        f"{path}, line {first}: {len(row)} fields, but the header has {len(header)}. Put quotes "
                        f"around texts that contain {separator!r} or line breaks."
                    )
                yield row[text_at], row[label_at], first
            first = reader.line_num + 1
    except csv.Error as error:
        to = f" to {reader.line_num}" if reader.line_num > first else ""
        reason = str(error).replace("\t", "\\t")
        raise MalformedFileError(
            f"{path}, line {first}{to}: {reason}. Check the quotes there: a text in quotes ends with one, and has "
            f"'\"\"' for a quote. A text has at most {csv.field_size_limit():,} characters in this format."
        ) from error
    if not header:
        require_columns(str(path), header, text_column, label_column, advice)


def _read_jsonl(path: Path, text_column: str, label_column: str, codec: str) -> Iterator[Row]:
    if text_column == label_column:
        require_columns(str(path), [], text_column, label_column)
    for number, line in _numbered_lines(path, codec):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:  # ValueError: also of numbers with very many digits
            _refuse_old_line_ends(path, number, line)
            reason = getattr(error, "msg", str(error))
            raise MalformedFileError(f"{path}, line {number}: not JSON ({reason}). One object a line.") from error
        if not isinstance(row, dict):
            raise MalformedFileError(f"{path}, line {number}: found {type(row).__name__}, expected an object.")
        if text_column not in row or label_column not in row:
            require_columns(f"{path}, line {number}", list(row), text_column, label_column)
        yield row[text_column], row[label_column], number


def _read_parquet(path: Path, text_column: str, label_column: str, _codec: str) -> Iterator[Row]:
    try:
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:  # else it holds whole row groups
            require_columns(str(path), file.schema_arrow.names, text_column, label_column)
            batches = file.iter_batches(BATCH_ROWS, columns=[text_column, label_column])
            yield from batch_rows(batches, text_column, label_column)
    except (MissingColumnError, SameColumnError, MalformedFileError):
        raise
    except PARQUET_ERRORS as error:
        raise MalformedFileError(
            f"{path}: not a parquet file, or a damaged one ({shorten(str(error))}). Get or write it again."
        ) from error


READERS: dict[str, Callable[[Path, str, str, str], Iterator[Row]]] = {
    ".txt": _read_txt,
    ".csv": _read_delimited,
    ".tsv": _read_delimited,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
"""Reader of each supported suffix."""
