from pathlib import Path

import pandas as pd
import pytest

from emotion_tutorial.exceptions import (
    DataWarning,
    MalformedFileError,
    MissingColumnError,
    MissingFileError,
    NotUtf8Error,
)
from emotion_tutorial.files import BATCH_ROWS, open_file, read_file

ROWS = [("i am; well", "joy"), ("“quoted”, and é", "sadness"), ("NA", "joy")]


def write(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(content.encode(encoding))
    return path


def rows(path: Path, **columns: str) -> list[tuple[str, str]]:
    frame = read_file(path, **columns)
    return list(zip(frame["text"], frame["label"], strict=True))


def test_txt_splits_at_the_last_semicolon(tmp_path):
    path = write(tmp_path / "a.txt", "".join(f"{text};{label}\n" for text, label in ROWS))
    assert rows(path) == ROWS
    assert read_file(path)["where"].tolist() == ["line 1", "line 2", "line 3"]


@pytest.mark.parametrize(("suffix", "separator"), [(".csv", ","), (".tsv", "\t")])
def test_delimited_round_trip(tmp_path, suffix, separator):
    path = tmp_path / f"a{suffix}"
    pd.DataFrame(ROWS, columns=["text", "label"]).to_csv(path, sep=separator, index=False)
    assert rows(path) == ROWS


def test_csv_keeps_line_breaks_in_quotes_and_counts_lines(tmp_path):
    path = write(tmp_path / "a.csv", 'text,label\n"two\nlines",joy\nnext,sadness\n')
    assert rows(path) == [("two\nlines", "joy"), ("next", "sadness")]
    assert read_file(path)["where"].tolist() == ["line 2", "line 4"]


def test_jsonl_and_parquet(tmp_path):
    frame = pd.DataFrame(ROWS, columns=["text", "label"])
    frame.to_json(tmp_path / "a.jsonl", orient="records", lines=True)
    frame.to_parquet(tmp_path / "a.parquet")
    assert rows(tmp_path / "a.jsonl") == rows(tmp_path / "a.parquet") == ROWS


def test_other_column_names(tmp_path):
    path = write(tmp_path / "a.csv", "id,tweet,mood\n1,hello,joy\n")
    assert rows(path, text_column="tweet", label_column="mood") == [("hello", "joy")]


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    assert rows(write(tmp_path / "a.csv", "text,label\r\nhello,joy\r\n", "utf-8-sig")) == [("hello", "joy")]
    assert rows(write(tmp_path / "a.txt", "hello;joy\r\n", "utf-8-sig")) == [("hello", "joy")]


def test_characters_that_only_look_like_line_ends_stay_in_the_text(tmp_path):
    assert rows(write(tmp_path / "a.txt", "one\u2028two\x0bthree;joy\n")) == [("one\u2028two\x0bthree", "joy")]


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("a.txt", b"good;joy\nno separator\n", MalformedFileError, r"line 2: no ';'"),
        ("a.csv", b"text,label\nok,joy\na,b,c\n", MalformedFileError, r"line 3: 3 fields, but the header has 2"),
        ("a.csv", b'text,label\n"open,joy\n', MalformedFileError, r"line 2: .*quotes"),
        ("a.csv", b"words,label\nok,joy\n", MissingColumnError, r"no column 'text'.*'words', 'label'"),
        ("a.csv", b"", MissingColumnError, r"no column 'text'.*no columns"),
        ("a.tsv", b"text\tmood\nok\tjoy\n", MissingColumnError, r"no column 'label'"),
        ("a.jsonl", b'{"text": "a", "label": 1}\n{broken\n', MalformedFileError, r"line 2: not JSON"),
        ("a.jsonl", b"[1, 2]\n", MalformedFileError, r"line 1: found list"),
        ("a.parquet", b"not parquet", MalformedFileError, r"not a parquet file"),
        ("a.docx", b"", MalformedFileError, r"'.docx' are not supported.*\.csv"),
        ("a.csv", b"text,label\nfine,joy\ncaf\xe9,joy\n", NotUtf8Error, r"line 3: byte 0xe9 at offset 23"),
        ("a.txt", b"\xef\xbb\xbfok;joy\nna\xefve;joy\n", NotUtf8Error, r"line 2: byte 0xef at offset 12"),
    ],
)
def test_refuses(tmp_path, name, content, error, message):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        read_file(path)
    assert str(path) in str(caught.value)


def test_missing_file_says_from_where_it_looked(tmp_path):
    with pytest.raises(MissingFileError, match="relative to"):
        read_file(tmp_path / "nothing.csv")


@pytest.mark.parametrize(
    ("name", "separator", "said"),
    [("a.csv", ";", "semicolons"), ("a.csv", "\t", "tabs"), ("a.tsv", ",", "commas"), ("a.tsv", "|", "bars")],
)
def test_separator_is_found_and_said_once(tmp_path, name, separator, said):
    path = tmp_path / name
    pd.DataFrame(ROWS, columns=["text", "label"]).to_csv(path, sep=separator, index=False, quoting=1)
    with pytest.warns(DataWarning, match=rf"{name}: the columns are separated by {said}, not by ") as caught:
        assert rows(path) == ROWS
    assert len(caught) == 1
    assert caught[0].filename == __file__


def test_usual_separator_wins(tmp_path):
    path = write(tmp_path / "a.csv", "text,label,a;text;label\nhello,joy,1\n")
    assert rows(path) == [("hello", "joy")]


def test_tabs_in_txt_are_said(tmp_path):
    path = write(tmp_path / "a.txt", "hello\tjoy\nwell; well\tfear\n")
    with pytest.warns(DataWarning, match="line 1: no ';', but a tab") as caught:
        assert rows(path) == [("hello", "joy"), ("well; well", "fear")]
    assert caught[0].filename == __file__


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-8-sig", "utf-16", "utf-16-be", "cp1252", "latin-1"])
@pytest.mark.parametrize(("name", "content"), [("a.txt", "café;joy\n"), ("a.csv", "text,label\ncafé,joy\n")])
def test_named_encoding(tmp_path, encoding, name, content):
    path = write(tmp_path / name, content, encoding)
    assert rows(path, encoding=encoding) == [("café", "joy")]


def test_undecodable_byte_is_found_far_into_a_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf" + "é\u20ac;joy\n".encode() * 100_000 + b"\xe9;joy\n")
    with pytest.raises(NotUtf8Error, match="line 100001: byte 0xe9 at offset 1000003 is not UTF-8"):
        read_file(path)


def test_reads_rows_one_at_a_time(tmp_path):
    """What is wrong at the end is not found before the rows above it are read."""
    path = write(tmp_path / "a.csv", "text,label\n" + "hello,joy\n" * 100_000 + "a,b,c\n")
    found = iter(open_file(path))
    assert next(found) == ("hello", "joy", 2)
    with pytest.raises(MalformedFileError, match="line 100002"):
        list(found)


def test_parquet_comes_in_batches_with_numbers_of_rows(tmp_path):
    count = BATCH_ROWS + 2
    pd.DataFrame({"label": range(count), "other": 0, "text": map(str, range(count))}).to_parquet(tmp_path / "a.parquet")
    frame = read_file(tmp_path / "a.parquet")
    assert frame.iloc[-1].tolist() == [str(count - 1), count - 1, f"row {count - 1}"]
