from __future__ import annotations

import sys
import types
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oahier.encoders import chunked_scan, selective_scan
from oahier.encoders.mamba import Mamba
from oahier.encoders.selective_scan import scan_from

scan_module = sys.modules["oahier.encoders.selective_scan"]


def _reference_scan(x: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
    """Token after token: equations 2a and 2b of arXiv:2312.00752 with the discretisation of mamba-ssm."""
    state = x.new_zeros(len(x), *A.shape)
    outputs = []
    for t in range(x.shape[1]):
        decay = torch.exp(delta[:, t, :, None] * A)
        state = decay * state + (delta[:, t] * x[:, t])[:, :, None] * B[:, t, None, :]
        outputs.append((state * C[:, t, None, :]).sum(dim=2) + D * x[:, t])
    return torch.stack(outputs, dim=1)


def _inputs(
    batch: int, tokens: int, channels: int, states: int, dtype: torch.dtype = torch.float32
) -> list[Tensor]:
    generator = torch.Generator().manual_seed(tokens)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    made = [
        draw(batch, tokens, channels), 0.3 * draw(batch, tokens, channels).abs(),
        -4 * draw(channels, states).abs(), draw(batch, tokens, states),
        draw(batch, tokens, states), draw(channels),
    ]  # fmt: skip
    return [item.requires_grad_() for item in made]


def _with_gradients(function: object, inputs: list[Tensor]) -> list[Tensor]:
    y = function(*inputs)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), inputs)]


@settings(max_examples=40, deadline=None)
@given(
    batch=st.integers(1, 3),
    tokens=st.integers(1, 70),
    channels=st.integers(1, 5),
    states=st.integers(1, 4),
    chunk=st.integers(1, 20),
    step=st.sampled_from([1, 37, 150, 32767]),
)
def test_equals_the_sequential_scan_in_value_and_gradient(
    batch: int, tokens: int, channels: int, states: int, chunk: int, step: int
) -> None:
    """Whatever the cut: chunks that do not divide the tokens, one chunk a segment, one token."""
    inputs = _inputs(batch, tokens, channels, states)
    with mock.patch.dict(chunked_scan._STEP, cpu=step):
        found = _with_gradients(lambda *items: selective_scan(*items, chunk=chunk), inputs)
    for ours, expected in zip(found, _with_gradients(_reference_scan, inputs), strict=True):
        scale = max(1.0, expected.abs().max().item())
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5 * scale)


def test_long_sequences_stay_exact() -> None:
    inputs = _inputs(1, 5000, 8, 4)
    exact = _with_gradients(_reference_scan, [item.detach().double().requires_grad_() for item in inputs])
    for ours, expected in zip(_with_gradients(selective_scan, inputs), exact, strict=True):
        error = (ours - expected).abs().max() / expected.abs().max()
        assert error < 1e-5


@pytest.mark.parametrize("tokens", [1, 7, 12])
def test_derivatives_by_finite_differences(tokens: int) -> None:
    inputs = _inputs(2, tokens, 3, 2, torch.float64)
    with mock.patch.dict(chunked_scan._STEP, cpu=24):
        assert torch.autograd.gradcheck(lambda *items: selective_scan(*items, chunk=3), inputs)


def test_derivatives_of_the_state_by_finite_differences() -> None:
    inputs = _inputs(1, 8, 2, 2, torch.float64)
    state = torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s, *items: scan_from(s, *items, chunk=3), [state, *inputs])


def test_two_halves_are_the_whole() -> None:
    x, delta, A, B, C, D = _inputs(2, 20, 3, 2)
    whole, last = scan_from(None, x, delta, A, B, C, D)
    first, state = scan_from(None, x[:, :9], delta[:, :9], A, B[:, :9], C[:, :9], D)
    second, again = scan_from(state, x[:, 9:], delta[:, 9:], A, B[:, 9:], C[:, 9:], D)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(again, last)


def test_strided_inputs() -> None:
    x, delta, A, B, C, D = _inputs(2, 30, 4, 3)
    turned = [item.detach().transpose(1, 2).contiguous().transpose(1, 2) for item in (x, delta, B, C)]
    torch.testing.assert_close(
        selective_scan(turned[0], turned[1], A, turned[2], turned[3], D),
        selective_scan(x, delta, A, B, C, D),
    )


@pytest.mark.parametrize("tokens", [1, 13, 300])
def test_equals_mambapy_with_the_same_weights(tokens: int) -> None:
    from mambapy.mamba import MambaBlock, MambaConfig

    torch.manual_seed(0)
    theirs = MambaBlock(MambaConfig(d_model=16, n_layers=1, d_state=8, pscan=tokens > 1))
    ours = Mamba(16, states=8, chunk=8)
    assert {name: item.shape for name, item in ours.state_dict().items()} == {
        name: item.shape for name, item in theirs.state_dict().items()
    }
    ours.load_state_dict(theirs.state_dict())
    inputs = torch.randn(2, tokens, 16, requires_grad=True)
    found = _with_gradients(lambda *items: ours(items[0]), [inputs, *ours.parameters()])
    named = dict(theirs.named_parameters())
    order = [named[name] for name, _ in ours.named_parameters()]
    expected = _with_gradients(lambda *items: theirs(items[0]), [inputs, *order])
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5 * max(1.0, other.abs().max().item()))


def test_parts_of_a_layer_are_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into parts that are computed again in the backward pass, the layer is the same."""
    torch.manual_seed(0)
    layer = Mamba(8, states=4, chunk=4)
    tokens = torch.randn(2, 57, 8, requires_grad=True)
    inputs = [tokens, *layer.parameters()]
    whole = _with_gradients(lambda *items: layer(items[0]), inputs)
    monkeypatch.setattr("oahier.encoders.mamba._ROUNDS", 1)
    monkeypatch.setitem(chunked_scan._STEP, "cpu", 2 * 2 * 16 * 4)
    with mock.patch.object(chunked_scan, "_run", wraps=chunked_scan._run) as run:
        parts = _with_gradients(lambda *items: layer(items[0]), inputs)
    assert run.call_count == -(-57 // 8), "the second run of a part must take what the first one found"
    for part, expected in zip(parts, whole, strict=True):
        torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(layer(tokens), whole[0])


def test_state_and_time_steps_stay_in_32_bit_under_autocast() -> None:
    torch.manual_seed(0)
    layer = Mamba(8, states=4)
    tokens = torch.randn(1, 40, 8)
    seen: list[Tensor] = []

    def scan(state: Tensor | None, *items: Tensor, **options: object) -> tuple[Tensor, Tensor]:
        y, last = scan_from(state, *items, **options)
        seen.extend([items[1], items[2], last])
        return y, last

    with mock.patch("oahier.encoders.mamba.scan_from", scan), torch.autocast("cpu", torch.bfloat16):
        out = layer(tokens)
        out.float().sum().backward()
    assert out.dtype == torch.bfloat16
    assert {item.dtype for item in seen} == {torch.float32}
    assert all(item.grad is not None and item.grad.dtype == torch.float32 for item in layer.parameters())
    torch.testing.assert_close(out.float(), layer(tokens), rtol=0.05, atol=0.05)


def test_half_precision_in_and_out() -> None:
    inputs = [item.detach() for item in _inputs(1, 50, 4, 2)]
    exact = selective_scan(*inputs)
    rounded = [inputs[0].bfloat16(), *inputs[1:]]
    with torch.autocast("cpu", torch.bfloat16):
        y = selective_scan(*rounded)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), exact, rtol=0.05, atol=0.05)


def test_the_kernel_of_mamba_ssm_is_used_on_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package; a CPU tensor stands for one on a device."""
    calls = []

    def selective_scan_fn(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, D: Tensor) -> Tensor:
        calls.append([item.dtype for item in (u, delta, A, B, C, D)])
        assert u.is_contiguous()
        u, delta, B, C = (item.transpose(1, 2) for item in (u, delta, B, C))
        return _reference_scan(u, delta, A, B, C, D).transpose(1, 2)

    interface = types.ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = selective_scan_fn
    for name in ("mamba_ssm", "mamba_ssm.ops"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    scan_module._mamba_ssm.cache_clear()
    inputs = [item.detach() for item in _inputs(2, 30, 4, 3)]
    layer = Mamba(8, states=4)
    tokens = torch.randn(2, 20, 8)
    expected, layer_expected = selective_scan(*inputs), layer(tokens)
    assert not calls, "on the CPU the kernel is of no use"
    monkeypatch.setattr(scan_module, "_on_cuda", lambda x: True)
    try:
        torch.testing.assert_close(selective_scan(*inputs), expected)
        torch.testing.assert_close(layer(tokens), layer_expected)
        assert len(calls) == 2
        assert {kind for call in calls for kind in call} == {torch.float32}
        selective_scan(*(item.double() for item in inputs))
        assert len(calls) == 2, "the kernel knows no 64 bit"
    finally:
        scan_module._mamba_ssm.cache_clear()


def test_without_mamba_ssm_a_device_runs_plain_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    scan_module._mamba_ssm.cache_clear()
    monkeypatch.setattr(scan_module, "_on_cuda", lambda x: True)
    inputs = _inputs(1, 5, 2, 2)
    torch.testing.assert_close(selective_scan(*inputs), _reference_scan(*inputs))
    scan_module._mamba_ssm.cache_clear()


@pytest.mark.parametrize("name", ["delta", "A", "B", "C", "D"])
def test_shapes_that_do_not_fit_are_named(name: str) -> None:
    inputs = dict(zip(("x", "delta", "A", "B", "C", "D"), _inputs(2, 6, 4, 3), strict=True))
    inputs[name] = inputs[name][:-1]
    with pytest.raises(ValueError, match=rf"{name}: expected shape \(.*\) to go with x, got \("):
        scan_module._check(state=None, chunk=64, **inputs)


def test_shape_message_and_empty_input() -> None:
    x, delta, A, B, C, _ = _inputs(1, 6, 4, 3)
    with pytest.raises(ValueError, match=r"B: expected shape \(1, 6, 3\) to go with x, got \(1, 5, 3\)"):
        scan_module._check(None, x, delta, A, B[:, 1:], C, None, 64)
    with pytest.raises(ValueError, match=r"at least one token.*got x of shape \(1, 0, 4\)"):
        selective_scan(x[:, :0], delta[:, :0], A, B[:, :0], C[:, :0])
    with pytest.raises(ValueError, match="chunk=0"):
        selective_scan(x, delta, A, B, C, chunk=0)
