"""What cannot be loaded, and what is said about it; `python tests/test_malformed.py` writes docs/malformed_inputs.md."""

# ruff: noqa: E501 - a table has long lines

import io
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emotion_tutorial import exceptions, load_splits
from emotion_tutorial.exceptions import DataWarning

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "malformed_inputs.md"


class Case(NamedTuple):
    """A file, how it is loaded, and the error."""

    what: str
    file: str
    content: bytes | None  # None: a folder
    error: str
    message: str  # a part of it
    arguments: dict[str, Any] = {}  # noqa: RUF012 - of a tuple, which nobody changes


def parquet(texts: list[Any], labels: list[Any], names: tuple[str, str] = ("text", "label")) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table([pa.array(texts), pa.array(labels)], names=list(names)), file)
    return file.getvalue()


def not_utf8_parquet() -> bytes:
    texts = pa.array([b"caf\xc3\xa9", b"tea"], pa.binary()).view(pa.string())
    return parquet(texts, ["joy", "fear"]).replace(b"\xc3\xa9", b"\xc3x")


GOOD = parquet(["a", "b"], ["joy", "fear"])
TWO = b"text,label\ni am well,joy\ni am not,fear\n"
CUT_OFF = '{"text": "caf\u00e9'.encode()[:-1]

CASES = [
    Case("no file of that name", "other.csv", TWO, "MissingFileError", "There is no file or folder", {"source": "a.csv"}),
    Case("a folder named like a file", "train.csv", None, "MissingFileError", "train.csv is a folder", {"source": "."}),
    Case("a folder without train", "test.csv", TWO, "MissingFileError", "found test.csv", {"source": "."}),
    Case("another suffix", "a.docx", b"text", "MalformedFileError", "files named '.docx' are not supported"),
    Case("a spreadsheet named .csv", "a.csv", b"PK\x03\x04\x14\0", "MalformedFileError", "a.csv: the file is named .csv, but is a spreadsheet"),
    Case("an old spreadsheet named .tsv", "a.tsv", b"\xd0\xcf\x11\xe0\xa1\xb1", "MalformedFileError", "is an old spreadsheet"),
    Case("a gzip file named .csv", "a.csv", b"\x1f\x8b\x08\0", "MalformedFileError", "is packed with gzip"),
    Case("parquet named .jsonl", "a.jsonl", GOOD, "MalformedFileError", "is parquet. Name it .parquet"),
    Case("one byte of another encoding", "a.csv", b"text,label\nfine,joy\ncaf\xe9,joy\n", "NotUtf8Error", "line 3: byte 0xe9 at offset 23 is not UTF-8"),
    Case("cut off inside a character", "a.jsonl", CUT_OFF, "NotUtf8Error", "line 1: byte 0xc3 at offset 13"),
    Case("UTF-16", "a.csv", TWO.decode().encode("utf-16"), "NotUtf8Error", 'line 1: byte 0xff at offset 0 is not UTF-8. The file begins as UTF-16 does: give encoding="utf-16"'),
    Case("UTF-16 without a mark", "a.csv", TWO.decode().encode("utf-16-le"), "MalformedFileError", "line 1: a NUL character"),
    Case("NUL in a text", "a.txt", b"well;joy\nno\0t;fear\n", "MalformedFileError", "line 2: a NUL character"),
    Case("a byte that the given encoding lacks", "a.txt", b"well;joy\n\x81;fear\n", "WrongEncodingError", "line 2: byte 0x81 at offset 9 is not cp1252", {"encoding": "cp1252"}),
    Case("an unknown encoding", "a.csv", TWO, "UnknownEncodingError", "encoding='utf-9' is not known", {"encoding": "utf-9"}),
    Case("an encoding that is none of text", "a.csv", TWO, "UnknownEncodingError", "encoding='base64' is not known", {"encoding": "base64"}),
    Case("nothing at all", "a.csv", b"", "MissingColumnError", "no column 'text'. It has no columns"),
    Case("a header only", "a.csv", b"text,label\n", "EmptySplitError", "Split 'train' of"),
    Case("white space only", "a.jsonl", b" \n\n", "EmptySplitError", "Split 'train' of"),
    Case("no header", "a.csv", b"i am well,joy\ni am not,fear\n", "MissingColumnError", "It has 'i am well', 'joy'; name the right ones with text_column= and label_column=. If its first line is data"),
    Case("other columns, under another separator", "a.csv", b"words;mood\nwell;joy\n", "MissingColumnError", "no column 'text'. It has 'words', 'mood'"),
    Case("no header, under tabs", "a.tsv", b"i am well\tjoy\n", "MissingColumnError", r"If its first line is data, write 'text\tlabel' above it"),
    Case("a name of thousands of characters", "a.csv", b"text,label" + b"l" * 9000 + b"\nwell,joy\n", "MissingColumnError", "no column 'label'. It has 'text', 'labell"),
    Case("a key of thousands of characters", "a.jsonl", b'{"text": "a", "l' + b"l" * 9000 + b'": 1}\n', "MissingColumnError", "line 1: no column 'label'. It has 'text', 'lllll"),
    Case("a column twice", "a.csv", b"text,label,text\na,joy,b\n", "MalformedFileError", "2 columns are named 'text'"),
    Case("a column twice", "a.parquet", parquet(["a"], ["b"], ("text", "text")), "MalformedFileError", "2 columns are named 'text'", {"label_column": "label"}),
    Case("one column for both", "a.csv", TWO, "SameColumnError", "text_column= and label_column= both name 'text'", {"label_column": "text"}),
    Case("one column for both", "a.jsonl", b"{}\n", "SameColumnError", "text_column= and label_column= both name 'text'", {"label_column": "text"}),
    Case("too many fields", "a.csv", b"text,label\nok,joy\na,b,c\n", "MalformedFileError", "line 3: 3 fields, but the header has 2"),
    Case("too few fields", "a.tsv", b"text\tlabel\nok\tjoy\nnothing else\n", "MalformedFileError", "line 3: 1 fields, but the header has 2"),
    Case("a quote that is not closed", "a.csv", b'text,label\nok,joy\n"open,joy\nnext,fear\n', "MalformedFileError", "line 3 to 4: unexpected end of data. Check the quotes"),
    Case("a quote that is not closed, in the header", "a.csv", b'"text,label\nok,joy\n', "MalformedFileError", "line 1 to 2: unexpected end of data"),
    Case("a quote inside a text in quotes", "a.csv", b'text,label\n"say "hello"",joy\n', "MalformedFileError", "line 2: ',' expected after '\"'"),
    Case("a quote inside a text in quotes, under tabs", "a.tsv", b'text\tlabel\n"say "hello""\tjoy\n', "MalformedFileError", r"line 2: '\t' expected after"),
    Case("a field over the limit of the csv module", "a.csv", b"text,label\n" + b"x" * 200_000 + b",joy\n", "MalformedFileError", "line 2: field larger than field limit (131072)"),
    Case("no separator", "a.txt", b"good;joy\nno separator\n", "MalformedFileError", "line 2: no ';' between text and label in 'no separator'"),
    Case("tabs, and a line without", "a.txt", b"good\tjoy\nno separator\n", "MalformedFileError", "line 2: no '\\t' between text and label"),
    Case("line ends of old computers", "a.txt", b"good;joy\rbad;fear\r", "MalformedFileError", "line 1: a carriage return"),
    Case("line ends of old computers", "a.jsonl", b'{"text": "a", "label": 1}\r{"text": "b", "label": 2}\r', "MalformedFileError", "line 1: a carriage return"),
    Case("not JSON", "a.jsonl", b'{"text": "a", "label": 1}\n{broken\n', "MalformedFileError", "line 2: not JSON"),
    Case("a list instead of objects", "a.jsonl", b'["a", "b"]\n', "MalformedFileError", "line 1: found list, expected an object"),
    Case("brackets in brackets in brackets", "a.jsonl", b"[" * 100_000, "MalformedFileError", "line 1: not JSON"),
    Case("a number of thousands of digits", "a.jsonl", b'{"text": "a", "label": ' + b"1" * 5000 + b"}", "MalformedFileError", "line 1: not JSON"),
    Case("an object without text", "a.jsonl", b'{"text": "a", "label": 1}\n{"label": 2}\n', "MissingColumnError", "line 2: no column 'text'. It has 'label'"),
    Case("an object without label", "a.jsonl", b'{"text": "a", "label": 1}\n{"text": "b"}\n', "MissingColumnError", "line 2: no column 'label'. It has 'text'"),
    Case("half a character in a text", "a.jsonl", rb'{"text": "a \ud83d b", "label": 1}', "MalformedFileError", r"line 1: the text has half a character at position 2 ('\ud83d', a lone surrogate)"),
    Case("half a character in a label", "a.jsonl", rb'{"text": "a", "label": "\ud83d"}', "MalformedFileError", r"line 1: the label '\ud83d' has half a character"),
    Case("a text that is a number", "a.jsonl", b'{"text": 5, "label": 1}', "NotATextError", "line 1: the text is 5, of type int"),
    Case("a text that is a list", "a.jsonl", b'{"text": ["a", "b"], "label": 1}', "NotATextError", "line 1: the text is ['a', 'b'], of type list"),
    Case("texts that are numbers", "a.parquet", parquet([1, 2], ["joy", "fear"]), "NotATextError", "row 0: the text is 1, of type int"),
    Case("a text that is not UTF-8", "a.parquet", not_utf8_parquet(), "MalformedFileError", "not a parquet file, or a damaged one"),
    Case("not parquet", "a.parquet", TWO, "MalformedFileError", "not a parquet file, or a damaged one"),
    Case("cut off", "a.parquet", GOOD[:-20], "MalformedFileError", "not a parquet file, or a damaged one"),
    Case("no such column", "a.parquet", GOOD, "MissingColumnError", "no column 'tweet'. It has 'text', 'label'", {"text_column": "tweet"}),
    Case("an unreadable label of a class alone", "a.jsonl", rb'{"text": "a", "label": "\u0007\n\u202e"}', "TooFewClassesError", r"has 1 class ('\x07\n\u202e')"),
    Case("several labels", "a.jsonl", b'{"text": "a", "label": ["joy", "fear"]}', "SeveralLabelsError", "line 1: the label is ['joy', 'fear'], but a text has one label"),
    Case("several labels", "a.parquet", parquet(["a"], [["joy", "fear"]]), "SeveralLabelsError", "row 0: the label is ['joy', 'fear']"),
    Case("an object for a label", "a.jsonl", b'{"text": "a", "label": {"joy": 1}}', "SeveralLabelsError", "line 1: the label is {'joy': 1}"),
    Case("several labels in one string", "a.csv", TWO + b'both,"joy, fear"\n', "SeveralLabelsError", "line 4: the label 'joy, fear' is made of others"),
    Case("several labels in one string", "a.tsv", b"text\tlabel\na\tjoy\nb\tjoy/fear\nc\tfear\n", "SeveralLabelsError", "line 3: the label 'joy/fear' is made of others"),
    Case("a label that is a date", "a.parquet", parquet(["a"], [pa.scalar(0, pa.timestamp("s"))]), "UnknownLabelError", "row 0: the label is datetime.datetime(1970"),
    Case("no label", "a.csv", TWO + b"and now,\n", "UnknownLabelError", "line 4 (split 'train'): no label; 1 such rows"),
    Case("no label", "a.txt", b"well;joy\nnot;\nhm;fear\n", "UnknownLabelError", "line 2 (split 'train'): no label"),
    Case("a label that is not of the given ones", "a.csv", TWO, "UnknownLabelError", "line 3 (split 'train'): unknown label 'fear'; 1 such rows. Known labels: joy, love", {"label_names": ["joy", "love"]}),
    Case("a label that is an id", "a.csv", b"text,label\n" + b"".join(b"a,n%d\n" % i for i in range(1001)), "TooManyClassesError", "1,001 distinct labels in 1,001 rows, such as 'n0', 'n1', 'n2'"),
    Case("a label name twice", "a.csv", TWO, "LabelNamesError", "label_names= has 'joy' more than once", {"label_names": ["joy", "fear", "joy"]}),
    Case("an empty label name", "a.csv", TWO, "LabelNamesError", "label_names= is ['joy', '']. Give a list of names", {"label_names": ["joy", ""]}),
    Case("one class", "a.csv", b"text,label\na,joy\nb,joy\n", "TooFewClassesError", "has 1 class (joy)"),
    Case("too few rows to cut a split from", "a.csv", TWO, "TooFewRowsError", "Cannot cut 2 rows for split 'test' from the 2 training rows"),
]  # fmt: skip


def load(case: Case, folder: Path) -> Exception | None:
    """Return what loading raises."""
    path = folder / case.file
    path.mkdir() if case.content is None else path.write_bytes(case.content)
    arguments = {"source": case.file, **case.arguments}
    try:
        load_splits(folder / arguments.pop("source"), **arguments)
    except Exception as error:  # noqa: BLE001 - the caller looks at it
        return error
    return None


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.what} {case.file}")
def test_refuses(tmp_path, case):
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always", DataWarning)
        error = load(case, tmp_path)
    assert type(error) is getattr(exceptions, case.error), repr(error)
    assert case.message in str(error)
    assert str(tmp_path) in str(error) or case.error in ("LabelNamesError", "UnknownEncodingError")
    assert str(error).isprintable()
    assert str(error).endswith(".")
    assert len(str(error)) < 800


def make_page() -> str:
    """Return the page that lists the cases."""
    rows = []
    for case in CASES:
        arguments = ", ".join(f"{name}={value!r}" for name, value in case.arguments.items())
        content = "" if case.content is None else shorten(case.content)
        cells = [code(case.file), code(content), code(arguments), f"{code(case.error)} {code(case.message)}"]
        rows.append(f"| {' | '.join([case.what, *cells])} |")
    return HEAD + "\n".join(rows) + "\n"


def code(text: str) -> str:
    return text and f"`{text}`".replace("|", r"\|")


HEAD = """# Input that is refused

One line for each input that `load_splits` refuses: what is wrong with it, the file, what it holds, the arguments, and
a part of what the error says. `python tests/test_malformed.py` makes this page from the table that is also the test.

| what is wrong | file | content | arguments | error |
|---|---|---|---|---|
"""


def shorten(content: bytes) -> str:
    if content.startswith(b"PAR1"):
        return "(parquet)"  # its bytes are pyarrow's
    shown = repr(content[:60])[2:-1]
    return shown + f" ... ({len(content):,} bytes)" if len(content) > 60 else shown


def test_page_lists_these_inputs():
    assert PAGE.read_text(encoding="utf-8") == make_page(), "run `python tests/test_malformed.py`"


def test_every_error_of_loading_is_shown():
    assert len(CASES) >= 35
    source = "".join((ROOT / "emotion_tutorial" / name).read_text(encoding="utf-8") for name in ("files.py", "data.py"))
    raised = set(re.findall(r"\b\w+Error\b", source)) & set(vars(exceptions))
    elsewhere = {"TutorialError", "UnknownSourceError", "HubUnavailableError"}  # not of files
    assert raised - elsewhere == {case.error for case in CASES}


def test_damaged_files_give_splits_or_one_clear_error(tmp_path):
    command = [sys.executable, ROOT / "tools" / "fuzz_loading.py", "--seconds", "2", "--keep", tmp_path / "found"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {"splits", "MalformedFileError", "NotUtf8Error"} < set(done.stdout.split())


def test_another_outcome_is_a_finding(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(ROOT / "tools")
    import fuzz_loading

    def fail(*_: object, **__: object) -> None:
        raise KeyError("text")

    monkeypatch.setattr(fuzz_loading, "load_splits", fail)
    monkeypatch.setattr(sys, "argv", ["fuzz_loading.py", "--only", "7", "--keep", str(tmp_path / "found")])
    with pytest.raises(SystemExit) as caught:
        fuzz_loading.main()
    assert caught.value.code == 1
    assert len(list((tmp_path / "found").glob("7.*"))) == 1
    printed = capsys.readouterr()
    assert "FINDING" in printed.out
    assert "--only 7" in printed.err
    assert "KeyError: 'text'" in printed.err


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
