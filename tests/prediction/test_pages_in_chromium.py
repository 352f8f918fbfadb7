"""Pages as a reader sees them: wide and narrow, light and dark, without a network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from miniature.bright import blob, write_bright_checkpoint, write_nifti
from study.report.chromium import chromium, find_chromium

from oahier.latent.training_knees import EmbeddingReference
from oahier.prediction import predict_scans

pytestmark = pytest.mark.skipif(find_chromium() is None, reason="no Chromium here")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    values = torch.randn(90, 1, generator=torch.Generator().manual_seed(0))
    grades = (values[:60, 0] + 2).round().long().clamp(0, 4)
    reference = EmbeddingReference.fit(values[:60], grades, (grades >= 2).long(), values[60:])
    shape, affine = (30, 40, 44), torch.diag(torch.tensor([3.0, 1.5, 1.5, 1.0])).double().numpy()
    checkpoint = write_bright_checkpoint(
        tmp_path / "model.ckpt", shape=(16, 20, 20), spacing=(3.0, 2.5, 2.5), reference=reference
    )
    path = write_nifti(tmp_path / "scan.nii.gz", blob(shape, affine, (7, 10, 30), width=6), affine)
    predict_scans(
        checkpoint, [path, tmp_path / "absent.nii.gz"], tmp_path / "out", side="right", viewer=False
    )
    return tmp_path / "out"


def test_pages(folder: Path, tmp_path: Path) -> None:
    with chromium(tmp_path / "profile") as page:
        for width, dark in ((1200, False), (400, True)):
            for name in ("pages/scan.html", "index.html"):
                page.open(folder / name, width=width, dark=dark)
                assert page.run("document.documentElement.scrollWidth") <= width, (name, width)
                page.wait("[...document.images].every(i => i.loading === 'lazy' || i.naturalWidth > 0)")
        page.open(folder / "index.html")
        page.run("document.querySelector('table img').scrollIntoView()")
        page.wait("document.querySelector('table img').naturalWidth > 0")
        page.open(folder / "pages" / "scan.html")
        heat = "getComputedStyle(document.querySelector('.heat')).opacity"
        assert page.run(heat) == "1"
        page.run("(() => { const s = document.getElementById('heat'); s.value = 0;"
                 " s.dispatchEvent(new Event('input')); })()")  # fmt: skip
        assert page.run(heat) == "0"
        letters = page.run("""[...document.querySelectorAll('.slice')].map(slice =>
            ['left', 'right', 'top', 'bottom'].map(name =>
            slice.querySelector('b.' + name).textContent).join(''))""")
        assert letters == ["APSI", "RLSI", "RLAP"] * 2
        boxes = page.run("[...document.querySelectorAll('.slice')].map(s => s.clientWidth / s.clientHeight)")
        assert boxes == pytest.approx([60 / 66, 90 / 66, 90 / 60] * 2, rel=0.02), "true to scale"
        # the brightest spot of the saliency lies where the blob is: a third from the front, two thirds up
        peak = page.run("""(async () => {
          const image = document.querySelector('.heat'), canvas = document.createElement('canvas');
          canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
          const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
          const values = context.getImageData(0, 0, canvas.width, canvas.height).data;
          let best = 0; // opacity is level near the peak, green rises up to it
          const green = i => values[i + 3] ? values[i + 1] : -1;
          for (let i = 0; i < values.length; i += 4) if (green(i) > green(best)) best = i;
          const pixel = best / 4;
          return [pixel % canvas.width / canvas.width, Math.floor(pixel / canvas.width) / canvas.height];
        })()""")
        assert peak == pytest.approx([1 - 10.5 / 40, 1 - 30.5 / 44], abs=0.04)
        assert not page.problems
        assert all(request.startswith(("file:", "data:")) for request in page.requests)
