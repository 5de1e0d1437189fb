"""What a sweep may spend: nothing is sent that could go beyond it.

Before a request is sent, the most that it can take is set aside: its prompts, and ``max_tokens``
for each completion. What it took stands in its usage, and the rest is free again. So a sweep ends
below its budget by less than one request, and with nothing in the air.
"""

from collections.abc import Hashable
from dataclasses import dataclass

from db.cancelling import LimitReached
from serving.engine.messages import CompletionRequest, CompletionResult, Price, Prompt, Usage

TEMPLATE_TOKENS = 64
"""What a chat template may put around the messages of a prompt."""
CHARACTERS_PER_TOKEN = 4


class BudgetUsed(LimitReached):
    """The next request could go beyond the budget; all that was sent has come back."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Tokens, of prompts and completions, and US dollars."""

    tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(self.tokens + other.tokens, self.cost + other.cost)

    def __sub__(self, other: "Spent") -> "Spent":
        return Spent(self.tokens - other.tokens, self.cost - other.cost)


class Budget:
    """The budget of one run of a sweep; for one event loop."""

    def __init__(
        self, *, max_tokens: int | None, max_cost: float | None, spent: Spent = Spent()
    ) -> None:
        self.max_tokens = max_tokens
        self.max_cost = max_cost
        self._spent = spent
        self._set_aside: dict[Hashable, Spent] = {}

    @property
    def is_limited(self) -> bool:
        """Whether there is any limit."""
        return self.max_tokens is not None or self.max_cost is not None

    @property
    def is_set_aside(self) -> bool:
        """Whether something is in the air, whose rest will be free."""
        return bool(self._set_aside)

    def fits(self, at_most: Spent) -> bool:
        """Tell whether ``at_most`` could be spent beside what is in the air."""
        total = sum(self._set_aside.values(), self._spent + at_most)
        return (self.max_tokens is None or total.tokens <= self.max_tokens) and (
            self.max_cost is None or total.cost <= self.max_cost
        )

    def set_aside(self, of: Hashable, at_most: Spent) -> None:
        """Note what the request ``of`` can take."""
        self._set_aside[of] = at_most

    def free(self, of: Hashable) -> None:
        """Note that a request has come back."""
        self._set_aside.pop(of, None)

    def spend(self, taken: Spent) -> None:
        """Note what a request took."""
        self._spent += taken

    def used_up(self, at_most: Spent) -> BudgetUsed:
        """Return what to tell people where a request that takes ``at_most`` does not fit."""
        if self.max_tokens is not None and self._spent.tokens + at_most.tokens > self.max_tokens:
            return BudgetUsed(
                "The budget of {budget:,} tokens is used: {spent:,} are spent, and the next request"
                " can take {next:,}. Resume with a larger max_tokens.",
                budget=self.max_tokens,
                spent=self._spent.tokens,
                next=at_most.tokens,
            )
        return BudgetUsed(
            "The budget of {budget:.4g} USD is used: {spent:.4g} are spent, and the next request"
            " can cost {next:.4g}. Resume with a larger max_cost.",
            budget=self.max_cost,
            spent=self._spent.cost,
            next=at_most.cost,
        )


def most_of(request: CompletionRequest, price: Price | None) -> Spent:
    """Return the most that a request can take; a token is a byte of a text at least."""
    prompts = sum(map(_most_tokens, request.prompts))
    return spent_on(Usage(prompts, request.n_choices * request.sampling.max_tokens), price)


def spent_on(usage: Usage, price: Price | None) -> Spent:
    """Return what a request took."""
    return Spent(usage.tokens, price.cost(usage) if price is not None else 0.0)


def about_usage(request: CompletionRequest, result: CompletionResult) -> Usage:
    """Return about what a request took where the server does not tell."""
    prompts = sum(
        len(one) // CHARACTERS_PER_TOKEN if isinstance(one, str) else len(one)
        for one in request.prompts
    )
    return Usage(prompts, result.about_tokens)


def _most_tokens(prompt: Prompt) -> int:
    return len(prompt.encode()) + TEMPLATE_TOKENS if isinstance(prompt, str) else len(prompt)
