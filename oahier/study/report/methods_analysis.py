"""The part of a methods section on statistics, severity axes and saliency."""

from __future__ import annotations

import numpy as np
import pandas as pd

from oahier.hierarchy import COARSE, FINE, head_label
from oahier.pages.text import count, listed
from oahier.study.report.contents import Contents
from oahier.study.report.names import TESTS
from oahier.study.report.views import margin_words


def statistics(contents: Contents) -> list[str]:
    """Sentences on intervals, tests and correction."""
    headline, compared = contents.tables.get("headline"), contents.tables.get("comparisons")
    sentences = []
    if headline is not None and "scope" in headline:
        sentences.append(
            "Intervals are 95 % t intervals with variances from the jackknife over subjects [@jackknife], "
            "which leaves out all knees of a subject together"
            + (
                "; random seeds were treated as readers [@obuchowski] [@hillis]."
                if _recipe(headline)
                else "."
            )
        )
    if compared is not None:
        tests = _values(compared, "test")
        cited = "".join(
            reference for word, reference in _CITED.items() if any(word in test.lower() for test in tests)
        )
        sentences.append(
            "Models were compared on the same test knees"
            + (f" by {listed([_test(test) for test in tests])}{cited}" if tests else "")
            + "."
        )
        if "margin" in compared:
            sentences.append(f"Margins: {margin_words(compared)}.")
        corrections = _values(compared, "correction")
        if corrections == ["none"]:
            sentences.append("p-values were not corrected for multiple testing.")
        elif corrections:
            named = [_correction(name) for name in corrections]
            amount = count(int(compared["p_adjusted"].notna().sum()), "comparison")
            sentences.append(f"p-values were corrected for {amount} by {listed(named)}.")
    undefined = sum(
        int(table["undefined"].fillna(0).gt(0).sum())
        for table in (headline, compared)
        if table is not None and "undefined" in table
    )
    if undefined:
        sentences.append(
            f"{count(undefined, 'estimate')} had no value without some subject, or in some resamples."
        )
    return sentences


_CITED = {
    "mcnemar": " [@mcnemar]", "delong": " [@delong] [@sun]", "clustered": " [@clustered]",
    "obuchowski": " [@obuchowski] [@hillis]", "jackknife": " [@jackknife]", "bootstrap": " [@bootstrap]",
}  # fmt: skip


def _recipe(table: pd.DataFrame) -> bool:
    return bool((table["scope"] == "recipe").any())


def _values(table: pd.DataFrame, column: str) -> list[str]:
    return list(dict.fromkeys(table[column].dropna().astype(str))) if column in table else []


def _test(name: str) -> str:
    text = TESTS.get(name, name.replace("_", " "))
    return f"the {text} test" if text in TESTS.values() and "bootstrap" not in text else f"the {text}"


def _correction(name: str) -> str:
    plain = name.lower()
    if plain.startswith(("bh", "benjamini", "fdr")):
        return "the method of Benjamini and Hochberg [@benjamini]"
    return "the method of Holm [@holm]" if plain.startswith("holm") else name


def geometry(contents: Contents) -> list[str]:
    """Sentences on the severity axis."""
    axis = contents.tables.get("axis")
    if axis is None:
        return []
    trend = (
        ", and the trend over the grades (Jonckheere-Terpstra test [@jonckheere])"
        if "trend_z" in axis
        else ""
    )
    fine, coarse = map(head_label, (FINE, COARSE))
    return [
        "The severity axis is the first principal component of the embeddings of the training knees, "
        "standardised by their mean and standard deviation; it was measured on the test knees by the "
        f"absolute Spearman correlation of the projection with {fine} and {coarse}, the AUC of a "
        f"one-dimensional logistic probe for {coarse}, the separation of neighbouring grades{trend}."
    ]


def saliency(contents: Contents) -> list[str]:
    """Sentences on saliency and its controls."""
    table = contents.tables.get("saliency")
    if table is None:
        return []
    methods = sorted({str(method).rpartition("-")[0] or str(method) for method in table["method"]})
    named = []
    if any("cam" in method for method in methods):
        named.append("Grad-CAM [@gradcam]" if "gradcam" in methods else "class activation maps [@gradcam]")
    if "smoothgrad" in methods:
        named.append("SmoothGrad × input [@smoothgrad]")
    sentence = (
        f"Saliency by {listed(named or methods)} was compared with the cartilage mask on the test knees"
    )
    controls = ["chance"]
    if "image" in table and np.isfinite(table["image"].astype(float)).any():
        controls.append("the positive voxels of the image")
    if np.isfinite(table["other_cartilage"].astype(float)).any():
        controls.append("the same map in the cartilage of other test knees")
    if np.isfinite(table["randomised"].astype(float)).any():
        controls.append("a network with random weights [@sanity]")
    return [f"{sentence}, and with {listed(controls)}."]
