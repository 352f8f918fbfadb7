"""One table of the knees of an epoch, gathered once over all processes for everyone who reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from oahier.types import MISSING, StepOutput

if TYPE_CHECKING:
    import lightning as L
    import numpy.typing as npt


@dataclass(frozen=True)
class EpochTable:
    """One row per knee, sorted by knee; the same on every process.

    ``table["embedding"]`` is a CPU tensor ``(knees, ...)``; half-precision columns come as float32.
    """

    knee: list[str]
    subject: list[str]
    columns: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.knee)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.columns[name]
        except KeyError:
            raise KeyError(f"no column {name!r} in this epoch; there are {sorted(self.columns)}") from None

    def labels(self, column: str) -> Tensor:
        """Labels of a target column of the data, ``MISSING`` where there are none; ``(knees,)`` int64."""
        missing = torch.full((len(self),), MISSING)
        return self.columns.get(f"batch/targets/{column}", missing).long()

    def join(self, other: EpochTable) -> EpochTable:
        """The rows of ``other``, whose knees are among these, with the columns of both.

        >>> one = EpochTable(["a", "b"], ["1", "2"], {"x": torch.tensor([1.0, 2.0])})
        >>> both = one.join(EpochTable(["b"], ["2"], {"y": torch.tensor([3.0])}))
        >>> both.knee, both["x"].tolist(), both["y"].tolist()
        (['b'], [2.0], [3.0])
        """
        if self.knee == other.knee:
            return EpochTable(self.knee, self.subject, {**self.columns, **other.columns})
        index = {knee: row for row, knee in enumerate(self.knee)}
        rows = [index[knee] for knee in other.knee]
        here = {name: column[rows] for name, column in self.columns.items()}
        return EpochTable(other.knee, other.subject, {**here, **other.columns})


class EpochRecords:
    """Keeps what each step yields per knee; nothing is sent between processes until :meth:`gather`.

    >>> records = EpochRecords()
    >>> records.add(knee=["b", "a"], subject=["2", "1"], severity=torch.tensor([3.0, 1.0]))
    >>> records.add(knee=["b"], subject=["2"], severity=torch.tensor([3.0]))
    >>> table = records.gather()
    >>> table.knee, table["severity"].tolist()
    (['a', 'b'], [1.0, 3.0])
    """

    def __init__(self) -> None:
        self._knee: list[str] = []
        self._subject: list[str] = []
        self._columns: dict[str, list[Tensor]] = {}

    def __len__(self) -> int:
        """Rows added on this process, duplicates included."""
        return len(self._knee)

    def add(
        self,
        *,
        knee: Sequence[str],
        subject: Sequence[str],
        **columns: Tensor | npt.NDArray[Any] | Sequence[float],
    ) -> None:
        """Add a batch.

        Args:
            knee: ids, one a row.
            subject: ids, one a row.
            columns: values whose first axis is the batch; pass names such as ``"kl/loss"`` by ``**{...}``.

        Raises:
            ValueError: a column has another number of rows, or the columns differ from those of the
                batches before.
        """
        values = {name: torch.as_tensor(column).detach() for name, column in columns.items()}
        if len(subject) != len(knee):
            raise ValueError(
                f"EpochRecords.add: expected {len(knee)} subjects (one a knee), got {len(subject)}"
            )
        for name, value in values.items():
            if value.ndim == 0 or len(value) != len(knee):
                raise ValueError(
                    f"EpochRecords.add: column {name!r} must have {len(knee)} rows (one a knee), "
                    f"got shape {tuple(value.shape)}"
                )
        if self._knee and set(values) != set(self._columns):
            raise ValueError(
                f"EpochRecords.add: expected the columns of earlier batches {sorted(self._columns)}, "
                f"got {sorted(values)}; use NaN or MISSING for values that a knee does not have"
            )
        self._knee.extend(knee)
        self._subject.extend(subject)
        for name, value in values.items():
            self._columns.setdefault(name, []).append(value.clone())

    def clear(self) -> None:
        """Forget everything."""
        self._knee.clear()
        self._subject.clear()
        self._columns.clear()

    def gather(self, trainer: L.Trainer | None = None) -> EpochTable:
        """Join the rows of all processes; a knee that came more than once counts once.

        The distributed sampler repeats knees; their last record is kept. Records stay until :meth:`clear`.

        Args:
            trainer: asked for the number of processes. With more than one, **every** process must call
                this, also one that has no rows; without a trainer, this process's rows are the table.
        """
        return _gather({"": self}, trainer)[""]

    def _local(self) -> _Rows:
        columns = {name: _as_array(torch.cat(values)) for name, values in self._columns.items()}
        return self._knee, self._subject, columns


class EpochGathering:
    """The rows of the evaluation epoch that runs, shared by the model and all callbacks of a trainer.

    Whoever reads the epoch calls :meth:`start`, :meth:`add` and :meth:`table` from its own hooks; the first
    caller does the work, so any subset of readers works. Further columns are added under the name of their
    owner, and travel between processes in the same message. Get it with :func:`gathering_of`.
    """

    def __init__(self) -> None:
        self.loaders: dict[str, Any] = {}
        """Loaders of the latest training, by split."""
        self.calibrated: Callable[[EpochTable], EpochTable] | None = None  # before anybody reads it
        self.decoded: Callable[[EpochTable], EpochTable] | None = None  # after that
        self._forget()

    def start(self, trainer: L.Trainer, reader: str) -> None:
        """Forget the epoch before; called at the start of every evaluation epoch.

        Raises:
            ValueError: several dataloaders, whose knees would be mixed into one table.
        """
        _require_one_dataloader(trainer, reader)
        self._forget()

    def _forget(self) -> None:
        self._records: dict[str, EpochRecords] = {}
        self._batch = -1
        self._tables: dict[str, EpochTable] | None = None
        self.passes: dict[str, EpochTable] = {}
        """Tables of further splits, embedded beside this epoch for whoever asks."""

    def add(self, batch_idx: int, output: StepOutput, batch: Any) -> None:
        """Keep the common columns of a batch, once however many readers call this.

        They are ``embedding``; for each head ``{head}/probabilities``, ``{head}/severity``,
        ``{head}/labels`` and, where the step gives row losses, ``{head}/loss``; ``{term}/loss`` of the batch;
        and the labels of each target column of the batch, ``batch/targets/{column}``.
        """
        if self._batch != batch_idx:
            self._batch = batch_idx
            self.add_columns("", output, common_columns(output, batch))

    def add_columns(self, owner: str, output: StepOutput, columns: Mapping[str, Tensor]) -> None:
        """Keep the columns of a batch that one reader needs, one row a knee."""
        records = self._records.setdefault(owner, EpochRecords())
        records.add(knee=output["knee"], subject=output["subject"], **columns)

    def table(self, trainer: L.Trainer, owner: str = "", *, alone: bool = False) -> EpochTable:
        """The epoch's table, gathered at the first call; with several processes every one must call this.

        ``owner`` joins the columns that it added, for the knees for which it did; ``alone`` leaves the common
        columns out.
        """
        if self._tables is None:
            self._tables = _gather({"": EpochRecords(), **self._records}, trainer)
            for revise in filter(None, (self.calibrated, self.decoded)):
                self._tables[""] = revise(self._tables[""])
            self._records = {}
        common, own = self._tables[""], self._tables.get(owner, EpochTable([], [], {}))
        if alone or not owner:
            return own
        return common.join(own) if owner in self._tables else common


_running: WeakKeyDictionary[L.Trainer, EpochGathering] = WeakKeyDictionary()


def gathering_of(trainer: L.Trainer) -> EpochGathering:
    """The gathering that all readers of a trainer share."""
    return _running.setdefault(trainer, EpochGathering())


def common_columns(output: StepOutput, batch: Any) -> dict[str, Tensor]:
    """The columns that :meth:`EpochGathering.add` keeps of a batch."""
    columns = {"embedding": output["embedding"].flatten(1)}
    losses = cast("Mapping[str, Tensor]", output.get("row_losses", {}))
    for head, probabilities in output["probabilities"].items():
        columns[f"{head}/probabilities"] = probabilities
        columns[f"{head}/severity"] = output["severity"][head]
        columns[f"{head}/labels"] = output["targets"][head]
        if head in losses:
            columns[f"{head}/loss"] = losses[head]
    for term, loss in output["losses"].items():
        if term not in output["probabilities"]:  # a term of the objective: each knee has that of its batch
            columns[f"{term}/loss"] = loss.detach().expand(len(output["knee"]))
    targets = batch.get("targets") if isinstance(batch, Mapping) else None
    return columns | {f"batch/targets/{column}": labels for column, labels in (targets or {}).items()}


def as_step_output(outputs: Any, reader: str) -> StepOutput:
    """What a step returned, if it is a :class:`~oahier.types.StepOutput`.

    Raises:
        TypeError: it is something else; the message names the reader.
    """
    needed = StepOutput.__required_keys__ - {"row_losses"}
    missing = sorted(needed - set(outputs)) if isinstance(outputs, Mapping) else None
    if missing is None or missing:
        got = type(outputs).__name__ if missing is None else f"one without {missing}"
        raise TypeError(f"{reader}: expected the steps to return an oahier.types.StepOutput, got {got}")
    return cast("StepOutput", outputs)


def _require_one_dataloader(trainer: L.Trainer, reader: str) -> None:
    stage = (trainer.state.stage.dataloader_prefix if trainer.state.stage else "") or ""
    name = "num_sanity_val_batches" if trainer.sanity_checking else f"num_{stage}_batches"
    batches = getattr(trainer, name, None)
    if isinstance(batches, list) and len(batches) > 1:
        raise ValueError(
            f"{reader}: expected one {stage} dataloader, got {len(batches)}; "
            "evaluate them one after another, each with its own default_root_dir"
        )


_Rows = tuple[list[str], list[str], dict[str, "npt.NDArray[Any]"]]


def _as_array(values: Tensor) -> npt.NDArray[Any]:
    values = values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
    array: npt.NDArray[Any] = values.cpu().numpy()
    return array


def _gather(records: Mapping[str, EpochRecords], trainer: L.Trainer | None) -> dict[str, EpochTable]:
    """The tables of several records over all processes, in one message."""
    own = {owner: kept._local() for owner, kept in records.items()}
    everyone = [own]
    if trainer is not None and trainer.world_size > 1:
        if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
            raise RuntimeError(
                f"EpochRecords.gather: the trainer has {trainer.world_size} processes but "
                "torch.distributed is not initialised; use a strategy of the DDP kind"
            )
        received: list[Any] = [None] * trainer.world_size
        torch.distributed.all_gather_object(received, own)
        everyone = received
    owners = sorted({owner for rows in everyone for owner in rows})
    return {owner: _join([rows[owner] for rows in everyone if owner in rows]) for owner in owners}


def _join(everyone: Sequence[_Rows]) -> EpochTable:
    filled = [rows for rows in everyone if rows[0]]
    knee, subject = ([name for rows in filled for name in rows[side]] for side in (0, 1))
    last = {name: row for row, name in enumerate(knee)}
    rows = [last[name] for name in sorted(last)]
    order = np.asarray(rows)
    with torch.inference_mode(False):  # tests run in inference mode, but later analyses may differentiate
        columns = {
            name: torch.from_numpy(np.concatenate([rows[2][name] for rows in filled])[order])
            for name in (filled[0][2] if filled else ())
        }
    return EpochTable([knee[row] for row in rows], [subject[row] for row in rows], columns)
