"""Importers: a manifest from data on disk.

An importer reads the tables and folders of a source and names :class:`Candidate` knees; then
:func:`finish_import` opens their images and writes the manifest. Importers are imported when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from oahier.intake.candidate import Candidate, ImportResult, LeftOut, MaskStep
from oahier.intake.options import ImportKeywords, ImportOptions
from oahier.intake.write import finish_import
from oahier.public import imported_when_asked

if TYPE_CHECKING:
    from oahier.intake.from_dicom import import_dicom
    from oahier.intake.from_nifti import import_nifti
    from oahier.intake.from_table import import_table
    from oahier.intake.label_maps import LabelIds
    from oahier.intake.oai import import_oai
    from oahier.intake.oai_zib import import_oai_zib
    from oahier.intake.oaizib_cm import import_oaizib_cm

_LAZY = {
    "LabelIds": "label_maps",
    "import_dicom": "from_dicom",
    "import_nifti": "from_nifti",
    "import_oai": "oai",
    "import_oai_zib": "oai_zib",
    "import_oaizib_cm": "oaizib_cm",
    "import_table": "from_table",
}

__all__ = [
    "Candidate",
    "ImportKeywords",
    "ImportOptions",
    "ImportResult",
    "LabelIds",
    "LeftOut",
    "MaskStep",
    "finish_import",
    "import_dicom",
    "import_nifti",
    "import_oai",
    "import_oai_zib",
    "import_oaizib_cm",
    "import_table",
]

__getattr__ = imported_when_asked(__name__, _LAZY)
