"""What happens to files: strategies of hypothesis that damage bytes."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

Damage = Callable[[bytes], bytes]


@st.composite
def truncated(draw: st.DrawFn) -> Damage:
    part = draw(st.floats(0, 0.999))
    return lambda content: content[: int(part * len(content))]


@st.composite
def flipped(draw: st.DrawFn, until: float = 1.0) -> Damage:
    """One to three bytes changed in the first share of the file."""
    places = draw(st.lists(st.floats(0, until, exclude_max=True), min_size=1, max_size=3))
    masks = [draw(st.integers(1, 255)) for _ in places]

    def change(content: bytes) -> bytes:
        changed = bytearray(content)
        for place, mask in zip(places, masks, strict=True):
            changed[int(place * len(content))] ^= mask
        return bytes(changed)

    return change


@st.composite
def appended(draw: st.DrawFn) -> Damage:
    tail = draw(st.binary(min_size=1, max_size=40))
    return lambda content: content + tail


@st.composite
def cut_inside(draw: st.DrawFn) -> Damage:
    start, length = draw(st.floats(0, 0.95)), draw(st.integers(1, 50))

    def cut(content: bytes) -> bytes:
        at = int(start * len(content))
        return content[:at] + content[at + length :]

    return cut


def other_kind(draw_from: tuple[bytes, ...]) -> st.SearchStrategy[Damage]:
    return st.sampled_from(draw_from).map(lambda replacement: lambda _: replacement)


OTHERS = other_kind(
    (b"", b"\0", b"hello" * 300, b"PK\x03\x04" + bytes(100), b"\x1f\x8b", bytes(2000), b"NRRD0004\n\n")
)
SEEN = st.one_of(truncated(), cut_inside(), OTHERS)
"""What every format shows."""


def quick(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=examples, deadline=None, suppress_health_check=checks, derandomize=True)
