"""DICOM series in zip archives."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from oahier.images.errors import UnreadableImage, reason
from oahier.images.payload import LARGEST
from oahier.zips import copy_member, is_hidden, opened, safe_members


@contextmanager
def unzipped(path: Path) -> Iterator[Path]:
    """A temporary folder with the members of an archive, all of which have been found safe.

    Raises:
        UnreadableImage: the archive, a member, or what is read in the folder is damaged or unsafe; names the
            archive in place of the folder.
    """
    with tempfile.TemporaryDirectory() as folder:
        try:
            with path.open("rb") as stream, opened(path, stream) as archive:
                members = safe_members(path, archive, path.stat().st_size)
                if sum(member.file_size for member in members.values()) > LARGEST:
                    raise UnreadableImage(f"{path}: it would unpack to more than {LARGEST >> 30} GiB")
                for name, member in members.items():
                    if not is_hidden(name):
                        target = Path(folder, name)
                        target.parent.mkdir(parents=True, exist_ok=True)
                        with target.open("wb") as file:
                            copy_member(archive, member, f"{path.name}/{name}", file)
            yield Path(folder)
        except UnreadableImage as error:
            raise UnreadableImage(str(error).replace(folder, str(path))) from error
        except (ValueError, OSError) as error:
            raise UnreadableImage(f"{path} cannot be read: {reason(error)}") from error
