"""Base class of encoders: feature maps with a spatial grid, then one vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn

from oahier.specs import Specified


class Encoder(Specified, nn.Module, ABC):
    """``features(volume)``, then ``embed(features)``.

    Saliency differentiates ``embed`` and a head only, so the encoder is never run backwards to explain
    it; the latent axis reads the embedding. A subclass sets ``num_features`` and defines
    :meth:`features`; it overrides :meth:`embed` when it pools otherwise than by the global average.
    """

    num_features: int
    """Width of the embedding."""

    @abstractmethod
    def features(self, volume: Tensor) -> tuple[Tensor, ...]:
        """Map ``(batch, 1, i, j, k)`` to maps ``(batch, channels, *grid)``, finest first, coarsest last."""

    def embed(self, features: Sequence[Tensor]) -> Tensor:
        """Pool feature maps to ``(batch, num_features)``: the global average of the last map."""
        return features[-1].mean(dim=(2, 3, 4))

    def resume(self, feature_map: Tensor, stage: int) -> tuple[Tensor, ...]:
        """The maps from ``stage`` on, recomputed from the map of that stage.

        Lets saliency look at a finer grid than the last one. ``stage`` counts as in :meth:`features`
        (-1 is the coarsest map, which needs no recomputation).

        Raises:
            NotImplementedError: this encoder cannot start again from that stage.
        """
        if stage == -1:
            return (feature_map,)
        raise NotImplementedError(f"{type(self).__name__} cannot resume from stage {stage}; use stage=-1")

    def native_names(self) -> dict[str, str]:
        """Names of weights as other programs' files have them, with the names that they have here.

        Names of a single network inside (``network``, ``module``) are its own without that prefix.
        """
        found = {}
        for name in self.state_dict():
            for inner in ("network.", "module."):
                if name.startswith(inner):
                    found[name.removeprefix(inner)] = name
        return found

    def forward(self, volume: Tensor) -> Tensor:
        """Map ``(batch, 1, i, j, k)`` to the embedding ``(batch, num_features)``."""
        return self.embed(self.features(volume))


class StagedEncoder(Encoder):
    """An encoder that is a chain of stages, each making the next map from the last one.

    A subclass defines :meth:`stages`; every stage is then open to :meth:`resume`.
    """

    @abstractmethod
    def stages(self) -> Sequence[nn.Module]:
        """The modules in order; the first reads the volume, each other one the map before."""

    def features(self, volume: Tensor) -> tuple[Tensor, ...]:
        return self._run(volume, self.stages())

    def resume(self, feature_map: Tensor, stage: int) -> tuple[Tensor, ...]:
        stages = self.stages()
        if not -len(stages) <= stage < len(stages):
            raise NotImplementedError(
                f"{type(self).__name__} has stages 0..{len(stages) - 1} (or -{len(stages)}..-1), got {stage}"
            )
        return (feature_map, *self._run(feature_map, stages[stage % len(stages) + 1 :]))

    @staticmethod
    def _run(volume: Tensor, stages: Sequence[nn.Module]) -> tuple[Tensor, ...]:
        maps = []
        for stage in stages:
            volume = stage(volume)
            maps.append(volume)
        return tuple(maps)
