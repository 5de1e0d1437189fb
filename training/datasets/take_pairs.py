"""Pairs of a better and a worse text, and single texts with OK or not OK."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from training.datasets.candidates import Candidate, Pool
from training.datasets.evidence import Evidence, PairKey, PairVerdict, TextKey, Verdict
from training.datasets.proposals import Proposals
from training.datasets.rules import LabelledRules, PairRules


class PairTaker:
    """Makes pairs from comparisons, and from edits over their originals."""

    def __init__(
        self, rules: PairRules, pool: Pool, evidence: Evidence, proposals: Proposals
    ) -> None:
        self.rules, self.pool, self.evidence = rules, pool, evidence
        self.proposals = proposals
        self.not_taken: Counter[str] = Counter()
        """Reason → pairs: ``tie``, ``both_bad``, ``other_prompt``, ``control``."""

    def taken(self) -> Iterator[Candidate]:
        """Yield the pairs; ``not_taken`` counts the comparisons that give none."""
        for pair, said in self.evidence.pairs.items():
            if pair.a.scope in self.rules.take.comparisons:
                yield from self._compared(pair, said)
        if self.rules.take.edits:
            yield from self._edited()
        if self.rules.take.questions != "none":
            yield from self._questions()

    def _questions(self) -> Iterator[Candidate]:
        """Yield questions that people chose over others proposed for the same move."""
        for proposal in self.proposals.proposals:
            worse = proposal.rejected
            if self.rules.take.questions == "passed_over":
                worse += proposal.passed_over
            for place, (better, other) in enumerate(product(proposal.chosen, worse)):
                yield Candidate(
                    rule="questions",
                    question_id=proposal.question_id,
                    target="questions",
                    next_question_id=proposal.chosen_ids[place // len(worse)],
                    proposal=replace(proposal, chosen=(better,), rejected=(other,)),
                )

    def _compared(self, pair: PairKey, said: PairVerdict) -> Iterator[Candidate]:
        winner = said.winner(self.rules)
        if winner in ("tie", "both_bad"):
            self.not_taken[winner] += 1
            return
        is_contradictory = winner == "contradiction"
        better, worse = (pair.b, pair.a) if winner == "b" else (pair.a, pair.b)
        if not (_is_there(self.pool, better) and _is_there(self.pool, worse)):
            self.not_taken["control"] += 1
            return
        candidate = self._pair("comparisons", better, worse)
        if candidate is None:
            self.not_taken["other_prompt"] += 1
            return
        ids = said.ids("a", "b") if is_contradictory else said.ids("a" if winner == "a" else "b")
        candidate.rating_ids = frozenset(ids)
        candidate.is_contradictory = is_contradictory
        candidate.is_flagged = bool(self.evidence.texts[better].flagged)
        yield candidate

    def _pair(self, rule: str, better: TextKey, worse: TextKey) -> Candidate | None:
        """Return the pair; None where the two would be written from different prompts."""
        if better.scope == "reasoning":
            question_id = self.pool.variants[better.id].question_id
            return Candidate(
                rule=rule,
                question_id=question_id,
                target="reasoning",
                variant_id=better.id,
                rejected_variant_id=worse.id,
                role=self.pool.role_of(better.id, None),
                score=self.evidence.score(better),
            )
        first, second = self.pool.answers[better.id], self.pool.answers[worse.id]
        is_whole = better.scope == "whole" and None not in (first.variant_id, second.variant_id)
        if not is_whole and first.variant_id != second.variant_id:
            return None
        return Candidate(
            rule=rule,
            question_id=first.question_id,
            target="whole" if is_whole else "answer",
            variant_id=first.variant_id,
            answer_id=first.id,
            rejected_variant_id=second.variant_id if is_whole else None,
            rejected_answer_id=second.id,
            role=self.pool.role_of(first.variant_id, first.id),
            score=self.evidence.score(better),
        )

    def _edited(self) -> Iterator[Candidate]:
        keys = [
            (TextKey("reasoning", variant_id), TextKey("reasoning", parent_id))
            for variant_id, parents in self.pool.variant_parents.items()
            for parent_id in parents
            if self.pool.variants[variant_id].source == "edited"
        ]
        keys += [
            (TextKey("answer", answer.id), TextKey("answer", answer.parent_id))
            for answer in self.pool.answers.values()
            if answer.source == "edited" and answer.parent_id in self.pool.answers
        ]
        for better, worse in keys:
            pair = PairKey(*sorted((better, worse), key=lambda key: key.id))
            if pair in self.evidence.pairs and better.scope in self.rules.take.comparisons:
                continue  # people compared the two: their verdict stands, whatever it is
            candidate = self._pair("edits", better, worse)
            if candidate is None:
                self.not_taken["other_prompt"] += 1
                continue
            candidate.is_flagged = bool(self.evidence.texts.get(better, Verdict()).flagged)
            yield candidate


class LabelledTaker:
    """Takes every text that was called OK or not OK."""

    def __init__(self, rules: LabelledRules, pool: Pool, evidence: Evidence) -> None:
        self.rules, self.pool, self.evidence = rules, pool, evidence
        self.not_taken: Counter[str] = Counter()
        """Reason → texts: ``control``."""

    def taken(self) -> Iterator[Candidate]:
        """Yield the texts; ``not_taken`` counts those that cannot be used."""
        for key, said in list(self.evidence.texts.items()):
            if key.scope not in self.rules.take.ok or not (said.ok or said.not_ok):
                continue
            if not _is_there(self.pool, key):
                self.not_taken["control"] += 1
                continue
            is_ok = len(said.ok) > len(said.not_ok)
            is_open = len(said.ok) == len(said.not_ok) or self.rules.contradictions == "drop"
            variant_id: int | None = key.id
            answer_id: int | None = None
            if key.scope != "reasoning":
                variant_id, answer_id = self.pool.answers[key.id].variant_id, key.id
            is_whole = key.scope == "whole" and variant_id is not None
            yield Candidate(
                rule="ok" if is_ok else "not_ok",
                question_id=self.evidence.question_of[key],
                target="reasoning" if answer_id is None else "whole" if is_whole else "answer",
                variant_id=variant_id,
                answer_id=answer_id,
                role=self.pool.role_of(variant_id, answer_id),
                label=is_ok,
                score=self.evidence.score(key),
                rating_ids=frozenset([*said.ok, *said.not_ok]),
                is_contradictory=said.is_contradictory and is_open,
                is_flagged=is_ok and bool(said.flagged),
            )


def _is_there(pool: Pool, key: TextKey) -> bool:
    return key.id in (pool.variants if key.scope == "reasoning" else pool.answers)
