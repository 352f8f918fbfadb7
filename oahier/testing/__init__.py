"""Contract testers for authors of components and callbacks, and tiny data to test with.

Call them from any test runner::

    from oahier.testing import check_encoder, check_head, check_callback

    def test_my_head():
        check_head(MyHead(num_classes=5))

Each works on copies and raises :class:`ContractError`, an ``AssertionError`` that says what was expected,
what came and what to do.
"""

from oahier.testing.batches import tiny_batch, tiny_batches, tiny_dataloader
from oahier.testing.callback import check_callback
from oahier.testing.contract import ContractError
from oahier.testing.encoder import check_encoder
from oahier.testing.head import check_head
from oahier.testing.losses import check_criterion, check_term, check_weighting
from oahier.testing.model import TinyEncoder, tiny_model, tiny_trainer
from oahier.testing.properties import (
    assert_coherent,
    assert_gradients,
    assert_prepared,
    assert_probabilities,
    assert_row_losses,
)

__all__ = [
    "ContractError",
    "TinyEncoder",
    "assert_coherent",
    "assert_gradients",
    "assert_prepared",
    "assert_probabilities",
    "assert_row_losses",
    "check_callback",
    "check_criterion",
    "check_encoder",
    "check_head",
    "check_term",
    "check_weighting",
    "tiny_batch",
    "tiny_batches",
    "tiny_dataloader",
    "tiny_model",
    "tiny_trainer",
]
