"""Why a row that a rule took is dropped after all: one reason each, the first that holds."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from db.identity import short_hash
from serving.checks import UNUSABLE_FINDINGS
from training.datasets.candidates import Candidate, Pool
from training.datasets.near import Grams, are_alike, grams, near_pairs
from training.datasets.rows import RowTexts
from training.datasets.rules import DemonstrationRules, Rules

Split = Literal["train", "held_out"]


@dataclass(slots=True, kw_only=True)
class Draft:
    """A row before it is known whether it stays."""

    candidate: Candidate
    texts: RowTexts
    split: Split
    family: int
    """Of its question; near-duplicates are looked for in one family."""

    @property
    def prompt(self) -> tuple[Hashable, ...]:
        """What the model is asked."""
        given = self.texts.reasoning if self.candidate.target == "answer" else None
        texts = self.texts
        asked = (texts.theme, texts.move, texts.answer) if self._is_asking else ()
        return (self.candidate.target, texts.role, texts.question, texts.context, given, *asked)

    @property
    def asked(self) -> str:
        """The question with its context; for next questions also the answer and the move."""
        asked = f"{self.texts.question}\n{self.texts.context}"
        return f"{asked}\n{self.texts.answer}\n{self.texts.move}" if self._is_asking else asked

    @property
    def _is_asking(self) -> bool:
        return self.candidate.target == "questions"

    @property
    def learned(self) -> tuple[str, ...]:
        """The texts to be learned, and those to be learned from as bad ones."""
        texts = self.texts
        if self._is_asking:
            return ("", texts.questions or "", "", texts.rejected_questions or "")
        own = (texts.reasoning if self.candidate.target != "answer" else None, texts.answer)
        return tuple(text or "" for text in (*own, texts.rejected_reasoning, texts.rejected_answer))


class Dropper:
    """Goes through rows once for each reason and counts what it drops."""

    def __init__(self, rules: Rules, pool: Pool) -> None:
        self.rules, self.pool = rules, pool
        self.dropped: Counter[str] = Counter()
        """Reason → rows; a finding of the checks goes by its own name."""

    def keep(self, drafts: Iterable[Draft]) -> list[Draft]:
        """Return what stays of rows of whose texts nothing was looked at yet."""
        kept = self._without(drafts, self._is_bad)
        kept = self._without_contradictions(kept)
        kept.sort(key=lambda one: (-one.candidate.score, *_identity(one)))
        kept = self._without_copies(kept)
        if self.rules.near_duplicates is not None:
            kept = self._without_near_duplicates(kept, self.rules.near_duplicates)
        kept = self._within_questions(kept)
        if isinstance(self.rules, DemonstrationRules):
            kept = self._within_shares(kept, self.rules)
        return self._within_limit(kept)

    def _without(
        self, drafts: Iterable[Draft], reason_of: Callable[[Draft], str | None]
    ) -> list[Draft]:
        kept = []
        for draft in drafts:
            reason = reason_of(draft)
            if reason is None:
                kept.append(draft)
            else:
                self.dropped[reason] += 1
        return kept

    def _is_bad(self, draft: Draft) -> str | None:
        candidate, texts = draft.candidate, draft.texts
        fields = (texts.reasoning, texts.answer, texts.rejected_reasoning, texts.rejected_answer)
        if any(text is not None and not text.strip() for text in fields):
            return "empty"
        names = UNUSABLE_FINDINGS if candidate.label is False else ("empty", *self.rules.findings)
        found = self.pool.finding(candidate.variant_id, candidate.answer_id, names)
        found = found or self.pool.finding(
            candidate.rejected_variant_id, candidate.rejected_answer_id, UNUSABLE_FINDINGS
        )
        if found is not None:
            return found
        if candidate.is_flagged:
            return "flagged"
        return "contradiction" if candidate.is_contradictory else None

    def _without_contradictions(self, drafts: list[Draft]) -> list[Draft]:
        """Drop rows whose very words were judged the other way elsewhere."""
        labels: defaultdict[Hashable, set[Hashable]] = defaultdict(set)
        for draft in drafts:
            own, _ = _claim(draft)
            labels[own].add(draft.candidate.label)
        return self._without(
            drafts,
            lambda draft: (
                "contradiction"
                if len(labels[_claim(draft)[0]]) > 1 or _claim(draft)[1] in labels
                else None
            ),
        )

    def _without_copies(self, drafts: list[Draft]) -> list[Draft]:
        seen: dict[Hashable, Draft] = {}
        kept = []
        for draft in drafts:
            first = seen.setdefault((draft.prompt, draft.learned, draft.candidate.label), draft)
            texts = draft.texts
            is_same = draft.candidate.rejected_variant_id or draft.candidate.rejected_answer_id
            if is_same and (texts.reasoning, texts.answer) == (
                texts.rejected_reasoning or texts.reasoning,
                texts.rejected_answer or texts.answer,
            ):
                self.dropped["no_difference"] += 1
            elif first is not draft:
                first.candidate.rating_ids |= draft.candidate.rating_ids
                self.dropped["duplicate"] += 1
            else:
                kept.append(draft)
        return kept

    def _without_near_duplicates(self, drafts: list[Draft], threshold: float) -> list[Draft]:
        """Drop rows that say nearly what a better one says; ``drafts`` begin with the best."""
        groups: defaultdict[Hashable, list[Draft]] = defaultdict(list)
        for draft in drafts:
            groups[_group(draft)].append(draft)
        near: set[int] = set()
        for group in groups.values():
            near |= _near_duplicates(group, threshold)
        return self._without(drafts, lambda one: "near_duplicate" if id(one) in near else None)

    def _within_questions(self, drafts: list[Draft]) -> list[Draft]:
        """Keep the best ``per_question``, so that one question does not outweigh the others."""
        most = self.rules.per_question
        most_answers = getattr(self.rules, "answers_per_reasoning", None)
        things: defaultdict[Hashable, dict[Hashable, int]] = defaultdict(dict)

        def reason(draft: Draft) -> str | None:
            one = draft.candidate
            counted = things[one.question_id, one.target, _sort_of(draft)]
            is_sft_reasoning = most_answers is not None and one.variant_id is not None
            thing = one.variant_id if is_sft_reasoning else id(draft)
            if thing not in counted and len(counted) >= most:
                return "per_question"
            if thing in counted and most_answers is not None and counted[thing] >= most_answers:
                return "answers_per_reasoning"
            counted[thing] = counted.get(thing, 0) + 1
            return None

        return self._without(drafts, reason)

    def _within_shares(self, drafts: list[Draft], rules: DemonstrationRules) -> list[Draft]:
        shares = {
            "without_reasoning": rules.without_reasoning,
            "question_to_question": rules.question_to_question,
        }
        rest = 1 - sum(shares.values())
        n_main = Counter(one.split for one in drafts if _sort_of(one) == "main")
        room = {
            (split, sort): int(share / rest * n_main[split])
            for sort, share in shares.items()
            for split in ("train", "held_out")
        }

        def reason(draft: Draft) -> str | None:
            sort = _sort_of(draft)
            if sort == "main":
                return None
            room[draft.split, sort] -= 1
            return sort if room[draft.split, sort] < 0 else None

        return self._without(_drawn(drafts, rules.seed), reason)

    def _within_limit(self, drafts: list[Draft]) -> list[Draft]:
        if self.rules.limit is None:
            return drafts
        left = self.rules.limit

        def reason(draft: Draft) -> str | None:
            nonlocal left
            left -= draft.split == "train"
            return "limit" if draft.split == "train" and left < 0 else None

        return self._without(_drawn(drafts, self.rules.seed), reason)


def _identity(draft: Draft) -> tuple[int, ...]:
    one = draft.candidate
    ids = (one.question_id, one.variant_id, one.answer_id, one.rejected_variant_id)
    return tuple(number or 0 for number in (*ids, one.rejected_answer_id, one.next_question_id))


def _drawn(drafts: Sequence[Draft], seed: int) -> list[Draft]:
    """Return rows in a random order that is the same each time."""
    return sorted(drafts, key=lambda one: short_hash(str(seed), *map(str, _identity(one))))


def _sort_of(draft: Draft) -> str:
    if draft.candidate.next_question_id is not None:
        return "question_to_question"
    return "without_reasoning" if draft.candidate.variant_id is None else "main"


def _claim(draft: Draft) -> tuple[Hashable, Hashable]:
    """Return what a row says to be good, and what would contradict it (pairs only)."""
    reasoning, answer, *rejected = draft.learned
    return (
        (draft.prompt, reasoning, answer, *rejected),
        (draft.prompt, *rejected, reasoning, answer) if any(rejected) else None,
    )


def _near_duplicates(group: Sequence[Draft], threshold: float) -> set[int]:
    """Return the identities of the rows of one group that an earlier one makes needless."""
    near: set[int] = set()
    sets = {text: grams(text) for draft in group for text in (*draft.learned, draft.asked)}
    kept: defaultdict[int, list[Draft]] = defaultdict(list)
    for draft in group:
        same_question = kept[draft.candidate.question_id]
        if any(_are_near(one, draft, threshold, sets) for one in same_question):
            near.add(id(draft))
        else:
            same_question.append(draft)
    if len(kept) == 1:
        return near
    left = [draft for draft in group if id(draft) not in near]
    texts = ["\n".join((draft.asked, *draft.learned)) for draft in left]
    for a, b in near_pairs(texts, threshold):
        if _are_near(left[a], left[b], threshold, sets):
            near.add(id(left[b]))
    return near


def _group(draft: Draft) -> Hashable:
    """Return what rows must share to be compared."""
    one = draft.candidate
    sort = _sort_of(draft)
    return (draft.family, one.target, one.label, draft.texts.role, one.variant_id is None, sort)


def _are_near(a: Draft, b: Draft, threshold: float, sets: Mapping[str, Grams]) -> bool:
    """Tell whether two rows of one group teach nearly the same.

    Two reasonings of one question to imitate are told apart by their own words, whatever was
    answered from them: what is wanted is different reasonings.
    """
    mine, other = a.learned, b.learned
    is_imitated = not any(mine[2:]) and a.candidate.label is None
    if a.candidate.question_id == b.candidate.question_id and is_imitated and mine[0]:
        part = 1 if a.candidate.variant_id == b.candidate.variant_id else 0
        return are_alike(sets[mine[part]], sets[other[part]], threshold)
    return all(
        are_alike(sets[one], sets[two], threshold)
        for one, two in zip((a.asked, *mine), (b.asked, *other), strict=True)
    )
