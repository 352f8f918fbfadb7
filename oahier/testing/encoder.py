"""The contract of encoders, as one test."""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from oahier.data.sampling import seeded
from oahier.encoders import Encoder, as_encoder
from oahier.specs import SpecError, build, describe
from oahier.testing.contract import ContractError, explained, require, same


def check_encoder(encoder: Encoder | nn.Module | str, shape: Sequence[int] = (32, 32, 32)) -> None:
    """Check that an encoder does what models, saliency, checkpoints and DDP ask of it.

    The encoder itself is not touched: a copy is checked. It must

    - return feature maps ``(batch, channels, *grid)``, finest first, and embed them to
      ``(batch, num_features)``; ``forward`` is the one after the other;
    - give the same result every time in eval mode, for each volume whatever else is in the batch, and
      leave its input as it was;
    - reach every parameter with a gradient (DDP waits for unused ones), and its last map and the volume
      too (saliency);
    - continue equally from every stage that :meth:`~oahier.Encoder.resume` offers;
    - be copied, saved and, where it remembers its arguments, rebuilt to the same function.

    Args:
        encoder: an encoder, a plain module, or a name.
        shape: size of the volumes to check it with.

    Raises:
        ContractError: the first thing that does not hold.
    """
    with seeded(0):
        checked = copy.deepcopy(as_encoder(encoder))
        volume = torch.randn((2, 1, *shape))
        name = type(checked).__name__
        _check_maps(name, checked, volume)
        _check_eval(name, checked, volume)
        _check_resume(name, checked, volume)
        _check_gradients(name, checked, volume)
        _check_copies(name, checked, volume)


def _check_maps(name: str, encoder: Encoder, volume: Tensor) -> None:
    width = getattr(encoder, "num_features", None)
    require(
        isinstance(width, int) and width > 0,
        f"{name}.num_features: expected a positive integer, got {width!r}",
    )
    encoder.eval()
    original = volume.clone()
    with torch.no_grad():
        with explained(f"{name}.features(volume of shape {tuple(volume.shape)})"):
            features = encoder.features(volume)
        require(
            isinstance(features, tuple) and len(features) > 0,
            f"{name}.features: expected a tuple of maps, got {type(features).__name__}",
        )
        for index, item in enumerate(features):
            require(
                isinstance(item, Tensor) and item.ndim == 5 and len(item) == len(volume),
                f"{name}.features: map {index} must be ({len(volume)}, channels, *grid), "
                f"got {tuple(item.shape) if isinstance(item, Tensor) else type(item).__name__}",
            )
        grids = [tuple(item.shape[2:]) for item in features]
        require(0 not in grids[-1], f"{name}.features: the last map is empty, its grid is {grids[-1]}")
        finest_first = all(
            fine >= coarse
            for first, second in itertools.pairwise(grids)
            for fine, coarse in zip(first, second, strict=True)
        )
        require(finest_first, f"{name}.features: expected maps from finest to coarsest, got grids {grids}")
        with explained(f"{name}.embed(features)"):
            embedding = encoder.embed(features)
    require(
        tuple(embedding.shape) == (len(volume), width),
        f"{name}.embed: expected ({len(volume)}, {width}) (num_features), got {tuple(embedding.shape)}",
    )
    require(
        bool(torch.isfinite(embedding).all()), f"{name}.embed: the embedding of noise has infinite values"
    )
    require(
        torch.equal(volume, original),
        f"{name}.features changes its input; clone it before in-place operations",
    )


def _check_eval(name: str, encoder: Encoder, volume: Tensor) -> None:
    with torch.no_grad():
        features = encoder.features(volume)
        maps = [item.clone() for item in features]
        embedding = encoder.embed(features)
        forward = encoder(volume)
        require(same(forward, embedding), f"{name}: forward(volume) is not embed(features(volume))")
        require(
            not any(module.training for module in encoder.modules()),
            f"{name}: a forward pass in eval mode puts modules into training mode",
        )
        again = encoder.features(volume)
        require(
            all(same(first, second) for first, second in zip(maps, again, strict=True)),
            f"{name}: two passes in eval mode differ; is something random left on?",
        )
        alone = torch.cat([encoder(volume[row : row + 1]) for row in range(len(volume))])
        require(
            same(embedding, alone, 1e-4),
            f"{name}: in eval mode a volume's embedding depends on the others in the batch",
        )
        encoder.features(volume.flip(0))
        require(
            same(encoder.embed(maps), embedding),
            f"{name}: embed must depend on the maps it is given only, not on what ran before",
        )


def _check_resume(name: str, encoder: Encoder, volume: Tensor) -> None:
    with torch.no_grad():
        features = [item.clone() for item in encoder.features(volume)]
        for stage in range(-len(features), len(features)):
            expected = features[stage % len(features) :]
            try:
                resumed = encoder.resume(features[stage].clone(), stage)
            except NotImplementedError as error:
                if stage == -1:
                    raise ContractError(f"{name}.resume(last map, -1) must give that map: {error}") from error
                continue
            except Exception as error:
                raise ContractError(
                    f"{name}.resume(map, {stage}) raised {type(error).__name__}: {error}; a stage that "
                    "cannot be resumed raises NotImplementedError"
                ) from error
            require(
                len(resumed) == len(expected)
                and all(same(first, second) for first, second in zip(resumed, expected, strict=True)),
                f"{name}.resume(map, {stage}): expected the maps of features() from that stage on",
            )


def _check_gradients(name: str, encoder: Encoder, volume: Tensor) -> None:
    volume = volume.clone().requires_grad_()
    encoder.eval()
    last = encoder.features(volume)
    probe = torch.randn(len(volume), encoder.num_features)
    tail = [item.detach().requires_grad_() for item in last]
    with explained(f"{name}: the gradient of embed with respect to the last map"):
        (to_map,) = torch.autograd.grad((encoder.embed(tail) * probe).sum(), tail[-1])
    with explained(f"{name}: the gradient of the embedding with respect to the volume"):
        (to_volume,) = torch.autograd.grad((encoder.embed(last) * probe).sum(), volume)
    for what, gradient in (("the last map", to_map), ("the volume", to_volume)):
        require(
            bool(torch.isfinite(gradient).all()) and bool(gradient.any()),
            f"{name}: the gradient with respect to {what} is zero or not finite, so saliency shows nothing",
        )
    encoder.train()
    trained = {key: item for key, item in encoder.named_parameters() if item.requires_grad}
    if not trained:
        return
    with explained(f"{name}: a training step on {len(volume)} volumes of {tuple(volume.shape[2:])}"):
        objective = (encoder(volume.detach()) * probe).sum()
        gradients = torch.autograd.grad(objective, list(trained.values()), allow_unused=True)
    found = dict(zip(trained, gradients, strict=True))
    unused = [key for key, gradient in found.items() if gradient is None]
    require(
        not unused,
        f"{name}: no gradient reaches {', '.join(unused[:6])}{' ...' if len(unused) > 6 else ''}; leave out "
        "parameters that the embedding does not use, or training on several devices (DDP) fails",
    )
    infinite = [key for key, item in found.items() if item is not None and not bool(item.isfinite().all())]
    require(not infinite, f"{name}: the gradient of {', '.join(infinite[:6])} is not finite")


def _check_copies(name: str, encoder: Encoder, volume: Tensor) -> None:
    encoder.eval()
    with torch.no_grad():
        expected = encoder(volume)
        with explained(f"{name}: copy.deepcopy"):
            duplicate = copy.deepcopy(encoder)
        require(same(duplicate(volume), expected), f"{name}: a deep copy gives another embedding")
        weights = reload(encoder.state_dict())
        try:
            description = describe(encoder)
        except SpecError:
            return  # then its author hands it in again when a checkpoint is loaded
        with explained(f"{name}: rebuilding it from {description}"):
            rebuilt = build(description, Encoder)
            rebuilt.load_state_dict(weights)
        rebuilt.eval()
        require(
            same(rebuilt(volume), expected),
            f"{name}: rebuilt from {description} with its own weights, it gives another embedding; keep "
            "every learned or drawn value in parameters and buffers",
        )


def reload(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict after a trip through a file that holds plain weights only."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    with explained("torch.load(weights_only=True) of the state dict"):
        loaded: dict[str, Tensor] = torch.load(file, weights_only=True)
    return loaded
