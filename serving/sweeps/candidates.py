"""Which work a question gives in a pass: its levels, before anyone looks at what exists."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db.sweeps import (
    QuestionText,
    WrittenVariant,
    question_texts,
    variant_texts,
    variants_of_sweep,
)
from serving.sweeps.passes import Pass
from serving.sweeps.progress import Chunk
from serving.sweeps.slots import (
    TASK_OF_MODE,
    ResolvedPlan,
    WritingLevel,
    answering_levels,
    pairs,
    writing_levels,
)
from serving.sweeps.spec import Mode
from serving.sweeps.work import Reasoning, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the store holds of the questions of a chunk."""

    questions: Sequence[QuestionText]
    chosen: Mapping[int, str]
    """Texts of the existing variants that the plan chose."""
    written: Sequence[WrittenVariant]
    """Reasonings of earlier passes that are answered now."""


def load_material(
    session: Session, sweep_id: int, plan: ResolvedPlan, chunk: Chunk, pass_: Pass
) -> Material:
    """Read what the work of ``chunk`` is made from."""
    chosen = [one for question in chunk.question_ids for one in plan.chosen.get(question, ())]
    written = variants_of_sweep(session, sweep_id, chunk.question_ids) if pass_.earlier else ()
    return Material(
        questions=question_texts(session, chunk.question_ids),
        chosen=variant_texts(session, chosen),
        written=[variant for variant in written if variant.model_version_id in pass_.earlier],
    )


def candidates(plan: ResolvedPlan, material: Material, chunk: Chunk, pass_: Pass) -> Iterator[Work]:
    """Yield the work of ``chunk`` in ``pass_``, question by question, answers first."""
    by_question: dict[int, list[WrittenVariant]] = {}
    for variant in material.written:
        by_question.setdefault(variant.question_id, []).append(variant)
    unanswerable = frozenset(plan.unanswerable_ids)
    for question in material.questions:
        for variant in by_question.get(question.id, ()):
            yield from _answers_to_written(plan, question, variant, chunk, pass_)
        if pass_.is_first:
            yield from _answers_without_writer(plan, question, material, chunk, pass_)
            yield from _asked(plan, question, chunk, pass_)
        for level in writing_levels(plan, question.role):
            if level.model_id not in pass_.writes:
                continue
            if level.mode == "rationalise" and question.id in unanswerable:
                continue
            for parents in _starting_points(plan, question, level.mode, material.chosen):
                yield _reasoning(plan, question, level, parents, chunk)


def _asked(plan: ResolvedPlan, question: QuestionText, chunk: Chunk, pass_: Pass) -> Iterator[Work]:
    """Yield what a dialogue has written about ``question`` beside reasonings and answers."""
    for ask in plan.asks:
        if ask.question_id != question.id:
            continue
        for model_id in plan.model_ids:
            if model_id in pass_.models:
                yield Work(
                    question=question,
                    kind="questions",
                    mode="vanilla",
                    task=ask.task,
                    format_id=ask.format_id,
                    role_id=plan.roles[question.role][0],
                    model_id=model_id,
                    sampling=ask.sampling,
                    replicates=range(ask.replicates),
                    chunk=chunk,
                    ask=ask,
                )


def answers_under(plan: ResolvedPlan, reasoning: Work, made: Reasoning, pass_: Pass) -> list[Work]:
    """Return the answer work that a reasoning opens in ``pass_``."""
    return [
        Work(
            question=reasoning.question,
            kind="answer",
            mode=reasoning.mode,
            task="answer",
            format_id=reasoning.format_id,
            role_id=reasoning.role_id,
            model_id=level.model_id,
            sampling=level.sampling,
            replicates=range(plan.answers),
            chunk=reasoning.chunk,
            under=made,
        )
        for level in answering_levels(plan, reasoning.model_id)
        if level.model_id in pass_.models
    ]


def _reasoning(
    plan: ResolvedPlan,
    question: QuestionText,
    level: WritingLevel,
    parents: tuple[Reasoning, ...],
    chunk: Chunk,
) -> Work:
    return Work(
        question=question,
        kind="whole" if plan.one_pass else "reasoning",
        mode=level.mode,
        task="whole" if plan.one_pass else TASK_OF_MODE[level.mode],
        format_id=level.format_id,
        role_id=level.role_id,
        model_id=level.model_id,
        sampling=level.sampling,
        replicates=range(plan.variants),
        chunk=chunk,
        parents=parents,
    )


def _starting_points(
    plan: ResolvedPlan, question: QuestionText, mode: Mode, chosen: Mapping[int, str]
) -> Iterable[tuple[Reasoning, ...]]:
    """Return the pairs that an ensemble starts from; other modes start from nothing."""
    if mode != "ensemble":
        return [()]
    return [
        (Reasoning(a, chosen[a]), Reasoning(b, chosen[b]))
        for a, b in pairs(plan.chosen.get(question.id, ()))
        if a in chosen and b in chosen
    ]


def _answers_to_written(
    plan: ResolvedPlan,
    question: QuestionText,
    variant: WrittenVariant,
    chunk: Chunk,
    pass_: Pass,
) -> list[Work]:
    level = WritingLevel(
        mode=variant.mode,  # type: ignore[arg-type]  # the table's CHECK knows the modes
        format_id=variant.prompt_format_id,
        role_id=variant.role_id,
        model_id=variant.model_version_id,
        sampling=plan.reasoning_sampling[0],
    )
    reasoning = _reasoning(plan, question, level, (), chunk)
    return answers_under(plan, reasoning, Reasoning(variant.variant_id, variant.text), pass_)


def _answers_without_writer(
    plan: ResolvedPlan, question: QuestionText, material: Material, chunk: Chunk, pass_: Pass
) -> Iterator[Work]:
    """Yield vanilla answers, and answers under the chosen existing reasonings."""
    existing = [
        Reasoning(one, material.chosen[one])
        for one in plan.chosen.get(question.id, ())
        if one in material.chosen
    ]
    subjects: list[tuple[Mode, Reasoning | None]] = [("vanilla", None)]
    subjects += [("supplied", one) for one in existing]
    for mode, under in subjects:
        for format_id in plan.formats.get(mode, ()):
            for role_id in plan.roles[question.role]:
                for level in answering_levels(plan, None):
                    if level.model_id in pass_.models:
                        yield Work(
                            question=question,
                            kind="answer",
                            mode=mode,
                            task=TASK_OF_MODE[mode],
                            format_id=format_id,
                            role_id=role_id,
                            model_id=level.model_id,
                            sampling=level.sampling,
                            replicates=range(plan.answers),
                            chunk=chunk,
                            under=under,
                        )
