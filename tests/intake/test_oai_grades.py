from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from miniature.damage import SEEN, Damage, appended, flipped, quick
from miniature.oai import write_kxr, write_nda

from oahier.intake.oai_codes import visit_code, visit_of_path
from oahier.intake.oai_covariates import read_covariates
from oahier.intake.oai_grades import read_grades


def grades_of(path: Path, *rows: tuple[str, ...]) -> dict[tuple[str, str, str], int]:
    return dict(read_grades(write_kxr(path / "kxr_sq_bu00.txt", rows)).grades)


def test_projects_in_order_wherever_their_rows_stand(tmp_path: Path) -> None:
    """15 before 37 before 42 before the others, by number; a project without a grade does not count."""
    read = {
        "9000001": [("42", "1"), ("37", "2"), ("15", "3")],
        "9000002": [("42", "1"), ("37", "2"), ("15", ".")],
        "9000003": [("105", "4"), ("63", "0")],
        "9000004": [("15", "2"), ("15", "2")],
        "9000005": [("15", "1"), ("15", "2"), ("37", "1")],
    }
    rows = [(subject, "1: Right", *cells) for subject, pairs in read.items() for cells in pairs]
    readings = read_grades(write_kxr(tmp_path / "kxr_sq_bu00.txt", rows))
    found = {subject: grade for (subject, _, _), grade in readings.grades.items()}
    assert found == {"9000001": 3, "9000002": 2, "9000003": 0, "9000004": 2}
    assert readings.get("9000005", "right", "V00") == (None, "read as 1 and 2 in project 15")
    assert readings.get("9000006", "right", "V00") == (None, "no row in the tables")
    several, conflict = readings.notes
    assert several.startswith(
        "4 knees were read in several projects, 4 of them with different grades; 15, then 37"
    )
    assert conflict == (
        "9000005 right V00 has no grade: read as 1 and 2 in project 15 "
        "(kxr_sq_bu00.txt row 12, kxr_sq_bu00.txt row 13)"
    )


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (".", "missing in the tables (.)"),
        (".P", "missing in the tables (.P)"),
        (".T", "missing in the tables (.T)"),
        (".A", "missing in the tables (.A)"),
        (".D", "missing in the tables (.D)"),
        (".M: Missing", "missing in the tables (.M)"),
        (".: Missing Form/Incomplete Workbook", "missing in the tables (.)"),
        ("", "missing in the tables (empty)"),
        ("5", "expected 0-4, got '5' (kxr_sq_bu00.txt row 2)"),
        ("KL2", "expected 0-4, got 'KL2' (kxr_sq_bu00.txt row 2)"),
        ("-1", "expected 0-4, got '-1' (kxr_sq_bu00.txt row 2)"),
        ("2.5", "expected 0-4, got '2.5' (kxr_sq_bu00.txt row 2)"),
    ],
)
def test_missing_codes(tmp_path: Path, cell: str, why: str) -> None:
    rows = [("9000001", "2: Left", "15", cell), ("9000002", "2: Left", "15", "1")]
    readings = read_grades(write_kxr(tmp_path / "kxr_sq_bu00.txt", rows))
    assert readings.get("9000001", "left", "V00") == (None, why)
    assert readings.get("9000002", "left", "V00") == (1, "")


@pytest.mark.parametrize(("cell", "grade"), [("0", 0), ("4", 4), ("2: 2", 2), ("3.0", 3), (" 1 ", 1)])
@pytest.mark.parametrize("side", ["1: Right", "1", "Right", "R", "1.0"])
def test_forms_of_grades_and_sides(tmp_path: Path, cell: str, grade: int, side: str) -> None:
    assert grades_of(tmp_path, ("9000001", side, "15", cell)) == {("9000001", "right", "V00"): grade}


def test_ids_that_lost_their_zeros_and_other_headers(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("id,Side,ReadPrj,v06XRKL\n71,2,15,3\n")
    assert read_grades(path).grades == {("0000071", "left", "V06"): 3}


def test_several_visits_and_folders(tmp_path: Path) -> None:
    for visit in ("V00", "V01", "V03", "V05", "V06", "V08", "V10"):
        rows = [("9000001", "1: Right", "15", str(int(visit[1:]) % 5))]
        write_kxr(tmp_path / f"kXR_SQ_BU{visit[1:]}.txt", rows, visit)
    (tmp_path / "kxr_qjsw_duryea00.txt").write_text("ID|SIDE\n")
    found = {visit: grade for (_, _, visit), grade in read_grades(tmp_path).grades.items()}
    assert found == {"V00": 0, "V01": 1, "V03": 3, "V05": 0, "V06": 1, "V08": 3, "V10": 0}


def test_nda(tmp_path: Path) -> None:
    rows = [
        ("9000001", "V00", "37", "1", "2"), ("9000001", "V00", "15", "1", "1"),
        ("9000001", "V01", "15", "2", "."), ("9000002", "24 month", "15", "Left", "4"),
    ]  # fmt: skip
    readings = read_grades(write_nda(tmp_path / "oai_kxrsemiquant01.txt", rows))
    assert readings.grades == {("9000001", "right", "V00"): 1, ("9000002", "left", "V03"): 4}
    assert readings.get("9000001", "left", "V01") == (None, "missing in the tables (.)")


def test_rows_of_unknown_visits_are_passed_over(tmp_path: Path) -> None:
    rows = [
        ("9000001", "V00", "15", "1", "1"), ("9000001", "Month 24", "15", "1", "3"),
        ("9000002", "screening", "15", "Left", "4"), ("9000002", "Month 24", "15", "Left", "4"),
        ("9000003", "", "15", "2", "2"),
    ]  # fmt: skip
    readings = read_grades(write_nda(tmp_path / "oai_kxrsemiquant01.txt", rows))
    assert readings.grades == {("9000001", "right", "V00"): 1}
    assert readings.notes == (
        "oai_kxrsemiquant01.txt: 4 of 5 rows are of no visit that is known and were passed over: "
        "'Month 24' (2, first in row 4), '' (1, first in row 7), 'screening' (1, first in row 5)",
    )


def test_a_table_without_any_known_visit(tmp_path: Path) -> None:
    rows = [("9000001", "Month 24", "15", "1", "1"), ("9000002", "screening", "15", "Left", "4")]
    with pytest.raises(ValueError, match=r"01.txt row 3: expected one of the visits V00 .*got 'Month 24'"):
        read_grades(write_nda(tmp_path / "oai_kxrsemiquant01.txt", rows))


def test_nda_without_the_id_of_the_study(tmp_path: Path) -> None:
    path = tmp_path / "oai_kxrsemiquant01.txt"
    path.write_text("subjectkey\tvisit\treadprj\tside\txrkl\nGUID, of NDA\tVisit\tProject\tSide\tKL\n"
                    "9000001\tV00\t15\t1\t2\n")  # fmt: skip
    assert read_grades(path).grades == {("9000001", "right", "V00"): 2}
    path.write_text(path.read_text().replace("9000001", "NDAR_INVX1"))
    with pytest.raises(ValueError, match=r"01.txt row 3: expected an id of seven digits, got 'NDAR"):
        read_grades(path)


def test_sas(tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    import pandas as pd

    frame = pd.DataFrame(
        {"ID": ["9000001", "9000002"], "SIDE": [1.0, 2.0], "READPRJ": ["15", "15"], "V00XRKL": [2.0, None]}
    )
    pyreadstat.write_xport(frame, str(tmp_path / "kxr_sq_bu00.xpt"), file_format_version=5)
    readings = read_grades(tmp_path)
    assert readings.grades == {("9000001", "right", "V00"): 2}
    assert readings.get("9000002", "left", "V00") == (None, "missing in the tables (empty)")
    write_kxr(tmp_path / "kxr_sq_bu00.txt", [("9000001", "1: Right", "15", "3")])
    assert read_grades(tmp_path).grades == {("9000001", "right", "V00"): 3}  # the text comes first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ID|SIDE|READPRJ|V00XRJSM\n9000001|1|15|2\n", "expected a column such as V00XRKL"),
        ("SIDE|READPRJ|V00XRKL\n1|15|2\n", "expected one column 'id' or 'subjectkey'"),
        ("ID|READPRJ|V00XRKL\n9000001|15|2\n", "expected one column 'side'"),
        ("ID|SIDE|XRKL\n9000001|1|2\n", "expected one column 'visit'"),
        (
            "ID|SIDE|VISIT|XRKL\n9000001|1|V77|2\n",
            r"row 2: expected one of the visits V00 \(00m\).*got 'V77'",
        ),
        (
            "ID|SIDE|V00XRKL\n9000001|3: Both|2\n",
            "row 2: expected the side 1: Right or 2: Left, got '3: Both'",
        ),
        ("ID|SIDE|V00XRKL\n9000001|1|.\n9000002|1|x\n", "expected KL grades 0-4, found none in 2 rows"),
        ("ID|SIDE|V00XRKL\n9000001|1|2\nP7|1|2\n", "row 3: expected an id of seven digits, got 'P7'"),
        ("", "is empty"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "kxr_sq_bu00.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read_grades(path)


def test_visits() -> None:
    assert [visit_code(text) for text in ("V00", "v1" + "0", "00m", "12m", "96 months", "Baseline")] == [
        "V00", "V10", "V00", "V01", "V10", "V00",
    ]  # fmt: skip
    assert visit_of_path(["data", "36m", "results", "0.C.2"]) == "V05"
    assert visit_of_path(["3.C.2"]) == "V03"
    assert visit_of_path(["data", "7.C.2"]) == ""


def test_covariates_of_visits(tmp_path: Path) -> None:
    (tmp_path / "enrollees.txt").write_text("ID|P02SEX|V00SITE|P02RACE\n9000001|2: Female|C|1: White\n")
    (tmp_path / "AllClinical00.txt").write_text("ID|V00AGE|P01BMI\n9000001|61|27.4\n9000002|70|.M\n")
    (tmp_path / "AllClinical03.txt").write_text("ID|V03AGE|V03BMI\n9000001|63|28\n")
    details = read_covariates(f"{tmp_path / 'enrollees.txt'},{tmp_path / 'AllClinical00.txt'}")
    assert details.names == ("sex", "age", "bmi", "site")
    assert details.get("9000001", "V00") == {"sex": "F", "age": "61", "bmi": "27.4", "site": "C"}
    assert details.get("9000001", "V03") == {"sex": "F", "age": "", "bmi": "", "site": "C"}
    details = read_covariates(tmp_path)
    assert details.get("9000001", "V03") == {"sex": "F", "age": "63", "bmi": "28", "site": "C"}
    assert details.get("9000002", "V00") == {"sex": "", "age": "70", "bmi": "", "site": ""}
    (tmp_path / "subjectchar00.txt").write_text("ID|V00AGE\n9000001|60\n")
    with pytest.raises(ValueError, match=r"subjectchar00.txt, row 2: age of 9000001 is '60', elsewhere '61'"):
        read_covariates(tmp_path)
    with pytest.raises(ValueError, match="expected one of the columns P02SEX, V00AGE"):
        read_covariates(write_kxr(tmp_path / "x.txt", [("9000001", "1", "15", "2")]))


@pytest.mark.parametrize("name", ["kxr_sq_bu00.txt", "oai_kxrsemiquant01.txt"])
@quick(60)
@given(damage=st.one_of(SEEN, appended(), flipped()))
def test_damaged_tables_give_grades_or_an_error_that_names_them(
    tmp_path: Path, name: str, damage: Damage
) -> None:
    """Never another exception, and never a grade that is none."""
    if name.startswith("kxr"):
        path = write_kxr(tmp_path / name, [(f"900000{n}", "1: Right", "15", str(n % 5)) for n in range(9)])
    else:
        path = write_nda(tmp_path / name, [(f"900000{n}", "V00", "15", "1", str(n % 5)) for n in range(9)])
    path.write_bytes(damage(path.read_bytes()))
    try:
        readings = read_grades(path)
    except ValueError as error:
        assert name in str(error)  # noqa: PT017  (there may be no error)
    else:
        assert set(readings.grades.values()) <= {0, 1, 2, 3, 4}
        assert all(len(subject) == 7 and side in ("left", "right") for subject, side, _ in readings.grades)
