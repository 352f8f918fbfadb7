"""Numbers and sentences as they are printed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

NOTHING = "–"
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{",
    "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", "−": "$-$", "×": r"$\times$", "ρ": r"$\rho$", "′": "$'$",
    "↓": r"$\downarrow$", "≥": r"$\ge$", "†": r"$^\dagger$", "‡": r"$^\ddagger$", "–": "--",
    "±": r"$\pm$", "χ": r"$\chi$", "²": "$^2$", "∞": r"$\infty$", '"': "''",
}  # fmt: skip


def as_float(value: Any) -> float:
    """A number of a table; NaN where it is empty."""
    return math.nan if value is None or value != value or value == "" else float(value)


def number(value: float | int | None, digits: int = 2) -> str:
    """A value with a true minus sign; a dash where it is undefined.

    >>> number(0.123), number(-1.5), number(float("nan")), number(-0.001)
    ('0.12', '−1.50', '–', '0.00')
    """
    if value is None or math.isnan(value):
        return NOTHING
    text = f"{value:.{digits}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return text.replace("-", "−").replace("inf", "∞")


def signed(value: float | None, digits: int = 2) -> str:
    """A difference with its sign.

    >>> signed(0.123), signed(-0.5), signed(0.001)
    ('+0.12', '−0.50', '0.00')
    """
    text = number(value, digits)
    return f"+{text}" if value is not None and value > 0 and text.strip("0.") else text


def interval(low: float | None, high: float | None, digits: int = 2) -> str:
    """An interval, or nothing where it is undefined.

    >>> interval(0.61, 0.8)
    '[0.61, 0.80]'
    """
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return ""
    return f"[{number(low, digits)}, {number(high, digits)}]"


def from_to(low: float, high: float, digits: int = 3, *, signs: bool = False) -> str:
    """An interval within a sentence.

    >>> from_to(0.61, 0.8), from_to(-0.1, 0.2, 2, signs=True), from_to(math.nan, math.nan)
    ('0.610 to 0.800', '−0.10 to +0.20', 'undefined')
    """
    if math.isnan(low) or math.isnan(high):
        return "undefined"
    told = signed if signs else number
    return f"{told(low, digits)} to {told(high, digits)}"


def p_value(value: float | None) -> str:
    """A p-value with three decimals.

    >>> p_value(0.0123), p_value(0.0007), p_value(1.0)
    ('0.012', '<0.001', '1.000')
    """
    if value is None or math.isnan(value):
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def p_equals(value: float | None) -> str:
    """A p-value within a sentence.

    >>> p_equals(0.0123), p_equals(0.00001), p_equals(math.nan)
    ('= 0.012', '< 0.001', 'undefined')
    """
    text = p_value(value)
    return f"< {text[1:]}" if text.startswith("<") else "undefined" if text == NOTHING else f"= {text}"


def count(amount: int, noun: str, plural: str = "") -> str:
    """An amount with its noun in the right number.

    >>> count(1, "knee"), count(2, "knee"), count(1200, "study", "studies")
    ('1 knee', '2 knees', '1,200 studies')
    """
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def listed(items: Sequence[str], word: str = "and") -> str:
    """Items in a sentence.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} {word} {items[-1]}"


def latex(text: str) -> str:
    r"""Text with every character that LaTeX reads as something else written out.

    >>> print(latex("a_b & 5 % <x>"))
    a\_b \& 5 \% \textless{}x\textgreater{}
    """
    return re.sub(r"[^\n]", lambda found: _LATEX.get(found[0], found[0]), text)


def file_name(text: str) -> str:
    """A name that any file system takes.

    >>> file_name("ResNet3D, 50 %")
    'resnet3d-50'
    """
    return re.sub(r"[^a-z0-9.+-]+", "-", text.lower()).strip("-.") or "all"
