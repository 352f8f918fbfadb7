"""``oahier data cache``: preprocess ahead of training."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from oahier.cli.classes import Classes, without_classes
from oahier.cli.lightning_parser import LightningParser
from oahier.cli.next_steps import say_next
from oahier.cli.options import checked
from oahier.data import CacheError, KneeMRIDataModule, PairedVisits
from oahier.model.section_classes import without_class
from oahier.specs.errors import nearest, read_yaml


def cache_parser(module: type[Any] = KneeMRIDataModule) -> LightningParser:
    """The parser of the command; ``--data.*`` are the options of ``oahier fit``."""
    parser = LightningParser(
        prog="oahier data cache",
        description="Preprocess the knees of a configuration, as oahier fit with it would do first. "
        "--config FILE is what oahier fit is given (several merge); --data.* replaces its values, and a "
        "first word without dashes is --data.manifest.",
    )
    parser.add_lightning_class_args(module, "data")
    parser.add_argument("--workers", type=int, default=0, help="processes that preprocess; 0 for this one")
    parser.add_argument("--verify", action="store_true", help="read every byte of the entries that are there")
    parser.add_argument("--prune", action="store_true", help="list entries that this configuration lacks")
    parser.add_argument("--yes", action="store_true", help="remove them")
    return parser


def run(words: list[str]) -> int:
    """Build what is missing or damaged.

    Raises:
        ManifestError: every knee whose files cannot be used.
        CacheError: the folder cannot be written, or the entries would not fit on the disk.
    """
    options = parse(words)
    workers = checked("--workers", options.workers, 0)
    data = options.data.data if isinstance(options.data, PairedVisits) else options.data
    cache, manifest = data.knee_cache, data.manifest
    plan = cache.plan(manifest, data.preprocessing, workers, verify=options.verify)
    shape = " x ".join(map(str, data.preprocessing.shape))
    spacing = " x ".join(f"{length:g}" for length in data.preprocessing.spacing)
    print(f"{len(manifest)} knees of {shape} voxels, {spacing} mm, in {cache.folder}")
    if plan.jobs:
        free = _room(cache.folder, plan.bytes_needed)
        print(f"{len(plan.jobs)} to make: {_size(plan.bytes_needed)} of disk, {_size(free)} are free")
    start = time.monotonic()
    cache.make(manifest, plan, workers)
    seconds = time.monotonic() - start
    if plan.jobs:
        print(f"made {len(plan.jobs)} in {seconds:.1f} s ({len(plan.jobs) / seconds:.1f} knees a second)")
    else:
        how = "every byte was read" if options.verify else "sizes and time stamps are as written"
        print(f"all of them are there ({how})")
    entries = set(plan.entries)
    total = sum(entry.stat().st_size for entry in entries)
    print(f"{len(entries)} entries, {_size(total)}")
    if options.prune:
        _prune(cache.unused(plan.entries), options.yes)
    given = [word for word in words if word.endswith((".yaml", ".yml"))]
    say_next((["fit", "--config", given[0].partition("=")[2] or given[0]] if given else ["init"], "train"))
    return 0


def parse(words: list[str]) -> Any:
    """Options; the ``data`` sections of the configurations merged, under what the command line says."""
    files, rest = [], []
    if words and not words[0].startswith("-"):
        words = ["--data.manifest", *words]
    remaining = iter(words)
    for word in remaining:
        if word == "--config":
            files.append(next(remaining, ""))
        elif word.startswith("--config="):
            files.append(word.partition("=")[2])
        else:
            rest.append(word)
    parser = cache_parser(Classes.named_by(words).data)
    known = [action.dest.removeprefix("data.") for action in parser._actions]
    for path in files:
        section = _data_section(path)
        for name in section:
            if name not in known:
                raise ValueError(f"--config {path}: there is no option 'data.{name}'.{nearest(name, known)}")
        parser.set_defaults({f"data.{name}": value for name, value in section.items()})
    return parser.instantiate_classes(parser.parse_args(without_classes(rest)))


def _data_section(path: str) -> dict[str, Any]:
    section = without_class("data", read_yaml(path, f"--config {path}").get("data"))
    if not isinstance(section, dict):
        raise ValueError(f"--config {path}: expected a section `data`, as `oahier fit` takes it")
    return section


def _room(folder: Path, needed: int) -> int:
    """Bytes that are free, which have to be enough."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise CacheError(
            f"cache {folder}: {_size(needed)} are needed, {_size(free)} are free; make room, choose another "
            "folder (--data.cache) or a smaller --data.shape"
        )
    return free


def _prune(unused: list[Path], agreed: bool) -> None:
    size = sum(path.stat().st_size for path in unused)
    if not unused:
        print("nothing to remove")
        return
    print(f"{len(unused)} entries ({_size(size)}) are not used by this configuration")
    if not agreed:
        print("add --yes to remove them; other configurations may use them")
        return
    for path in unused:
        path.unlink(missing_ok=True)
    print(f"removed {_size(size)}")


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
