from __future__ import annotations

import copy
import enum
import functools
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import oahier as oh
from oahier.encoders import Encoder
from oahier.heads import BinaryHead, Head
from oahier.specs import (
    SpecError,
    Specified,
    build,
    build_factory,
    class_path,
    describe,
    import_class,
    is_spec,
    make,
    nearest,
)
from oahier.specs.errors import read_yaml


class Part(Specified):
    def __init__(self, size: int, colour: str = "red", /, *, inner: Any = None, **options: Any) -> None:
        if size < 0:
            raise ValueError("size must not be negative")
        self.size, self.colour, self.inner, self.options = size, colour, inner, options

    class Nested(Specified):
        def __init__(self, size: int = 1) -> None:
            self.size = size


class Module(Specified, nn.Module):
    def __init__(self, inner: Any = None, many: Any = None) -> None:
        super().__init__()
        self.inner, self.many = inner, many


class Stars(Specified):
    def __init__(self, *sizes: int) -> None:
        self.sizes = sizes


class Named(Specified):
    def __init__(self, cls: str, spec: str) -> None:
        self.names = cls, spec


class Colour(enum.StrEnum):
    RED = "red"


def test_arguments_are_recorded_by_name() -> None:
    part = Part(3, inner=[1, (2, 3)], depth=4)
    expected = {"size": 3, "inner": [1, [2, 3]], "depth": 4}
    assert describe(part) == {"class_path": f"{__name__}.Part", "init_args": expected}


def test_defaults_are_not_written_down() -> None:
    assert describe(oh.BinaryHead())["init_args"] == {}
    assert describe(oh.SoftmaxHead(2, reads="kl"))["init_args"] == {"num_classes": 2, "reads": "kl"}


def test_wrong_arguments_are_reported_by_the_constructor() -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        Part()  # type: ignore[call-arg]


def test_unnamed_arguments_are_refused() -> None:
    assert describe(Stars())["init_args"] == {}
    with pytest.raises(SpecError, match=r"Stars: a Specified class must not take \*sizes"):
        Stars(1, 2)


def test_copies_remember_too() -> None:
    head = oh.SoftmaxHead(3, label_smoothing=0.1)
    assert describe(copy.deepcopy(head)) == describe(head)
    assert describe(pickle.loads(pickle.dumps(head))) == describe(head)  # noqa: S301


def test_nested_parts_come_back() -> None:
    part = Module(inner=Module(inner=make(nn.PReLU, num_parameters=2)), many={"a": [Module()], "b": 1})
    rebuilt = build(describe(part), nn.Module)
    assert isinstance(rebuilt.inner.inner, nn.PReLU)
    assert rebuilt.inner.inner.num_parameters == 2
    assert isinstance(rebuilt.many["a"][0], Module)
    assert describe(rebuilt) == describe(part)


def test_class_within_a_class_comes_back() -> None:
    part = build(describe(Part.Nested(4)), Part.Nested)
    assert isinstance(part, Part.Nested)
    assert part.size == 4


def test_arguments_may_have_any_name() -> None:
    expected = {"cls": "a", "spec": "b"}
    for named in (Named(cls="a", spec="b"), make(Named, cls="a", spec="b")):
        assert describe(named)["init_args"] == expected
        assert describe(build(describe(named), Named))["init_args"] == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float64(0.5), 0.5),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (Colour.RED, "red"),
        (Path("a/b"), "a/b"),
        ((1, 2), [1, 2]),
        (None, None),
    ],
)
def test_values_become_plain_ones(value: object, expected: object) -> None:
    described = describe({"x": value})["x"]
    assert described == expected
    assert type(described) is type(expected)


def test_factories_are_described_at_the_top_only() -> None:
    sgd = functools.partial(torch.optim.SGD, lr=0.1)
    assert describe(sgd) == {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}}
    assert describe(torch.optim.SGD) == {"class_path": "torch.optim.SGD", "init_args": {}}
    for argument in (nn.BatchNorm3d, functools.partial(nn.GroupNorm, 8), torch.float32, len):
        with pytest.raises(SpecError, match="does not remember its constructor arguments"):
            describe(Module(inner=argument))


def test_partial_with_unnamed_arguments_is_refused() -> None:
    with pytest.raises(SpecError, match="partial does not remember"):
        describe(functools.partial(torch.optim.SGD, [nn.Parameter(torch.zeros(1))]))


def test_stranger_is_refused_with_advice() -> None:
    with pytest.raises(SpecError, match=r"Linear does not remember .* oahier\.make\(Linear, \.\.\.\)"):
        describe(nn.Linear(1, 1))


def test_class_inside_a_function_is_refused() -> None:
    class Local(Specified):
        pass

    with pytest.raises(SpecError, match="defined inside a function"):
        describe(Local())


@pytest.mark.parametrize("path", ["os.system", "builtins.eval", "math.pi", "torch.nn.functional.relu"])
def test_functions_are_never_built(path: str) -> None:
    with pytest.raises(SpecError, match="does not name a class"):
        build({"class_path": path, "init_args": {"command": "echo"}}, nn.Module)


@pytest.mark.parametrize("path", ["subprocess.Popen", "builtins.dict", "oahier.BinaryHead", "pathlib.Path"])
def test_other_classes_are_never_built(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*arguments: object, **options: object) -> None:
        pytest.fail("the constructor ran")

    monkeypatch.setattr(subprocess.Popen, "__init__", called)
    monkeypatch.setattr(BinaryHead, "__init__", called)
    with pytest.raises(SpecError, match="expected a subclass of Encoder"):
        build({"class_path": path}, Encoder)
    with pytest.raises(SpecError, match="expected a subclass of Encoder"):
        build_factory({"class_path": path}, Encoder)


def test_nested_parts_are_modules_or_specified_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess.Popen, "__init__", lambda *_, **__: pytest.fail("the constructor ran"))
    inner = {"class_path": "subprocess.Popen", "init_args": {"args": ["true"]}}
    for nested in (inner, [inner], {"deep": [inner]}):
        with pytest.raises(SpecError, match="expected a subclass of Module or Specified, got Popen"):
            build({"class_path": f"{__name__}.Module", "init_args": {"inner": nested}}, nn.Module)


@pytest.mark.parametrize("factory", ["optimizer", "lr_scheduler"])
def test_model_builds_no_other_factories(factory: str) -> None:
    specification = oh.HierarchicalClassifier(oh.ResNet3D(10, 8), {"oa": oh.BinaryHead()}).specification
    with pytest.raises(SpecError, match=r"expected a subclass of (Optimizer|LRScheduler), got Popen"):
        oh.HierarchicalClassifier.from_specification(
            specification, **{factory: {"class_path": "subprocess.Popen"}}
        )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("oahier.heads.SoftmaxHed", "Did you mean 'SoftmaxHead'"),
        ("SoftmaxHed", "Did you mean 'SoftmaxHead'"),
        ("oahier.haeds.SoftmaxHead", "module 'oahier.haeds' cannot be imported"),
        ("torch.no_such_module.Thing", "cannot be imported"),
        ("no_such_package_of_anybody.Thing", "package 'no_such_package_of_anybody' is not trusted"),
        ("", "does not name a class"),
        ("..SoftmaxHead", "cannot be imported"),
        (f"{__name__}.Part.Nestd", "Did you mean 'Nested'"),
    ],
)
def test_unknown_class_says_what_is_near(path: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        import_class(path)


def test_bare_names_are_oahiers() -> None:
    assert import_class("SoftmaxHead") is oh.SoftmaxHead


def test_refused_arguments_are_named() -> None:
    with pytest.raises(SpecError, match=r"oahier.BinaryHead does not accept \['colour'\]"):
        build({"class_path": "oahier.BinaryHead", "init_args": {"colour": "red"}}, Head)


def test_specs_have_two_keys_at_most() -> None:
    assert is_spec({"class_path": "a"})
    assert not is_spec({"class_path": "a", "init_args": {}, "more": 1})
    with pytest.raises(SpecError, match=r"got keys \['init_args'\]"):
        build({"init_args": {}}, Head)


def test_empty_init_args_may_be_null() -> None:
    assert isinstance(build({"class_path": "oahier.BinaryHead", "init_args": None}, Head), BinaryHead)


def test_factory_makes_later() -> None:
    make_sgd = build_factory(
        {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.5}}, torch.optim.Optimizer
    )
    optimizer = make_sgd([nn.Parameter(torch.zeros(1))])
    assert optimizer.param_groups[0]["lr"] == 0.5


def test_class_path_is_importable() -> None:
    assert import_class(class_path(Part.Nested)) is Part.Nested


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=8,
)


@given(plain)
def test_plain_values_describe_themselves(value: object) -> None:
    assert describe(value) == value


@given(st.text(), st.lists(st.text(min_size=1)))
def test_nearest_never_fails(name: str, known: list[str]) -> None:
    assert isinstance(nearest(name, known), str)


@pytest.mark.usefixtures("shapes_unchecked")
def test_make_takes_the_class_itself() -> None:
    with pytest.raises(TypeError, match=r"expected the class itself.*got 'torch.nn.PReLU'"):
        make("torch.nn.PReLU", num_parameters=2)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "--config a.yaml: cannot be read: No such file or directory"),
        (
            b"trainer: {max_epochs: 3",
            "--config a.yaml: expected YAML: line 1, column 24: expected ',' or '}'",
        ),
        (b"\xff\xfe\x00", "--config a.yaml: expected YAML: 'utf-8' codec can't decode"),
        (b"- 1", "--config a.yaml: expected a mapping of keys to values, got list"),
        (b"", "--config a.yaml: expected a mapping of keys to values, got NoneType"),
    ],
)
def test_yaml_that_cannot_be_used_is_refused_in_one_line(
    content: bytes | None, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpecError) as caught:
        read_yaml(path, "--config a.yaml")
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("oahier.Timm3dEncoder", "oahier.encoders.Timm3dEncoder"),
        ("oahier.heads.ResNet3D", "oahier.ResNet3D"),
        ("oahier.callbacks.softmaxhead", "oahier.SoftmaxHead"),
        ("oahier.SoftmaxHed", "SoftmaxHead"),
        ("torch.nn.Linea", "Linear"),
    ],
)
def test_class_of_another_room_is_named(path: str, meant: str) -> None:
    with pytest.raises(SpecError, match=f"Did you mean {meant!r}"):
        import_class(path)
