"""Heads of follow-up: antisymmetry of change, and hazards against statsmodels and closed forms."""

import numpy as np
import pytest
import statsmodels.api as sm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.duration.hazard_regression import PHReg
from statsmodels.duration.survfunc import SurvfuncRight

from oahier.heads import ChangeHead, ComplementaryLogLog, HazardHead, Probit
from oahier.specs import build, describe
from oahier.testing import check_head
from oahier.types import MISSING

EDGES = (12.0, 24.0, 48.0)


@pytest.mark.parametrize("head", [ChangeHead(), ChangeHead(9, link=Probit()), ChangeHead(2), ChangeHead(4)])
def test_change_head_keeps_the_contract(head):
    check_head(head)


@pytest.mark.parametrize(
    "head",
    [
        HazardHead((1, 2)),
        HazardHead((1, 2, 3), proportional=True),
        HazardHead((1, 2), proportional=True, link=ComplementaryLogLog()),
    ],
)
def test_hazard_head_keeps_the_contract(head):
    check_head(head)


@settings(max_examples=60, deadline=None)
@given(
    classes=st.integers(2, 9),
    probit=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    scale=st.floats(0.01, 30),
)
def test_swapping_the_visits_reverses_the_head(classes, probit, seed, scale):
    head = ChangeHead(classes, link=Probit() if probit else None)
    head.build(6)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for item in head.parameters():
            item.copy_(torch.randn(item.shape, generator=generator))
        first, second = scale * torch.randn(2, 5, 6, generator=generator)
        there, back = head(second - first), head(first - second)
        assert torch.equal(there, -back)
        log_p, reverse = head.log_probabilities(there), head.log_probabilities(back).flip(1)
        torch.testing.assert_close(log_p, reverse, rtol=1e-6, atol=1e-6)
        p = head.probabilities(there)
        torch.testing.assert_close(p, head.probabilities(back).flip(1), rtol=0, atol=1e-6)
        torch.testing.assert_close(head.severity(there), classes - 1 - head.severity(back), rtol=0, atol=1e-5)
        edges = head.thresholds
        assert torch.equal(edges, -edges.flip(0))
        assert (edges.diff() > 0).all()
        labels = torch.arange(5) % classes
        swapped = head.row_losses(back, classes - 1 - labels)
        torch.testing.assert_close(head.row_losses(there, labels), swapped, rtol=1e-5, atol=1e-5)


def test_change_head_starts_with_equal_classes_and_refuses_lopsided_links():
    p = ChangeHead(9).probabilities(torch.zeros(1, 1))
    torch.testing.assert_close(p, torch.full((1, 9), 1 / 9), rtol=0, atol=1e-3)
    with pytest.raises(ValueError, match=r"symmetric distribution .* got ComplementaryLogLog"):
        ChangeHead(link=ComplementaryLogLog())
    again = build(describe(ChangeHead(9, link=Probit(), target="change")), ChangeHead)
    assert (again.num_classes, type(again.link), again.target) == (9, Probit, "change")


def test_hazard_losses_are_the_likelihood_of_each_kind_of_row():
    head = HazardHead(EDGES)
    head.build(2)
    logits = torch.tensor([[0.3, -0.7, 1.1]])
    h = (logits + head.baseline.detach()).sigmoid()[0].double()
    stay = 1 - h
    cases = {
        5.0: h[0], 12.0: h[0], 12.5: stay[0] * h[1], 48.0: stay[0] * stay[1] * h[2], 60.0: stay.prod(),
        -5.0: torch.tensor(1.0), -12.0: stay[0], -30.0: stay[0] * stay[1], -48.0: stay.prod(),
        -90.0: stay.prod(),
    }  # fmt: skip
    for months, likelihood in cases.items():
        (loss,) = head.row_losses(logits, torch.tensor([months]))
        assert loss.item() == pytest.approx(-float(likelihood.log()), abs=1e-6), months
    p = head.probabilities(logits)[0].detach().double()
    expected = torch.stack([stay.prod(), stay[0] * stay[1] * h[2], stay[0] * h[1], h[0]])
    torch.testing.assert_close(p, expected, rtol=0, atol=1e-6)
    times = torch.tensor([5.0, 12.0, 30.0, 60.0, -5.0, -48.0, torch.nan])
    assert head.classes_of(times).tolist() == [3, 3, 1, 0, MISSING, 0, MISSING]


@pytest.mark.parametrize("edges", [(), (0, 12), (12, 12), (24, 12)])
def test_edges_that_are_no_intervals_are_refused(edges):
    with pytest.raises(ValueError, match="edges: expected rising months above 0"):
        HazardHead(edges)


def simulated(rows=600, seed=0):
    """A covariate with log hazard ratio 0.8 on a grid of months, and censoring; signed as the target is."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=rows)
    time = np.ceil(generator.exponential(40 / np.exp(0.8 * x)) / 12) * 12
    censored = generator.choice([12.0, 24.0, 36.0, 48.0], size=rows)
    return x, np.where(time <= censored, time, -censored)


def fitted(head, x, signed):
    head.build(x.shape[1])
    head.double()
    inputs, target = torch.from_numpy(x).double(), torch.from_numpy(signed)
    optimizer = torch.optim.LBFGS(head.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = head.loss(head(inputs), target)
        loss.backward()
        return loss

    optimizer.step(closure)
    return head


def person_periods(x, signed, edges):
    """A row for each interval at risk, with the event in it: what a logistic regression is fitted on."""
    rows, happened = [], []
    for value, months in zip(x, signed, strict=True):
        for number, edge in enumerate(edges):
            event = months > 0 and months <= edge
            if event or abs(months) >= edge:
                rows.append([value, *(np.arange(len(edges)) == number)])
                happened.append(event)
            if event or abs(months) <= edge:
                break
    return np.array(rows, dtype=float), np.array(happened, dtype=float)


@pytest.mark.parametrize(
    ("link", "other"),
    [(None, sm.families.links.Logit()), (ComplementaryLogLog(), sm.families.links.CLogLog())],
)
def test_proportional_hazards_are_those_of_statsmodels(link, other):
    x, signed = simulated()
    edges = (12, 24, 36, 48)
    head = fitted(HazardHead(edges, proportional=True, link=link), x[:, None], signed)
    rows, happened = person_periods(x, signed, edges)
    expected = sm.GLM(happened, rows, family=sm.families.Binomial(other)).fit()
    found = [head.projection.weight.item(), *head.baseline.tolist()]
    np.testing.assert_allclose(found, expected.params, rtol=0, atol=2e-4)
    loss = head.row_losses(head(torch.from_numpy(x[:, None])), torch.from_numpy(signed)).sum()
    assert float(loss.detach()) == pytest.approx(-expected.llf, rel=1e-6)
    if link is not None:  # the same coefficient as Cox's model, up to how ties are treated
        cox = PHReg(np.abs(signed), x[:, None], status=(signed > 0).astype(int), ties="efron").fit()
        assert found[0] == pytest.approx(cox.params[0], abs=0.1)
        assert cox.params[0] == pytest.approx(0.8, abs=3 * cox.bse[0])


def test_hazards_without_covariates_are_kaplan_and_meier():
    _, signed = simulated(300, seed=1)
    edges = (12, 24, 36, 48)
    head = fitted(HazardHead(edges), np.zeros((300, 1)), signed)
    p = head.probabilities(head(torch.zeros(1, 1).double())).detach()[0]
    curve = SurvfuncRight(np.abs(signed), (signed > 0).astype(int))
    at = dict(zip(curve.surv_times, curve.surv_prob, strict=True))
    risks = p.flip(0).cumsum(0)[:-1]
    np.testing.assert_allclose(1 - risks.numpy(), [at[edge] for edge in edges], rtol=0, atol=1e-4)
