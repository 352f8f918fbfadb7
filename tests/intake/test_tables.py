from __future__ import annotations

import builtins
import datetime
import functools
import io
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pyreadstat
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oahier.intake.spreadsheets import parse_grade, read_table, restore_zeros


def write(folder: Path, content: str | bytes, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def workbook(path: Path, rows: list[list[Any]], *others: str) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for name in others:
        book.create_sheet(name).append(["other"])
    book.save(path)
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_separators_are_found(tmp_path: Path, separator: str) -> None:
    text = "\n".join(["ID", '"a, b"', "note"]).replace("\n", separator) + "\r\n"
    text += separator.join(["0071", '"1; 2|3"', "x,y" if separator != "," else "x"]) + "\r\n\r\n"
    table = read_table(write(tmp_path, text))
    [(row, cells)] = table.rows()
    assert row == 2
    assert list(cells) == ["ID", "a, b", "note"]
    assert cells["ID"] == "0071"
    assert cells["a, b"] == "1; 2|3"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    table = read_table(write(tmp_path, "ID,Größe\n1,ü\n", encoding=encoding))
    assert table.rows() == [(2, {"ID": "1", "Größe": "ü"})]
    noted = encoding in ("cp1252", "latin-1")
    assert table.notes == (("labels.csv is not UTF-8; read as cp1252",) if noted else ())


def test_bytes_that_cp1252_lacks_are_latin_1(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, b"ID\n\x81\xfc\n"))
    assert table.notes == ("labels.csv is not UTF-8; read as latin-1",)
    assert table.rows()[0][1]["ID"] == "\x81ü"


def test_rows_keep_their_numbers(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "\nID,a,\n\n1, x ,\n,,\n2,y,\n"))
    assert table.rows() == [(4, {"ID": "1", "a": "x"}), (6, {"ID": "2", "a": "y"})]


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (b"", "a.csv", "is empty"),
        (b"\n,,\n", "a.csv", "is empty"),
        ("a,b\n1,2\n3\n", "a.csv", "row 3: expected 2 cells as in the header, got 1"),
        ("a,b\n1,2,3\n", "a.csv", "row 2: expected 2 cells as in the header, got 3"),
        ("a,a\n1,2\n", "a.csv", "column 'a' occurs 2 times"),
        ('a,b\n1,"2\n', "a.csv", "is no table separated by commas"),
        (b"a,b\n\x00\x01,2\n", "a.csv", "is not a text table: it holds bytes of value 0"),
        (b"\xff\xfea", "a.csv", "it starts as utf-16 text"),
        (b"old", "a.xls", "save it as .xlsx"),
        (b"x", "a.ods", "unknown kind of table"),
        (b"PK\x03\x04 and no more", "a.xlsx", "is truncated or no zip archive"),
        (b"no sas", "a.sas7bdat", "cannot be read as a SAS data set"),
        (b"no sas", "a.xpt", "cannot be read as a SAS data set"),
    ],
)
def test_damaged_tables(tmp_path: Path, content: str | bytes, name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path, content, name))


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.sas7bdat"])
def test_a_missing_table(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=rf"cannot read .*{name}: .*; expected a table"):
        read_table(tmp_path / name)


def test_cells_of_a_workbook(tmp_path: Path) -> None:
    day = datetime.date(2004, 9, 23)
    rows = [
        ["ID", "code", "number", "float", "date", "time", "yes", "error", None],
        [9001234, "0071", 9001234.0, 27.3, day, datetime.datetime(2004, 9, 23, 8, 5), True, "#N/A", None],
        [None] * 9,
        [1, " x ", -2.50, 0.1 + 0.2, None, None, False, None, None],
    ]  # fmt: skip
    table = read_table(workbook(tmp_path / "a.xlsx", rows))
    assert [list(cells.values()) for _, cells in table.rows()] == [
        ["9001234", "0071", "9001234", "27.3", "2004-09-23", "2004-09-23 08:05:00", "true", ""],
        ["1", "x", "-2.5", "0.3", "", "", "false", ""],
    ]
    assert [row for row, _ in table.rows()] == [2, 4]


def test_sheets(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsm", [["ID"], [1]], "second")
    assert read_table(path).notes == ("a.xlsm: read sheet 'Sheet' of Sheet, second",)
    assert list(read_table(path, sheet="second").cells) == ["other"]
    assert read_table(path, sheet="Sheet").notes == ()
    with pytest.raises(ValueError, match="expected a sheet among Sheet, second, got 'third'"):
        read_table(path, sheet="third")


def test_formulas(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", [["ID", "kl"], [1, "=1+1"]])
    with pytest.raises(ValueError, match=r"row 2, column 2: the formula '=1\+1' has no stored value"):
        read_table(path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name.endswith("sheet1.xml"):
                content = (
                    content.replace(b"<v></v>", b"<v>2</v>")
                    .replace(b"<v />", b"<v>2</v>")
                    .replace(b"<v/>", b"<v>2</v>")
                )
            new.writestr(name, content)
    assert read_table(tmp_path / "b.xlsx").rows() == [(2, {"ID": "1", "kl": "2"})]


def test_wrong_dimensions_of_a_sheet(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", [["ID", "kl"], [1, 2], [2, 3]])
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "b.xlsx", "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name).replace(b'<dimension ref="A1:B3"', b'<dimension ref="A1"'))
    assert len(read_table(tmp_path / "b.xlsx").rows()) == 2


def test_sas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pandas as pd

    path = tmp_path / "kxr.xpt"
    frame = pd.DataFrame(
        {"ID": [9000099.0, 9000296.0], "V00XRKL": [2.0, float("nan")], "S": ["1: Right", ""]}
    )
    pyreadstat.write_xport(frame, str(path))
    assert [list(cells.values()) for _, cells in read_table(path).rows()] == [
        ["9000099", "2", "1: Right"], ["9000296", "", ""],
    ]  # fmt: skip
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "pyreadstat":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r'needs pyreadstat: pip install "oahier\[sas\]"'):
        read_table(path)


def test_columns_are_found_in_any_case(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "Id,KL,kl\n1,2,3\n"))
    assert table.column("ID") == "Id"
    assert table.column("side", required=False) is None
    with pytest.raises(
        ValueError, match=r"expected one column 'side' or 'knee', got 0; its columns are Id, KL, kl"
    ):
        table.column("side", "knee")
    with pytest.raises(ValueError, match="got 2"):
        table.column("kl")


@pytest.mark.parametrize(
    ("text", "grade"), [("0", 0), ("4", 4), (" 2.0 ", 2), ("3.00", 3), ("", None), ("NA", None)]
)
def test_grades(text: str, grade: int | None) -> None:
    assert parse_grade(text) == grade


@pytest.mark.parametrize(
    "text", ["5", "-1", "2.5", "KL2", "Grade 3", "II", "1e0", "0x1", "٢", ".P", "2,0", "00", "1."]
)
def test_what_is_no_grade(text: str) -> None:
    if text == "1.":  # how SAS writes a whole number
        assert parse_grade(text) == 1
        return
    with pytest.raises(ValueError, match="expected a grade 0-4 as a number"):
        parse_grade(text)


def test_lost_zeros() -> None:
    restored, notes = restore_zeros(["71", "9", "abc", "0071x", "12"], ["0071", "009", "abc", "12"])
    assert restored == {"71": "0071", "9": "009", "abc": "abc", "0071x": "0071x", "12": "12"}
    assert notes == ["2 ids had lost leading zeros, '71' is '0071' in file names"]
    assert restore_zeros(["5"], ["6", "x5"]) == ({"5": "5"}, [])
    with pytest.raises(
        ValueError, match=r"id '71': leading zeros may be lost, and file names hold '0071', '071'"
    ):
        restore_zeros(["71"], ["0071", "071"])
    with pytest.raises(ValueError, match="would both be '0071'"):
        restore_zeros(["71", "071"], ["0071"])
    both = ["071", "0071"]
    assert restore_zeros(both, both)[1] == []


@given(ids=st.lists(st.integers(1, 99999), unique=True, min_size=1))
def test_zeros_of_one_width_always_come_back(ids: list[int]) -> None:
    names = [f"{number:05d}" for number in ids]
    assert list(restore_zeros(map(str, ids), names)[0].values()) == names


GOOD = {
    "a.csv": "ID;Größe|x\n1;2|3\n".encode(),
    "b.csv": "ID,kl\n1,2\n".encode("utf-16"),
}


@functools.cache  # workbooks hold the time at which they were made
def sample(kind: str) -> bytes:
    if kind != "c.xlsx":
        return GOOD[kind]
    stream = io.BytesIO()
    book = openpyxl.Workbook()
    for row in (["ID", "kl"], [1, 2], ["0071", None]):
        book.active.append(row)
    book.save(stream)
    return stream.getvalue()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_read_or_refused(tmp_path: Path, data: st.DataObject) -> None:
    """Whatever bytes come, there is a table of text or an error that names the file."""
    name = data.draw(st.sampled_from([*GOOD, "c.xlsx"]))
    content = bytearray(sample(name))
    kind = data.draw(st.sampled_from(["cut", "flip", "insert", "random"]))
    if kind == "cut":
        content = content[: data.draw(st.integers(0, len(content)))]
    elif kind == "flip":
        for _ in range(data.draw(st.integers(1, 5))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    elif kind == "insert":
        place = data.draw(st.integers(0, len(content)))
        content[place:place] = data.draw(st.binary(min_size=1, max_size=20))
    else:
        content = bytearray(data.draw(st.binary(max_size=200)))
    path = write(tmp_path, bytes(content), name)
    try:
        table = read_table(path)
    except ValueError as error:
        assert name in str(error)  # noqa: PT017  (there may be no error)
    else:
        assert all(isinstance(cell, str) for _, cells in table.rows() for cell in cells.values())


@pytest.mark.parametrize("word", ["tab", "\\t", "\t"])
def test_a_separator_may_be_spelt(tmp_path: Path, word: str) -> None:
    path = write(tmp_path, b"ID\tkl\n1,5\t2\n", "a.csv")
    assert read_table(path, separator=word).rows() == [(2, {"ID": "1,5", "kl": "2"})]
    with pytest.raises(ValueError, match="separator: expected one character, or tab, got 'semicolon'"):
        read_table(path, separator="semicolon")


def test_cells_merged_over_rows_are_refused(tmp_path: Path) -> None:
    """Their value stands in the first row alone, and the others would have none."""
    book = openpyxl.Workbook()
    for row in (["Cohort", None], ["ID", "kl"], [1, 2], [2, None]):
        book.active.append(row)
    book.active.merge_cells("A1:B1")  # a title does no harm
    book.save(tmp_path / "a.xlsx")
    assert len(read_table(tmp_path / "a.xlsx").rows()) == 3
    book.active.merge_cells("B3:B4")
    book.save(tmp_path / "a.xlsx")
    with pytest.raises(ValueError, match=r"a.xlsx: the cells B3:B4 are merged over several rows"):
        read_table(tmp_path / "a.xlsx")


def test_errors_of_a_spreadsheet_are_no_empty_cells(tmp_path: Path) -> None:
    table = read_table(workbook(tmp_path / "a.xlsx", [["ID", "kl"], [1, "#REF!"], [2, "#N/A"]]))
    assert [cells["kl"] for _, cells in table.rows()] == ["#REF!", ""]
