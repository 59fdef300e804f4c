"""What odd input gives: an error, or rows; `python tests/test_malformed.py` writes the table to docs/malformed_inputs.md."""

# ruff: noqa: E501 - a table has long lines

import bz2
import gzip
import io
import json
import lzma
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emotion_tutorial import DataWarning, load_splits, to_frame

PAGE = Path(__file__).parents[1] / "docs" / "malformed_inputs.md"


class Case(NamedTuple):
    """A file, how it is loaded, and what comes of it."""

    what: str
    file: str  # train.*: there are the same rows for validation and test
    content: bytes | pd.DataFrame | dict[str, bytes] | None  # None: a folder
    outcome: str  # an error; or "rows", perhaps with a warning
    shown: str | list[tuple[str, str]]  # a part of the message; or the rows
    arguments: dict[str, Any] = {}  # noqa: RUF012 - of a tuple, which nobody changes


def parquet(texts: Any, labels: list[Any], names: tuple[str, str] = ("text", "label")) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table([pa.array(texts), pa.array(labels)], names=list(names)), file)
    return file.getvalue()


def not_utf8_parquet() -> bytes:
    texts = pa.array([b"caf\xc3\xa9", b"tea"], pa.binary()).view(pa.string())
    return parquet(texts, ["joy", "fear"]).replace(b"\xc3\xa9", b"\xc3x")


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, TWO)
    return file.getvalue()


GOOD = parquet(["a", "b"], ["joy", "fear"])
TWO = b"text,label\ni am well,joy\ni am not,fear\n"
TXT = b"i am well;joy\ni am not;fear\n"
JSON = b'[{"text": "i am well", "label": "joy"},\n {"text": "i am not", "label": "fear"}]'
BOTH = [("i am well", "joy"), ("i am not", "fear")]
TRAIN = b"text,label\n" + b"i am well,joy\ni am not,fear\n" * 9
CUT_OFF = '{"text": "caf\u00e9'.encode()[:-1]
KEPT = [("NA", "007"), ("null", "1e5"), ("007", "NA"), ("1e5", "null")]
FRAME = pd.DataFrame(KEPT, columns=["text", "label"])
OBJECTS = FRAME.to_dict("records")

CASES = [
    Case("no file of that name", "other.csv", TWO, "NotFoundError", "no file or folder", {"source": "a.csv"}),
    Case("a folder named like a file", "train.csv", None, "NotFoundError", "It has nothing that can be read", {"source": "."}),
    Case("a folder without train", "test.csv", TWO, "NotFoundError", "It has 'test.csv'", {"source": "."}),
    Case("another suffix", "a.docx", b"text", "DataError", "files named '.docx' are not supported"),
    Case("a spreadsheet named .csv", "a.csv", b"PK\x03\x04\x14\0", "DataError", r"no column 'text'. It has 'PK\x03"),
    Case("an old spreadsheet named .tsv", "a.tsv", b"\xd0\xcf\x11\xe0\xa1\xb1", "DataError", "If it is a spreadsheet"),
    Case("a gzip file named .csv", "a.csv", b"\x1f\x8b\x08\0", "DataError", "archive or parquet, save it as CSV or give it its right suffix"),
    Case("parquet named .jsonl", "a.jsonl", GOOD, "DataError", "archive or parquet, save it as CSV or give it its right suffix"),
    Case("packed with gzip", "train.csv.gz", gzip.compress(TWO), "rows", BOTH),
    Case("packed with bzip2", "train.txt.bz2", bz2.compress(TXT), "rows", BOTH),
    Case("packed with xz", "train.json.xz", lzma.compress(JSON), "rows", BOTH),
    Case("one file in a zip archive", "train.csv.zip", zipped("a.csv"), "rows", BOTH),
    Case("several files in a zip archive", "a.csv.zip", zipped("a.csv", "b.csv"), "DataError", "holds 2 files"),
    Case("packed, and cut off", "a.csv.gz", gzip.compress(TWO)[:-9], "DataError", "could not be read as .csv"),
    Case("not packed, as its name says", "a.csv.gz", TWO, "DataError", "could not be read as .csv: Not a gzipped file"),
    Case("packed in another way", "a.csv.zst", b"(\xb5/\xfd", "DataError", "files named '.zst' are not supported"),
    Case("one byte of another encoding", "a.csv", b"text,label\nfine,joy\ncaf\xe9,joy\n", "DataError", "not in the encoding 'utf-8': line 3 has the byte 0xe9"),
    Case("cut off inside a character", "a.jsonl", CUT_OFF, "DataError", "line 1 has the byte 0xc3"),
    Case("UTF-16", "a.csv", TWO.decode().encode("utf-16"), "DataError", 'line 1 has the byte 0xff, invalid start byte. If it is text, name its encoding, such as encoding="cp1252" (Windows, Western European) or "utf-16"'),
    Case("UTF-16, and said so", "train.csv", TWO.decode().encode("utf-16"), "rows", BOTH, {"encoding": "utf-16"}),
    Case("UTF-16 without a mark", "a.csv", TWO.decode().encode("utf-16-le"), "DataError", r"no column 'text'. It has 't\x00e\x00"),
    Case("UTF-8 with a mark, and line ends of Windows", "train.csv", b"\xef\xbb\xbf" + TWO.replace(b"\n", b"\r\n"), "rows", BOTH),
    Case("NUL in a text", "train.txt", b"well;joy\nno\0t;fear\n", "rows", [("well", "joy"), ("no\0t", "fear")]),
    Case("a byte that the given encoding lacks", "a.txt", b"well;joy\n\x81;fear\n", "DataError", "not in the encoding 'cp1252': line 2 has the byte 0x81", {"encoding": "cp1252"}),
    Case("an unknown encoding", "a.csv", TWO, "DataError", "unknown encoding: utf-9", {"encoding": "utf-9"}),
    Case("an encoding that is none of text", "a.csv", TWO, "DataError", "'base64' is not a text encoding", {"encoding": "base64"}),
    Case("nothing at all", "a.csv", b"", "DataError", "no column 'text'. It has no columns"),
    Case("a header only", "a.csv", b"text,label\n", "DataError", "no rows"),
    Case("white space only", "a.jsonl", b" \n\n", "DataError", "no rows"),
    Case("an array of nothing", "a.json", b"[]", "DataError", "no rows"),
    Case("no header", "a.csv", b"i am well,joy\ni am not,fear\n", "DataError", "It has 'i am well', 'joy'; name the right ones with text_column= and label_column=. If its first line is data"),
    Case("another separator", "train.csv", TWO.replace(b",", b";"), "rows, DataWarning", BOTH),
    Case("other columns, under another separator", "a.csv", b"words;mood\nwell;joy\n", "DataError", "no column 'text'. It has 'words', 'mood'"),
    Case("no header, under tabs", "a.tsv", b"i am well\tjoy\n", "DataError", r"If its first line is data, write 'text\tlabel' above it"),
    Case("a name of thousands of characters", "a.csv", b"text,label" + b"l" * 9000 + b"\nwell,joy\n", "DataError", "no column 'label'. It has 'text', 'labell"),
    Case("a key of thousands of characters", "a.jsonl", b'{"text": "a", "l' + b"l" * 9000 + b'": 1}\n', "DataError", "line 1: no column 'label'. It has 'text', 'lllll"),
    Case("a column twice", "a.csv", b"text,label,text\na,joy,b\n", "DataError", "2 columns are named 'text'"),
    Case("a column twice", "a.parquet", parquet(["a"], ["b"], ("text", "text")), "DataError", "2 columns are named 'text'"),
    Case("one column for both", "a.csv", TWO, "DataError", "text_column= and label_column= both name 'text'", {"label_column": "text"}),
    Case("one column for both", "a.jsonl", b"{}\n", "DataError", "text_column= and label_column= both name 'text'", {"label_column": "text"}),
    Case("too many fields", "a.csv", b"text,label\nok,joy\na,b,c\n", "DataError", "Expected 2 fields in line 3, saw 3"),
    Case("too many fields in the first row", "a.csv", b"text,label\na,b,c\n", "DataError", "Put quotes around texts with separators"),
    Case("too few fields", "a.tsv", b"text\tlabel\nok\tjoy\nbad\tfear\nnothing else\n", "DataError", "row 2: no label"),
    Case("too few fields, the text missing", "train.csv", b"label,text\njoy,ok\nfear\n", "rows, DataWarning", [("ok", "joy"), ("", "fear")]),
    Case("blank lines", "train.csv", b"\ntext,label\n\nok,joy\n \nbad,fear\n\n", "rows", [("ok", "joy"), ("bad", "fear")]),
    Case("a quote that is not closed", "a.csv", b'text,label\nok,joy\n"open,joy\nnext,fear\n', "DataError", "EOF inside string starting at row 2. Put quotes around"),
    Case("a quote that is not closed, in the header", "a.csv", b'"text,label\nok,joy\n', "DataError", r"no column 'text'. It has 'text,label\nok,joy'"),
    Case("a quote that is closed in a later line", "train.csv", b'text,label\n"open,joy\nnext",fear\nok,joy\n', "rows", [("open,joy\nnext", "fear"), ("ok", "joy")]),
    Case("a quote inside a text in quotes", "train.csv", b'text,label\n"say "hello"",joy\nno,fear\n', "rows", [('say hello""', "joy"), ("no", "fear")]),
    Case("a quote inside a text in quotes, under tabs", "train.tsv", b'text\tlabel\n"say "hello""\tjoy\nno\tfear\n', "rows", [('say hello""', "joy"), ("no", "fear")]),
    Case("a field over the limit of the csv module", "train.csv", b"text,label\n" + b"x" * 200_000 + b",joy\nno,fear\n", "rows", [("x" * 200_000, "joy"), ("no", "fear")]),
    Case("no separator", "a.txt", b"good;joy\nno separator\n", "DataError", "line 2: no ';' between text and label in 'no separator'"),
    Case("several separators", "train.txt", b"well; well;joy\nno;fear\n", "rows", [("well; well", "joy"), ("no", "fear")]),
    Case("tabs, and a line without", "a.txt", b"good\tjoy\nno separator\n", "DataError", "line 1: no ';' between text and label"),
    Case("line ends of old computers", "train.txt", b"good;joy\rbad;fear\r", "rows", [("good", "joy"), ("bad", "fear")]),
    Case("line ends of old computers", "train.jsonl", b'{"text": "a", "label": 1}\r{"text": "b", "label": 2}\r', "rows", [("a", "1"), ("b", "2")]),
    Case("an array of objects", "train.json", JSON, "rows", BOTH),
    Case("an array of objects", "train.jsonl", JSON, "rows", BOTH),
    Case("an object per line", "train.json", b'{"text": "a", "label": 1}\n\n{"text": "b", "label": 2}', "rows", [("a", "1"), ("b", "2")]),
    Case("an object of columns", "a.json", b'{"text": ["a", "b"], "label": [1, 2]}', "DataError", "row 0: the text is ['a', 'b'], of type list"),
    Case("not JSON", "a.jsonl", b'{"text": "a", "label": 1}\n{broken\n', "DataError", "line 2: not JSON"),
    Case("an array, cut off", "a.json", JSON[:-3], "DataError", "could not be read as .json"),
    Case("a list instead of objects", "a.jsonl", b'["a", "b"]\n', "DataError", "object 1: no column 'text'"),
    Case("brackets in brackets in brackets", "a.jsonl", b"[" * 100_000, "DataError", "recursion"),
    Case("a number of thousands of digits", "a.jsonl", b'{"text": "a", "label": ' + b"1" * 5000 + b"}", "DataError", "line 1: not JSON"),
    Case("an object without text", "a.jsonl", b'{"text": "a", "label": 1}\n{"label": 2}\n', "DataError", "line 2: no column 'text'. It has 'label'"),
    Case("an object without label", "a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}\n', "DataError", "line 2: no column 'label'. It has 'text'"),
    Case("half a character in a text", "a.jsonl", rb'{"text": "a \ud83d b", "label": 1}', "DataError", r"row 0: the text is 'a \ud83d b'"),
    Case("half a character in a label", "a.jsonl", rb'{"text": "a", "label": "\ud83d"}', "DataError", r"row 0: the label is '\ud83d'"),
    Case("a text that is null", "train.jsonl", b'{"text": null, "label": 1}\n{"text": "b", "label": 2}', "rows, DataWarning", [("", "1"), ("b", "2")]),
    Case("a text that is a number", "a.jsonl", b'{"text": 5, "label": 1}', "DataError", "row 0: the text is 5, of type int"),
    Case("a text that is a list", "a.jsonl", b'{"text": ["a", "b"], "label": 1}', "DataError", "row 0: the text is ['a', 'b'], of type list"),
    Case("texts that are numbers", "a.parquet", parquet([1, 2], ["joy", "fear"]), "DataError", "row 0: the text is 1, of type int"),
    Case("a text that is not UTF-8", "a.parquet", not_utf8_parquet(), "DataError", "could not be read as .parquet"),
    Case("not parquet", "a.parquet", TWO, "DataError", "could not be read as .parquet"),
    Case("cut off", "a.parquet", GOOD[:-20], "DataError", "could not be read as .parquet"),
    Case("no such column", "a.parquet", GOOD, "DataError", "no column 'tweet'. It has 'text', 'label'", {"text_column": "tweet"}),
    Case("a folder of save_to_disk, damaged", "", {"dataset_info.json": b"{}", "state.json": b"{"}, "DataError", "what save_to_disk wrote is damaged"),
    Case("what looks like no text", "train.csv", FRAME.to_csv(index=False).encode(), "rows", KEPT),
    Case("what looks like no text", "train.tsv", FRAME.to_csv(index=False, sep="\t").encode(), "rows", KEPT),
    Case("what looks like no text", "train.json", json.dumps(OBJECTS).encode(), "rows", KEPT),
    Case("what looks like no text", "train.jsonl", "\n".join(map(json.dumps, OBJECTS)).encode(), "rows", KEPT),
    Case("what looks like no text", "train.parquet", parquet(FRAME["text"].tolist(), FRAME["label"].tolist()), "rows", KEPT),
    Case("what looks like no text", "", FRAME, "rows", KEPT),
    Case("an unreadable label of a class alone", "a.jsonl", rb'{"text": "a", "label": "\u0007\n\u202e"}', "DataError", r"has 1 class ('\x07\n\u202e')"),
    Case("several labels", "a.jsonl", b'{"text": "a", "label": ["joy", "fear"]}', "DataError", "row 0: the label is ['joy', 'fear'], but a text has one label"),
    Case("several labels", "a.parquet", parquet(["a"], [["joy", "fear"]]), "DataError", "row 0: the label is array(['joy', 'fear']"),
    Case("an object for a label", "a.jsonl", b'{"text": "a", "label": {"joy": 1}}', "DataError", "row 0: the label is {'joy': 1}"),
    Case("several labels in one string", "train.csv", TWO + b'both,"joy, fear"\n', "rows", [*BOTH, ("both", "joy, fear")]),
    Case("several labels in one string", "train.tsv", b"text\tlabel\na\tjoy\nb\tjoy/fear\n", "rows", [("a", "joy"), ("b", "joy/fear")]),
    Case("a label that is a date", "a.parquet", parquet(["a"], [pa.scalar(0, pa.timestamp("s"))]), "DataError", "row 0: the label is Timestamp('1970"),
    Case("no label", "a.csv", TWO + b"and now,\n", "DataError", "row 2: no label; 1 such rows"),
    Case("no label", "a.txt", b"well;joy\nnot;\nhm;fear\n", "DataError", "row 1: no label"),
    Case("no label in the whole test split", "", {"train.csv": TRAIN, "test.csv": b"text,label\nwhat,\n"}, "rows, DataWarning", BOTH),
    Case("no label but -1 in the test split", "", {"train.csv": TRAIN, "test.csv": b"text,label\nwhat,-1\n"}, "rows, DataWarning", BOTH),
    Case("no label for some rows of the test split", "", {"train.csv": TRAIN, "test.csv": TWO + b"what,-1\n"}, "DataError", "split 'test', row 2: unknown label '-1'"),
    Case("a label that is not of the given ones", "a.csv", TWO, "DataError", "row 1: unknown label 'fear'; 1 such rows. Known labels: 'joy', 'love'", {"label_names": ["joy", "love"]}),
    Case("a label that is an id", "a.csv", b"text,label\n" + b"".join(b"a,n%d\n" % i for i in range(1001)), "DataError", "1,001 distinct labels in 1,001 rows, such as 'n0'"),
    Case("a label name twice", "a.csv", TWO, "DataError", "label_names= is ['joy', 'fear', 'joy']", {"label_names": ["joy", "fear", "joy"]}),
    Case("an empty label name", "a.csv", TWO, "DataError", "label_names= is ['joy', '']", {"label_names": ["joy", ""]}),
    Case("one class", "a.csv", b"text,label\na,joy\nb,joy\n", "DataError", "has 1 class ('joy')"),
    Case("too few rows to cut a split from", "a.csv", TWO, "DataError", "Cannot cut 2 rows for split 'test' from the 2 training rows"),
]  # fmt: skip


def load(case: Case, folder: Path) -> set[tuple[str, str]]:
    files, arguments = case.content, {"source": case.file, **case.arguments}
    if case.file.startswith("train") and case.content is not None:
        files = {case.file.replace("train", split): case.content for split in ("train", "val", "test")}
        arguments["source"] = ""
    if isinstance(files, pd.DataFrame):
        splits = load_splits(dict.fromkeys(("train", "validation", "test"), files))
    else:
        for name, content in (files if isinstance(files, dict) else {case.file: files}).items():
            (folder / name).mkdir() if content is None else (folder / name).write_bytes(content)
        splits = load_splits(folder / arguments.pop("source"), **arguments)
    return {(row.text, row.label_name) for dataset in splits.values() for row in to_frame(dataset).itertuples()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.what} {case.file}")
def test_outcome(tmp_path, case):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if case.outcome.startswith("rows"):
            assert load(case, tmp_path) == set(case.shown)
            assert ("DataWarning" in case.outcome) == any(warning.category is DataWarning for warning in caught)
            return
        with pytest.raises(Exception) as failed:  # noqa: PT011 - the table says which
            load(case, tmp_path)
    message = str(failed.value)
    assert type(failed.value).__name__ == case.outcome, repr(failed.value)
    assert case.shown in message
    assert str(tmp_path) in message or "label_names=" in case.shown
    assert message.isprintable()
    assert message.endswith(".")
    assert len(message) < 800


def make_page() -> str:
    """Return the page that lists the cases."""
    rows = []
    for case in CASES:
        arguments = ", ".join(f"{name}={value!r}" for name, value in case.arguments.items())
        files = case.content if isinstance(case.content, dict) else {case.file: case.content}
        contents = [shorten(content) for content in files.values()]
        shown = case.shown if isinstance(case.shown, str) else clip(", ".join(map(repr, case.shown)))
        cells = [" ".join(map(code, files)), " ".join(map(code, contents)), code(arguments), case.outcome, code(shown)]
        rows.append(f"| {' | '.join([case.what, *cells])} |")
    return HEAD + "\n".join(rows) + "\n"


def code(text: str) -> str:
    return text and f"`{text}`".replace("|", r"\|")


def clip(text: str) -> str:
    return text if len(text) <= 120 else text[:60] + " ... " + text[-40:]


HEAD = """# Odd input, and what comes of it

One line for each input: what is odd about it, the file, what it holds, the arguments of `load_splits`, and the outcome:
an error, and a part of what it says; or the rows that are loaded, as text and label, with or without a warning.
`python tests/test_malformed.py` makes this page from the table that is also the test.

| what is odd | file | content | arguments | outcome | message or rows |
|---|---|---|---|---|---|
"""
PACKED = {b"PAR1": "parquet", b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"PK": "zip"}


def shorten(content: bytes | pd.DataFrame | None) -> str:
    if not isinstance(content, bytes):
        return "" if content is None else "(DataFrame)"
    packed = next((name for mark, name in PACKED.items() if content.startswith(mark)), None)
    if packed and len(content) > 10:
        return f"({packed})"  # its bytes are those of a library
    shown = repr(content[:60])[2:-1]
    return shown + f" ... ({len(content):,} bytes)" if len(content) > 60 else shown


def test_page_lists_these_inputs():
    assert PAGE.read_text(encoding="utf-8") == make_page(), "run `python tests/test_malformed.py`"


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
