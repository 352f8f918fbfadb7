"""Graphs that run without this package: ``torch.export`` programs and ONNX."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from oahier.export.agreement import ExportError, Packed, check_agreement
from oahier.export.inference import Inference
from oahier.specs.errors import first_line

PROGRAM, ONNX = "model.pt2", "model.onnx"
ONNX_BYTES = 2**31 - 1
"""Limit of protobuf, in which ONNX is written."""


def trace(inference: Inference, example: Tensor) -> Any:
    """The ``ExportedProgram`` of a model; any number of knees in a batch, volumes of the example's size.

    Raises:
        ExportError: the encoder or a head does something that ``torch.export`` cannot follow.
    """
    batch = torch.export.Dim("batch", min=1, max=1024)
    try:
        with _quiet():
            return torch.export.export(inference, (example,), dynamic_shapes={"mri": {0: batch}})
    except Exception as error:
        raise ExportError(
            f"torch.export cannot follow this model: {first_line(error, 300)}. Encoders and heads must not "
            "choose their way by values or by the length of the batch (use x.shape[0], not len(x))"
        ) from error


def packed_program(program: Any, inference: Inference, trials: list[Tensor]) -> Packed:
    """The ``.pt2`` of a program, loaded from its bytes and compared with the model."""
    content = io.BytesIO()
    with _quiet():
        torch.export.save(program, content)
        content.seek(0)
        loaded = torch.export.load(content).module()
    agreement = check_agreement("torch.export program", inference, loaded, trials)
    return Packed({PROGRAM: content.getvalue()}, agreement)


def missing_packages() -> list[str]:
    """Packages that ONNX files need and that are not installed."""
    return [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]


def packed_onnx(program: Any, inference: Inference, trials: list[Tensor]) -> Packed:
    """The ``.onnx`` of a program, run with ONNX Runtime and compared with the model.

    Raises:
        ExportError: packages are missing, the weights are too many for one file, or an operation has no
            counterpart in ONNX.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise ExportError(
            f"ONNX needs the package {error.name!r}; install it with: pip install 'oahier[export]'"
        ) from error
    size = sum(value.numel() * value.element_size() for value in inference.state_dict().values())
    if size > ONNX_BYTES:
        raise _too_large(size)
    names = list(program.graph_signature.user_outputs)
    with torch.no_grad():
        ordered = list(inference(trials[0][:1]))
    try:
        with _quiet():
            made = torch.onnx.export(program, (), input_names=["mri"], output_names=ordered, dynamo=True)
    except Exception as error:
        raise ExportError(f"ONNX has no counterpart of this model: {first_line(error, 300)}") from error
    if made is None or len(names) != len(ordered):
        raise ExportError("ONNX: the exporter returned nothing; try another version of PyTorch")
    try:
        content = made.model_proto.SerializeToString()
    except Exception as error:  # EncodeError or ValueError, by the version of protobuf
        raise _too_large(size) from error
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(mri: Tensor) -> dict[str, Tensor]:
        values = session.run(ordered, {"mri": mri.numpy()})
        return dict(zip(ordered, map(torch.from_numpy, values), strict=True))

    return Packed({ONNX: content}, check_agreement("ONNX", inference, run, trials))


def _too_large(size: int) -> ExportError:
    return ExportError(
        f"ONNX holds at most 2 GiB in one file, got a model with {size / 2**30:.2f} GiB of weights; leave it "
        "out: --formats [safetensors,program]"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Exporters print progress and warn of their own internals; errors still come as exceptions."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
