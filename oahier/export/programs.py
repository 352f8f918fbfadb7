"""Graphs that run without this package: ``torch.export`` programs and ONNX."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from oahier.export.agreement import Agreement, ExportError, check_agreement
from oahier.export.inference import Inference
from oahier.files import write_atomically


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
            f"torch.export cannot follow this model: {_first_line(error)}. Encoders and heads must not "
            "choose their way by values or by the length of the batch (use x.shape[0], not len(x))"
        ) from error


def save_program(program: Any, path: Path, inference: Inference, trials: list[Tensor]) -> Agreement:
    """Write ``.pt2``, read it back and compare it with the model."""
    content = io.BytesIO()
    with _quiet():
        torch.export.save(program, content)
        content.seek(0)
        loaded = torch.export.load(content).module()
    agreement = check_agreement("torch.export program", inference, loaded, trials)
    write_atomically(path, content.getvalue())
    return agreement


def save_onnx(program: Any, path: Path, inference: Inference, trials: list[Tensor]) -> Agreement:
    """Write ``.onnx``, run it with ONNX Runtime and compare it with the model.

    Raises:
        ExportError: packages are missing, or an operation has no counterpart in ONNX.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401  (torch.onnx needs it)
    except ImportError as error:
        raise ExportError(
            f"ONNX needs the package {error.name!r}; install it with: pip install 'oahier[export]'"
        ) from error
    names = list(program.graph_signature.user_outputs)
    with torch.no_grad():
        ordered = list(inference(trials[0][:1]))
    try:
        with _quiet():
            made = torch.onnx.export(program, (), input_names=["mri"], output_names=ordered, dynamo=True)
    except Exception as error:
        raise ExportError(f"ONNX has no counterpart of this model: {_first_line(error)}") from error
    if made is None or len(names) != len(ordered):
        raise ExportError("ONNX: the exporter returned nothing; try another version of PyTorch")
    content = made.model_proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(mri: Tensor) -> dict[str, Tensor]:
        values = session.run(ordered, {"mri": mri.numpy()})
        return dict(zip(ordered, map(torch.from_numpy, values), strict=True))

    agreement = check_agreement("ONNX", inference, run, trials)
    write_atomically(path, content)
    return agreement


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


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__
