"""The stop check of a merge's proof, by simulation: rounding passes it, a damaged stop does not."""

from typing import Any

import pytest
import torch

from training.merge.proof import _stop_check
from training.merge.proof_outputs import Written, _mean_kl, stop_positions

pytestmark = pytest.mark.filterwarnings("default")  # of torch, as it loads
STOP, VOCABULARY, TEXTS = 7, 300, 6


def found(draw: torch.Generator, *, noise: float, lowered: float = 0.0) -> dict[str, Any]:
    """Return figures of texts that an adapter ends, just so: another token is about as likely."""
    wanted, merged = [], []
    for _ in range(TEXTS):
        logits = torch.randn((20, VOCABULARY), generator=draw)
        logits[-2, STOP] = logits[-2].max() + 0.01
        wanted.append(logits)
        merged.append(logits + noise * torch.randn(logits.shape, generator=draw))
        merged[-1][:, STOP] -= lowered
    texts = [Written(prompt=[1] * 10, completion=[2] * 9 + [STOP], stopped=True)] * TEXTS
    ends = stop_positions(texts, wanted, merged, [STOP])
    return {
        "dtype": "float32", "mean_kl": _mean_kl(wanted, merged), "texts": TEXTS,
        "stopped_adapter": TEXTS, "stops_first": sum(ends.is_first),
        "stopped_merged": sum(ends.is_first), "stop_logprob": ends.difference,
    }  # fmt: skip


@pytest.mark.parametrize("noise", [0.01, 0.04, 0.3], ids=["rounding", "most", "large moves"])
def test_near_ties_that_rounding_swaps_pass(noise: float) -> None:
    draw = torch.Generator().manual_seed(1)
    runs = [found(draw, noise=noise) for _ in range(200)]
    passed = sum(_stop_check(one).passed for one in runs)
    assert passed >= 198
    swapped = [one for one in runs if one["stops_first"] < TEXTS]
    assert swapped, "in some, the merge would write on"


def test_a_stop_that_became_unlikely_fails() -> None:
    draw = torch.Generator().manual_seed(2)
    runs = [found(draw, noise=0.04, lowered=1.5) for _ in range(200)]
    assert not any(_stop_check(one).passed for one in runs)


def unended(draw: torch.Generator, *, lowered: float = 0.0) -> dict[str, Any]:
    """Return figures of texts that go on: rounding moves what is unlikely most, as measured."""
    wanted = [3 * torch.randn((100, VOCABULARY), generator=draw) for _ in range(TEXTS)]
    merged = [
        one + (0.03 - 0.04 * one.log_softmax(-1)) * torch.randn(one.shape, generator=draw)
        for one in wanted
    ]
    for one in merged:
        one[:, STOP] -= lowered
    texts = [Written(prompt=[1] * 50, completion=[2] * 50, stopped=False)] * TEXTS
    ends = stop_positions(texts, wanted, merged, [STOP])
    return {
        "dtype": "float32", "mean_kl": _mean_kl(wanted, merged), "texts": TEXTS,
        "stopped_adapter": 0, "stops_first": 0, "stopped_merged": 0,
        "stop_logprob": ends.difference,
    }  # fmt: skip


def test_texts_that_go_on_are_judged_by_how_likely_stopping_is_in_all_of_them() -> None:
    draw = torch.Generator().manual_seed(4)
    sound = [unended(draw) for _ in range(50)]
    assert all(_stop_check(one).passed for one in sound)
    assert not any(_stop_check(unended(draw, lowered=1.5)).passed for _ in range(50))


def test_a_merge_that_does_not_stop_where_it_should_fails() -> None:
    one = found(torch.Generator().manual_seed(3), noise=0.001) | {"stopped_merged": 0}
    check = _stop_check(one)
    assert not check.passed
    assert check.detail.endswith("Merge again.")
    assert _stop_check({**one, "stopped_adapter": 0, "stops_first": 0}).passed
