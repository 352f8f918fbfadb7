"""Weights drawn anew have the mean and the spread of those that they replace."""

import torch
from torch import nn

from oahier.saliency import randomised_parameters


def test_weights_drawn_anew_keep_mean_and_spread():
    layer = nn.Linear(300, 200)
    nn.init.normal_(layer.weight, mean=0.7, std=0.02)
    drawn = randomised_parameters(layer, torch.Generator().manual_seed(1))
    for name, parameter in layer.named_parameters():
        spread = parameter.std(correction=0)
        assert abs(drawn[name].std(correction=0) / spread - 1) < 0.15, name
        assert abs(drawn[name].mean() - parameter.mean()) < 0.2 * spread, name
        assert not torch.equal(drawn[name], parameter)
