"""Unpacks JPEG pixels with GDCM; run as a script of its own, because GDCM can crash on damaged files.

Takes a folder, in which DICOM files are called ``0.dcm``, ``1.dcm``, ..., and their number; writes ``0.npy``,
``1.npy``, ... beside them. Imports nothing of oahier.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(folder: str, count: str) -> int:
    """Unpack the pixels of every file; 1 and the reason on standard output if one fails."""
    import numpy as np
    import SimpleITK as sitk

    sitk.ProcessObject.GlobalWarningDisplayOff()
    for number in range(int(count)):
        try:
            file = str(Path(folder, f"{number}.dcm"))
            pixels = sitk.GetArrayFromImage(sitk.ReadImage(file, imageIO="GDCMImageIO"))
        except (RuntimeError, MemoryError) as error:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            print(lines[-1])
            return 1
        np.save(Path(folder, f"{number}.npy"), pixels)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
