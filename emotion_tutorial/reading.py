"""Read one file of texts and labels; pandas, pyarrow and json parse it, and data.py checks the result."""

import codecs
import csv
import json
import re
import warnings
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any, TypeAlias

import pandas as pd
import pyarrow.parquet as pq
from datasets import Dataset
from fsspec.implementations.local import LocalFileSystem

from emotion_tutorial.exceptions import DataError, DataWarning, damage_is_said
from emotion_tutorial.texts import shorten

COMPRESSIONS = (".gz", ".bz2", ".xz")
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}


class MissingLabelsError(DataError):
    """The column of texts is there, but the column of labels is not."""


def file_format(path: Path) -> str | None:
    """Return the format of `READERS` that a file's name announces, compressed or not; None if there is none."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in COMPRESSIONS]
    return suffixes[-1] if suffixes and suffixes[-1] in READERS else None


def read_file(
    path: str | Path, text_column: str = "text", label_column: str = "label", encoding: str = "utf-8"
) -> pd.DataFrame | Dataset:
    """Read a file of labeled texts without converting anything: "NA", "007" and "1e5" stay texts.

    Parameters
    ----------
    path
        A `.csv`, `.tsv`, `.json` or `.jsonl` (an array of objects, or one object per line), `.parquet` or `.txt`
        file. All but parquet may be compressed by gzip, bzip2 or xz, as in `reviews.csv.gz`. A `.txt` file has lines
        of `text;label` and no header; the last `;` separates, so texts may contain others.
    text_column, label_column
        Names of the columns to read. A `.txt` file has no names.
    encoding
        The encoding of a text file. UTF-8 may begin with a byte order mark.

    Returns
    -------
    DataFrame or Dataset
        All columns, one row per text; a `Dataset` if a parquet file brings names for its labels. Missing values
        stay missing. No row is left out except blank lines.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DataError
        If the format of the file is unknown, its content does not follow the format, or a column is not there.

    Notes
    -----
    If the columns of a `.csv` or `.tsv` file are found only with another of the separators `,` `;` tab `|`, that one
    is used, and a `DataWarning` says so. A first line such as `sep=;`, which is meant for Excel, is obeyed.

    Quotes are doubled inside a text in quotes. Spaces between a separator and a quote are skipped. If the quotes of a
    file that is separated by tabs do not fit, they are taken as part of the texts; those of other files are refused.
    A field in quotes that goes over several lines and seems to contain whole rows causes a `DataWarning`.
    """
    path = Path(path)
    form = file_format(path)
    if form is None:
        raise DataError(f"{path}: files named {path.suffix!r} are not supported. Save it as {', '.join(READERS)}.")
    read, advice = READERS[form]
    with damage_is_said(path, advice):
        found = read(path, text_column, label_column, encoding)
    require_columns(str(path), found, text_column, label_column)
    return found


def require_columns(source: str, table: pd.DataFrame | Dataset, text_column: str, label_column: str) -> None:
    """Raise a DataError unless both columns are there exactly once, and are not the same one."""
    if text_column == label_column:
        raise DataError(f"{source}: text_column= and label_column= both name {text_column!r}. Name the two columns.")
    names = [*(table.column_names if isinstance(table, Dataset) else table.columns)]
    for column, kind in ((text_column, DataError), (label_column, MissingLabelsError)):
        if (count := names.count(column)) != 1:
            there = ", ".join(map(shorten, names[:10])) or "no columns"
            advice = "Name the right ones with text_column= and label_column=, or write a header above the data"
            found = f"{count} columns" if count else "no column"
            raise (DataError if count else kind)(f"{source}: {found} {column!r}. It has {there}. {advice}.")


def _read_text(path: Path, encoding: str) -> str:
    with LocalFileSystem().open(str(path), "rb", compression="infer") as file:
        content: bytes = file.read()
    try:  # utf-8-sig skips a byte order mark
        return content.decode("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)
    except (UnicodeError, LookupError) as error:
        found = str(error)
        if isinstance(error, UnicodeDecodeError):
            line = content.count(b"\n", 0, error.start) + 1
            found = f"line {line} has the byte 0x{content[error.start]:02x}, {error.reason}"
        advice = 'Name its encoding, such as encoding="cp1252" or "utf-16", or save it as UTF-8, with its right suffix'
        raise DataError(f"{path} is not in the encoding {encoding!r}: {found}. {advice}.") from error


def _read_parquet(path: Path, *_: str) -> pd.DataFrame | Dataset:
    table = pq.read_table(path)
    table.validate(full=True)  # texts that are not UTF-8
    has_features = b"huggingface" in (table.schema.metadata or {})  # and with them the names of the labels
    return Dataset(table) if has_features else table.to_pandas(ignore_metadata=True)


def _read_lines(path: Path, text_column: str, label_column: str, encoding: str) -> pd.DataFrame:
    rows = []
    for number, line in enumerate(StringIO(_read_text(path, encoding), newline=None), 1):
        text, separator, label = map(str.strip, line.rpartition(";"))
        if (number, text, label) == (1, text_column, label_column):
            raise ValueError("its first line names the columns, and belongs into a .csv file")
        if label and not separator:
            raise ValueError(f"line {number} has no ';' between text and label: {shorten(label)}")
        rows += [(text, label)] if separator else []
    return pd.DataFrame(rows, columns=[text_column, label_column], dtype=object)


def _read_delimited(path: Path, text_column: str, label_column: str, encoding: str) -> pd.DataFrame:
    content = _read_text(path, encoding)
    hint = re.match(r'"?sep=(.)"?[\r\n]', content)  # for Excel
    content = content[hint.end() - 1 :] if hint else content
    usual = hint[1] if hint else "\t" if file_format(path) == ".tsv" else ","
    # csv.Sniffer only guesses: it cannot be told the names of the columns, which decide the matter.
    headers = {each: _find_header(content, each) for each in ([usual] if hint else [usual, *SEPARATORS])}
    fitting = [separator for separator, names in headers.items() if {text_column, label_column} <= {*names}]
    best = (fitting or sorted(headers, key=lambda separator: -len(headers[separator])))[0]
    names = headers[best]
    if not fitting:
        return pd.DataFrame(columns=names)  # read_file says which column is missing
    if best != usual:
        message = f"{path}: {SEPARATORS[best]} separate the columns, not {SEPARATORS[usual]} as its name says."
        warnings.warn(message, DataWarning, stacklevel=4)  # at the caller of load_splits
    frame = pd.read_csv(StringIO(content), sep=best, dtype=str, na_filter=False, **_find_quoting(content, best))
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much in the first row for an index
        raise ValueError("the first row has more fields than the header")
    labels = {*frame.iloc[:, names.index(label_column)]} - {""}
    long = (field for field in frame.to_numpy().flat if re.search("[\r\n]", field))
    lines = (line for field in long for line in field.replace('"', "").splitlines() if best in line)
    if found := next((line for line in lines if not labels.isdisjoint(line.split(best))), None):
        message = f"{path}: a field in quotes has a line that looks like a row: {shorten(found)}"
        warnings.warn(f"{message}. Correct the quotes, if rows are lost in it.", DataWarning, stacklevel=4)
    return frame.set_axis(names, axis=1)


def _find_header(content: str, separator: str) -> list[str]:
    rows = csv.reader(StringIO(content.lstrip("\r\n "), newline=""), delimiter=separator, skipinitialspace=True)
    return [name.strip() for name in next(rows, [])]


def _find_quoting(content: str, separator: str) -> dict[str, Any]:
    """Return what the quotes in a file mean, as options for pandas, which itself does not mind one too many."""
    apart = re.escape(separator)
    options: dict[str, Any] = {"skipinitialspace": bool(re.search(f'{apart} +"[^"\r\n{apart}]', content))}
    short = re.sub(r"\w[\w ]+", "_", content) if '"' in content else ""  # because the csv module refuses long fields
    reader = csv.reader(StringIO(short, newline=""), delimiter=separator, strict=True, **options)
    try:
        list(reader)
    except csv.Error as error:
        if separator == "\t" and '"' not in content.lstrip().partition("\n")[0]:
            return {"quoting": csv.QUOTE_NONE}
        if "expected after" in str(error):  # of a quote that is not closed, pandas says where it begins
            raise ValueError(f"line {reader.line_num}: {error}") from None
    return options


def _read_json(path: Path, text_column: str, _: str, encoding: str) -> pd.DataFrame:
    content, things = _read_text(path, encoding), []
    lines = [content] if content.lstrip().startswith("[") else content.split("\n")
    for number, line in enumerate(lines, 1):
        try:
            found = json.loads(line) if line.strip() else []
        except json.JSONDecodeError as error:
            raise ValueError(f"line {number + error.lineno - 1} is not JSON ({error.msg})") from None
        things += found if isinstance(found, list) else [found]
    frame = pd.DataFrame(things, dtype=object)
    if any(isinstance(text, dict | list) for text in frame.get(text_column, [])):
        raise ValueError(f"one {text_column!r} is not a text")
    return frame


Reader: TypeAlias = Callable[[Path, str, str, str], pd.DataFrame | Dataset]
RECORDS = 'Write one object per line, or one array of objects; pandas does with DataFrame.to_json(orient="records").'
READERS: dict[str, tuple[Reader, str]] = {
    **dict.fromkeys((".csv", ".tsv"), (_read_delimited, "Put quotes around texts with separators, quotes or breaks.")),
    **dict.fromkeys((".json", ".jsonl"), (_read_json, RECORDS)),
    ".parquet": (_read_parquet, "Correct the file."),
    ".txt": (_read_lines, "Write a text, a semicolon and a label in each line."),
}
"""What reads a file, by what its name ends with, and what to do if it cannot."""
