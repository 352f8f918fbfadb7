"""Errors in DICOM headers, described without quoting them."""

from __future__ import annotations

from oahier.images.errors import UnreadableImage, reason


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
