"""Records of an offline run of Weights & Biases: a LevelDB log of protocol buffers."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _FILE_HEADER, _HEADER = 32768, 7, 7
_WHOLE, _LAST = 1, 4


def records(path: Path) -> Iterator[Any]:
    """The records of a ``.wandb`` file in order."""
    from wandb.proto import wandb_internal_pb2

    data, position, parts = path.read_bytes(), _FILE_HEADER, b""
    while position + _HEADER <= len(data):
        if (left := _BLOCK - position % _BLOCK) < _HEADER:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + _HEADER])
        parts += data[position + _HEADER : position + _HEADER + length]
        position += _HEADER + length
        if kind in (_WHOLE, _LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def content(path: Path) -> dict[str, Any]:
    """Configuration, logged values by key, summary, and files of artifacts by kind, once the run has ended.

    The service behind the SDK may still write when ``finish`` has returned.
    """
    for _ in range(200):
        if any(record.WhichOneof("record_type") == "exit" for record in records(path)):
            break
        time.sleep(0.1)
    found: dict[str, Any] = {"config": {}, "history": {}, "summary": {}, "artifacts": {}}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        items: Any = ()
        if kind == "run":
            items = [("config", item) for item in record.run.config.update]
        elif kind == "config":
            items = [("config", item) for item in record.config.update]
        elif kind == "history":
            items = [("history", item) for item in record.history.item]
        elif kind == "summary":
            items = [("summary", item) for item in record.summary.update]
        elif kind == "artifact":
            paths = [entry.path for entry in record.artifact.manifest.contents]
            found["artifacts"].setdefault(record.artifact.type, []).extend(paths)
        for where, item in items:
            key, value = item.key or "/".join(item.nested_key), json.loads(item.value_json)
            if where == "history":
                found[where].setdefault(key, []).append(value)
            else:
                found[where][key] = value
    return found
