"""The viewer in prediction pages: an addition and nothing else, of bounded size, silent about the subject."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from miniature.bright import blob, write_bright_checkpoint

from oahier.cli import main
from oahier.pages import niivue
from oahier.pages.niivue import Library
from oahier.prediction import knee_viewer, predict_scans

SHAPE, AFFINE = (20, 24, 28), np.array([[2, 0, 0, -9], [0, 1.5, 0, 4], [0, 0, 1.5, 30], [0, 0, 0, 1.0]])
NETWORK = {"shape": (12, 16, 16), "spacing": (2.0, 1.5, 1.5)}
LIBRARY = Library("globalThis.niivue = {};", "terms", "0.1")


def install(monkeypatch: pytest.MonkeyPatch, library: Library | None) -> None:
    monkeypatch.setattr(niivue, "installed_niivue", lambda: library)


@pytest.fixture
def knee(tmp_path: Path) -> Path:
    """A checkpoint, a scan whose header and file name tell more than they should, and its cartilage."""
    write_bright_checkpoint(tmp_path / "model.ckpt", **NETWORK)
    labels = np.zeros(SHAPE, dtype=np.uint8)
    labels[8:12, 10:14, 12:16] = 2
    for name, values in (("mri", blob(SHAPE, AFFINE, (9, 11, 13), width=6)), ("cartilage", labels)):
        image = nib.Nifti1Image(values, AFFINE)
        for field in ("descrip", "aux_file", "db_name", "intent_name"):
            image.header[field] = b"Mary Poppins"
        nib.save(image, tmp_path / f"mary-{name}.nii.gz")
    (tmp_path / "knees.csv").write_text(
        "knee,subject,side,mri,cartilage\nK1,S1,right,mary-mri.nii.gz,mary-cartilage.nii.gz\n"
    )
    return tmp_path


def predicted(knee: Path, name: str = "out", **options: Any) -> str:
    result = predict_scans(knee / "model.ckpt", knee / "knees.csv", knee / name, device="cpu", **options)
    assert not result.left_out
    return (knee / name / "pages" / "K1.html").read_text(encoding="utf-8")


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'id="viewer-data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])["knees"][0]


def volume(text: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


def test_a_page_is_the_page_without_it_and_a_viewer(knee: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    without = predicted(knee, "without")
    records = [(knee / "without" / "records" / "K1.json").read_bytes()]
    assert not re.search("viewer|canvas|Content-Security", without)
    install(monkeypatch, LIBRARY)
    assert predicted(knee, "refused", viewer=False) == without
    records += [(knee / "refused" / "records" / "K1.json").read_bytes()]
    assert records[0] == records[1]
    page = predicted(knee, "with")
    head = re.search(r"<meta http-equiv=.*?</style>\n", page, re.DOTALL)
    body = re.search(r'<section class="viewer".*?</section>\n', page, re.DOTALL)
    assert head is not None
    assert body is not None
    assert page.replace(head[0], "").replace(body[0], "") == without


def test_the_record_says_whether_there_is_a_viewer(knee: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, None)
    predicted(knee)
    install(monkeypatch, LIBRARY)
    assert "viewer-canvas" in predicted(knee), "not taken from before the extra was installed"
    before = (knee / "out" / "pages" / "K1.html").stat().st_mtime_ns
    predicted(knee)
    assert (knee / "out" / "pages" / "K1.html").stat().st_mtime_ns == before


def test_asked_for_and_not_installed(
    knee: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(monkeypatch, None)
    words = ["predict", str(knee / "model.ckpt"), str(knee / "knees.csv"), "--output", str(knee / "out")]
    assert main([*words, "--viewer"]) == 2
    assert "pip install 'oahier[viewer]'" in capsys.readouterr().err
    assert not (knee / "out").exists()
    assert main([*words, "--viewer", "--no-pages"]) == 0, "no page, no viewer"


def test_volumes_are_what_the_model_sees_in_their_place(knee: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, LIBRARY)
    page = predicted(knee)
    given = data_of(page)
    mri, cartilage, saliency = map(
        volume, (given["mri"], given["cartilage"], given["maps"][0]["volume"])
    )  # 24 x 24 x 24 mm of 40 x 36 x 42 mm
    assert mri.shape == cartilage.shape == saliency.shape == (12, 16, 16)
    np.testing.assert_allclose(mri.affine, saliency.affine)
    np.testing.assert_allclose(mri.affine[:3, 3], (AFFINE @ [4, 4, 6, 1])[:3])
    np.testing.assert_array_equal(np.argwhere(np.asarray(cartilage.dataobj))[[0, -1]], [[4, 6, 6], [7, 9, 9]])
    ball = np.argwhere(np.asarray(mri.dataobj) == 255).mean(axis=0)
    np.testing.assert_allclose(ball, [9 - 4, 11 - 4, 13 - 6], atol=0.3)
    assert np.asarray(saliency.dataobj).max() == 255
    np.testing.assert_allclose(given["start"], (AFFINE @ [9, 11, 13, 1])[:3], atol=2)
    assert "12x16x16 voxels of 2.00 x 1.50 x 1.50 mm." in page


def test_nothing_of_header_and_file_name_comes_along(knee: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, LIBRARY)
    given = data_of(predicted(knee))
    assert set(given) == {"name", "mri", "cartilage", "start", "maps"}
    for text in (given["mri"], given["cartilage"], given["maps"][0]["volume"]):
        content = gzip.decompress(base64.b64decode(text))
        assert b"mary" not in content.lower()
        assert content[108:112] == np.float32(352).tobytes(), "no extension before the voxels"
        assert content[148:252].strip(b"\0") == b"", "descrip and aux_file"


def test_large_scans_keep_the_budget(knee: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, LIBRARY)
    monkeypatch.setattr(knee_viewer, "VOXELS", 800)
    monkeypatch.setattr(knee_viewer, "MAP_VOXELS", 100)
    page = predicted(knee)
    given = data_of(page)
    mri, saliency = volume(given["mri"]), volume(given["maps"][0]["volume"])
    assert 400 < np.prod(mri.shape) <= 800
    assert 30 < np.prod(saliency.shape) <= 100
    assert "means over" in page
    corners = [(image.affine @ [*np.array(image.shape) / 2 - 0.5, 1])[:3] for image in (mri, saliency)]
    np.testing.assert_allclose(*corners, atol=3)


def test_the_largest_page_is_under_fifteen_megabytes() -> None:
    """Noise, which packs worst, in three volumes of the largest size, and a script as long as NiiVue's."""
    letters = 4 / 3 * (2 * knee_viewer.VOXELS + knee_viewer.MAP_VOXELS)  # base64 of a byte a voxel
    assert letters + 1_500_000 + 1_000_000 < 15_000_000


def test_a_knee_without_labels(knee: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, LIBRARY)
    (knee / "knees.csv").write_text("knee,subject,side,mri\nK1,S1,right,mary-mri.nii.gz\n")
    assert data_of(predicted(knee))["cartilage"] == ""
