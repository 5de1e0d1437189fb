"""Which texts become rows: good enough to imitate, better ones of pairs, OK or not OK."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import product

from db.tables.library import MOVES
from training.datasets.candidates import Candidate, Pool, Proposals
from training.datasets.evidence import Evidence, PairKey, PairVerdict, TextKey, Verdict
from training.datasets.held_out import QuestionInfo
from training.datasets.rows import Target
from training.datasets.rules import DemonstrationRules, LabelledRules, Learned, PairRules

RULES = ("edited", "chosen", "rated", "ok", "sources", "dialogue")
"""In the order in which a row is counted for one of them."""
_TARGETS: dict[Learned, Target] = {"reasoning": "reasoning", "response": "answer", "both": "whole"}


class DemonstrationTaker:
    """Goes through all rows that there could be and takes the good ones."""

    def __init__(
        self,
        rules: DemonstrationRules,
        questions: Mapping[int, QuestionInfo],
        pool: Pool,
        evidence: Evidence,
        proposals: Proposals,
    ) -> None:
        self.rules, self.questions, self.pool, self.evidence = rules, questions, pool, evidence
        self.proposals = proposals
        self.not_taken: Counter[str] = Counter()
        """Reason → rows: ``not_judged``, ``not_good_enough``, ``one_part_only``."""

    def taken(self) -> Iterator[Candidate]:
        """Yield the rows that a rule takes; ``not_taken`` counts the others."""
        for variant in self.pool.variants.values():
            if self._learned(variant.question_id, variant.role) == "reasoning":
                yield from self._judge(variant.question_id, variant.id, None, variant.role)
        for answer in self.pool.answers.values():
            role = self.pool.role_of(answer.variant_id, answer.id)
            is_needed = self._learned(answer.question_id, role) != "reasoning"
            if is_needed or answer.variant_id is None:
                yield from self._judge(answer.question_id, answer.variant_id, answer.id, role)
        if self.rules.question_to_question > 0:
            yield from self._next_questions()

    def _learned(self, question_id: int, role: str | None) -> Learned:
        return self.rules.targets.get(role or self.questions[question_id].role, "both")

    def _judge(
        self, question_id: int, variant_id: int | None, answer_id: int | None, role: str | None
    ) -> Iterator[Candidate]:
        keys = []
        if variant_id is not None:
            keys.append(TextKey("reasoning", variant_id))
        if answer_id is not None:
            keys.append(TextKey("answer", answer_id))
        whole = TextKey("whole", answer_id) if answer_id is not None else None
        taken_by = {key: self._rules_for(key) for key in (*keys, *([whole] if whole else []))}
        needed = self._needed(keys)
        enough = [key for key in needed if taken_by[key]]
        if whole is not None and taken_by[whole]:
            enough = [whole, *enough]
        elif len(enough) < len(needed):
            self.not_taken[self._why_not(keys, whole, has_some=bool(enough))] += 1
            return
        rules = {rule for key in enough for rule in taken_by[key]}
        target: Target = (
            "answer"
            if variant_id is None
            else "reasoning"
            if answer_id is None
            else _TARGETS[self._learned(question_id, role)]
        )
        said = [self.evidence.texts.get(key, Verdict()) for key in taken_by]
        scores = [self.evidence.score(key) for key in enough]
        yield Candidate(
            rule=next(rule for rule in RULES if rule in rules),
            question_id=question_id,
            target=target,
            variant_id=variant_id,
            answer_id=answer_id,
            role=role,
            score=sum(scores) / len(scores),
            rating_ids=frozenset(
                one for key in enough for rule in taken_by[key].values() for one in rule
            ),
            is_contradictory=any(self._is_contradictory(key) for key in taken_by),
            is_flagged=any(one.flagged for one in said),
        )

    def _needed(self, keys: list[TextKey]) -> list[TextKey]:
        if self.rules.take.needs == "both" or len(keys) == 1:
            return keys
        return [key for key in keys if key.scope == self.rules.take.needs]

    def _rules_for(self, key: TextKey) -> dict[str, list[int]]:
        """Return the rules that take a text, each with the ratings that made it do so."""
        take, found = self.rules.take, {}
        said = self.evidence.texts.get(key, Verdict())
        if take.rated is not None:
            values = said.of_axes(take.rated)
            n_raters = len({one.rater_id for one in values})
            if n_raters >= take.rated.raters and _mean(said, self.rules) >= take.rated.at_least:
                found["rated"] = [one.rating_id for one in values]
        won, strength = self.evidence.won.get(key, []), self.evidence.strength(key)
        if take.chosen and won and strength > 0:
            found["chosen"] = won
        if take.ok and len(said.ok) > len(said.not_ok):
            found["ok"] = said.ok
        source = self._source(key)
        if take.edited and source == "edited":
            found["edited"] = []
        if source in take.sources and strength >= 0:  # the worse one of a pair is no model
            found["sources"] = []
        return found

    def _source(self, key: TextKey) -> str | None:
        if key.scope == "whole":
            return None
        known = self.pool.variants if key.scope == "reasoning" else self.pool.answers
        return known[key.id].source

    def _is_contradictory(self, key: TextKey) -> bool:
        """Judged both ways; or taken by one rule although it was judged bad."""
        said = self.evidence.texts.get(key)
        if said is None:
            return False
        if said.is_contradictory:
            return self.rules.contradictions == "drop" or len(said.ok) <= len(said.not_ok)
        rated = self.rules.take.rated
        is_low = rated is not None and said.of_axes(rated) and _mean(said, self.rules) < 3
        return bool(said.not_ok) or bool(is_low)

    def _why_not(self, keys: list[TextKey], whole: TextKey | None, *, has_some: bool) -> str:
        if has_some:
            return "one_part_only"
        texts = [*keys, *([whole] if whole else [])]
        is_judged = any(key in self.evidence.question_of for key in texts)
        return "not_good_enough" if is_judged else "not_judged"

    def _next_questions(self) -> Iterator[Candidate]:
        """Yield what people chose in dialogues, and children of imported questions."""
        for proposal in self.proposals.proposals:
            if proposal.chosen:
                yield Candidate(
                    rule="dialogue",
                    question_id=proposal.question_id,
                    target="questions",
                    next_question_id=proposal.chosen_ids[0],
                    proposal=proposal,
                )
        for question in self.questions.values():
            if question.id in self.proposals.made:
                continue
            if question.parent_id in self.questions and question.move in MOVES:
                assert question.parent_id is not None
                yield Candidate(
                    rule="dialogue",
                    question_id=question.parent_id,
                    target="answer",
                    next_question_id=question.id,
                )


def _mean(said: Verdict, rules: DemonstrationRules) -> float:
    assert rules.take.rated is not None
    values = [one.value for one in said.of_axes(rules.take.rated)]
    return sum(values) / len(values)


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
