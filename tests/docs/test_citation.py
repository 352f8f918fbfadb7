"""The citation file has what the Citation File Format 1.2.0 requires, and says what the package says."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from typing import Any

import yaml

import oahier

ROOT = Path(__file__).parents[2]
ARXIV = "2605.00718"


def citation() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    return content


def test_required_keys() -> None:
    content = citation()
    assert content["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(content)
    for person in content["authors"]:
        assert {"name"} <= set(person) or {"family-names", "given-names"} <= set(person)
    assert isinstance(content.get("date-released", datetime.date.today()), datetime.date)


def test_agrees_with_the_package() -> None:
    content = citation()
    assert content["version"] == oahier.__version__
    assert content["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()[:300]
    assert "Version 2.0" in (ROOT / "LICENSE").read_text()[:300]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert re.search(rf"^## \[({re.escape(oahier.__version__)}|Unreleased)\]", changelog, re.MULTILINE)


def test_the_paper_is_cited() -> None:
    content = citation()
    paper = content["preferred-citation"]
    assert paper in content["references"] or paper["title"] in [
        item["title"] for item in content["references"]
    ]
    for reference in (paper, *content["references"]):
        assert {"type", "title", "authors"} <= set(reference)
    assert ARXIV in str(paper["identifiers"])
    assert paper["year"] == 2026
    for page in ("README.md", "docs/index.md"):
        assert ARXIV in (ROOT / page).read_text(), page
