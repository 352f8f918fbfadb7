"""Names of heads and terms, which stand in metric keys."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from oahier.keys import RESERVED_GROUPS

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
