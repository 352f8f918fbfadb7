"""Facts about files outlive their process, and damage to their file costs no more than what was damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from oahier.file_facts import FileFacts

HEADING = {"format": 1}


def store(path: Path, **heading: object) -> FileFacts:
    return FileFacts(path / "deep/facts.jsonl", HEADING | heading)


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    facts = store(tmp_path)
    for number, key in enumerate(("c", "a", "b")):
        facts.add(key, {"number": number, "text": "tab\tand\nline"})
    return tmp_path / "deep/facts.jsonl"


def test_records_are_read_again(filled: Path, tmp_path: Path) -> None:
    facts = store(tmp_path)
    assert list(facts) == ["a", "b", "c"]
    assert facts.get("c") == {"number": 0, "text": "tab\tand\nline"}
    assert facts.get("d") is None
    facts.add("a", {"number": 9})
    facts.add("c", None)
    for found in (facts, store(tmp_path)):
        assert list(found) == ["a", "b"]
        assert found.get("a") == {"number": 9}
        assert found.get("c") is None


def test_what_is_kept_is_sorted_and_can_be_added_to(filled: Path, tmp_path: Path) -> None:
    facts = store(tmp_path)
    facts.keep({"c", "a", "x"})
    assert [line[:3] for line in filled.read_bytes().splitlines()[1:]] == [b'"a"', b'"c"']
    before = filled.stat().st_mtime_ns
    facts.keep({"c", "a"})
    assert filled.stat().st_mtime_ns == before, "nothing to do, nothing written"
    facts.add("b", {"number": 5})
    for found in (facts, store(tmp_path)):
        assert [(found.get(key) or {})["number"] for key in found] == [1, 5, 0]


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_line_that_was_cut_is_no_record(filled: Path, tmp_path: Path, cut: int) -> None:
    filled.write_bytes(filled.read_bytes()[:-cut])
    facts = store(tmp_path)
    assert list(facts) == ["a", "c"]
    facts.add("b", {"number": 7})
    assert store(tmp_path).get("b") == {"number": 7}


def test_damaged_lines_cost_only_themselves(filled: Path, tmp_path: Path) -> None:
    heading, *lines = filled.read_bytes().splitlines(keepends=True)
    damaged = [lines[0].replace(b"{", b"["), b"null\n", b"1\t{}\n", b"\xff\n", b"\n", *lines[1:]]
    filled.write_bytes(b"".join([heading, *damaged]))
    facts = store(tmp_path)
    assert facts.get("c") is None
    assert facts.get("a") == {"number": 1, "text": "tab\tand\nline"}
    facts.keep({"a", "b"})
    assert filled.read_bytes() == b"".join([heading, *lines[1:]])


def test_a_store_for_something_else_is_begun_anew(filled: Path, tmp_path: Path) -> None:
    assert list(store(tmp_path, format=2)) == []
    assert list(store(tmp_path)) == []


def test_two_writers_at_once(filled: Path, tmp_path: Path) -> None:
    one, other = store(tmp_path), store(tmp_path)
    for number in range(20):
        one.add(f"one{number}", {"number": number})
        other.add(f"other{number}", {"number": number})
    for name, facts in (("one", one), ("other", other)):
        assert [facts.get(f"{name}{number}") for number in range(20)] == [{"number": n} for n in range(20)]
    assert len(list(store(tmp_path))) == 43


def test_another_process_replaced_the_file(filled: Path, tmp_path: Path) -> None:
    facts = store(tmp_path)
    store(tmp_path).keep({"b"})
    assert facts.get("a") in (None, {"number": 1, "text": "tab\tand\nline"})
    facts.add("d", {"number": 3})
    assert facts.get("d") in (None, {"number": 3})
    assert list(store(tmp_path)) == ["b", "d"]
