"""Values of other packages and closed forms; properties that hold for any logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from registry import GRADED, HEADS, STAGES, THREE
from scipy import special, stats
from torch import Tensor

import oahier as oh
from oahier.heads import Beta, Binomial, ComplementaryLogLog, CumulativeHead, Link, Logit, Poisson, Probit
from oahier.heads.links import log1mexp
from oahier.testing import check_head
from oahier.types import TrainingFacts

SCORES = torch.tensor([[0.3], [-1.2], [2.5]], dtype=torch.float64)
LABELS = torch.tensor([1, 0, 4])
THRESHOLDS = (-1.5, -0.4, 0.6, 2.0)
EXTREMES = [0.0, 1e-6, 1.0, 30.0, 88.0, 500.0, 1e4]


def _double(head: oh.Head) -> oh.Head:
    head.build(3)
    return head.double()


def _close(found: Tensor, expected: object, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(found.detach().numpy(), np.asarray(expected), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", HEADS)
def test_contract(name: str) -> None:
    check_head(HEADS[name]())


@pytest.mark.parametrize(
    "head",
    [
        oh.CumulativeHead(2),
        oh.CoralHead(3),
        oh.CornHead(2),
        oh.ConditionalHead(hierarchy=STAGES),
        oh.MarginalHead(hierarchy=STAGES),
        oh.MarginalHead("oa", hierarchy=THREE),
        oh.RegressionHead(thresholds=[0.2, 1.0, 2.0, 3.5]),
    ],
)
def test_contract_of_other_sizes(head: oh.Head) -> None:
    check_head(head)


def test_cumulative_head_is_that_of_spacecutter() -> None:
    """spacecutter 0.2.1: LogisticCumulativeLink(5) with these cutpoints; cumulative_link_loss(none)."""
    head = _double(oh.CumulativeHead(thresholds=THRESHOLDS))
    expected = [
        [0.14185106490048777, 0.18996116293134613, 0.24263028897982514, 0.2710922181048062, 0.15446526508],
        [0.425557483188341, 0.2644169979392715, 0.16817445397189978, 0.10268534210372338, 0.03916572279676],
        [0.01798620996209156, 0.03416735311632618, 0.07795491128458013, 0.24743219443514755, 0.62245933120],
    ]
    _close(head.probabilities(SCORES), expected)
    _close(head.row_losses(SCORES, LABELS), [1.660935633339822, 0.8543552444685271, 0.47407698418010663])


def test_coral_loss_is_that_of_coral_pytorch() -> None:
    """coral-pytorch 1.4.0: coral_loss(SCORES - THRESHOLDS, levels_from_labelbatch(LABELS, 5))."""
    head = _double(oh.CoralHead(thresholds=THRESHOLDS))
    _close(head.row_losses(SCORES, LABELS), [1.978304933266325, 1.418386854104809, 0.6851764465988401])
    above = head.probabilities(SCORES).flip(1).cumsum(1).flip(1)[:, 1:]
    _close(above, torch.sigmoid(SCORES - torch.tensor(THRESHOLDS)))


def test_corn_is_that_of_coral_pytorch() -> None:
    """coral-pytorch 1.4.0: corn_loss(z, LABELS, 5), which divides by the 7 decisions of the batch."""
    z = torch.tensor([[0.3, -1.0, 0.2, 0.5], [-1.2, 0.7, 1.1, -0.4], [2.5, 1.5, 0.3, 0.9]]).double()
    head = oh.CornHead()
    _close(head.row_losses(z, LABELS).sum() / 7, 0.329530218685814)
    above = head.probabilities(z).flip(1).cumsum(1).flip(1)[:, 1:]
    _close(above[0], [0.574442516811659, 0.15449138696668488, 0.0849446168462412, 0.05287456939130909])


def test_conditional_head_is_that_of_hierarchicalsoftmax() -> None:
    """hierarchicalsoftmax 1.4.4: a root over "no" (grades 0, 1) and "oa" (2, 3, 4); leaf_probabilities."""
    z = torch.tensor([[0.3, -0.5, 0.2, -0.4, 1.0, 0.1, -2.0], [1.5, 0.7, -1.1, 0.6, 0.0, 2.0, 0.4]]).double()
    head = oh.ConditionalHead()
    expected = [
        [0.4454863667488098, 0.24448810517787933, 0.21287745237350464, 0.08654951304197311, 0.01059854403],
        [0.10657709091901779, 0.583397388458252, 0.03137630224227905, 0.23184126615524292, 0.0468079447746],
    ]
    _close(head.probabilities(z), expected)
    missing = torch.full((2,), -1)
    fine = head.reading_losses(z, torch.stack([torch.tensor([3, 0]), missing], dim=1))
    _close(fine.mean(), 2.342962643308176)
    coarse = head.reading_losses(z, torch.stack([missing, torch.tensor([1, 1])], dim=1))
    _close(coarse[0], 1.1711006659477778)
    both = head.reading_losses(z, torch.tensor([[3, 1], [0, 0]]))
    _close(both, fine.detach())


@pytest.mark.parametrize(
    ("link", "below"),
    [(Logit(), special.expit), (Probit(), special.ndtr), (ComplementaryLogLog(), stats.gumbel_l.cdf)],
)
def test_links_are_the_distribution_functions_of_scipy(link: Link, below: Callable[..., Any]) -> None:
    x = torch.linspace(-6, 3, 37, dtype=torch.float64)
    gap = torch.tensor(0.7, dtype=torch.float64)
    low, high = below(x.numpy()), below(x.numpy() + 0.7)
    _close(link.log_below(x).exp(), low, 1e-12)
    _close(link.log_above(x).exp(), 1 - low, 1e-12)
    _close(link.log_between(x, gap).exp(), high - low, 1e-12)
    assert below(link.quantile(0.3)) == pytest.approx(0.3)


def test_small_gaps_far_out_keep_their_probability() -> None:
    """A difference of distribution functions in float32 would be 0 there."""
    for x, scale in ((-40.0, 1e-4), (40.0, 1e-4), (8.0, 1e-3)):
        edge, gap = torch.tensor([x]), torch.tensor([scale])
        exact = np.log(special.expit(x)) + np.log(special.expit(-x)) + np.log(scale)
        _close(Logit().log_between(edge, gap), [exact], 1e-2)
        normal = stats.norm.logpdf(x) + np.log(scale)
        _close(Probit().log_between(edge, gap), [normal], 0.05)
    x = torch.tensor([1e-9, 1.0, 40.0], dtype=torch.float64)
    _close(log1mexp(x), np.log(-np.expm1(-x.numpy())), 1e-12)


def test_continuation_ratio_with_the_extreme_value_link_is_the_grouped_hazard_model() -> None:
    """Its cumulative probabilities are those of the cumulative model (Laara & Matthews 1985)."""
    head = _double(oh.ContinuationRatioHead(link=ComplementaryLogLog()))
    p = head.probabilities(SCORES)
    grown = head.thresholds.exp().cumsum(0).log()
    expected = stats.gumbel_l.cdf((grown - SCORES).detach())
    _close(p.cumsum(1)[:, :-1], expected)


def test_unimodal_distributions_are_those_of_scipy() -> None:
    k, z = np.arange(5), SCORES.numpy()
    _close(
        oh.UnimodalHead(distribution=Binomial()).probabilities(SCORES),
        stats.binom.pmf(k, 4, special.expit(z)),
    )
    cut = stats.poisson.pmf(k, np.exp(z))
    _close(oh.UnimodalHead(distribution=Poisson()).probabilities(SCORES), cut / cut.sum(1, keepdims=True))
    z = torch.tensor([[0.3, -0.4], [2.0, 5.0]]).double()
    a, b = (1 + np.log1p(np.exp(z.numpy()))).T[:, :, None]
    density = stats.beta.pdf((k + 0.5) / 5, a, b)
    _close(oh.UnimodalHead(distribution=Beta()).probabilities(z), density / density.sum(1, keepdims=True))


def test_regression_is_least_squares_with_normal_intervals() -> None:
    head = _double(oh.RegressionHead())
    sigma = float(head.sigma.detach())
    edges = np.concatenate([[-np.inf], np.arange(4) + 0.5, [np.inf]])
    expected = np.diff(stats.norm.cdf(edges, SCORES.numpy(), sigma), axis=1)
    _close(head.probabilities(SCORES), expected)
    loss = -stats.norm.logpdf(LABELS.numpy(), SCORES.numpy()[:, 0], sigma) - np.log(2 * np.pi) / 2
    _close(head.row_losses(SCORES, LABELS), loss)


@pytest.mark.parametrize(("link", "name"), [(Logit(), "logit"), (Probit(), "probit")])
def test_linear_cumulative_head_reaches_the_maximum_likelihood_estimate(link: Link, name: str) -> None:
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    noise = rng.logistic(size=400) if name == "logit" else rng.normal(size=400)
    y = np.digitize(x @ [1.0, -0.5, 0.2] + noise, [-1.5, -0.3, 0.8, 2.0])
    fitted = OrderedModel(y, x, distr=name).fit(method="bfgs", disp=False)
    head = _double(oh.CumulativeHead(link=link))
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    optimizer = torch.optim.LBFGS(
        head.parameters(), max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = head.loss(head(inputs), labels)
        loss.backward()
        return loss

    optimizer.step(closure)
    _close(head.projection.weight[0], fitted.params[:3], 1e-3)
    _close(head.thresholds, fitted.model.transform_threshold_params(fitted.params)[1:-1], 1e-3)
    assert float(head.loss(head(inputs), labels).detach()) * 400 == pytest.approx(-fitted.llf, abs=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", GRADED)
def test_probabilities_are_coherent_at_extreme_logits(name: str, dtype: torch.dtype) -> None:
    """They sum to one, have finite losses and gradients, and unimodal ones one mode."""
    head = GRADED[name]()
    head.build(3)
    head.prepare(TrainingFacts({"kl": [1] * 5}, ("kl",)))
    head.to(dtype)

    @settings(max_examples=15, deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        number = st.one_of(st.floats(-40, 40), st.sampled_from([*EXTREMES, *(-x for x in EXTREMES)]))
        width = head.num_logits
        rows = data.draw(st.lists(st.lists(number, min_size=width, max_size=width), min_size=1, max_size=5))
        z = torch.tensor(rows, dtype=dtype).requires_grad_()
        log_p = head.log_probabilities(z)
        assert log_p.dtype == dtype
        assert not log_p.isnan().any()
        torch.testing.assert_close(log_p.exp().sum(1), torch.ones(len(rows), dtype=dtype), rtol=0, atol=1e-5)
        if name in ("binomial", "poisson", "beta"):
            signs = log_p.detach().diff(dim=1)
            rising, falling = signs > 1e-5 * log_p.detach().abs()[:, 1:], signs < 0
            assert not (falling[:, :-1].cumsum(1).bool() & rising[:, 1:]).any()
        for label in range(5):
            loss = head.loss(z, torch.full((len(rows),), label))
            gradients = torch.autograd.grad(loss, [z, *_own(head)], allow_unused=True)
            assert loss.isfinite()
            assert all(found is None or found.isfinite().all() for found in gradients)
        (slope,) = torch.autograd.grad(head.severity(z).sum(), z)
        assert slope.isfinite().all()

    holds()


def _own(head: oh.Head) -> list[torch.nn.Parameter]:
    return [item for name, item in head.named_parameters() if not name.startswith("projection")]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=4),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from([CumulativeHead, oh.CoralHead]),
)
def test_thresholds_are_ordered_whatever_the_parameters(
    values: list[float], dtype: torch.dtype, kind: type[CumulativeHead]
) -> None:
    head = kind()
    with torch.no_grad():
        head.first.fill_(values[0] / 1e4)
        head.raw_gaps.copy_(torch.tensor(values[1:]))
    head.to(dtype)
    p = head.probabilities(torch.tensor([[0.5], [-3.0]], dtype=dtype))
    assert (head.gaps > 0).all()
    assert (p >= 0).all()
    assert (p.flip(1).cumsum(1).flip(1).diff(dim=1) <= 0).all(), "P(y > k) falls with k"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.floats(-50, 50, width=32), min_size=9, max_size=9), min_size=1, max_size=4),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_levels_of_a_conditional_head_do_not_contradict(rows: list[list[float]], dtype: torch.dtype) -> None:
    """The gap of the hierarchy is zero: a coarse softmax times a fine one among siblings."""
    z = torch.tensor(rows, dtype=dtype)[:, :7]
    fine = oh.ConditionalHead().log_probabilities(z)
    torch.testing.assert_close(oh.Hierarchy("kl", {"oa": (0, 0, 1, 1, 1)}).marginal(fine.exp(), "kl", "oa"),
                               z[:, :2].softmax(1), rtol=0, atol=2e-6)  # fmt: skip
    coarse = oh.MarginalHead()
    marginal = coarse.probabilities(coarse(fine))
    torch.testing.assert_close(marginal, z[:, :2].softmax(1), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: oh.CumulativeHead(thresholds=[0.0, 1.0, 1.0, 2.0]), "4 rising numbers, .* sort them"),
        (lambda: oh.CoralHead(thresholds=[0.0, 1.0]), r"CoralHead: thresholds: expected 4 rising numbers"),
        (lambda: oh.RegressionHead(thresholds=[3.0, 2.0, 1.0, 0.0]), "RegressionHead: thresholds: expected"),
        (lambda: oh.ConditionalHead(target=("oa", "kl")), "a column of the finest level 'kl' first"),
        (lambda: oh.MarginalHead("stage"), "level: expected one coarser than 'kl', of oa, got 'stage'"),
        (lambda: oh.MarginalHead().build(4), "a head of the 5 classes of level 'kl', got 4"),
        (
            lambda: oh.CumulativeHead(2, criterion=oh.BinaryCrossEntropy()),
            "CumulativeHead: criterion: BinaryCrossEntropy reads logits, .* such as oahier.CrossEntropy",
        ),
        (lambda: oh.SoftmaxHead(criterion=oh.BinaryCrossEntropy()).build(3), "a head of two classes, got 5"),
        (
            lambda: oh.SoftmaxHead(3, criterion=oh.HierarchicalCrossEntropy()).build(3),
            "a head of the 5 classes of 'kl', got 3; give its hierarchy",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_the_fix(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]
