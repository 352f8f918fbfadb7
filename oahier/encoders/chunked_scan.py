"""A linear recurrence over many tokens in vector operations: linear work, and states in few places only.

Tokens are cut into segments, a segment into chunks, and all chunks of a segment advance together, one token
a step. A step is one vector operation over chunks, states and channels, and what it touches stays in the
cache. Chunks start from zero first; their true starting states follow from what is left of them at their
ends, and a second pass gives the result. Only starting states are kept. The backward pass computes the
others again, one segment at a time, and sends the adjoint through the chunks in the same two passes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

_LOG2_E = math.log2(math.e)  # exp2 takes a third of the time of exp
_STEP = {"cpu": 32767}
_LARGE_STEP = 2**20
"""Numbers in a step. On the CPU, as many as PyTorch works through without waking other threads."""


def chunks_at_once(device: torch.device, size: int) -> int:
    """How many chunks advance together, of states with ``size`` numbers in all sequences of a batch."""
    return max(1, _STEP.get(device.type, _LARGE_STEP) // size)


@dataclass(frozen=True)
class Layout:
    """Segments one after the other, each of ``chunks`` in parallel, each of ``chunk`` tokens."""

    tokens: int
    chunk: int
    chunks: int

    @classmethod
    def of(cls, x: Tensor, states: int, chunk: int) -> Layout:
        """The layout for ``x`` of shape ``(batch, tokens, channels)``: segments of about equal length."""
        batch, tokens, channels = x.shape
        chunk = min(chunk, tokens)
        chunks = -(-tokens // chunk)
        segments = -(-chunks // chunks_at_once(x.device, batch * channels * states))
        return cls(tokens, chunk, -(-chunks // segments))

    @property
    def starts(self) -> range:
        """First token of each segment."""
        return range(0, self.tokens, self.chunk * self.chunks)

    def cut(self, item: Tensor, start: int) -> Tensor:
        """Tokens of a segment as ``(chunk, batch, chunks, width)``: a view.

        Behind the last token there are zeros, which change no state; then it is a copy.
        """
        length = self.chunk * self.chunks
        part = item[:, start : start + length]
        if part.shape[1] < length:
            part = pad(part, (0, 0, 0, length - part.shape[1]))
        cut: Tensor = part.unflatten(1, (self.chunks, self.chunk))
        return cut.permute(2, 0, 1, 3)

    def room(self, item: Tensor, start: int) -> Tensor:
        """Where to write a segment of a result: the view of :meth:`cut`, or a place of its own."""
        return (
            self.cut(item, start)
            if start + self.chunk * self.chunks <= self.tokens
            else self.cut(item.new_empty(len(item), 0, item.shape[2]), 0)
        )

    def settle(self, part: Tensor, start: int, item: Tensor) -> None:
        """Copy what was written to a place of its own."""
        if start + self.chunk * self.chunks > self.tokens:
            item[:, start:] = part.permute(1, 2, 0, 3).flatten(1, 2)[:, : self.tokens - start]


def chain(left: Tensor, decay: Tensor, carry: Tensor, *, back: bool = False) -> tuple[Tensor, Tensor]:
    """States at the start of every chunk, from what chunks that start from zero leave at their ends.

    Args:
        left: ``(batch, chunks, states, channels)``.
        decay: what remains of a state after a chunk, same shape.
        carry: ``(batch, states, channels)``, the state before the first chunk.
        back: begin with the last chunk.

    Returns:
        the states, and the carry for the next segment.
    """
    pairs = list(zip(left.unbind(1), decay.unbind(1), strict=True))
    states = []
    for end, remains in reversed(pairs) if back else pairs:
        states.append(carry)
        carry = torch.addcmul(end, remains, carry)
    return torch.stack(states[::-1] if back else states, dim=1), carry


class Memory:
    """What a scan found, for the one time that activation checkpointing runs it again."""

    def __init__(self) -> None:
        self._found: list[Tensor] = []
        self.used = False

    def __bool__(self) -> bool:
        return bool(self._found)

    def put(self, found: list[Tensor]) -> None:
        """Keep a result."""
        self._found, self.used = found, True

    def pop(self) -> list[Tensor]:
        """Take the result out."""
        found, self._found = self._found, []
        return found


class ChunkedScan(torch.autograd.Function):
    r"""All :math:`h_t C_t` and the last :math:`h_t = e^{\Delta_t A} \odot h_{t-1} + \Delta_t x_t B_t`.

    Arguments as in :func:`oahier.encoders.selective_scan.selective_scan`, all of one type; states, the first
    and the last one, are ``(batch, states, channels)``.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor, chunk: int,
        memory: Memory | None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        delta = delta.contiguous()
        ctx.layout = layout = Layout.of(x, A.shape[1], chunk)
        y, last, *kept = memory.pop() if memory else _run(layout, x, delta, A, B, C, state)
        ctx.save_for_backward(x, delta, A, B, C, *kept)
        if memory is not None and not memory.used:
            memory.put([y.detach(), last.detach(), *kept])
        return y, last

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, carry: Tensor) -> tuple[Tensor | None, ...]:
        x, delta, A, B, C, *kept = ctx.saved_tensors
        gradient, values = gradient.contiguous(), delta * x
        layout: Layout = ctx.layout
        scan = _Segment(layout, A, len(x))
        to_values, to_delta, to_B, to_C = results = [
            torch.empty_like(item, memory_format=torch.contiguous_format) for item in (values, delta, B, C)
        ]
        to_A = torch.zeros_like(kept[0])
        for index, start in reversed(list(enumerate(layout.starts))):
            begin, remains = kept[2 * index : 2 * index + 2]
            scan.load(*(layout.cut(item, start) for item in (delta, values, B, C)))
            slopes = layout.cut(gradient, start)
            rooms = [layout.room(result, start) for result in results]
            scan.states(begin, slopes, rooms[3])
            adjoint, carry = chain(scan.adjoint_left(slopes), remains, carry, back=True)
            scan.gradients(adjoint, slopes, rooms[:3], to_A)
            for room, result in zip(rooms, results, strict=True):
                layout.settle(room, start, result)
        to_delta.addcmul_(to_values, x)
        return to_values.mul_(delta), to_delta, to_A.sum(dim=(0, 1)).t(), to_B, to_C, carry, None, None


def _run(
    layout: Layout, x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, state: Tensor
) -> list[Tensor]:
    """``y``, the last state, and two tensors a segment: starting states and what remains after a chunk."""
    values = delta * x
    scan = _Segment(layout, A, len(x))
    y, kept = torch.empty_like(values), []
    for start in layout.starts:
        scan.load(*(layout.cut(item, start) for item in (delta, values, B, C)))
        remains = scan.total_decay()
        begin, state = chain(scan.left(), remains, state)
        room = layout.room(y, start)
        scan.read(begin, room)
        layout.settle(room, start, y)
        kept += [begin, remains]
    return [y, state, *kept]


class _Segment:
    """The steps of one segment after the other, in buffers that they share.

    Lists have one entry a step. Columns ``(batch, chunks, states, 1)`` and rows ``(batch, chunks, 1,
    channels)`` broadcast to a state ``(batch, chunks, states, channels)``.
    """

    def __init__(self, layout: Layout, A: Tensor, batch: int) -> None:
        self.natural = A.t().contiguous()
        self.rate = self.natural * _LOG2_E
        self.shape = (batch, layout.chunks, *self.rate.shape)
        self.decays = A.new_empty(layout.chunk, *self.shape).unbind(0)
        self.kept: Sequence[Tensor] = ()
        self.product = A.new_empty(self.shape)

    def load(self, delta: Tensor, values: Tensor, B: Tensor, C: Tensor) -> None:
        """Take the next segment; ``values`` is ``delta`` times ``x``."""
        self.spans, self.values = _rows(delta), _rows(values)
        self.weights, self.reads = _columns(B), _columns(C)

    def total_decay(self) -> Tensor:
        """What remains of a state after a chunk."""
        span = self.spans[0].clone()
        for other in self.spans[1:]:
            span.add_(other)
        return (span * self.rate).exp2_()

    def left(self) -> Tensor:
        """States at the ends of chunks that start from zero; keeps the decays."""
        state, rate = torch.zeros_like(self.product), self.rate
        for span, decay, value, weight in zip(
            self.spans, self.decays, self.values, self.weights, strict=True
        ):
            torch.mul(span, rate, out=decay).exp2_()
            state.mul_(decay).addcmul_(value, weight)
        return state

    def read(self, begin: Tensor, y: Tensor) -> None:
        """Write ``y`` from the true starting states, after :meth:`left`."""
        state, product = begin.clone(), self.product
        for decay, value, weight, read, out in zip(
            self.decays, self.values, self.weights, self.reads, y.unbind(0), strict=True
        ):
            state.mul_(decay).addcmul_(value, weight)
            torch.sum(torch.mul(state, read, out=product), 2, out=out)

    def states(self, begin: Tensor, slopes: Tensor, to_C: Tensor) -> None:
        """Keep the decays and the states, the starting ones first, and write the gradient of ``C``."""
        self.kept = self.kept or begin.new_empty(len(self.decays) + 1, *self.shape).unbind(0)
        state, rate, product = self.kept[0].copy_(begin), self.rate, self.product
        for span, decay, value, weight, slope, kept, out in zip(
            self.spans, self.decays, self.values, self.weights, _rows(slopes), self.kept[1:], to_C.unbind(0),
            strict=True,
        ):  # fmt: skip
            torch.mul(span, rate, out=decay).exp2_()
            state = torch.mul(state, decay, out=kept).addcmul_(value, weight)
            torch.sum(torch.mul(state, slope, out=product), 3, out=out)

    def adjoint_left(self, slopes: Tensor) -> Tensor:
        """What flows back to the starts of chunks from themselves alone, after :meth:`states`."""
        adjoint = torch.zeros_like(self.product)
        for decay, read, slope in zip(self.decays[::-1], self.reads[::-1], _rows(slopes)[::-1], strict=True):
            adjoint.addcmul_(slope, read).mul_(decay)
        return adjoint

    def gradients(self, adjoint: Tensor, slopes: Tensor, rooms: Sequence[Tensor], to_A: Tensor) -> None:
        """Write the gradients of ``values``, ``delta`` (at fixed ``values``) and ``B``; add that of ``A``."""
        product, natural = self.product, self.natural
        steps = zip(
            self.spans, self.values, self.weights, self.reads, self.decays, self.kept[:-1], _rows(slopes),
            *(room.unbind(0) for room in rooms), strict=True,
        )  # fmt: skip
        for span, value, weight, read, decay, state, slope, to_value, to_delta, to_B in reversed(list(steps)):
            adjoint.addcmul_(slope, read)
            torch.sum(torch.mul(adjoint, value, out=product), 3, out=to_B)
            torch.sum(torch.mul(adjoint, weight, out=product), 2, out=to_value)
            torch.mul(adjoint.mul_(decay), state, out=product)
            to_A.addcmul_(product, span)
            torch.sum(product.mul_(natural), 2, out=to_delta)


def _rows(item: Tensor) -> Sequence[Tensor]:
    return item.unsqueeze(3).unbind(0)


def _columns(item: Tensor) -> Sequence[Tensor]:
    return item.unsqueeze(4).unbind(0)
