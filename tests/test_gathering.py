"""The table of an epoch: once a knee, sorted, the same on every process."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oahier import gathering
from oahier.gathering import EpochGathering, EpochRecords, gathering_of


def _pretend_ranks(monkeypatch, *parts):
    """Make gathering return the parts of several processes, as gloo would."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)

    def all_gather_object(target, own):
        assert own in parts
        target[:] = parts

    monkeypatch.setattr(torch.distributed, "all_gather_object", all_gather_object)
    return SimpleNamespace(world_size=len(parts))


def test_rows_are_joined_sorted_and_counted_once():
    records = EpochRecords()
    records.add(knee=["c", "a"], subject=["3", "1"], x=torch.tensor([[3.0], [1.0]]), n=np.array([3, 1]))
    records.add(knee=["b", "a"], subject=["2", "1"], x=torch.tensor([[2.0], [1.5]]), n=[2, 1])
    assert len(records) == 4

    table = records.gather()

    assert table.knee == ["a", "b", "c"]
    assert table.subject == ["1", "2", "3"]
    assert table["x"].tolist() == [[1.5], [2.0], [3.0]]
    assert table["n"].tolist() == [1, 2, 3]
    assert (len(table), sorted(table), "x" in table, "y" in table) == (3, ["n", "x"], True, False)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=5))
def test_any_split_into_batches_gives_the_same_table(batches):
    records = EpochRecords()
    for knees in batches:
        names = [str(knee) for knee in knees]
        records.add(knee=names, subject=names, value=torch.tensor(knees, dtype=torch.float64))
    table = records.gather()
    expected = sorted({str(knee) for knees in batches for knee in knees})
    assert table.knee == expected
    if expected:
        assert table["value"].tolist() == [float(knee) for knee in expected]


def test_values_are_kept_as_they_were_and_without_a_graph():
    records = EpochRecords()
    source = torch.ones(2, requires_grad=True)
    value = source * 2
    records.add(knee=["a", "b"], subject=["a", "b"], value=value)
    with torch.no_grad():
        value.zero_()
    table = records.gather()
    assert table["value"].tolist() == [2.0, 2.0]
    assert not table["value"].requires_grad


def test_half_precision_and_inference_tensors_come_as_ordinary_single_precision():
    records = EpochRecords()
    with torch.inference_mode():
        records.add(knee=["a"], subject=["a"], value=torch.ones(1, 2, dtype=torch.bfloat16))
        table = records.gather()
    assert table["value"].dtype == torch.float32
    assert not table["value"].is_inference()


def test_processes_with_unequal_rows_and_repeated_knees(monkeypatch):
    one, two, none = EpochRecords(), EpochRecords(), EpochRecords()
    one.add(knee=["d", "a"], subject=["4", "1"], value=torch.tensor([4.0, 1.0]))
    one.add(knee=["b"], subject=["2"], value=torch.tensor([2.0]))
    two.add(knee=["c", "d"], subject=["3", "4"], value=torch.tensor([3.0, 4.0]))
    parts = [{"": records._local()} for records in (one, two, none)]
    monkeypatch.setattr(EpochRecords, "_local", lambda self: parts[0][""])
    table = one.gather(_pretend_ranks(monkeypatch, *parts))
    assert table.knee == ["a", "b", "c", "d"]
    assert table["value"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_several_processes_without_a_process_group_are_an_error():
    with pytest.raises(RuntimeError, match=r"has 2 processes but torch\.distributed is not initialised"):
        EpochRecords().gather(SimpleNamespace(world_size=2))


def test_clear_and_empty():
    records = EpochRecords()
    records.add(knee=["a"], subject=["a"], value=torch.ones(1))
    records.clear()
    table = records.gather()
    assert len(table) == 0
    records.add(knee=["a"], subject=["a"], other=torch.ones(1))
    assert list(records.gather()) == ["other"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"value": torch.ones(3)}, r"column 'value' must have 2 rows .* got shape \(3,\)"),
        ({"value": torch.tensor(1.0)}, r"column 'value' must have 2 rows .* got shape \(\)"),
        ({"other": torch.ones(2)}, r"expected the columns of earlier batches \['value'\], got \['other'\]"),
    ],
)
def test_batches_that_do_not_fit_are_refused(values, message):
    records = EpochRecords()
    records.add(knee=["a", "b"], subject=["a", "b"], value=torch.ones(2))
    with pytest.raises(ValueError, match=message):
        records.add(knee=["c", "d"], subject=["c", "d"], **values)


def test_subjects_must_match_the_knees():
    with pytest.raises(ValueError, match="expected 2 subjects"):
        EpochRecords().add(knee=["a", "b"], subject=["a"])


def test_an_unknown_column_names_the_known_ones():
    records = EpochRecords()
    records.add(knee=["a"], subject=["a"], value=torch.ones(1))
    with pytest.raises(KeyError, match=r"no column 'valu'.*\['value'\]"):
        records.gather()["valu"]


def _output(*knees):
    rows = len(knees)
    return {
        "embedding": torch.arange(rows * 2.0).view(rows, 2),
        "probabilities": {"kl": torch.full((rows, 5), 0.2)},
        "severity": {"kl": torch.full((rows,), 2.0)},
        "targets": {"kl": torch.arange(rows)},
        "row_losses": {"kl": torch.arange(rows) / 10},
        "losses": {"consistency": torch.tensor(0.5)},
        "knee": list(knees),
        "subject": list(knees),
    }


def test_all_readers_of_an_epoch_share_one_table(monkeypatch):
    shared, trainer = EpochGathering(), SimpleNamespace(world_size=1)
    calls = []
    original = gathering._gather
    monkeypatch.setattr(gathering, "_gather", lambda *a: calls.append(a) or original(*a))
    for batch, knees in enumerate((("b", "a"), ("c",))):
        for _ in range(3):  # three readers add the same batch
            shared.add(batch, _output(*knees), {"targets": {"jsn": torch.ones(len(knees))}})
    shared.add_columns("mine", _output("c"), {"x": torch.tensor([7.0])})

    table = shared.table(trainer)
    assert table.knee == ["a", "b", "c"]
    assert sorted(table) == [
        "batch/targets/jsn", "consistency/loss", "embedding", "kl/labels", "kl/loss", "kl/probabilities",
        "kl/severity",
    ]  # fmt: skip
    assert table["kl/loss"].tolist() == pytest.approx([0.1, 0.0, 0.0])
    assert table["consistency/loss"].tolist() == [0.5, 0.5, 0.5]
    assert table.labels("jsn").tolist() == [1, 1, 1]
    assert table.labels("moaks").tolist() == [-1, -1, -1]
    assert shared.table(trainer) is table
    own = shared.table(trainer, "mine")
    assert (own.knee, own["x"].tolist(), own["embedding"].tolist()) == (["c"], [7.0], [[0.0, 1.0]])
    assert list(shared.table(trainer, "mine", alone=True)) == ["x"]
    assert shared.table(trainer, "nobody").knee == table.knee
    assert len(calls) == 1

    shared.start(SimpleNamespace(state=SimpleNamespace(stage=None), sanity_checking=False), "me")
    assert len(shared.table(trainer)) == 0


def test_every_trainer_has_its_own(tmp_path):
    from oahier.testing.model import tiny_trainer

    first, second = tiny_trainer(tmp_path), tiny_trainer(tmp_path)
    assert gathering_of(first) is gathering_of(first)
    assert gathering_of(first) is not gathering_of(second)
