from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Literal, Unpack

import pytest
from miniature.oaizib_cm import make_oaizib_cm, zipped

from oahier.cli import main
from oahier.cli.data import import_command
from oahier.cli.data.import_command import import_parser
from oahier.intake import ImportKeywords, ImportOptions
from oahier.intake.candidate import LeftOut


def words(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    out, err = capsys.readouterr()
    return " ".join(out.split()), " ".join(err.split())


def test_what_is_said_of_an_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_oaizib_cm(tmp_path / "tree", train=7, test=3)
    for case in (3, 5):
        path = tmp_path / f"tree/imagesTr/oaizib_{case:03d}_0000.nii.gz"
        path.write_bytes(path.read_bytes()[:3000])
    zipped(tmp_path / "tree", tmp_path / "OAIZIB-CM.zip")
    assert main(["data", "import", "oaizib-cm", "tree", "knees", "--mirror-left", "--workers=0"]) == 0
    out, err = words(capsys)
    assert "8 knees of 8 subjects, 8 with label maps" in out
    assert "KL │ 0: 3, 1: 1, 2: 1, 4: 1, unknown: 2" in out
    assert "side │ left: 2, right: 6" in out
    assert "split │ test: 3, train: 5" in out
    assert "left out: 2, listed in knees/left-out.csv" in out
    assert "2 x imagesTr/oaizib_003_0000.nii.gz is truncated or damaged" in out
    assert "[oaizib_003, oaizib_005]" in out
    assert "no image was copied; the manifest points to the source" in out
    assert "terms: CC BY-NC 4.0" in out
    assert "next: oahier data check knees/manifest.csv --html knees/audit.html" in out
    options = json.loads(Path("knees/import.json").read_text())["options"]
    assert options == {"insist": [], "convert": False, "mirror_left": True, "n4": False}
    assert "mirror_left: true" in Path("knees/data.yaml").read_text()
    assert (
        main(["data", "import", "oaizib-cm", "OAIZIB-CM.zip", "unpacked", "--workers=0", "--no-progress"])
        == 0
    )
    out, err = words(capsys)
    assert "written: 16 images, " in out
    assert err == ""


def test_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "import", "oaizib-cm", str(tmp_path / "none"), str(tmp_path / "dest")]) == 2
    assert words(capsys)[1] == f"oahier: error: cannot read {tmp_path}/none: no such file or folder"
    assert not (tmp_path / "dest").exists()
    (tmp_path / "a.csv").write_text("subject,mri\n1,none.nii\n")
    assert main(["data", "import", "table", str(tmp_path / "a.csv"), str(tmp_path / "dest")]) == 2
    assert "oahier: error: " in (err := words(capsys)[1])
    assert "none of 1 could be imported" in err
    assert main(["data", "import", "oai-zib-cm", "a", "b"]) == 2
    assert "there is no command 'oai-zib-cm'. Did you mean 'oaizib-cm'" in words(capsys)[1]
    with pytest.raises(SystemExit, match="2"):
        main(["data", "import", "nifti"])
    assert "the following arguments are required: SOURCE, DEST, --pattern (options:" in words(capsys)[1]
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/1.nii.gz").touch()
    assert main(["data", "import", "dicom", str(tmp_path / "scans"), str(tmp_path / "dest")]) == 2
    assert "of 1 files such as 1.nii.gz, `oahier data import nifti` makes a manifest" in words(capsys)[1]
    assert main(["data", "import"]) == 0
    out, _ = words(capsys)
    assert all(f" {name} " in out for name in import_command.IMPORTERS)


def test_an_interrupt_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_oaizib_cm(tmp_path / "tree", train=7, test=3)

    def interrupt(*_: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oahier.intake.write.examine", interrupt)
    command = ["data", "import", "oaizib-cm", str(tmp_path / "tree"), str(tmp_path / "dest"), "--workers=0"]
    assert main(command) == 130
    assert "interrupted; what was done is kept in" in words(capsys)[1]


@pytest.mark.parametrize("name", sorted(import_command.IMPORTERS))
def test_help_of_every_importer(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "import", name, "--help"]) == 0
    out, _ = words(capsys)
    assert f"usage: oahier data import {name}" in out
    assert "SOURCE" in out
    assert "--workers" in out


def test_options_follow_the_signature() -> None:
    def import_it(
        source: str | Path,
        destination: str | Path,
        *,
        needed: str,
        visits: list[str] | None = None,
        kind: Literal["a", "b"] = "a",
        pairs: Mapping[str, str] | str = "",
        flag: bool = False,
        shown: bool = True,
        **shared: Unpack[ImportKeywords],
    ) -> None:
        """Import it.

        Args:
            source: from 100 % here.
            destination: to here.
            needed: must be given.
        """

    parser = import_parser("it", import_it)
    given = ["a", "b", "--needed=x", "--visits=[V00,V01]", "--pairs=a=1,b=2", "--flag", "--no-shown"]
    assert parser.parse_args(given).as_dict() == {
        "source": "a", "destination": "b", "needed": "x", "visits": ["V00", "V01"], "kind": "a",
        "pairs": "a=1,b=2", "flag": True, "shown": False,
        **asdict(ImportOptions(workers=min(os.cpu_count() or 1, 8))),
    }  # fmt: skip
    assert "must be given" in parser.format_help()


def test_reasons_that_differ_in_names_are_one() -> None:
    items = [LeftOut(f"row {n}", f"k{n}", str(n), f"there is no file scans/k{n}.nii.gz") for n in range(9)]
    items.append(LeftOut("row 9", "k9", "9", "no path of an image"))
    grouped = import_command._by_reason(items)
    assert [(reason, len(group)) for reason, group in grouped] == [
        ("there is no file scans/k0.nii.gz", 9), ("no path of an image", 1),
    ]  # fmt: skip


def test_notes_that_differ_in_numbers_are_one() -> None:
    notes = [f"k{n}: m{n}.nii.gz: label ids 1->2" for n in range(9)] + ["read sheet 'A' of A, B"]
    assert import_command._shortened(notes) == ["9 x k0: m0.nii.gz: label ids 1->2", notes[-1]]
    many = ["note " + "x" * n for n in range(20)]
    assert import_command._shortened(many)[-1] == "and 8 more in import.json"


def test_labels_of_a_source_without_grades(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is known is counted: OA where no knee has a grade, and "no grade" where there is nothing."""
    monkeypatch.chdir(tmp_path)
    make_oaizib_cm(tmp_path / "tree", train=3, test=0)
    images = sorted(Path("tree/imagesTr").iterdir())
    rows = [f"{number},{path},{number % 2}" for number, path in enumerate(images)]
    Path("with.csv").write_text("\n".join(["subject,mri,oa", *rows]))
    Path("without.csv").write_text("\n".join(["subject,mri", *(row[:-2] for row in rows)]))
    assert main(["data", "import", "table", "with.csv", "with", "--workers=0"]) == 0
    assert "│ OA │ 0: 2, 1: 1 │" in words(capsys)[0]
    assert main(["data", "import", "table", "without.csv", "without", "--workers=0"]) == 0
    assert "│ KL │ unknown: 3 │" in words(capsys)[0]
    main(["data", "check", "with", "--no-files"])
    assert "OA 0 2 OA 1 1" in words(capsys)[0]
    main(["data", "check", "without", "--no-files"])
    assert "no grade 3" in words(capsys)[0]
