"""Packages that a checkpoint or configuration may name: ours, those we build on, and those the user named."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib import metadata
from pathlib import Path

TRUSTED = frozenset({"oahier", "torch", "torchmetrics", "lightning", "torchio", "timm_3d", "monai"})
"""Packages that need no naming."""
ENVIRONMENT = "OAHIER_TRUST"
"""Environment variable with further packages, separated by commas."""
ENTRY_POINTS = "oahier.plugins"
"""Group of entry points by which an installed package asks to be trusted."""

_named: ContextVar[frozenset[str]] = ContextVar("trusted packages", default=frozenset())
_allowed: set[str] = set()
"""What command line parsers were told to allow."""


def is_trusted(path: str, *, by_name: bool = False) -> bool:
    """True if a dotted path lies in a package that may be imported.

    Args:
        path: of a class or function.
        by_name: count only packages that the user named, not :data:`TRUSTED`.

    >>> is_trusted("torch.nn.PReLU"), is_trusted("antigravity.Geohash")
    (True, False)
    """
    if not by_name and path.partition(".")[0] in TRUSTED:
        return True
    return any(path == package or path.startswith(f"{package}.") for package in named_packages())


def named_packages() -> frozenset[str]:
    """Packages that the user named by argument, environment variable or entry point."""
    given = os.environ.get(ENVIRONMENT, "").split(",")
    return _named.get() | _checked(item.strip() for item in given if item.strip()) | _plugins()


def how_to_trust(path: str) -> str:
    """What to do about a class path outside the trusted packages, for an error message."""
    package = path.partition(".")[0]
    return (
        f"package {package!r} is not trusted, so nothing of it is imported: a file must not choose which "
        f"code runs here. If you know the package, name it: `--trust {package}` on the command line or "
        f"trust=[{package!r}] in Python, the environment variable {ENVIRONMENT}={package}, or an entry point "
        f"of the group {ENTRY_POINTS!r} where it is installed"
    )


@contextmanager
def trusting(packages: str | Iterable[str]) -> Iterator[None]:
    """Trust further packages, or modules of them, within a ``with`` statement.

    >>> with trusting(["mynet"]):
    ...     is_trusted("mynet.heads.MyHead"), is_trusted("mynetwork.Head")
    (True, False)

    Raises:
        ValueError: something that cannot be the name of a package.
    """
    further = _checked([packages] if isinstance(packages, str) else packages)
    token = _named.set(_named.get() | further)
    try:
        yield
    finally:
        _named.reset(token)


def restrict_parsers() -> None:
    """Let jsonargparse, which imports what a configuration names, import from trusted packages only.

    It has one policy for a whole process; what an earlier call allowed is denied when it is trusted no more.
    """
    from jsonargparse import set_parsing_settings

    trusted = TRUSTED | named_packages()
    set_parsing_settings(
        import_path_denylist=["*", *sorted(_allowed - trusted)], import_path_allowlist=sorted(trusted)
    )
    _allowed.update(trusted)


def in_words(message: str) -> str:
    """An error message of a parser, saying how to trust a package where it says how to tell the parser."""
    return re.sub(
        r"Importing\s+'([^']+)'\s+is\s+not\s+allowed,.*?to\s+allow\s+it\.",
        lambda found: f"class_path {found[1]!r}: {how_to_trust(found[1])}.",
        message,
        flags=re.DOTALL,
    )


def _checked(packages: Iterable[str]) -> frozenset[str]:
    given = frozenset(packages)
    for package in given:
        if not all(part.isidentifier() for part in package.split(".")):
            raise ValueError(f"trust: expected names of packages such as 'mynet', got {package!r}")
    return given


def _plugins() -> frozenset[str]:
    """Packages of installed entry points; the working directory installs nothing."""
    here = Path.cwd().resolve()
    return frozenset(
        entry.value.partition(":")[0].strip().partition(".")[0]
        for distribution in metadata.distributions()
        for entry in distribution.entry_points
        if entry.group == ENTRY_POINTS and Path(str(distribution.locate_file(""))).resolve() != here
    )
