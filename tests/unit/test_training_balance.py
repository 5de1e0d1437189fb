"""Data-parallel processes get equal work."""

import random

from torch.utils.data import SequentialSampler

from training.child.processes import BalancedSampler


def test_each_step_keeps_its_rows_and_every_process_gets_as_many_tokens() -> None:
    drawn = random.Random(1)
    lengths = [round(drawn.lognormvariate(5.6, 0.6)) for _ in range(4 * 8 * 10 + 3)]
    rows = list(range(len(lengths)))
    found = list(BalancedSampler(SequentialSampler(rows), lengths, batch=8, processes=4))
    assert sorted(found) == rows
    ours, plain = [], []
    for start in range(0, 320, 32):
        assert sorted(found[start : start + 32]) == rows[start : start + 32]
        for order, waits in ((found, ours), (rows, plain)):
            shares = [
                sum(lengths[one] for one in order[at : at + 8])
                for at in range(start, start + 32, 8)
            ]
            waits.append(max(shares) * 4 / sum(shares) - 1)
    assert sum(ours) / 10 < 0.02 < 0.1 < sum(plain) / 10
    assert found[320:] == rows[320:]
