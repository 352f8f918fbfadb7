"""``oahier predict``: from scans to a table, overlays and pages."""

from __future__ import annotations

from argparse import BooleanOptionalAction
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from oahier.cli.next_steps import say_next
from oahier.cli.options import checked
from oahier.cli.parser import PlainParser

_SHOWN = 30
_NAMED = 5
_NAME = 32
"""Letters up to which the name of a knee stays on one line."""
_LESS_IMPORTANT = ("percentile", "p", "side")
"""Columns that a narrow terminal does without, the first ones first; ``predictions.csv`` has them all."""
_DESCRIPTION = """Predict scans with a trained model.

PATH is an image file (.nii, .nii.gz, .nrrd, .mha, .mhd), a DICOM folder with any number of series, or a
manifest (CSV). Volumes are preprocessed as the checkpoint says. What cannot be read is listed in
left-out.csv and the rest is predicted; the exit status is 1 then, and 2 if nothing could be predicted.

  oahier predict runs/mine/checkpoints/best.ckpt scan.nii.gz
  oahier predict runs/mine/checkpoints/best.ckpt hospital/ --series 'sag.*dess' --side left --output new
  oahier predict runs/mine/checkpoints/best.ckpt new.csv --reference knees.csv --workers 4

Research use only, not a medical device.
"""


def run_predict_command(words: list[str]) -> int:
    """Predict, print the table and say where the files are.

    Returns:
        0; 1 if something was left out; 2 if nothing could be predicted.

    Raises:
        ValueError: a checkpoint or an option that cannot be used.
        OSError: the output folder cannot be written.
    """
    options = predict_parser().parse_args(words)
    from oahier.metrics.decoding import BEST_FOR
    from oahier.prediction import predict_scans
    from oahier.prediction.inputs import IMAGE_ENDINGS

    if options.checkpoint.is_dir() or options.checkpoint.name.lower().endswith((*IMAGE_ENDINGS, ".csv")):
        raise ValueError(
            f"expected a checkpoint first and the scans after it, got {options.checkpoint} as the checkpoint"
        )

    result = predict_scans(
        options.checkpoint,
        options.paths,
        options.output,
        side=options.side,
        series=options.series,
        head=options.head,
        method=options.method,
        pages=options.pages,
        overlays=options.overlays,
        viewer=options.viewer,
        reference=options.reference,
        decisions=options.decisions,
        decoding=None if options.grade_for is None else BEST_FOR[options.grade_for](),
        workers=checked("--workers", options.workers, 0),
        device=options.device,
        progress=True,
    )
    console = Console()
    if len(result.table):
        known = result.table.astype(object).where(result.table.notna(), None)
        rows = [{str(name): cell for name, cell in row.items()} for row in known.to_dict("records")]
        console.print(_table(rows, console.width))
        for warning, knees in _by_warning(rows).items():
            named = ", ".join(knees[:_NAMED]) + f" and {len(knees) - _NAMED} more" * (len(knees) > _NAMED)
            print(f"{named}: {warning}")
        for line in result.decided:
            print(f"decisions of {line}")
        for name in ("predictions.csv", "index.html" if options.pages else "embeddings.npz"):
            print(result.folder / name)
        kept = len(result.table) - result.computed
        if kept:
            print(f"{kept} of them had been predicted before with this model")
    if len(result.table) and result.without_reference:
        print(f"no place among the training knees: {result.without_reference}; give --reference MANIFEST")
    failed = [item for item in result.left_out if item.wanted]
    for item in failed[:_SHOWN]:
        print(f"left out: {item.source}: {item.reason}")
    if len(failed) > _SHOWN:
        print(f"and {len(failed) - _SHOWN} more, see {result.folder / 'left-out.csv'}")
    if not len(result.table):
        return 2
    if options.pages:
        print(f"next: open {result.folder / 'index.html'}")
    import pandas as pd

    labels = [name for name in result.table if str(name).startswith("label_")]
    if (result.table[labels].apply(pd.to_numeric, errors="coerce") >= 0).any(axis=None):
        say_next((["clinical", result.folder / "predictions.csv"], "calibration, net benefit, subgroups"))
    return 1 if failed else 0


def _by_warning(rows: list[dict[str, Any]]) -> dict[str, list[str]]:
    from oahier.prediction.one_knee import warnings_of

    found: dict[str, list[str]] = {}
    for row in rows:
        for warning in warnings_of(row):
            found.setdefault(warning, []).append(str(row["knee"]))
    return found


def _table(rows: list[dict[str, Any]], width: int) -> Table:
    """One line a knee; where the terminal is narrow, without the columns that matter least."""
    from oahier.hierarchy import head_label

    graded = [name.removeprefix("severity_") for name in rows[0] if name.startswith("severity_")]
    decisions = [name for name in rows[0] if name.startswith("prob_") and not name[-1].isdigit()]
    columns: dict[str, str] = {}
    for name in graded:
        columns |= {
            head_label(name): f"pred_{name}",
            "severity" + f" {name}" * (len(graded) > 1): f"severity_{name}",
        }
    columns |= {f"P({head_label(name.removeprefix('prob_'))})": name for name in decisions}
    if rows[0].get("ood_p") is not None:
        columns |= {"percentile": "axis_percentile", "p": "ood_p", "unlike": "ood_flag"}
    lines = [
        {"knee": str(row["knee"]), "side": str(row["side"] or "?")}
        | {heading: _cell(row[name]) for heading, name in columns.items()}
        | ({"unlike": "yes" if row["ood_flag"] == 1 else "no"} if "unlike" in columns else {})
        for row in rows[:_SHOWN]
    ]
    needed = {name: max(len(name), *(len(line[name]) for line in lines)) for name in lines[0]}
    needed["knee"] = min(needed["knee"], _NAME)
    for name in _LESS_IMPORTANT:
        if sum(needed.values()) + 3 * len(needed) + 1 > width:
            needed.pop(name, None)
    rules = {str(row[f"decoding_{name}"]) for row in rows for name in graded if f"decoding_{name}" in row}
    title = "Predictions (research use only)" + "".join(f", {rule}" for rule in sorted(rules))
    title += f", first {_SHOWN} of {len(rows)}" * (len(rows) > _SHOWN)
    table = Table(title=title, title_justify="left")
    for name, room in needed.items():
        text = name in ("knee", "side")
        table.add_column(name, justify="left" if text else "right", overflow="fold", min_width=room)
    for line in lines:
        cells = [escape(line[name]) for name in needed]
        table.add_row(*cells, style="dim" if line.get("unlike") == "yes" else None)
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) and not value.is_integer() else f"{value:g}"


def predict_parser() -> PlainParser:
    """The options of the command."""
    from oahier.data.manifest.columns import SIDES
    from oahier.saliency import METHODS, TRUSTED

    parser = PlainParser("oahier predict", _DESCRIPTION)
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="checkpoint of a model trained with oahier"
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="scans to predict")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("predictions"),
        metavar="DIR",
        help="folder to write (%(default)s)",
    )
    parser.add_argument("--side", choices=SIDES, default="", help="side of scans whose header has none")
    parser.add_argument(
        "--series", metavar="REGEX", help="take the DICOM series whose description or protocol matches"
    )
    parser.add_argument("--head", help="name of the head that saliency explains (the first with grades)")
    parser.add_argument(
        "--method", choices=list(METHODS), default=TRUSTED,
        help="saliency method (%(default)s: eight passes forwards and backwards a knee; gradcam costs "
        "nothing and is no evidence of where the model looks)",
    )  # fmt: skip
    parser.add_argument("--pages", action=BooleanOptionalAction, default=True, help="pictures and HTML pages")
    parser.add_argument(
        "--overlays", action=BooleanOptionalAction, default=True, help="saliency on the grid of each scan"
    )
    parser.add_argument(
        "--viewer", action=BooleanOptionalAction, default=None,
        help="a viewer of the scan, cartilage and saliency in each page, 1 to 8 MB (where the extra "
        "'viewer' is installed)",
    )  # fmt: skip
    parser.add_argument(
        "--reference", type=Path, metavar="MANIFEST",
        help="manifest of the training: embed its knees once in evaluation mode, as reference for new knees",
    )  # fmt: skip
    parser.add_argument(
        "--decisions", metavar="checkpoint|none|FILE",
        help="calibration of the probabilities and thresholds, fitted on validation knees: those in the "
        "checkpoint, none, or a decisions.json of oahier clinical (as in the test of the model)",
    )  # fmt: skip
    parser.add_argument(
        "--grade-for", choices=("accuracy", "mae", "qwk"),
        help="metric whose expected cost the grade minimises: the most probable one, the median, or the "
        "rounded expected one (the rule of the training, else accuracy)",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=0, help="processes that read ahead (%(default)s)")
    parser.add_argument(
        "--trust", metavar="PACKAGE", help="package of yours whose classes the checkpoint may name"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, mps or auto (%(default)s)")
    return parser
