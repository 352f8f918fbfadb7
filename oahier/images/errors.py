"""The one exception of reading, and the words of others."""

from __future__ import annotations


class UnreadableImage(ValueError):
    """The file cannot be read as one 3D image; the message says which file and why."""


INSIST = ("copies", "fields", "gaps", "modality", "numbers", "tail")
"""Kinds of errors of images that a user may insist on reading in spite of; ``fields`` and ``tail`` are not of
DICOM, the others of DICOM series."""

FORCED = "read although"
"""Start of the note on such an error."""


def advice(*kinds: str) -> str:
    """The end of an error that need not be one."""
    return f" (to read it in spite of that: import it with --insist {','.join(kinds)})"


def reason(error: BaseException) -> str:
    """The last line that says something: libraries put source locations before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


class HeaderFault(ValueError):
    """What is wrong with a header, in words that quote no element that may tell who somebody is."""


def fault_words(error: BaseException) -> str:
    """The words of an error; of pydicom's, which may quote any element of a header, the kind only.

    >>> fault_words(ValueError("could not convert string to float: 'Mustermann'"))
    'pydicom cannot read its header (ValueError)'
    """
    if isinstance(error, (HeaderFault, UnreadableImage, OSError, EOFError)):
        return reason(error)
    return f"pydicom cannot read its header ({type(error).__name__})"
