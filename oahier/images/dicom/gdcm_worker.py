"""Unpacks JPEG pixels with GDCM; run as a script of its own, because GDCM can crash on damaged files.

Takes a folder, then DICOM files, and writes ``0.npy``, ``1.npy``, ... into the folder. Imports nothing of
oahier.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: str, *files: str) -> int:
    """Unpack and scale the pixels of every file; 1 and the reason on standard output if one fails."""
    import numpy as np
    import SimpleITK as sitk

    sitk.ProcessObject.GlobalWarningDisplayOff()
    for number, file in enumerate(files):
        try:
            pixels = sitk.GetArrayFromImage(sitk.ReadImage(file, imageIO="GDCMImageIO"))
        except (RuntimeError, MemoryError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            print(lines[-1])
            return 1
        np.save(Path(folder, f"{number}.npy"), pixels)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
