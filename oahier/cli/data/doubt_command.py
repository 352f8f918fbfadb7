"""``oahier data doubt``: training labels that models which did not see them find doubtful."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oahier.audit.doubt_page import doubt_page
from oahier.cli.next_steps import say_next
from oahier.cli.options import checked
from oahier.cli.parser import ArgumentParser
from oahier.data import Manifest, read_manifest
from oahier.data.manifest.columns import row_number
from oahier.data.manifest.targets import classes_of
from oahier.files import frame_csv, write_atomically
from oahier.hierarchy import FINE
from oahier.metrics import weighted_qwk
from oahier.metrics.weighted import Names
from oahier.noise import ADJUDICATED_BLOCKS, label_doubt, nominal_doubt, out_of_fold_severity
from oahier.noise.doubt import Labels, Severities
from oahier.statistics.predictions import read_predictions
from oahier.statistics.values import Values, summarise_values_of
from oahier.types import MISSING

PREDICTIONS = "predictions.csv"
_PRINTED = 12


def doubt_parser() -> ArgumentParser:
    """The parser of the command."""
    parser = ArgumentParser(
        prog="oahier data doubt",
        description="Find doubtful labels among the training knees, from predictions of cross-validated "
        "models. Labels of validation and test knees are never looked at.",
    )
    parser.add_argument("manifest", type=str, help="the manifest's CSV file, with splits")
    parser.add_argument(
        "predictions",
        type=str,
        nargs="*",
        help="predictions.csv of models that were not trained on the knees; a folder of runs, such as that "
        "of examples/cross_validate.py, or a quoted pattern stands for all in it",
    )
    parser.add_argument(
        "--embeddings", type=str | None, default=None,
        help="embeddings.npz of an encoder that these labels did not supervise, instead of predictions",
    )  # fmt: skip
    parser.add_argument("--target", type=str, default=FINE, help="column of the labels")
    parser.add_argument("--head", type=str | None, default=None, help="head that predicts it (its name)")
    parser.add_argument(
        "--across-blocks", action="store_true", help="readers may err between {0, 1} and {2, 3, 4}"
    )
    parser.add_argument("--out", type=str | None, default=None, help="CSV file to write, most doubtful first")
    parser.add_argument("--html", type=str | None, default=None, help="page to write, with figures")
    parser.add_argument("--figures", type=int, default=24, help="knees on the page")
    parser.add_argument("--seed", type=int, default=0, help="seed of the folds")
    return parser


def run(words: list[str]) -> int:
    """Print the most doubtful labels and write what was asked for.

    Raises:
        ManifestError: a manifest that cannot be read.
        ValueError: no splits, knees that are not for training, or neither predictions nor embeddings.
    """
    options = doubt_parser().parse_args(words)
    checked("--figures", options.figures, 1)
    if bool(options.predictions) == (options.embeddings is not None):
        raise ValueError("expected prediction files or --embeddings, one of the two")
    manifest = read_manifest(options.manifest)
    size = classes_of(options.target)
    if size is None:
        raise ValueError(
            f"--target: expected a level or a reading of one, such as kl, got {options.target!r}"
        )
    found = (
        _predicted(_files(options.predictions), options.head or options.target)
        if options.predictions
        else _embedded(options.embeddings)
    )
    training = _training(manifest, options.target, list(found))
    rows = np.vstack([found[str(knee)] for knee in training["knee"]])
    labels, subjects = training["label"].to_numpy(np.int64), training["subject"].to_numpy(str)
    seed = options.seed
    severity = rows[:, -1] if options.predictions else out_of_fold_severity(
        rows, labels, subjects=subjects, seed=seed)  # fmt: skip
    blocks = None if options.across_blocks or size != len(ADJUDICATED_BLOCKS) else ADJUDICATED_BLOCKS
    doubt = label_doubt(severity, labels, size, blocks=blocks, subjects=subjects, seed=seed)
    table = training.assign(
        doubt=doubt.doubt.round(4), suggested=doubt.posterior.argmax(axis=1), severity=severity.round(4)
    )
    if options.predictions and rows.shape[1] == size + 1:
        table["nominal_doubt"] = nominal_doubt(rows[:, :-1], labels).round(4)
    table = table.sort_values(["doubt", "knee"], ascending=[False, True], kind="stable").reset_index(
        drop=True
    )
    known, warning = _knowledge(severity, labels, subjects, size)
    _print(table, float(doubt.doubt.mean()), manifest, options.target)
    Console(soft_wrap=True, highlight=False).print(f"[yellow]{warning}[/]" if warning else known)
    if options.out:
        print(f"wrote {write_atomically(options.out, frame_csv(table))}")
    if options.html:
        page = doubt_page(manifest, table, options.target, options.figures, known=known, warning=warning)
        print(f"wrote {write_atomically(options.html, page)}")
    else:
        say_next((["data", "doubt", *words, "--html", "doubt.html"], "look at these knees"))
    return 0


def _files(words: Sequence[str]) -> list[str]:
    """Prediction files of arguments that may be files, folders of runs, or patterns.

    Raises:
        ValueError: a folder or a pattern without any.
    """
    found: list[str] = []
    for word in words:
        path, matched = Path(word), [Path(word)]
        if path.is_dir():
            matched = sorted([*path.glob(PREDICTIONS), *path.glob(f"*/{PREDICTIONS}")])
        elif not path.exists() and any(letter in word for letter in "*?["):
            start = Path(path.anchor)
            matched = sorted(start.glob(str(path.relative_to(start))))
        if not matched:
            raise ValueError(
                f"{word}: expected files {PREDICTIONS} of models that did not see the knees, found none"
            )
        found += map(str, matched)
    return found


def _knowledge(severity: Severities, labels: Labels, subjects: Names, size: int) -> tuple[str, str]:
    """A sentence on the out-of-fold agreement with the labels, and a warning where it may be chance."""
    predicted = severity.round().clip(0, size - 1).astype(np.int64)
    agreement = partial(weighted_qwk, predicted=predicted, labels=labels)
    (row,) = summarise_values_of([Values("qwk", [agreement])], subjects)
    told = f"Out-of-fold QWK with the labels {row.value:.2f} (95 % {row.ci_low:.2f} to {row.ci_high:.2f})."
    if row.ci_low > 0:
        return told, ""
    return told, (
        f"{told} The models may know nothing of these labels: doubt then says how frequent a label is, not "
        "whether it is wrong. Train longer, or on more knees, before anybody reads again."
    )


def _predicted(paths: Sequence[str], head: str) -> dict[str, np.ndarray]:
    """Probabilities and severity of every predicted knee, the mean over files that have it."""
    found: dict[str, list[np.ndarray]] = {}
    for path in paths:
        predictions = read_predictions(path)
        if head not in predictions.heads:
            raise ValueError(f"{path}: expected a head {head!r} (--head), got {', '.join(predictions.heads)}")
        said = predictions.heads[head]
        for knee, row in zip(
            predictions.knee, np.column_stack([said.probabilities, said.severity]), strict=True
        ):
            found.setdefault(str(knee), []).append(row)
    return {knee: np.mean(rows, axis=0) for knee, rows in found.items()}


def _embedded(path: str) -> dict[str, np.ndarray]:
    with np.load(Path(path), allow_pickle=False) as stored:
        if not {"knee", "embedding"} <= set(stored.files):
            raise ValueError(f"{path}: expected arrays knee and embedding, got {', '.join(stored.files)}")
        embeddings = stored["embedding"].astype(np.float64)
        return dict(zip(map(str, stored["knee"]), embeddings, strict=True))


def _training(manifest: Manifest, target: str, knees: Sequence[str]) -> pd.DataFrame:
    """The knees with a label, all of which have to be for training."""
    if not manifest.has_splits:
        raise ValueError(
            f"{manifest.name}: has no splits, so that nothing says which labels may be looked at; assign "
            "them first (oahier data split) and cross-validate within the training knees"
        )
    table = manifest.table
    unknown = sorted(set(knees) - set(table["knee"].astype(str)))
    if unknown:
        raise ValueError(
            f"{manifest.name}: {len(unknown)} predicted knees are not in it, such as {unknown[0]!r}"
        )
    held = table[table["knee"].isin(knees) & (table["split"] != "train")]
    if len(held):
        raise ValueError(
            f"{len(held)} of the knees are for {' and '.join(sorted(set(held['split'])))}, such as "
            f"{held['knee'].iloc[0]!r}: labels that models are chosen or tested by are not to be changed by "
            "what models say; cross-validate within the training knees"
        )
    labels = pd.Series(manifest.labels(target), index=table.index)
    chosen = table["knee"].isin(knees) & (labels != MISSING)
    rows = [row_number(index) for index in table.index[chosen]]
    return table.loc[chosen, ["knee", "subject"]].assign(row=rows, label=labels[chosen])


def _print(table: pd.DataFrame, mean: float, manifest: Manifest, target: str) -> None:
    console = Console(soft_wrap=False, highlight=False)
    rest = int(((manifest.table["split"] == "train") & (manifest.labels(target) != MISSING)).sum()) - len(
        table
    )
    console.print(f"{len(table)} training labels, {mean:.0%} of them doubtful in expectation", soft_wrap=True)
    if rest:
        console.print(
            f"[yellow]{rest} training labels have no prediction and are left out[/]", soft_wrap=True
        )
    shown = Table(
        "knee", "row", "label", "doubt", "suggested", "severity", box=box.SIMPLE_HEAD, show_edge=False
    )
    for _, row in table.head(_PRINTED).iterrows():
        shown.add_row(
            escape(str(row["knee"])), str(row["row"]), str(row["label"]), f"{row['doubt']:.2f}",
            str(row["suggested"]), f"{row['severity']:.2f}",
        )  # fmt: skip
    console.print(shown)
