"""Tables for papers, with the booktabs package."""

from __future__ import annotations

from collections.abc import Sequence

from oahier.pages.text import latex
from oahier.study.report.views import Entry, View

_ONE_PAGE = 36
"""Rows up to which a table floats; longer ones run over pages."""


def latex_tables(views: Sequence[View]) -> str:
    """Tables of one file.

    Needs the packages booktabs, graphicx (wide tables are made to fit) and longtable (long ones).
    """
    return "\n".join(_table(view) for view in views)


def _table(view: View) -> str:
    columns = view.align.replace("w", "p{60mm}")
    head = " & ".join(latex(_capital(name)) for name in view.columns) + r" \\"
    rows = [" & ".join(map(_entry, row)) + r" \\" for row in view.rows]
    body = _separated(view, rows)
    caption = rf"\caption{{{latex(view.title)}. {latex(view.note)}}}".replace(". }", ".}")
    label = rf"\label{{tab:{view.name.replace('_', '-')}}}"
    if len(rows) > _ONE_PAGE:
        lines = [
            r"% \usepackage{booktabs,longtable}", r"{\scriptsize\setlength{\tabcolsep}{3pt}",
            rf"\begin{{longtable}}{{{columns}}}", caption + label + r"\\", r"\toprule", head, r"\midrule",
            r"\endfirsthead", r"\toprule", head, r"\midrule", r"\endhead", r"\bottomrule", r"\endfoot", *body,
            r"\end{longtable}}",
        ]  # fmt: skip
    else:
        lines = [
            r"% \usepackage{booktabs,graphicx}", r"\begin{table}", r"\centering", caption, label,
            r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
            rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body, r"\bottomrule",
            r"\end{tabular}}", r"\end{table}",
        ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _separated(view: View, rows: Sequence[str]) -> list[str]:
    """A little space before each new level of the first factor."""
    lines: list[str] = []
    for place, row in enumerate(rows):
        if view.starts_group(place):
            lines.append(r"\addlinespace")
        lines.append(row)
    return lines


def _entry(entry: Entry) -> str:
    text = latex(entry.text)
    if entry.bold:
        text = rf"\textbf{{{text}}}"
    return f"{text} {latex(entry.detail)}".rstrip()


def _capital(name: str) -> str:
    return name[:1].upper() + name[1:] if len(name.split(" ")[0]) > 1 else name
