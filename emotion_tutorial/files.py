"""One file in, a frame of texts and labels out, with the line of whatever cannot be read."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from emotion_tutorial.exceptions import MalformedFileError, MissingColumnError, MissingFileError, NotUtf8Error


def read_file(path: str | Path, text_column: str = "text", label_column: str = "label") -> pd.DataFrame:
    """Read a file of labelled texts.

    Parameters
    ----------
    path
        `.txt` with `text;label` lines and no header (the last `;` separates, so texts may hold
        others), `.csv`, `.tsv`, `.jsonl` or `.parquet`. Text formats are UTF-8, with or without a
        byte order mark.
    text_column, label_column
        Names of the columns to use. A `.txt` file has no header and ignores them.

    Returns
    -------
    DataFrame
        `text` and `label` as they stand in the file, one row a text; `where` says where a row
        stands (`line 3` or `row 2`). Missing values are None. Nothing is dropped, except lines
        of a `.txt` or `.jsonl` file that hold nothing at all.

    Raises
    ------
    MissingFileError, MalformedFileError, NotUtf8Error, MissingColumnError
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFileError(f"There is no file {path}. Check the path; it is relative to {Path.cwd()}.")
    if path.suffix.lower() not in READERS:
        raise MalformedFileError(
            f"{path}: files named {path.suffix or 'without a suffix'!r} are not supported. "
            f"Use one of {', '.join(READERS)}."
        )
    frame = READERS[path.suffix.lower()](path)
    if path.suffix.lower() == ".txt":
        return frame
    for column in (text_column, label_column):
        if column not in frame.columns:
            found = ", ".join(repr(str(name)) for name in frame.columns if name != "where")
            raise MissingColumnError(
                f"{path}: no column {column!r}. The file has {found or 'no columns'}; name the right ones "
                "with text_column= and label_column=."
            )
    return pd.DataFrame(
        {"text": frame[text_column], "label": frame[label_column], "where": frame["where"]}, dtype=object
    )


def _decode(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The decoder counts from after the byte order mark, if there is one.
        at = error.start + (3 if data.startswith(b"\xef\xbb\xbf") else 0)
        raise NotUtf8Error(
            f"{path}, line {data.count(bytes([10]), 0, at) + 1}: byte 0x{data[at]:02x} at offset {at} is not "
            "UTF-8. Save the file as UTF-8 (in a spreadsheet: 'CSV UTF-8') and load it again."
        ) from error


def _lines(path: Path) -> list[tuple[int, str]]:
    # Not str.splitlines: it would also split at characters that may be inside a text.
    lines = _decode(path).replace("\r\n", "\n").split("\n")
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip()]


def _read_txt(path: Path) -> pd.DataFrame:
    rows = []
    for number, line in _lines(path):
        text, separator, label = line.rpartition(";")
        if not separator:
            raise MalformedFileError(
                f"{path}, line {number}: no ';' between text and label in {line[:60]!r}. "
                "Write 'text;label' on every line, or use .csv."
            )
        rows.append((text.strip(), label.strip() or None, f"line {number}"))
    return pd.DataFrame(rows, columns=["text", "label", "where"], dtype=object)


def _read_delimited(path: Path, delimiter: str) -> pd.DataFrame:
    # csv rather than pandas.read_csv: it tells the line of every row, takes no text such as "NA"
    # for missing, and does not pad rows that are too short.
    reader = csv.reader(io.StringIO(_decode(path), newline=""), delimiter=delimiter, strict=True)
    rows: list[list[str | None]] = []
    header: list[str] | None = None
    first = 1
    try:
        for row in reader:
            if header is None:
                header = [name.strip() for name in row]
            elif row:
                if len(row) != len(header):
                    raise MalformedFileError(
                        f"{path}, line {first}: {len(row)} fields, but the header has {len(header)}. Put quotes "
                        f"around texts that contain {delimiter!r} or line breaks."
                    )
                rows.append([*row, f"line {first}"])
            first = reader.line_num + 1
    except csv.Error as error:
        raise MalformedFileError(f"{path}, line {reader.line_num}: {error}. Check the quotes there.") from error
    return pd.DataFrame(rows, columns=[*(header or []), "where"], dtype=object)


def _read_csv(path: Path) -> pd.DataFrame:
    return _read_delimited(path, ",")


def _read_tsv(path: Path) -> pd.DataFrame:
    return _read_delimited(path, "\t")


def _read_jsonl(path: Path) -> pd.DataFrame:
    rows = []
    for number, line in _lines(path):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise MalformedFileError(f"{path}, line {number}: not JSON ({error.msg}). One object a line.") from error
        if not isinstance(row, dict):
            raise MalformedFileError(f"{path}, line {number}: found {type(row).__name__}, expected an object.")
        rows.append({**row, "where": f"line {number}"})
    return pd.DataFrame(rows, dtype=object)


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        frame = pd.read_parquet(path)
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise MalformedFileError(f"{path}: not a parquet file ({error}).") from error
    return frame.assign(where=[f"row {row}" for row in range(len(frame))])


READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".txt": _read_txt,
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
"""Reader of each supported suffix."""
