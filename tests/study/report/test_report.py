"""The report shows what the tables hold, says what is missing, and is written whole or not at all."""

from __future__ import annotations

import itertools
import json
import re
import struct
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest

from oahier.pages.text import interval, number, p_value, signed
from oahier.study.report import page, write, write_report
from oahier.study.report.names import arrow, level_name

SECTIONS = (
    "run", "headline", "comparisons", "axis", "predictions", "seeds", "saliency", "browser", "methods",
)  # fmt: skip


class Tables(HTMLParser):
    """Tables of a page by caption: rows of cell texts, which of them are bold, and their hints."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.bold: dict[str, list[list[bool]]] = {}
        self.hints: dict[str, list[list[str]]] = {}
        self._caption, self._in, self._text = "", "", ""
        self._is_bold, self._hint = False, ""

    def handle_starttag(self, tag, attributes):
        if tag in ("caption", "td", "th"):
            self._in, self._text, self._is_bold = tag, "", False
            self._hint = dict(attributes).get("title") or ""
        elif tag == "tr" and self._caption:
            for kind in (self.tables, self.bold, self.hints):
                kind[self._caption].append([])
        elif tag == "strong":
            self._is_bold = True

    def handle_data(self, data):
        self._text += data if self._in else ""

    def handle_endtag(self, tag):
        if tag == "caption":
            self._caption = " ".join(self._text.split())
            for kind in (self.tables, self.bold, self.hints):
                kind.setdefault(self._caption, [])
        elif tag in ("td", "th") and self._caption:
            self.tables[self._caption][-1].append(" ".join(self._text.split()))
            self.bold[self._caption][-1].append(self._is_bold)
            self.hints[self._caption][-1].append(self._hint)
        elif tag == "table":
            self._caption = ""
        if tag == self._in:
            self._in = ""


@pytest.fixture(scope="module")
def tables(html):
    parser = Tables()
    parser.feed(html.split("<script>")[0])
    return parser


def table(study: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(
        study / "tables" / f"{name}.csv", dtype={"seed": str}, keep_default_na=False, na_values=[""]
    )


def text_of(html: str) -> str:
    """What a reader sees of the page, without scripts and styles."""
    body = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


def test_every_section_is_there_with_something_in_it(html):
    for name in SECTIONS:
        found = re.search(rf'<section id="{name}".*?</section>', html, flags=re.DOTALL)
        assert found is not None, name
        assert 'class="missing"' not in found[0], name
        assert f'href="#{name}"' in html
    assert "not for clinical use" in text_of(html)
    assert html.count("<h1") == 1
    assert len(html.encode()) < 30e6


def test_files_beside_the_page(study, report):
    comparisons = ("comparisons", "axis_comparisons", "saliency_comparisons")
    for name in ("cells", "headline", "axis", "saliency", *comparisons):
        source = study / "tables" / f"{name}.csv"
        assert (report / "tables" / f"{name}.csv").read_bytes() == source.read_bytes()
        assert r"\toprule" in (report / "tables" / f"{name}.tex").read_text()
    figures = {path.name for path in (report / "figures").iterdir()}
    names = {
        "forest_resnet3d", "forest_m3t", "forest_axis_resnet3d", "forest_axis_m3t",
        "forest_saliency_resnet3d", "forest_saliency_m3t", "severity_axis", "confusion_kl",
        "confusion_oa", "reliability_kl", "reliability_oa", "seeds", "saliency",
    }  # fmt: skip
    assert figures == {f"{name}.{kind}" for name in names for kind in ("pdf", "png", "svg")}
    for path in (report / "figures").glob("*.png"):
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert width > 400, path.name
        assert height > 200, path.name
    assert not list(study.glob(".report*"))


def test_reporting_items_say_what_is_found_and_missing(report, tables):
    found = pd.read_csv(report / "tables" / "checklist.csv", keep_default_na=False)
    _, *rows = tables.tables["Items of CLAIM 2024 and TRIPOD+AI"]
    assert len(rows) == len(found) > 80
    assert set(found["guideline"]) == {"CLAIM 2024", "TRIPOD+AI"}
    assert ((found["found"] == "") != (found["missing"] == "")).all()
    assert any("2 seeds a model (0 and 1)" in text for text in found["found"])


def test_headline_numbers_are_those_of_the_table(study, tables):
    headline = table(study, "headline")
    for task, part in headline.groupby("task"):
        head, *rows = tables.tables[f"{task} on the test split"]
        shown = {(row[0], row[1].rstrip("†")): dict(zip(head, row, strict=True)) for row in rows}
        assert len(shown) == 6
        for line in part.itertuples():
            row = shown[level_name(line.backbone), level_name(line.supervision)]
            expected = f"{number(line.value)} {interval(line.ci_low, line.ci_high)}"
            assert row[arrow(line.metric)] == expected
    assert re.fullmatch(r"0\.\d\d \[0\.\d\d, 0\.\d\d\]", rows[0][2])


def test_probes_have_a_dagger_and_seeds_a_hint(study, tables):
    rows = tables.tables["OA on the test split"][1:]
    assert [row[1] for row in rows] == 2 * ["Single-OA", "Single-KL†", "Dual"]
    rows = tables.tables["KL on the test split"][1:]
    assert [row[1] for row in rows] == 2 * ["Single-OA†", "Single-KL", "Dual"]
    headline = table(study, "headline")
    line = headline[(headline["task"] == "OA") & (headline["metric"] == "auc")].iloc[0]
    hints = tables.hints["OA on the test split"]
    assert hints[1][2] == f"2 seeds, standard deviation {line['seed_sd']:.3f}"
    assert hints[6][2] == "1 seed, no standard deviation"  # the other seed of M3T Dual failed


def test_the_best_value_of_each_group_is_bold(study, tables):
    headline = table(study, "headline")
    for task, part in headline.groupby("task"):
        head = tables.tables[f"{task} on the test split"][0]
        bold = tables.bold[f"{task} on the test split"][1:]
        for (backbone, metric), values in part.groupby(["backbone", "metric"]):
            shown = np.array([float(f"{value:.2f}") for value in values["value"]])
            best = shown.min() if metric in ("brier", "mae", "rps") else shown.max()
            start = 0 if backbone == "resnet3d" else 3
            column = head.index(arrow(metric))
            assert [row[column] for row in bold[start : start + 3]] == list(shown == best), (backbone, metric)


def test_differences_are_those_of_the_table(study, tables):
    head, *rows = tables.tables["Paired differences of performance"]
    comparisons = table(study, "comparisons")
    assert len(rows) == len(comparisons)
    for row, line in zip(rows, comparisons.itertuples(), strict=True):
        shown = dict(zip(head, row, strict=True))
        assert shown["difference"] == f"{signed(line.difference)} {interval(line.ci_low, line.ci_high)}"
        assert (shown["p"], shown["p adjusted"]) == (p_value(line.p_value), p_value(line.p_adjusted))
        assert shown["b − a"] == f"{level_name(line.model_b)} − {level_name(line.model_a)}"
        assert (shown["a"], shown["b"]) == (number(line.a), number(line.b))
        assert shown["b not better"] == number(line.p_not_better, 3)
        assert shown["seen at 80 %"] == number(line.detectable)
    mcnemar = rows[head.index("metric") and [row[2] for row in rows].index("accuracy")]
    assert (mcnemar[-3], mcnemar[-1]) == ("undecided", "exact McNemar")


def test_latex_holds_the_same_numbers(study, report):
    text = (report / "tables" / "headline.tex").read_text()
    for line in table(study, "headline").itertuples():
        entry = f"{number(line.value)} {interval(line.ci_low, line.ci_high)}"
        bold = rf"\textbf{{{number(line.value)}}} {interval(line.ci_low, line.ci_high)}"
        assert entry in text or bold in text
    assert r"\textbf{" in text
    text = (report / "tables" / "comparisons.tex").read_text()
    for line in table(study, "comparisons").itertuples():
        difference = f"{signed(line.difference)} {interval(line.ci_low, line.ci_high)}".replace("−", "$-$")
        assert (
            difference in text
            or difference.replace(signed(line.difference).replace("−", "$-$"), "", 1) in text
        )


def test_latex_is_well_formed(report):
    for path in sorted((report / "tables").glob("*.tex")):
        text = path.read_text()
        plain = re.sub(r"\\[\\{}%&_$#]", "", re.sub(r"^%.*$", "", text, flags=re.MULTILINE))
        assert plain.count("{") == plain.count("}"), path.name
        assert plain.count("$") % 2 == 0, path.name
        assert text.count(r"\begin") == text.count(r"\end{"), path.name
        assert text.isascii(), [letter for letter in text if not letter.isascii()][:5]
        for columns, body in re.findall(
            r"\\begin\{(?:tabular|longtable)\}\{(.*?)\}\n(.*?)\\end", text, re.DOTALL
        ):
            amount = len(re.sub(r"\{.*?\}|\{.*", "", columns))
            for row in re.findall(r"^(.*) \\\\$", body, re.MULTILINE):
                assert len(re.findall(r"(?<!\\)&", row)) == amount - 1, row


def test_nothing_is_loaded_from_elsewhere(html):
    markup = re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    for tag, value in re.findall(r"<(\w+)[^>]*?\s(?:src|href|srcset|action|data)=\"([^\"]*)\"", markup):
        local = value.startswith(("#", "data:"))
        assert local or (tag == "a" and value.startswith("https://")), (tag, value)
    assert not re.search(r"@import|url\(", re.findall(r"<style>(.*?)</style>", html, re.DOTALL)[0])
    assert "<iframe" not in markup
    assert '<link rel="stylesheet' not in markup


def test_special_characters_stay_text(html, study):
    assert "<script>alert('K')" not in html
    assert "&lt;script&gt;alert(&#39;K&#39;)&lt;/script&gt;" in html
    texts = [text.partition(",")[0] for text in re.findall(r"<title>(.*?)</title>", html)]
    assert "&lt;script&gt;alert('K')&lt;/script&gt;" in texts  # pointing at the knee on the severity axis
    browser = json.loads(re.findall(r'id="browser-data">(.*?)</script>', html, re.DOTALL)[0])
    names = [unquote(path.stem) for path in sorted((study / "knees").iterdir())]
    assert [knee["name"] for knee in browser["knees"]] == names
    assert "<script>alert('K')</script>" in names


def test_special_characters_of_errors(small):
    error = 'ValueError: 50% of <b>x_1</b> & $y$ {z} ~ ^ \\ # are "bad"'
    folder = small(
        supervisions=("single-oa", "dual"), seeds=("0", "1"), failed=("resnet3d_dual_1",), error=error
    )
    report = write_report(folder).parent
    assert "50% of &lt;b&gt;x_1&lt;/b&gt; &amp; $y$" in (report / "index.html").read_text()
    text = (report / "tables" / "cells.tex").read_text()
    assert r"50\% of \textless{}b\textgreater{}x\_1\textless{}/b\textgreater{} \& \$y\$ \{z\}" in text
    assert r"\textasciitilde{} \textasciicircum{} \textbackslash{} \# are ''bad''" in text


def test_a_failed_cell_is_listed_with_its_error(html, tables):
    assert "m3t_dual_1 : RuntimeError: loss is nan in epoch 3; lower the learning rate" in text_of(html)
    assert "11 finished, 1 failed" in text_of(html)
    states = [row[3] for row in tables.tables["Cells of the study"][1:]]
    assert (states.count("failed"), states.count("finished")) == (1, 11)


@pytest.mark.parametrize(
    ("entries", "sentence", "section"),
    [
        ({"cartilage": False}, "the knees have no cartilage masks", "saliency"),
        ({"saliency": ()}, "No saliency was computed in this study", "saliency"),
        ({"saliency": ()}, "No volumes or saliency maps of test knees were kept", "browser"),
        ({"shown": 0}, "No volumes or saliency maps of test knees were kept", "browser"),
        ({"heads": ("kl",)}, "No model of this study has a head for OA", "headline"),
        ({"supervisions": ("dual",)}, "There are no paired comparisons", "comparisons"),
        ({}, "There is one seed only, so its spread is unknown", "seeds"),
        ({"waiting": ("resnet3d_dual_0",)}, "resnet3d_dual_0 : waiting", "run"),
        ({"tables": ()}, "There is no table of results", "headline"),
        ({"tables": ()}, "There is no table of axis metrics", "axis"),
        ({"failed": ("resnet3d_dual_0", "resnet3d_single-kl_0")}, "No cell has finished", "methods"),
    ],
)
def test_what_is_missing_is_said(small, entries, sentence, section):
    html = write_report(small(figures=section == "seeds", **entries)).read_text()
    found = re.search(rf'<section id="{section}".*?</section>', html, flags=re.DOTALL)
    assert found is not None
    assert sentence in text_of(found[0])


def test_one_training_of_each_is_not_called_a_spread(small):
    html = text_of(write_report(small()).read_text())
    assert "Value with 95 % interval, one seed only." in html
    assert "Each condition was trained once" in html
    assert "intervals cover the sampling of subjects, not other scanners" in html


def test_oa_read_from_grades_is_marked(small):
    folder = small(heads=("kl",), supervisions=("single-kl", "dual"))
    path = folder / "tables" / "headline.csv"
    headline = pd.read_csv(path)
    path.write_text(
        pd.concat([headline, headline.assign(task="OA", metric="auc", probe=False).head(1)]).to_csv(
            index=False
        )
    )
    html = text_of(write_report(folder).read_text())
    assert "Single-KL‡" in html
    assert "P(OA) is the sum of the probabilities of KL 2 and more" in html


def test_a_crash_leaves_the_old_report(small, monkeypatch):
    folder = small()
    index = write_report(folder)
    before = files_of(index.parent)
    (folder / "tables" / "headline.csv").unlink()

    def crash(material):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(write, "page", crash)
        with pytest.raises(OSError, match="No space left"):
            write_report(folder)
    assert files_of(index.parent) == before
    assert not list(folder.glob(".report*"))

    def refuse(source, target):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(write.os, "replace", refuse)
        with pytest.raises(PermissionError):
            write_report(folder)
    assert files_of(index.parent) == before
    assert not list(folder.glob(".report*"))
    assert write_report(folder) == index
    assert not (index.parent / "tables" / "headline.csv").exists()  # nothing of an old report stays


def test_the_same_files_give_the_same_bytes(small, monkeypatch):
    drawn = write._figures
    folder = small()
    monkeypatch.setattr(write, "_figures", lambda material: itertools.islice(drawn(material), 0, 5, 2))
    first = files_of(write_report(folder).parent)
    again = files_of(write_report(folder).parent)
    assert [name for name in first if first[name] != again.get(name)] == []
    assert len(again) == len(first) > 20


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_is_no_study(tmp_path):
    with pytest.raises(ValueError, match="expected the folder of a study"):
        write_report(tmp_path)


def test_levels_that_no_cell_has_were_not_run(small):
    folder = small()
    path = folder / "study.json"
    content = json.loads(path.read_text())
    content["factors"]["supervision"].append("hace")
    path.write_text(json.dumps(content))
    facts = text_of(write_report(folder).read_text()).partition("What was run")[2].partition("cells")[0]
    assert "Single-KL and Dual" in facts
    assert "HACE" not in facts


def test_a_table_without_a_column_is_named(small):
    folder = small()
    path = folder / "tables" / "headline.csv"
    path.write_text(pd.read_csv(path).drop(columns="probe").to_csv(index=False))
    with pytest.raises(ValueError, match=r"headline\.csv: expected a column 'probe'"):
        write_report(folder)
    assert not (folder / "report").exists()


@pytest.mark.parametrize("name", ["knees/K000.npz", "cells/resnet3d_dual_0/embeddings.npz"])
def test_a_damaged_file_is_named(small, name):
    folder = small(figures=True)
    (folder / name).write_bytes(b"PK\x03\x04 half")
    with pytest.raises(ValueError, match=re.escape(name.rpartition("/")[2])):
        write_report(folder)


def test_nan_is_a_dash(small):
    folder = small()
    path = folder / "tables" / "comparisons.csv"
    comparisons = pd.read_csv(path)
    comparisons.loc[0, ["difference", "ci_low", "ci_high", "p_value", "p_adjusted", "p_not_better"]] = np.nan
    path.write_text(comparisons.to_csv(index=False))
    html = write_report(folder).read_text()
    assert "NaN" not in re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL)
    assert page.for_script({"x": None}) == '{"x":null}'
    parser = Tables()
    parser.feed(html.split("<script>")[0])
    row = parser.tables["Paired differences of performance"][1]
    assert row[-7:-3] == ["–"] * 4
