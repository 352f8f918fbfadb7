"""Fuzzer of the command line: damaged files of every kind for every command, run in this process.

``python -m fuzzing 1000 --seed 0`` in the folder of the tests. Each case damages one file of a small sound
project and runs one command on it. A case fails if the command ends otherwise than by an exit status, shows a
traceback, ends in an error without a word, takes a minute, or changes a file that it was given.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import random
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import yaml

SHAPE = (12, 14, 12)
IMAGES = ("a.nii", "a.nii.gz", "a.img", "a.nrrd", "b.nhdr", "a.mha", "b.mhd")
WORDS = (
    b"", b"-1", b"NaN",
    b"1e999", b"0_1", "\u0661".encode(), b"=1+1", b"null", b"[1, 2", b"{a: ", b"\"", b"\0", b"../x",
    b"9" * 40, b"x" * 5000, b"\xff\xfe", b"true", b"os.system", b"kl", b"%s%n", b"*", b"\r", b";", b"nan,inf",
)  # fmt: skip
OTHERS = (
    b"",
    b"\0" * 600,
    b"PK\3\4" + b"\0" * 60,
    b"\x1f\x8b\x08\0",
    b"NRRD0004\n\n",
    b"%PDF-1.4",
    b"a,b\n1,2\n",
)

Damage = Callable[[random.Random, bytes], bytes]


def _cut(draw: random.Random, content: bytes) -> bytes:
    return content[: int(draw.random() * len(content))]


def _flip(draw: random.Random, content: bytes) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(draw.choice((1, 1, 3, 20))):
        changed[int(draw.random() ** 3 * len(changed))] ^= draw.randrange(1, 256)
    return bytes(changed)


def _lose(draw: random.Random, content: bytes) -> bytes:
    start = int(draw.random() ** 2 * len(content))
    return content[:start] + content[start + draw.randrange(1, 200) :]


def _insert(draw: random.Random, content: bytes) -> bytes:
    start = int(draw.random() ** 2 * len(content))
    return content[:start] + draw.choice(WORDS) + content[start:]


def _word(draw: random.Random, content: bytes) -> bytes:
    """Another word in the place of one, in text."""
    parts = content[:4000].replace(b"\n", b" \n ").split(b" ")
    parts[draw.randrange(len(parts))] = draw.choice(WORDS)
    return b" ".join(parts).replace(b" \n ", b"\n") + content[4000:]


def _cell(draw: random.Random, content: bytes) -> bytes:
    """Another cell in the place of one, in a table."""
    lines = content[:20000].split(b"\n")
    at = draw.randrange(len(lines))
    cells = lines[at].split(b",")
    cells[draw.randrange(len(cells))] = draw.choice(WORDS)
    lines[at] = b",".join(cells)
    return b"\n".join(lines) + content[20000:]


def _other(draw: random.Random, content: bytes) -> bytes:
    return draw.choice((*OTHERS, content * 2, content[::-1]))


DAMAGES: tuple[Damage, ...] = (_cut, _flip, _flip, _lose, _insert, _word, _word, _cell, _cell, _other)


@dataclass(frozen=True)
class Case:
    """A command, and the files that it reads, one of which is damaged."""

    words: tuple[str, ...]
    files: tuple[str, ...]
    weight: int = 10


def cases() -> list[Case]:
    """Every command with every kind of file; ``{}`` stands for the project."""
    tables = [
        Case(("data", "import", "table", "{}/" + name, "{}/out", "--workers=0"), (name,), 30)
        for name in ("table.csv", "table.xlsx")
    ]
    images = [
        Case(("data", "import", "table", "{}/table.csv", "{}/out"), (f"images/{name}",), 15)
        for name in IMAGES
    ]
    run = ("--trainer.max_epochs=1", "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1")
    config = "--config={}/run.yaml"
    return [
        *tables, *images,
        Case(("data", "import", "dicom", "{}/hospital/export", "{}/out", "--series=DESS"),
             ("hospital/export/P001/20240105/dessR/003", "hospital/export/DICOMDIR"), 40),
        Case(("data", "import", "dicom", "{}/hospital/export", "{}/out", "--series=DESS",
              "--labels={}/hospital/grades.csv", "--columns=patient=MRN,side=Seite,kl=KL-Grad"),
             ("hospital/grades.csv",), 15),
        Case(("data", "import", "oaizib-cm", "{}/cm.zip", "{}/out"), ("cm.zip",), 20),
        Case(("data", "import", "oaizib-cm", "{}/cm", "{}/out"),
             ("cm/info/subInfo_train.csv", "cm/imagesTr/oaizib_001_0000.nii.gz"), 10),
        Case(("data", "check", "{}/knees/manifest.csv"), ("knees/manifest.csv",), 30),
        Case(("data", "check", "{}/knees/manifest.csv", "--html={}/a.html"), ("knees/mri/k0.nii.gz",), 10),
        Case(("data", "split", "{}/knees/manifest.csv", "{}/split.csv"), ("knees/manifest.csv",), 30),
        Case(("data", "readings", "{}/knees/manifest.csv", "--resamples=5"), ("knees/manifest.csv",), 15),
        Case(("data", "doubt", "{}/knees/manifest.csv", "{}/run/predictions.csv"),
             ("knees/manifest.csv", "run/predictions.csv"), 10),
        Case(("data", "cache", config), ("knees/manifest.csv", "run.yaml", "knees/mri/k1.nii.gz"), 20),
        Case(("fit", config, *run), ("run.yaml", "knees/manifest.csv", "cache/sources.json"), 20),
        Case(("fit", config, "--ckpt_path={}/run/checkpoints/best.ckpt", *run),
             ("run/checkpoints/best.ckpt",), 6),
        Case(("test", config, "--ckpt_path={}/run/checkpoints/best.ckpt"),
             ("run/checkpoints/best.ckpt", "run.yaml"), 6),
        Case(("predict", "{}/run/checkpoints/best.ckpt", "{}/images/a.nii", "--output={}/out"),
             ("run/checkpoints/best.ckpt", "images/a.nii"), 15),
        Case(("predict", "{}/run/checkpoints/best.ckpt", "{}/knees/manifest.csv", "{}/images", "--no-pages",
              "--output={}/out"), ("knees/manifest.csv", *(f"images/{name}" for name in IMAGES)), 10),
        Case(("export", "{}/run/checkpoints/best.ckpt", "{}/out", "--formats=[safetensors]"),
             ("run/checkpoints/best.ckpt", "run/metrics.json", "run/config.yaml"), 10),
        Case(("compare", "{}/run/predictions.csv", "{}/run/predictions.csv", "--resamples=20"),
             ("run/predictions.csv",), 40),
        Case(("study", "run", "{}/study.yaml", "--out={}/out", "--check"), ("study.yaml",), 40),
        Case(("study", "status", "{}/study"), ("study/study.yaml",), 10),
    ]  # fmt: skip


def project(folder: Path) -> Path:
    """A small sound project: images, tables, a run and its files."""
    import nibabel as nib
    import SimpleITK as sitk
    from miniature.hospital import make_hospital
    from miniature.oaizib_cm import make_oaizib_cm, zipped

    from oahier import make_phantoms
    from oahier.cli import main

    (folder / "images").mkdir(parents=True)
    volume = np.random.default_rng(0).integers(0, 900, SHAPE).astype(np.int16)
    rows = ["subject,side,kl,mri"]
    for number, name in enumerate(IMAGES):
        if name.endswith((".nii", ".nii.gz", ".img")):
            kind = nib.Nifti1Pair if name.endswith("img") else nib.Nifti1Image
            nib.save(kind(volume + number, np.diag([2.0, 2, 2, 1])), folder / "images" / name)
        else:
            sitk.WriteImage(sitk.GetImageFromArray(volume + number), str(folder / "images" / name))
        rows.append(f"{number:04d},{'left' if number % 2 else 'right'},{number % 5},images/{name}")
    (folder / "table.csv").write_text("\n".join(rows) + "\n")
    import pandas as pd

    pd.read_csv(folder / "table.csv", dtype=str).to_excel(folder / "table.xlsx", index=False)
    make_hospital(folder / "hospital")
    make_oaizib_cm(folder / "cm", tables="csv", train=3, test=2)
    zipped(folder / "cm", folder / "cm.zip")
    _knees(folder, make_phantoms(folder / "phantoms", knees=12, shape=SHAPE, progress=False).table)
    network = {"class_path": "oahier.ResNet3D", "init_args": {"depth": 10, "width": 8, "norm": "group"}}
    heads = {"oa": {"class_path": "oahier.BinaryHead"}, "kl": {"class_path": "oahier.SoftmaxHead"}}
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    data = {"manifest": str(folder / "knees/manifest.csv"), "shape": list(SHAPE), "batch_size": 4}
    config = {
        "seed_everything": 0,
        "trainer": quiet | {"max_epochs": 1, "accelerator": "cpu", "default_root_dir": str(folder / "run")},
        "model": {"encoder": network, "heads": heads},
        "data": data | {"cache": str(folder / "cache")},
    }
    callbacks = [
        {"class_path": f"oahier.callbacks.{name}"}
        for name in ("OrdinalMetrics", "PredictionWriter", "BestCheckpoint")
    ]
    config["trainer"]["callbacks"] = callbacks  # type: ignore[index]
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    _ran(main, "fit", f"--config={folder}/run.yaml")
    _ran(main, "test", f"--config={folder}/run.yaml", f"--ckpt_path={folder}/run/checkpoints/best.ckpt")
    base = {"trainer": {"max_epochs": 1}, "model": {"encoder": network}, "data": data}
    plan = {"name": "mini", "base": base, "grid": {"supervision": ["dual", "single-kl"], "seed": [0, 1]}}
    (folder / "study.yaml").write_text(yaml.safe_dump(plan))
    (folder / "study").mkdir()
    shutil.copy(folder / "study.yaml", folder / "study/study.yaml")
    return folder


def _knees(folder: Path, table: object) -> None:
    import pandas as pd

    shutil.move(folder / "phantoms", folder / "knees")
    frame = pd.read_csv(folder / "knees/manifest.csv", dtype=str)
    frame["knee"] = [f"k{number}" for number in range(len(frame))]
    for number, name in enumerate(frame["mri"]):
        (folder / "knees" / name).rename(folder / "knees/mri" / f"k{number}.nii.gz")
    frame["mri"] = [f"mri/k{number}.nii.gz" for number in range(len(frame))]
    frame["split"] = ["train"] * 6 + ["val"] * 3 + ["test"] * 3
    frame["kl_2"] = frame["kl"]
    frame.to_csv(folder / "knees/manifest.csv", index=False)


def _ran(main: Callable[[list[str]], int], *words: str) -> None:
    if main(list(words)):
        raise RuntimeError(f"the sound project fails: {' '.join(words)}")


@dataclass
class Outcome:
    """What a run of the fuzzer counted, and each failure with what is needed to see it again."""

    statuses: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


def fuzz(count: int, seed: int, template: Path, only: int | None = None) -> Outcome:
    """Run damaged cases on copies of a project."""
    outcome, known = Outcome(), cases()
    for number in range(count) if only is None else [only]:
        draw = random.Random(f"{seed} {number}")
        case = draw.choices(known, [one.weight for one in known])[0]
        name = draw.choice(case.files)
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "p"
            shutil.copytree(template, folder)
            for text in ("run.yaml", "study.yaml"):
                (folder / text).write_text((folder / text).read_text().replace(str(template), str(folder)))
            path = folder / name
            damage = draw.choice(DAMAGES)
            path.write_bytes(damage(draw, path.read_bytes()))
            inputs = _hashes(folder)
            words = [word.replace("{}", str(folder)) for word in case.words]
            problem, status = _run(words)
            changed = [one for one, digest in inputs.items() if _hash(folder / one) != digest]
            kept = [one for one in changed if not one.startswith(("cache/", "run/"))]
            if not problem and kept:
                problem = f"changed what it was given: {kept[:3]}"
        outcome.statuses[
            f"{case.words[0]} {case.words[1] if case.words[0] in ('data', 'study') else ''}"
        ] += 1
        outcome.statuses[f"status {status}"] += 1
        if problem:
            shown = " ".join(case.words)
            outcome.failures.append(f"#{number} {damage.__name__} {name}: {shown}\n{problem}")
            print(outcome.failures[-1], end="\n\n", flush=True)
        if number % 25 == 24:
            print(f"{number + 1} inputs, {len(outcome.failures)} failures", file=sys.stderr, flush=True)
    return outcome


def _run(words: list[str]) -> tuple[str, object]:
    """What went wrong with a command, and its exit status."""
    from oahier.cli import main

    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with _limit(90):
                status: object = main(words)
    except SystemExit as error:
        status = error.code
    except BaseException:  # that is what is looked for
        return traceback.format_exc(), "exception"
    said = out.getvalue() + err.getvalue()
    if "Traceback (most recent call last)" in said:
        return f"shows a traceback: {said[-3000:]}", status
    if status not in (0, 1, 2, None):
        return f"ends with {status!r}: {said[-1000:]}", status
    return ("" if status in (0, None) or said.strip() else "ends without a word"), status


@contextlib.contextmanager
def _limit(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"no end after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def _hashes(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): _hash(path) for path in folder.rglob("*") if path.is_file()}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "gone"


def run(count: int, seed: int, only: int | None = None) -> Outcome:
    """Make the project, then fuzz."""
    with tempfile.TemporaryDirectory() as temporary:
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                template = project(Path(temporary) / "template")
        except RuntimeError as error:
            raise RuntimeError(f"{error}: {said.getvalue()[-2000:]}") from error
        return fuzz(count, seed, template, only)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, default=None, help="number of one case")
    options = parser.parse_args()
    result = run(options.count, options.seed, options.only)
    print(dict(sorted(result.statuses.items())))
    print(f"{options.count} bad inputs, {len(result.failures)} failures")
    sys.exit(bool(result.failures))
