"""Table of the components of a model and their parameters, printed when a training starts."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.callbacks import ModelSummary
from lightning.pytorch.utilities.model_summary.model_summary import (
    get_formatted_model_size,
    get_human_readable_count,
)
from rich.console import Console
from rich.table import Table
from typing_extensions import override

_SHOWN = ("Name", "Type", "Params")


class ParameterSummary(ModelSummary):
    """Lightning's table of what has parameters, without operations, which it cannot count and calls 0.

    It counts them in a forward pass of ``example_input_array`` only, and the shape of the volumes is that of
    the data.
    """

    @staticmethod
    @override
    def summarize(
        summary_data: list[tuple[str, list[str]]],
        total_parameters: int,
        trainable_parameters: int,
        model_size: float,
        *_: Any,
        **__: Any,
    ) -> None:
        columns = {name.strip(): values for name, values in summary_data}
        table = Table()
        for name in _SHOWN:
            table.add_column(name, justify="right" if name == "Params" else "left")
        for row in zip(*(columns[name] for name in _SHOWN), strict=True):
            if row[-1].strip() != "0":
                table.add_row(*row)
        frozen, console = total_parameters - trainable_parameters, Console()
        console.print(table)
        counts = [get_human_readable_count(number).strip() for number in (total_parameters, frozen)]
        console.print(
            f"{counts[0]} parameters"
            + (f", {counts[1]} of them frozen" if frozen else "")
            + f"; {get_formatted_model_size(model_size).strip()} MB",
            highlight=False,
        )
