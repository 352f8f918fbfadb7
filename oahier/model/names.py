"""Names of heads and terms, which stand in metric keys and in columns of predictions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import nn

from oahier.keys import RESERVED_GROUPS, prediction_columns

_NAME = re.compile(r"\w[\w-]*", re.ASCII)


def check_name(argument: str, name: Any) -> None:
    """Refuse a name that cannot stand in a metric key.

    Raises:
        ValueError: other characters, a method of ``torch.nn.ModuleDict``, or a group that callbacks log.
    """
    if not (isinstance(name, str) and _NAME.fullmatch(name)) or hasattr(nn.ModuleDict(), name):
        raise ValueError(
            f"{argument}[{name!r}]: expected a name of letters, digits, '_' and '-', such as 'oa' or 'kl', "
            "and none of the method names of torch.nn.ModuleDict"
        )
    if name in RESERVED_GROUPS or name.startswith("hierarchy_"):
        raise ValueError(
            f"{argument}[{name!r}]: this name is taken in metric keys by what callbacks log "
            f"({', '.join(RESERVED_GROUPS)} and hierarchy_...); choose another"
        )


def check_columns(classes: Mapping[str, int]) -> None:
    """Refuse heads whose columns of ``predictions.csv`` would have one name.

    Args:
        classes: number of classes by head.

    Raises:
        ValueError: two heads with a column in common; the message names both.

    >>> check_columns({"kl": 5, "kl_2": 2})
    Traceback (most recent call last):
    ValueError: heads['kl'] and heads['kl_2'] would share the column 'prob_kl_2'; rename one
    """
    owners: dict[str, str] = {}
    for name, num_classes in classes.items():
        for column in prediction_columns(name, num_classes):
            other = owners.setdefault(column, name)
            if other != name:
                raise ValueError(
                    f"heads[{other!r}] and heads[{name!r}] would share the column {column!r}; rename one"
                )
