"""What a checkpoint records of the data, and what it warns of when it is tested."""

from __future__ import annotations

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from oahier.data import KneeMRIDataModule, Manifest, read_manifest


@pytest.fixture
def manifest(knees: Path) -> Manifest:
    """Ten subjects with two knees each: six train, two validate, two test."""
    manifest = read_manifest(knees)
    split = ["train"] * 12 + ["val"] * 4 + ["test"] * 4
    return Manifest.from_table(manifest.table.assign(split=split), manifest.root)


def with_splits(manifest: Manifest, **splits: list[int]) -> Manifest:
    """Other splits of the knees at positions; knees that are not named are gone."""
    split = pd.Series("", index=manifest.table.index)
    for name, positions in splits.items():
        split.iloc[positions] = name
    table = manifest.table.assign(split=split)
    return Manifest.from_table(table[split != ""], manifest.root)


def test_the_other_knee_of_a_training_subject_is_no_test_knee(
    make: Callable[..., KneeMRIDataModule], manifest: Manifest
) -> None:
    """Subjects count, not knees: both sides and all visits of a person are alike."""
    left = with_splits(manifest, train=[0, 2, 4, 6], val=[8, 10], test=[12, 14])
    right = with_splits(manifest, train=[5, 7], val=[9, 11], test=[1, 3, 13])
    state = make(left).state_dict()
    message = r"2 of 3 test subjects were in the training or validation split of the checkpoint, for.*'000'"
    with pytest.warns(UserWarning, match=message):
        make(right).load_state_dict(state)


def test_validation_subjects_chose_the_checkpoint(
    make: Callable[..., KneeMRIDataModule], manifest: Manifest
) -> None:
    state = make(with_splits(manifest, train=[0, 2], val=[4, 6], test=[8, 10])).state_dict()
    other = make(with_splits(manifest, train=[0, 2], val=[4, 8], test=[6, 10]))
    with pytest.warns(UserWarning, match="1 of 2 test subjects were in the training or validation split"):
        other.load_state_dict(state)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(with_splits(manifest, train=[4, 6], val=[0, 2], test=[8, 10])).load_state_dict(state)


def described(manifest: Manifest, **columns: Any) -> Manifest:
    return Manifest.from_table(manifest.table.assign(**columns), manifest.root)


def test_a_summary_of_the_data_names_nobody(
    make: Callable[..., KneeMRIDataModule], manifest: Manifest
) -> None:
    sexes = (["F", "F", "female", "female"] + ["M"] * 6 + ["", ""] + ["F"] * 4 + ["M"] * 4)[:20]
    ages = [50.0 + 2 * (number // 2) for number in range(20)]
    ages[10] = ages[11] = float("nan")
    data = make(
        described(
            manifest, Sex=sexes, age=ages, site=list("AABBCCDDEEFFGGHHIIJJ"),
            licence=["CC BY 4.0"] * 19 + [""], source=[f"secret/s{number}.dcm" for number in range(20)],
            source_hash="c0ffee",
        )
    )  # fmt: skip
    summary = data.state_dict()["summary"]
    assert summary == {
        "splits": {
            "train": {
                "knees": 12, "subjects": 6, "kl": [4, 2, 2, 2, 2], "oa": [6, 6],
                "sex": {"female": 2, "male": 3, "unknown": 1}, "age": {"mean": 54.0, "sd": 3.2, "known": 5},
                "sites": 6,
            },
            "val": {
                "knees": 4, "subjects": 2, "kl": [0, 2, 2, 0, 0], "oa": [2, 2],
                "sex": {"female": 2}, "age": {"mean": 63.0, "sd": 1.4, "known": 2}, "sites": 2,
            },
            "test": {
                "knees": 4, "subjects": 2, "kl": [0, 0, 0, 2, 2], "oa": [0, 4],
                "sex": {"male": 2}, "age": {"mean": 67.0, "sd": 1.4, "known": 2}, "sites": 2,
            },
        },
        "licences": {"CC BY 4.0": 19},
    }  # fmt: skip
    text = json.dumps(summary)
    assert not any(word in text for word in ("secret", "c0ffee", "000"))
    content = io.BytesIO()
    torch.save(data.state_dict(), content)
    content.seek(0)
    assert torch.load(content, weights_only=True)["summary"] == summary


def test_what_is_not_known_is_not_in_the_summary(
    make: Callable[..., KneeMRIDataModule], manifest: Manifest
) -> None:
    plain = make(manifest).state_dict()["summary"]
    assert plain["splits"]["val"] == {"knees": 4, "subjects": 2, "kl": [0, 2, 2, 0, 0], "oa": [2, 2]}
    assert plain["licences"] == {}
    unclear = described(manifest, sex=[1, 2] * 10, age=["old"] * 20, site=[""] * 20, kl=-1, oa=-1)
    assert make(unclear).state_dict()["summary"]["splits"]["val"] == {
        "knees": 4, "subjects": 2, "kl": [0] * 5, "oa": [0, 0]
    }  # fmt: skip
