"""Predicting scans one after another: memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from oahier.callbacks.files import write_arrays, write_rows
from oahier.clinical import Decisions
from oahier.data.preprocessing import Preprocessing
from oahier.metrics import Decoding
from oahier.pages.niivue import Library, chosen_niivue
from oahier.prediction.finished import Record, finished_record, record_key
from oahier.prediction.inputs import LeftOut, Scan, Side, find_scans
from oahier.prediction.knee_files import write_knee_files
from oahier.prediction.loading import LoadedScan, UnusableScan, load_or_reason
from oahier.prediction.one_knee import predict_knee
from oahier.prediction.trained import TrainedModel, load_trained
from oahier.processes import process_map
from oahier.progress import progress as show
from oahier.saliency import TRUSTED
from oahier.saliency.tail import head_to_explain
from oahier.specs import describe


@dataclass(frozen=True, eq=False)
class PredictionResult:
    """What a prediction left behind."""

    folder: Path
    table: pd.DataFrame
    """A row a knee, the columns of ``predictions.csv``."""
    left_out: list[LeftOut]
    computed: int
    """Knees that were predicted now; the others were there already."""
    without_reference: str
    """Why no knee has a place among the training knees; empty where they have."""
    decided: tuple[str, ...] = ()
    """Calibration and threshold of each head, a line each; none where probabilities are the model's own."""


@dataclass(frozen=True)
class _Options:
    head: str | None
    method: str
    pages: bool
    overlays: bool
    device: str
    niivue: Library | None = None
    decisions: Decisions | None = None
    decoding: Decoding | None = None

    def of_record(self) -> dict[str, object]:
        found: dict[str, object] = {
            "head": self.head, "method": self.method, "pages": self.pages, "overlays": self.overlays,
        }  # fmt: skip
        found |= {} if self.decoding is None else {"decoding": describe(self.decoding)}
        found |= {} if self.niivue is None else {"viewer": self.niivue.version}
        return found if self.decisions is None else found | {"decisions": self.decisions.to_dict()}


def predict_scans(
    checkpoint: str | Path,
    paths: Sequence[str | Path] | str | Path,
    output: str | Path = "predictions",
    *,
    side: Side = "",
    series: str | None = None,
    head: str | None = None,
    method: str = TRUSTED,
    pages: bool = True,
    overlays: bool = True,
    viewer: bool | None = None,
    reference: str | Path | None = None,
    decisions: str | Path | Decisions | None = None,
    decoding: Decoding | None = None,
    workers: int = 0,
    device: str = "auto",
    progress: bool = False,
) -> PredictionResult:
    """Predict scans with a trained model and write a table, overlays and pages.

    Volumes are preprocessed as the checkpoint says. A scan that cannot be read is left out with its reason
    and the others are predicted. A knee that is in ``output`` already, from the same checkpoint, options and
    file contents, is not computed again.

    Args:
        checkpoint: a file that ``oahier fit`` (Lightning's ``ModelCheckpoint``) wrote.
        paths: image files, DICOM folders (of any number of series) or manifests.
        output: folder to write into; tables list the knees of this call.
        side: ``"left"`` or ``"right"`` for the scans that do not say theirs.
        series: regular expression that picks DICOM series by description or protocol.
        head: name of the head that saliency explains; by default the first with grades.
        method: name of a saliency method (:data:`oahier.saliency.METHODS`). Integrated gradients run the
            encoder eight times forwards and backwards a knee; ``"gradcam"`` costs next to nothing and is no
            evidence of where the model looks (docs/concepts/saliency-truth.md).
        pages: write ``pictures/`` and the HTML pages.
        overlays: write ``overlays/``, the saliency on the grid of each scan.
        viewer: put a viewer of the scan with cartilage and saliency into each page; by default where the
            extra ``viewer`` is installed.
        reference: manifest of the training and validation knees, whose embeddings are then computed once in
            evaluation mode and kept beside the checkpoint; see :func:`compute_reference`.
        decisions: calibration and thresholds to apply: ``"checkpoint"`` for those that
            :class:`~oahier.callbacks.DecisionCalibration` left in it, ``"none"``, a JSON file, or the object;
            by default as in tests of the model, which apply those of the checkpoint if there are some.
        decoding: rule of the grade (:mod:`oahier.metrics.decoding`); by default that of the training
            (:class:`~oahier.callbacks.GradeDecoding`), and the most probable one where it had none.
        workers: processes that read and preprocess scans ahead; 0 for none.
        device: ``"cpu"``, ``"cuda"``, ``"mps"``, or ``"auto"``.
        progress: show a bar.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ValueError: an argument out of range.
        ImportError: ``viewer=True`` without the extra.
        OSError: the output folder cannot be written.
    """
    if workers < 0:
        raise ValueError(f"workers: expected 0 or more processes, got {workers}")
    if side not in ("left", "right", ""):
        raise ValueError(f"side: expected 'left' or 'right' (or '' for unknown), got {side!r}")
    folder = Path(output)
    niivue = chosen_niivue(viewer if pages else False)
    options = _Options(head, method, pages, overlays, chosen_device(device), niivue)
    trained = load_trained(checkpoint, options.device)
    if reference is not None:
        from oahier.prediction.training_embeddings import compute_reference

        trained = compute_reference(trained, reference, workers=workers, progress=progress)
    options = replace(
        options,
        head=head_to_explain(dict(trained.model.heads.items()), head),
        decisions=chosen_decisions(trained, decisions),
        decoding=decoding or trained.decoding,
    )
    given = [paths] if isinstance(paths, (str, Path)) else list(paths)
    needed = trained.preprocessing.mirror_left
    scans, left_out = find_scans(given, side=side, series=series, sides_needed=needed)
    load = _LoadedOrDone(trained.preprocessing, folder, trained.identity, options)
    made = zip(scans, process_map(load, scans, workers, ahead=1, name=lambda scan: scan.source), strict=True)
    records: list[Record] = []
    computed = 0
    for scan, found in show(made, len(scans), "Predicting", show=progress):
        if isinstance(found, UnusableScan):
            reason = str(found).removeprefix(f"{scan.source}: ")
            left_out.append(LeftOut(scan.source, scan.knee, reason))
        elif isinstance(found, Record):
            records.append(found)
        else:
            record = _predict_and_write(trained, found[0], found[1], folder, options)
            if isinstance(record, LeftOut):
                left_out.append(record)
            else:
                records.append(record)
                computed += 1
    table = _write_tables(folder, trained, records, left_out, options)
    decided = () if options.decisions is None else tuple(options.decisions.describe())
    return PredictionResult(folder, table, left_out, computed, trained.without_reference, decided)


def chosen_device(name: str) -> str:
    """The device that ``"auto"`` stands for; other names are checked.

    Raises:
        ValueError: no such device here.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {name!r} cannot be used here ({str(error).splitlines()[0]})") from error
    return name


def chosen_decisions(trained: TrainedModel, given: str | Path | Decisions | None) -> Decisions | None:
    """The decisions that an argument names; without one, those that tests of the model have.

    Raises:
        ValueError: the checkpoint has none, or they are of other heads.
        OSError: the file cannot be read.
    """
    if given is None:
        return trained.decisions if trained.tested_with_decisions else None
    if given == "none":
        return None
    if given == "checkpoint":
        if trained.decisions is None:
            raise ValueError(
                f"decisions: the checkpoint {trained.path} holds none; train with DecisionCalibration, or "
                "give a file that oahier clinical --validation wrote"
            )
        return trained.decisions
    found = given if isinstance(given, Decisions) else Decisions.read(given)
    unknown = sorted(set(found.heads) - set(trained.model.heads))
    if unknown:
        raise ValueError(
            f"decisions: expected heads of the model ({', '.join(trained.model.heads)}), "
            f"got {', '.join(unknown)}"
        )
    return found


@dataclass(frozen=True, eq=False)
class _LoadedOrDone:
    """Makes of a scan its volume and key, or its record if it is done, or what is wrong with it."""

    preprocessing: Preprocessing
    folder: Path
    identity: str
    options: _Options

    def __call__(self, scan: Scan) -> tuple[LoadedScan, str] | Record | UnusableScan:
        try:
            key = record_key(scan, self.identity, self.options.of_record())
        except OSError as error:
            return UnusableScan(f"{scan.source}: cannot be read: {error.strerror or error}")
        record = finished_record(self.folder, scan, key)
        if record is not None:
            return record
        loaded = load_or_reason(scan, self.preprocessing)
        return loaded if isinstance(loaded, UnusableScan) else (loaded, key)


def _predict_and_write(
    trained: TrainedModel, loaded: LoadedScan, key: str, folder: Path, options: _Options
) -> Record | LeftOut:
    explain = options.pages or options.overlays
    try:
        prediction = predict_knee(
            trained, loaded, head=options.head, method=options.method, explain=explain,
            decisions=options.decisions, decoding=options.decoding,
        )  # fmt: skip
    except torch.OutOfMemoryError as error:
        reason = f"not enough memory on {options.device} ({str(error).splitlines()[0]}); try --device cpu"
        return LeftOut(loaded.scan.source, loaded.scan.knee, reason)
    except ValueError as error:
        return LeftOut(loaded.scan.source, loaded.scan.knee, str(error))
    files = write_knee_files(
        folder, trained, loaded, prediction, overlays=options.overlays, pages=options.pages,
        niivue=options.niivue, told=options.of_record(),
    )  # fmt: skip
    record = Record(key, prediction.row, prediction.embedding, _facts(loaded), files)
    record.write(folder)
    return record


def _facts(loaded: LoadedScan) -> Mapping[str, Any]:
    grid = loaded.image.source
    return {"shape": list(grid.shape), "spacing": [round(length, 4) for length in grid.spacing]}


def _write_tables(
    folder: Path, trained: TrainedModel, records: Sequence[Record], left_out: Sequence[LeftOut],
    options: _Options,
) -> pd.DataFrame:  # fmt: skip
    rows = [record.row for record in records]
    write_rows(
        folder / "left-out.csv", ["source", "knee", "reason"],
        [[item.source, item.knee, item.reason] for item in left_out],
    )  # fmt: skip
    if not rows:
        return pd.DataFrame()
    write_rows(folder / "predictions.csv", list(rows[0]), [list(row.values()) for row in rows])
    write_arrays(
        folder / "embeddings.npz",
        knee=np.array([str(row["knee"]) for row in rows], dtype=np.str_),
        embedding=np.stack([record.embedding for record in records]),
    )
    if options.pages:
        from oahier.prediction.knee_pages import index_page

        decided = () if options.decisions is None else options.decisions.describe()
        index_page(folder, trained, records, left_out, decided)
    return pd.DataFrame(rows)
