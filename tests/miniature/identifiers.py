"""Invented identifiers, planted in images and tables of every kind, and the search for them."""

from __future__ import annotations

import base64
import gzip
import io
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from miniature.dicom import write_dicom_series
from miniature.hospital import SAGITTAL, knee_volume

ELEMENTS = {
    "LO": "OtherPatientIDs PatientComments MedicalAlerts Allergies IssuerOfPatientID "
    "InstitutionalDepartmentName StudyDescription DeviceSerialNumber RequestedProcedureID "
    "RequestedProcedureDescription PerformedProcedureStepDescription AdmissionID CurrentPatientLocation "
    "PatientInstitutionResidence CountryOfResidence RegionOfResidence InsurancePlanIdentification "
    "MilitaryRank BranchOfService PatientReligiousPreference AdditionalPatientHistory RequestedContrastAgent "
    "SpecialNeeds InstitutionName",
    "PN": "PatientName ReferringPhysicianName OperatorsName PerformingPhysicianName PatientBirthName "
    "PatientMotherBirthName ResponsiblePerson PhysiciansOfRecord NameOfPhysiciansReadingStudy "
    "RequestingPhysician OtherPatientNames",
    "SH": "AccessionNumber StudyID StationName PatientTelephoneNumbers ScheduledProcedureStepID Occupation",
    "ST": "InstitutionAddress",
    "LT": "ImageComments",
}
"""Header elements that may say who a person is, by their kind of value."""

_TOKEN = re.compile(rb"qxz\d{4}wvk")


class Planted:
    """Makes identifiers, each of them once."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.places: set[str] = set()

    def new(self) -> str:
        """An identifier that is no word of any language."""
        self.made.append(f"Qxz{len(self.made):04d}Wvk")
        return self.made[-1]

    def place(self) -> str:
        """An identifier as the name of a file or folder."""
        name = self.new()
        self.places.add(name.lower())
        return name


def found_in(content: bytes) -> set[str]:
    """Identifiers in bytes: UTF-8 or UTF-16, in any case, also in packed members of archives."""
    found = {match.decode() for match in _TOKEN.findall(content.replace(b"\0", b"").lower())}
    for inner in _unpacked(content):
        found |= found_in(inner)
    return found


def _unpacked(content: bytes) -> Iterator[bytes]:
    if content[:2] == b"\x1f\x8b":
        yield gzip.decompress(content)
    for text in re.findall(rb"H4sI[A-Za-z0-9+/]{40,}=*", content):  # packed volumes inside a page
        yield gzip.decompress(base64.b64decode(text))
    if content[:4] == b"PK\3\4":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                yield name.encode() + b"\n" + archive.read(name)
    if content[:4] == b"\x89PNG":
        for match in re.finditer(
            rb"(?:zTXt|iTXt)[^\0]{1,79}\0{1,3}(?:[^\0]*\0){0,2}(x.*)", content, re.DOTALL
        ):
            yield zlib.decompressobj().decompress(match[1])


def searched(folder: Path) -> dict[str, set[str]]:
    """The identifiers in each file below a folder, its own name included; files without any are left out."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hits = found_in(name.encode())
        if path.is_file():
            hits |= found_in(path.read_bytes())
        if hits:
            found[name] = hits
    return found


def write_dicom(folder: Path, planted: Planted, number: int, **tags: Any) -> Path:
    """A series whose elements, sequences, private tags and file names hold identifiers."""
    person = {
        name: planted.new()[: 16 if kind == "SH" else None]
        for kind, names in ELEMENTS.items()
        for name in names.split()
    }
    person |= {"PatientID": f"S{number:02d}", "SeriesDescription": "DESS", "Laterality": "R"} | tags
    files = write_dicom_series(folder, knee_volume(number, number % 5), SAGITTAL, **person)
    item, private = Dataset(), planted.new()
    item.ReferencedSOPInstanceUID, item.CodeMeaning, item.PatientName = "1.2.3", planted.new(), planted.new()
    for path in files:
        data = pydicom.dcmread(path)
        data.RequestAttributesSequence = Sequence([item])
        block = data.private_block(0x0029, "INVENTED", create=True)
        block.add_new(1, "LO", private)
        block.add_new(2, "SQ", Sequence([item]))
        data.save_as(path)
    for path in files:
        path.rename(path.with_name(f"{planted.place()}.{path.name}"))
    return folder


def write_nifti(path: Path, planted: Planted, number: int) -> Path:
    """A volume whose header fields and extensions hold identifiers."""
    image = nib.Nifti1Image(knee_volume(number, number % 5), SAGITTAL)
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = planted.new()
    for code in ("comment", "dicom", "afni"):
        image.header.extensions.append(nib.nifti1.Nifti1Extension(code, planted.new().encode()))
    nib.save(image, path)
    return path


def write_text_header(path: Path, planted: Planted, number: int) -> Path:
    """NRRD or MetaImage with identifiers in comments, key/value pairs and fields without meaning."""
    sitk.WriteImage(sitk.GetImageFromArray(knee_volume(number, number % 5)), str(path))
    if path.suffix == ".nrrd":
        lines = (
            f'# {planted.new()}\nwho:={planted.new()}\ncontent: {planted.new()}\nlabels: "{planted.new()}"\n'
        )
    else:
        lines = f"Comment = {planted.new()}\nPatientName = {planted.new()}\nName = {planted.new()}\n"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n" + lines.encode(), 1))
    return path


def foreign_line(path: Path, planted: Planted) -> Path:
    """A field that stops reading, whose value says who it is."""
    mark = ":" if path.suffix == ".nrrd" else " ="
    line = f"PatientBirthName{mark} {planted.new()}\nPatientBirthName{mark} {planted.new()}\n"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n" + line.encode(), 1))
    return path


def cut(path: Path) -> Path:
    """A truncated file."""
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    return path


def volume_like(path: Path) -> np.ndarray:
    """The voxels of a NIfTI file."""
    return np.asarray(nib.load(path).dataobj)
