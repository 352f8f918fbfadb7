"""Tail-only maps against captum and the grad-cam package, and that nothing is disturbed."""

import numpy as np
import pytest
import torch
from torch import nn

from oahier.encoders import Encoder, create_encoder
from oahier.saliency import (
    CAM_METHODS,
    class_activation_map,
    smoothgrad_times_input,
    tail_gradients,
    tail_score,
)


class SmallCNN(Encoder):
    num_features = 6

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv3d(1, 4, 3, 2, 1), nn.BatchNorm3d(4), nn.ELU(), nn.Conv3d(4, 6, 3, 2, 1)
        )

    def features(self, volume):
        return (self.body(volume),)


class Network(nn.Module):
    """Encoder and linear head in one, as captum and the package want it."""

    def __init__(self, encoder, classes=5):
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(encoder.num_features, classes)

    def forward(self, volume):
        return self.head(self.encoder(volume))


def make_network(name, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = {
            "cnn": SmallCNN,
            "resnet3d": lambda: create_encoder("resnet3d"),
            "timm3d": lambda: create_encoder("timm3d/resnet18"),
            "monai": lambda: create_encoder("monai/densenet121"),
        }[name]()
        network = Network(encoder)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):  # as after training, not 0 and 1
                nn.init.normal_(module.running_mean, std=0.1)
                nn.init.uniform_(module.running_var, 0.5, 1.5)
    return network.eval()


def last_layer(network):
    encoder = network.encoder
    return encoder.body if isinstance(encoder, SmallCNN) else encoder.stages()[-1]


def volumes(size=(32, 64, 48), batch=2):
    return torch.randn(batch, 1, *size, generator=torch.Generator().manual_seed(1))


def severity(logits):
    return logits.softmax(dim=1) @ logits.new_tensor(range(logits.shape[1]))


def tail(network, features, read=severity, **keywords):
    return tail_score(
        features, lambda embedding: read(network.head(embedding)), embed=network.encoder.embed, **keywords
    )


@pytest.mark.parametrize("name", ["cnn", "resnet3d", "timm3d", "monai"])
def test_equals_captum_layer_gradcam(name):
    from captum.attr import LayerGradCam

    network, volume = make_network(name), volumes((32, 64, 48))
    largest = 0.0
    for sign in (1, -1):  # where nothing speaks for severity, something speaks against it
        with torch.no_grad():
            features = network.encoder.features(volume)
            score = tail(network, features, lambda logits, sign=sign: sign * severity(logits))
            ours = class_activation_map(features[-1], score)
        oracle = LayerGradCam(lambda x, sign=sign: sign * severity(network(x)), last_layer(network))
        expected = oracle.attribute(volume, relu_attributions=True)[:, 0].detach()
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5 * expected.max().item())
        largest = max(largest, expected.max().item())
    assert largest > 0


@pytest.mark.parametrize("stage", [0, 2, -2])
def test_an_earlier_stage_equals_captum_too(stage, monkeypatch):
    from captum.attr import LayerGradCam

    network, volume = make_network("timm3d"), volumes((24, 40, 32))
    stages = network.encoder.stages()
    monkeypatch.setattr(network.encoder, "stages", lambda: stages)  # captum hooks the very module that runs
    with torch.no_grad():
        features = network.encoder.features(volume)
        score = tail(network, features, stage=stage, resume=network.encoder.resume)
        ours = class_activation_map(features[stage], score)
    oracle = LayerGradCam(lambda x: severity(network(x)), stages[stage])
    expected = oracle.attribute(volume, relu_attributions=True)[:, 0].detach()
    assert ours.shape[1:] == features[stage].shape[2:]
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5 * expected.max().item())


@pytest.mark.parametrize("method", CAM_METHODS)
@pytest.mark.parametrize("name", ["cnn", "timm3d"])
def test_equals_the_gradcam_package_on_its_own_grid(name, method):
    import pytorch_grad_cam

    classes = {"gradcam": "GradCAM", "gradcam++": "GradCAMPlusPlus", "xgradcam": "XGradCAM"}
    classes |= {"hirescam": "HiResCAM", "layercam": "LayerCAM", "gradcam_elementwise": "GradCAMElementWise"}
    network, volume = make_network(name), volumes((24, 40, 32))
    targets = [lambda output: output[3]] * 2
    with getattr(pytorch_grad_cam, classes[method])(network, [last_layer(network)]) as package:
        outputs = package.activations_and_grads(volume)
        sum(target(output) for target, output in zip(targets, outputs, strict=True)).backward()
        (activations,), (gradients,) = (
            package.activations_and_grads.activations,
            package.activations_and_grads.gradients,
        )
        raw = package.get_cam_image(volume, None, targets, activations.numpy(), gradients.numpy(), False)
    expected = torch.from_numpy(np.maximum(raw, 0))
    network.zero_grad()
    features = network.encoder.features(volume)
    ours = class_activation_map(
        features[-1], tail(network, features, lambda logits: logits[:, 3]), method=method
    )
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6 * expected.max().item())


def test_global_average_and_linear_head_give_cam_over_n():
    """Zhou et al. 2016: with average pooling, Grad-CAM is the class activation map over the cell count."""
    network = make_network("cnn").double()
    features = network.encoder.features(volumes().double())
    ours = class_activation_map(features[-1], tail(network, features, lambda logits: logits[:, 2]))
    weights = network.head.weight[2].detach()
    expected = (
        torch.einsum("c,bcijk->bijk", weights, features[-1].detach()).relu() / features[-1][0, 0].numel()
    )
    torch.testing.assert_close(ours, expected, rtol=1e-9, atol=1e-12)


def test_a_knee_does_not_depend_on_its_batch():
    network, volume = make_network("timm3d"), volumes((24, 40, 32), batch=3)
    features = network.encoder.features(volume)
    together = class_activation_map(features[-1], tail(network, features))
    alone = [item[1:2] for item in features]
    torch.testing.assert_close(class_activation_map(alone[-1], tail(network, alone)), together[1:2])


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_contexts_of_evaluation_change_nothing(context):
    network, volume = make_network("cnn"), volumes()
    features = network.encoder.features(volume)
    expected = class_activation_map(features[-1], tail(network, features))
    with context():
        features = network.encoder.features(volume)
        ours = class_activation_map(features[-1], tail(network, features))
        assert not torch.is_grad_enabled()
    assert torch.equal(ours, expected)
    assert not ours.requires_grad


def test_works_on_inference_tensors_of_finer_maps():
    """An embedding that multiplies a finer map with the explained one needs it as a normal tensor."""
    with torch.inference_mode():
        features = torch.rand(2, 3, 4, 4, 4), torch.rand(2, 3, 2, 2, 2)
        score = tail_score(
            features,
            lambda embedding: embedding.sum(dim=1),
            embed=lambda maps: maps[0].mean((2, 3, 4)) * maps[1].mean((2, 3, 4)),
        )
        result = class_activation_map(features[1], score)
    assert result.shape == (2, 2, 2, 2)
    assert (result > 0).all()


def test_autocast_does_not_reach_the_tail():
    network, volume = make_network("cnn"), volumes()
    features = network.encoder.features(volume)
    expected = class_activation_map(features[-1], tail(network, features))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = class_activation_map(features[-1], tail(network, features))
    assert torch.equal(ours, expected)


def test_nothing_is_disturbed():
    network, volume = make_network("timm3d"), volumes((24, 40, 32))
    network(volume).sum().backward()
    gradients = {name: parameter.grad.clone() for name, parameter in network.named_parameters()}
    state = {name: value.clone() for name, value in network.state_dict().items()}
    frozen = next(network.parameters()).requires_grad_(False)
    random_state = torch.get_rng_state()
    features = network.encoder.features(volume)
    before = [item.clone() for item in features]
    for stage in (-1, 1):
        score = tail(network, features, stage=stage, resume=network.encoder.resume)
        class_activation_map(features[stage], score)
    smoothgrad_times_input(
        lambda x: severity(network(x)), volume, generator=torch.Generator().manual_seed(0), draws=1
    )
    assert torch.equal(random_state, torch.get_rng_state())
    assert not frozen.requires_grad
    assert not any(module.training for module in network.modules())
    assert not any(module._forward_hooks or module._backward_hooks for module in network.modules())
    for name, parameter in network.named_parameters():
        assert torch.equal(parameter.grad, gradients[name])
    for name, value in network.state_dict().items():
        assert torch.equal(value, state[name])
    for item, copy in zip(features, before, strict=True):
        assert torch.equal(item, copy)


def test_errors_say_what_is_wrong(shapes_unchecked):
    maps = torch.rand(2, 3, 2, 2, 2)
    with pytest.raises(ValueError, match=r"method: expected one of .*got 'scorecam'"):
        class_activation_map(maps, lambda a: a.mean((1, 2, 3, 4)), method="scorecam")
    with pytest.raises(ValueError, match=r"one number a knee, shape \(2,\), got \(2, 3\)"):
        tail_gradients(maps, lambda a: a.mean((2, 3, 4)))
    with pytest.raises(ValueError, match="does not depend on the feature map"):
        tail_gradients(maps, lambda a: a.detach().mean((1, 2, 3, 4)))
    with pytest.raises(ValueError, match=r"stage: the encoder has 1 feature maps, .*got 3"):
        tail_score([maps], lambda e: e, stage=3, embed=lambda f: f[-1])
    with pytest.raises(ValueError, match=r"expected one, or 2 \(one a knee\), got 3"):
        smoothgrad_times_input(lambda x: x.sum((1, 2, 3, 4)), maps[:, :1], generator=[torch.Generator()] * 3)


def test_smoothgrad_times_input_by_hand():
    """For s = sum w x^2 the gradient is 2 w x: averaged over draws, 2 w (x + mean noise)."""
    volume, weight = volumes((3, 4, 5)), torch.rand(3, 4, 5)
    ours = smoothgrad_times_input(
        lambda x: (weight * x[:, 0] ** 2).sum((1, 2, 3)), volume, generator=torch.Generator().manual_seed(7)
    )
    generator = torch.Generator().manual_seed(7)
    noise = torch.stack([0.05 * torch.randn(volume.shape, generator=generator) for _ in range(8)]).mean(0)
    torch.testing.assert_close(ours, (2 * weight * (volume + noise) * volume)[:, 0])


def test_smoothgrad_with_one_generator_a_knee_ignores_the_batch():
    network, volume = make_network("cnn"), volumes((8, 8, 8), batch=3)

    def explain(rows):
        generators = [torch.Generator().manual_seed(row) for row in rows]
        with torch.inference_mode():
            return smoothgrad_times_input(
                lambda x: severity(network(x)), volume[rows], generator=generators, draws=2
            )

    torch.testing.assert_close(explain([2])[0], explain([0, 1, 2])[2])
