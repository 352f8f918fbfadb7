"""The one serial form of a component: ``{"class_path": ..., "init_args": {...}}``.

A component that inherits from :class:`Specified` remembers the arguments it was made with, so that a model
can write down how to rebuild its encoder and heads. Checkpoints therefore hold strings and numbers only
and load with ``weights_only=True``. A class path is the public one, and names a class of a trusted package.
"""

from oahier.specs.class_paths import class_path, import_class
from oahier.specs.errors import MissingClassError, SpecError, nearest
from oahier.specs.old_paths import current_paths
from oahier.specs.recorded import Specified, make
from oahier.specs.serial import build, build_factory, build_nested, describe, is_spec
from oahier.specs.trust import trusting

__all__ = [
    "MissingClassError",
    "SpecError",
    "Specified",
    "build",
    "build_factory",
    "build_nested",
    "class_path",
    "current_paths",
    "describe",
    "import_class",
    "is_spec",
    "make",
    "nearest",
    "trusting",
]
