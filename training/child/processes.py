"""Equal work for data-parallel processes, and sums over all of them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler


class BalancedSampler(Sampler[int]):  # type: ignore[misc]  # torch is not followed
    """Orders the rows of each step so that every process gets about as many tokens.

    A step has the rows that it has with one process; only who takes which is chosen: the longest
    first, each by the process with the fewest tokens so far that still takes rows.
    """

    def __init__(
        self, rows: Sampler[int], lengths: Sequence[int], *, batch: int, processes: int
    ) -> None:
        self._rows = rows
        self._lengths = lengths
        self._batch = batch
        self._processes = processes

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[int]:
        step: list[int] = []
        for row in self._rows:
            step.append(row)
            if len(step) == self._batch * self._processes:
                yield from self._balanced(step)
                step = []
        yield from step

    def set_epoch(self, epoch: int) -> None:
        """Let the order below begin that epoch."""
        if hasattr(self._rows, "set_epoch"):
            self._rows.set_epoch(epoch)

    def _balanced(self, step: list[int]) -> Iterator[int]:
        shares: list[list[int]] = [[] for _ in range(self._processes)]
        tokens = [0] * self._processes
        for row in sorted(step, key=lambda one: -self._lengths[one]):
            free = [i for i, share in enumerate(shares) if len(share) < self._batch]
            least = min(free, key=lambda i: tokens[i])
            shares[least].append(row)
            tokens[least] += self._lengths[row]
        for share in shares:
            yield from share


def balance(loader: Any, lengths: Sequence[int], *, batch: int, processes: int) -> None:
    """Let an accelerated loader of rows share out each step by tokens."""
    batches = loader.batch_sampler.batch_sampler  # of all processes, before it is sharded
    batches.sampler = BalancedSampler(batches.sampler, lengths, batch=batch, processes=processes)


def row_tokens(row: Mapping[str, Any]) -> int:
    """Return the tokens of a row of ids."""
    return sum(len(value) for name, value in row.items() if name.endswith("_ids"))


def row_lengths(dataset: Any) -> list[int]:
    """Return the tokens of each row of a dataset of ids."""
    columns = [dataset[name] for name in dataset.column_names if name.endswith("_ids")]
    return [sum(map(len, row)) for row in zip(*columns, strict=True)]


def summed(values: Sequence[float], device: torch.device) -> list[float]:
    """Return sums over all processes; every one of them has to ask."""
    if not torch.distributed.is_initialized():
        return list(values)
    found = torch.tensor(values, device=device, dtype=torch.float64)
    torch.distributed.all_reduce(found)
    return [float(one) for one in found.tolist()]


class NormalisesByAllTokens:
    """ORPO's loss of the chosen text is a mean over tokens: over those of all processes here.

    Processes are averaged, so that each one's mean has to weigh as many tokens as it has.
    """

    def concatenated_forward(self, model: Any, batch: Any) -> Any:
        """Return what TRL returns; the fifth is that loss."""
        found = list(super().concatenated_forward(model, batch))  # type: ignore[misc]  # of ORPO
        own = batch["chosen_attention_mask"][:, 1:].sum()
        everyone = self.accelerator.gather(own.reshape(1)).float()  # type: ignore[attr-defined]  # the same
        found[4] = found[4] * own / everyone.mean()
        return tuple(found)
