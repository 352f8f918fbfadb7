"""TorchIO transforms as preprocessing: checked to be deterministic, serialised, and applied to a knee."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchio as tio
from torchio.transforms.augmentation import RandomTransform

from oahier.data.sampling import seeded
from oahier.images import Image
from oahier.images.image import turned_to_ras
from oahier.images.knee import KneeImages
from oahier.specs import class_path, import_class, is_spec

_MASKS = {f"torchio.Transform.{name}": getattr(tio.Transform, name) for name in ("mean", "ones")}
"""TorchIO's own masking functions, by the name under which they are recorded."""

_NOT_RECORDED = {"self", "args", "kwargs", "p", "keys", "parse_input"}


@dataclass(frozen=True)
class RecordedTransform:
    """A deterministic transform, its serial form and a digest of its code.

    Two are equal if they give the same voxels as far as class, arguments and code tell.

    >>> znormalize = RecordedTransform.of(tio.ZNormalization(masking_method=tio.ZNormalization.mean))
    >>> znormalize.spec["init_args"]
    {'masking_method': 'torchio.Transform.mean'}
    >>> RecordedTransform.from_spec(znormalize.spec) == znormalize
    True
    """

    spec: Mapping[str, Any] = field(hash=False)
    """``{class_path, init_args}`` of plain values, nested for composed transforms."""
    code: str
    """Digest of the version of TorchIO and the source of every class and function that is not its own."""
    transform: tio.Transform = field(compare=False, repr=False)

    @classmethod
    def of(cls, transform: Any) -> RecordedTransform:
        """Check and record a transform.

        Raises:
            ValueError: no TorchIO transform, one that draws random numbers, or an argument without a name or
                value that could be recorded, such as a lambda or a file.
        """
        if not isinstance(transform, tio.Transform):
            raise ValueError(f"preprocessing: expected a TorchIO transform, got {transform!r}")
        for one in _nested(transform):
            if _is_random(one):
                raise ValueError(
                    f"preprocessing: {type(one).__name__} is random, but preprocessing runs once per knee "
                    "and is cached; give it as `augmentation`"
                )
        spec = _serial(transform, "preprocessing")
        sources = [f"torchio {tio.__version__}", *sorted(set(_sources(transform)))]
        code = hashlib.blake2b("\n".join(sources).encode(), digest_size=16).hexdigest()
        return cls(spec, code, transform)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> RecordedTransform:
        """The transform that :attr:`spec` describes.

        Raises:
            ValueError: a class that cannot be imported or is no transform, or a function of the user's.
        """
        return cls.of(_built(spec))

    def __call__(self, images: KneeImages) -> KneeImages:
        """Apply the transform to a knee whose volume and label map are ``mri`` and ``cartilage``.

        Raises:
            ValueError: the transform failed, or left no single volume.
        """
        name = type(self.transform).__name__
        try:
            with seeded(0):
                subject = self.transform(subject_of(images))
            mri = _image(subject["mri"], np.float32)
            labels = None if images.cartilage is None else _image(subject["cartilage"], np.uint8)
        except Exception as error:  # those of TorchIO and of classes of the user's
            why = " ".join(str(error).split()) or type(error).__name__
            raise ValueError(f"preprocessing by {name} failed: {why}") from error
        if not np.isfinite(mri.data).all():
            raise ValueError(f"preprocessing by {name} gave values that are not finite")
        if labels is not None and not labels.grid.same_as(mri.grid):
            raise ValueError(f"preprocessing by {name} left volume and label map on different grids")
        return KneeImages(mri, labels)


def subject_of(images: KneeImages) -> tio.Subject:
    """A knee as a subject of TorchIO: ``mri`` (float32) and, if it has one, ``cartilage``."""
    mri = np.ascontiguousarray(images.mri.data, dtype=np.float32)
    subject = tio.Subject(
        mri=tio.ScalarImage(tensor=torch.from_numpy(mri)[None], affine=images.mri.grid.affine)
    )
    if images.cartilage is not None:
        labels = torch.from_numpy(np.array(images.cartilage.data, dtype=np.uint8, order="C"))[None]
        subject.add_image(tio.LabelMap(tensor=labels, affine=images.mri.grid.affine), "cartilage")
    return subject


def _image(image: Any, dtype: type) -> Image:
    values = image.numpy()
    if values.ndim != 4 or len(values) != 1:
        raise ValueError(f"expected one channel, got an array of shape {values.shape}")
    return turned_to_ras(Path("preprocessing"), values[0].astype(dtype), np.array(image.affine))


def _nested(value: Any) -> Iterator[tio.Transform]:
    """A transform and all that it is composed of."""
    if isinstance(value, tio.Transform):
        yield value
        for inner in vars(value).values():
            yield from _nested(inner)
    elif isinstance(value, Mapping):
        for inner in (*value.keys(), *value.values()):
            yield from _nested(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _nested(inner)


def _is_random(transform: tio.Transform) -> bool:
    placed = getattr(transform, "location", None) == "random"
    return isinstance(transform, RandomTransform) or transform.probability < 1 or placed


def _arguments(transform: tio.Transform) -> Iterator[tuple[str, Any]]:
    """Constructor arguments that are not their defaults, as the transform keeps them."""
    parameters = dict(inspect.signature(tio.Transform.__init__).parameters)
    parameters |= inspect.signature(type(transform).__init__).parameters
    for name, parameter in parameters.items():
        if name in _NOT_RECORDED or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if isinstance(transform, tio.HistogramStandardization) and name == "landmarks":
            yield name, transform.landmarks_dict  # read, if they came from a file
        elif not hasattr(transform, name):
            raise ValueError(
                f"preprocessing: {type(transform).__name__} does not keep its argument {name!r}; store it as "
                f"`self.{name}`, so that it can be recorded"
            )
        elif (value := getattr(transform, name)) is not parameter.default:
            yield name, value


def _serial(value: Any, where: str) -> Any:
    if isinstance(value, tio.Transform):
        name = type(value).__name__
        arguments = {key: _serial(item, f"{where}: {name}, {key}") for key, item in _arguments(value)}
        return {"class_path": class_path(type(value)), "init_args": arguments}
    if isinstance(value, (np.ndarray, torch.Tensor, np.generic)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _serial(item, where) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_serial(item, where) for item in value]
    if isinstance(value, str) and Path(value).is_file():
        raise ValueError(f"{where}: expected values, got a file, whose content cannot be recorded")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    for name, function in _MASKS.items():
        if value is function:
            return name
    if inspect.isfunction(value) and "<" not in value.__qualname__:
        return {"function": f"{value.__module__}.{value.__qualname__}"}
    raise ValueError(
        f"{where}: {value!r} cannot be recorded; use plain values, functions at the top level of a module, "
        "or a subclass of torchio.Transform that keeps its arguments"
    )


def _built(spec: Any) -> Any:
    if is_spec(spec):
        cls = import_class(str(spec["class_path"]))
        if not issubclass(cls, tio.Transform):
            raise ValueError(f"preprocessing: {spec['class_path']!r} is no TorchIO transform")
        arguments = {name: _built(value) for name, value in (spec.get("init_args") or {}).items()}
        if issubclass(cls, tio.HistogramStandardization):
            arguments["landmarks"] = {key: np.array(one) for key, one in arguments["landmarks"].items()}
        try:
            return cls(**arguments)
        except (TypeError, ValueError) as error:
            raise ValueError(f"preprocessing: {spec['class_path']} cannot be rebuilt: {error}") from error
    if isinstance(spec, Mapping) and set(spec) == {"function"}:
        raise ValueError(f"preprocessing: the function {spec['function']} of the user's cannot be rebuilt")
    if isinstance(spec, Mapping):
        return {key: _built(value) for key, value in spec.items()}
    if isinstance(spec, (list, tuple)):
        return tuple(_built(item) for item in spec)
    return _MASKS.get(spec, spec) if isinstance(spec, str) else spec


def _sources(value: Any) -> Iterator[str]:
    """Source of the classes and functions that are not TorchIO's; their name where it cannot be had."""
    for transform in _nested(value):
        functions = [item for item in vars(transform).values() if inspect.isfunction(item)]
        codes: list[Any] = [*type(transform).__mro__, *functions]
        for code in codes:
            if code.__module__.split(".")[0] in ("torchio", "builtins", "abc"):
                continue
            try:
                yield inspect.getsource(code)
            except (OSError, TypeError):
                yield f"{code.__module__}.{code.__qualname__}"
