"""Saliency methods behind one contract, against captum, closed forms and slow references."""

import numpy as np
import pytest
import torch
from torch import nn

import oahier as oh
from oahier.saliency import (
    METHODS,
    ActivationMap,
    AttentionRollout,
    ExplainedKnees,
    FusedActivationMaps,
    InputItself,
    IntegratedGradients,
    Occlusion,
    SaliencyMethod,
    SmoothGrad,
    as_method,
    class_activation_map,
    random_weights,
    resample,
)
from oahier.saliency.blur import local_mean
from oahier.testing.model import TinyEncoder

SHAPE = (16, 20, 24)


def volumes(batch=2, shape=SHAPE):
    return torch.randn(batch, 1, *shape, generator=torch.Generator().manual_seed(1))


def knees_of(encoder, mri, read=lambda embedding: embedding.double().square().sum(dim=1)):
    encoder.eval()
    with torch.no_grad():
        features = encoder.features(mri)
    return ExplainedKnees(encoder, read, mri, features, [f"knee{row}" for row in range(len(mri))])


@pytest.fixture(scope="module")
def resnet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return oh.ResNet3D(depth=10, width=8)


@pytest.fixture(scope="module")
def m3t():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return oh.M3T(channels=2, width=16, depth=2, heads=2).eval()


class Linear(nn.Module):
    """Encoder whose embedding is a weighted sum of the voxels."""

    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def features(self, volume):
        return (volume,)

    def forward(self, volume):
        return (volume[:, 0] * self.weight).sum(dim=(1, 2, 3))[:, None]


def linear(shape=(4, 6, 8)):
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    return weight, knees_of(Linear(weight), volumes(2, shape), lambda embedding: embedding[:, 0])


@pytest.mark.parametrize("name", [name for name in METHODS if name != "attention_rollout"])
def test_every_method_keeps_the_contract(name, resnet):
    """One map a knee at least zero, whatever the batch; nothing of the model or of a random state changes."""
    method = METHODS[name] if name != "occlusion" else Occlusion((2, 2, 3))
    resnet.zero_grad()
    state = {key: value.clone() for key, value in resnet.state_dict().items()}
    mri, random_state = volumes(), torch.get_rng_state()
    with torch.inference_mode():
        maps = method(knees_of(resnet, mri))
    alone = method(
        ExplainedKnees(resnet, knees_of(resnet, mri).read, mri[1:], resnet.features(mri[1:]), ["knee1"])
    )
    assert maps.shape[0] == 2
    assert maps.ndim == 4
    assert bool((maps >= 0).all())
    assert bool(maps.flatten(1).any(dim=1).all())
    torch.testing.assert_close(maps[1].float(), alone[0].float(), rtol=1e-3, atol=1e-5 * maps.max().item())
    assert torch.equal(random_state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in resnet.parameters())
    assert all(torch.equal(value, state[key]) for key, value in resnet.state_dict().items())
    assert not resnet.training


def test_names_find_methods_and_instances_stay_themselves():
    method = SmoothGrad(draws=2)
    assert as_method(method) is method
    assert as_method("layercam") is METHODS["layercam"]
    assert METHODS["gradcam"].at(-2).name == "gradcam_stage-2"
    assert method.at(-2) is method
    with pytest.raises(
        ValueError, match=r"method: expected a SaliencyMethod or one of gradcam, .*got 'lime'"
    ):
        as_method("lime")


def test_a_method_of_ones_own_is_explained_like_any_other():
    class Mean(SaliencyMethod):
        name = "mean"

        def __call__(self, knees):
            return knees.features[-1].mean(dim=1).relu()

    model = oh.HierarchicalClassifier(TinyEncoder(), {"kl": oh.SoftmaxHead()}).eval()
    from oahier.saliency.tail import TailExplainer

    mri = volumes(2, (16, 16, 16))
    features = model.encoder.features(mri)
    explained = TailExplainer(model, "kl", method=Mean())(features, torch.tensor([0, 1]), mri, ["a", "b"])
    assert torch.equal(explained, features[-1].mean(dim=1).relu())


def test_activation_maps_are_the_function_on_a_stage(resnet):
    knees = knees_of(resnet, volumes())
    for stage in (-1, -2):
        feature_map, score = knees.from_stage(stage)
        expected = class_activation_map(feature_map, score, method="hirescam")
        assert torch.equal(ActivationMap("hirescam", stage)(knees), expected)


def test_fusion_is_the_geometric_mean_of_shares(resnet):
    knees = knees_of(resnet, volumes())
    fused = FusedActivationMaps((-1, -2, -9), "hirescam")(knees)  # a stage that does not exist is left out
    maps = [ActivationMap("hirescam", stage)(knees).detach() for stage in (-1, -2)]
    fine = [resample(item, maps[1].shape[1:]).numpy() for item in maps]
    expected = np.sqrt(np.prod([item / item.sum(axis=(1, 2, 3), keepdims=True) for item in fine], axis=0))
    np.testing.assert_allclose(fused.numpy(), expected, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_integrated_gradients_equal_captum(resnet, smoothing):
    from captum.attr import IntegratedGradients as Reference

    knees = knees_of(resnet, volumes(2, (8, 12, 8)))
    baseline = local_mean(knees.mri, smoothing) if smoothing else torch.zeros_like(knees.mri)
    reference = Reference(knees.of_volume).attribute(knees.mri, baseline, n_steps=5, method="riemann_middle")
    ours = IntegratedGradients(5, smoothing=smoothing).attribution(knees.of_volume, knees.volume)
    torch.testing.assert_close(ours, reference[:, 0].float(), rtol=1e-3, atol=1e-5)


def test_gradient_methods_of_a_linear_score_with_and_without_the_factor():
    weight, knees = linear()
    mri = knees.mri[:, 0]
    torch.testing.assert_close(SmoothGrad()(knees), (weight * mri).abs())
    torch.testing.assert_close(SmoothGrad(times_input=False)(knees), weight.abs().expand_as(mri))
    path = (knees.mri - local_mean(knees.mri))[:, 0]
    torch.testing.assert_close(IntegratedGradients(3)(knees), (weight * path).abs(), rtol=1e-4, atol=1e-5)
    factorless = IntegratedGradients(3, times_input=False)(knees)
    torch.testing.assert_close(factorless, weight.abs().expand_as(mri))
    assert torch.equal(InputItself()(knees), mri.relu())


@pytest.mark.parametrize("at_once", [1, 5, 64])
def test_occlusion_by_hand(at_once):
    weight, knees = linear()
    change = (weight * (knees.mri - local_mean(knees.mri))[:, 0]).reshape(2, 2, 2, 3, 2, 4, 2).sum((2, 4, 6))
    torch.testing.assert_close(
        Occlusion((2, 3, 4), at_once=at_once)(knees), change.abs(), rtol=1e-4, atol=1e-4
    )
    one_way = Occlusion((2, 3, 4), both_ways=False)(knees)
    torch.testing.assert_close(one_way, change.relu(), rtol=1e-4, atol=1e-4)


def test_rollout_follows_the_attention_that_m3t_used(m3t, monkeypatch):
    """With the attention written out, tokens are those of the fused kernel; the product is that of a loop."""
    mri = volumes(2, (32, 32, 64))
    knees = knees_of(m3t, mri)
    layers, places = m3t.attentions(knees.features)
    assert [place.stop - place.start for place in places] == [32, 32, 64]
    tokens = m3t._tokens(knees.features)
    block = m3t.blocks[0]
    value = block.split(block.norm1(tokens))[2]
    torch.testing.assert_close(
        (layers[0] @ value).transpose(1, 2).flatten(2),
        block._attention(block.norm1(tokens)),
        rtol=1e-4,
        atol=1e-5,
    )
    flow = np.eye(layers[0].shape[-1])
    for layer in layers:
        flow = 0.5 * (layer[1].mean(0).detach().numpy() + np.eye(len(flow))) @ flow
    heat = AttentionRollout()(knees)
    assert heat.shape == (2, 32, 32, 64)
    rows = [flow[0, place] / flow[0, place].mean() for place in places]
    np.testing.assert_allclose(heat[1].numpy(), np.einsum("i,j,k->ijk", *rows), rtol=1e-4)


def test_rollout_needs_attention(resnet):
    with pytest.raises(TypeError, match=r"encoder with attentions\(features\).*got ResNet3D"):
        AttentionRollout()(knees_of(resnet, volumes()))


def test_random_weights_are_given_back_bit_by_bit():
    layer = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    own = {name: (value, value.data_ptr(), value.clone()) for name, value in layer.named_parameters()}
    with random_weights(layer, layer[0], generator=torch.Generator()):
        assert all(not torch.equal(value, own[name][2]) for name, value in layer.named_parameters())
    for name, value in layer.named_parameters():
        assert value is own[name][0]
        assert value.data_ptr() == own[name][1]
        assert torch.equal(value, own[name][2])


def test_local_means_stay_inside_the_volume():
    volume = torch.randn(1, 1, 9, 9, 9, generator=torch.Generator().manual_seed(0)) + 5
    smooth = local_mean(volume, 0.3)
    assert volume.min() < smooth.min() < smooth.max() < volume.max()
    first = torch.nn.functional.pad(volume[0, 0], (0, 0, 0, 0, 0, 0))[:2, :2, :2].mean()
    assert abs(local_mean(volume, 0.01)[0, 0, 0, 0, 0] - first) < 1.5
