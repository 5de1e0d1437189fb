"""From questions to slots: which a pass has, what is sent for each, and what each is keyed by.

Slots that share a prompt stay together, as a ``SlotGroup``. Here nobody looks at what the store
holds of them already.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.generations import PromptText
from db.tables import PromptFormat, Role
from db.texts.inputs import (
    QuestionText,
    WrittenVariant,
    plain_texts,
    question_texts,
    variants_of_sweep,
)
from serving.engine.messages import SamplingParameters
from serving.formats.definitions import FormatDefinition, PromptFields, Task, question_values
from serving.formats.render import RenderedPrompt, render
from serving.formats.tokenizer import PromptTokenizer
from serving.sweeps.slots import (
    TASK_OF_MODE,
    Kind,
    Pass,
    ResolvedPlan,
    answering_levels,
    writing_levels,
)
from serving.sweeps.spec import Ask, Mode

MAX_N = 32
"""Completions of one prompt in one request."""


@dataclass(slots=True, eq=False)
class Chunk:
    """Some questions that are opened together, so that they can be begun again."""

    question_ids: tuple[int, ...]
    first: int = 0
    """Place of its first question in the plan."""
    n_open: int = 1
    """Slots on their way, and one while it is being opened."""
    done: int = 0
    failed: int = 0
    blocked: int = 0
    tokens: int = 0
    """Of texts that were written now, as far as servers tell."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """An existing variant."""

    variant_id: int
    text: str


@dataclass(slots=True, kw_only=True, eq=False)
class SlotGroup:
    """Slots that share a prompt: the replicates of one question at one level."""

    question: QuestionText
    kind: Kind
    mode: Mode
    task: Task
    format_id: int
    role_id: int
    model_id: int
    sampling: SamplingParameters
    replicates: Sequence[int]
    chunk: Chunk
    under: Reasoning | None = None
    """The reasoning that is to be answered."""
    parents: tuple[Reasoning, ...] = ()
    """The two reasonings that an ensemble starts from."""
    ask: Ask | None = None
    """What a dialogue has written beside reasonings and answers."""
    prompt: RenderedPrompt | None = None
    prompt_text: PromptText | None = None
    """The prompt as it is stored."""
    problem: str | None = None
    """Why no request can be made of it."""
    sampling_id: int = 0
    keys: dict[int, str] = field(default_factory=dict)
    """Slot key of each replicate."""
    attempts: dict[int, int] = field(default_factory=dict)
    """Attempts that replicates have behind them, where there are any."""
    is_alone: bool = False
    """Not to be sent together with other prompts."""

    @property
    def size(self) -> int:
        """Number of slots."""
        return len(self.replicates)

    @property
    def goes_first(self) -> bool:
        """Answers go before new reasonings."""
        return self.kind == "answer"

    @property
    def prompt_hash(self) -> str:
        """Tells which prompt took a server down."""
        assert self.prompt is not None
        return self.prompt.content_hash

    @property
    def request_key(self) -> tuple[object, ...]:
        """Equal for groups that one request can carry."""
        return self.model_id, self.sampling_id, len(self.replicates), self.seed_of(0)

    def seed_of(self, place: int) -> int | None:
        """Return the seed of the replicate at ``place``, where the sweep has one."""
        seed = self.sampling.seed
        return None if seed is None else seed + self.replicates[0] + place

    def split(self, *, can_n: bool, seeds_count_up: bool) -> Iterator["SlotGroup"]:
        """Yield groups that one request can hold each.

        Args:
            can_n: The server gives several completions of a prompt.
            seeds_count_up: It draws completion i of a request with seed + i, as vLLM does.
        """
        run: list[int] = []
        for replicate in self.replicates:
            joins = self.sampling.seed is None or (
                seeds_count_up and run and replicate == run[-1] + 1
            )
            if run and not (can_n and joins and len(run) < MAX_N):
                yield replace(self, replicates=run)
                run = []
            run.append(replicate)
        if run:
            yield self if len(run) == self.size else replace(self, replicates=run)


@dataclass(frozen=True, slots=True)
class Templates:
    """All stored versions of formats and system texts, by their ids."""

    formats: Mapping[int, FormatDefinition]
    systems: Mapping[int, str]


def load_templates(session: Session) -> Templates:
    """Read all stored versions of formats and roles."""
    formats = session.execute(select(PromptFormat.id, PromptFormat.definition))
    systems = session.execute(select(Role.id, Role.system))
    return Templates(
        formats={row[0]: FormatDefinition.model_validate(row[1]) for row in formats},
        systems={row[0]: row[1] for row in systems},
    )


def expand(
    session: Session, sweep_id: int, plan: ResolvedPlan, chunk: Chunk, pass_: Pass
) -> list[SlotGroup]:
    """Return the slots of ``chunk`` in ``pass_``, question by question, answers first."""
    ids = chunk.question_ids
    chosen = plain_texts(session, "variant", [one for q in ids for one in plan.chosen.get(q, ())])
    written = variants_of_sweep(session, sweep_id, ids) if pass_.earlier else ()
    by_question: dict[int, list[WrittenVariant]] = {}
    for variant in written:
        if variant.model_version_id in pass_.earlier:
            by_question.setdefault(variant.question_id, []).append(variant)
    unanswerable = frozenset(plan.unanswerable_ids)
    groups: list[SlotGroup] = []
    for question in question_texts(session, ids):
        existing = [
            Reasoning(one, chosen[one]) for one in plan.chosen.get(question.id, ()) if one in chosen
        ]
        for variant in by_question.get(question.id, ()):
            groups += _answers_to_written(plan, question, variant, chunk, pass_)
        if pass_.is_first:
            groups += _answers_without_writer(plan, question, existing, chunk, pass_)
            groups += _asked(plan, question, chunk, pass_)
        answerable = question.id not in unanswerable
        groups += _reasonings(plan, question, existing, chunk, pass_, answerable=answerable)
    return groups


def answers_under(
    plan: ResolvedPlan, reasoning: SlotGroup, made: Reasoning, pass_: Pass
) -> list[SlotGroup]:
    """Return the answers that a reasoning opens in ``pass_``."""
    return [
        SlotGroup(
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


def _reasonings(
    plan: ResolvedPlan,
    question: QuestionText,
    existing: Sequence[Reasoning],
    chunk: Chunk,
    pass_: Pass,
    *,
    answerable: bool,
) -> Iterator[SlotGroup]:
    """Yield what is written; an ensemble starts from each two of the existing reasonings."""
    for level in writing_levels(plan, question.role):
        if level.model_id not in pass_.writes:
            continue
        if level.mode == "rationalise" and not answerable:
            continue
        starts: Iterable[tuple[Reasoning, ...]] = (
            combinations(existing, 2) if level.mode == "ensemble" else [()]
        )
        for parents in starts:
            yield SlotGroup(
                question=question,
                kind="whole" if plan.one_pass else "reasoning",
                task="whole" if plan.one_pass else TASK_OF_MODE[level.mode],
                replicates=range(plan.variants),
                chunk=chunk,
                parents=parents,
                **level._asdict(),
            )


def _answers_to_written(
    plan: ResolvedPlan, question: QuestionText, variant: WrittenVariant, chunk: Chunk, pass_: Pass
) -> list[SlotGroup]:
    reasoning = SlotGroup(
        question=question,
        kind="reasoning",
        mode=variant.mode,  # type: ignore[arg-type]  # the table's CHECK knows the modes
        task="reasoning",
        format_id=variant.prompt_format_id,
        role_id=variant.role_id,
        model_id=variant.model_version_id,
        sampling=plan.reasoning_sampling[0],
        replicates=(),
        chunk=chunk,
    )
    return answers_under(plan, reasoning, Reasoning(variant.variant_id, variant.text), pass_)


def _answers_without_writer(
    plan: ResolvedPlan,
    question: QuestionText,
    existing: Sequence[Reasoning],
    chunk: Chunk,
    pass_: Pass,
) -> Iterator[SlotGroup]:
    """Yield vanilla answers, and answers under the chosen existing reasonings."""
    subjects: list[tuple[Mode, Reasoning | None]] = [("vanilla", None)]
    subjects += [("supplied", one) for one in existing]
    for mode, under in subjects:
        for format_id in plan.formats.get(mode, ()):
            for role_id in plan.roles[question.role]:
                for level in answering_levels(plan, None):
                    if level.model_id in pass_.models:
                        yield SlotGroup(
                            question=question,
                            kind="answer",
                            mode=mode,
                            task=TASK_OF_MODE[mode],
                            format_id=format_id,
                            role_id=role_id,
                            replicates=range(plan.answers),
                            chunk=chunk,
                            under=under,
                            **level._asdict(),
                        )


def _asked(
    plan: ResolvedPlan, question: QuestionText, chunk: Chunk, pass_: Pass
) -> Iterator[SlotGroup]:
    """Yield what a dialogue has written about ``question`` beside reasonings and answers."""
    for ask in plan.asks:
        for model_id in plan.model_ids if ask.question_id == question.id else ():
            if model_id in pass_.models:
                yield SlotGroup(
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


def render_question(
    question: QuestionText,
    form: FormatDefinition,
    system: str,
    task: Task,
    tokenizer: PromptTokenizer | None = None,
    *,
    reasonings: Sequence[str] = (),
) -> RenderedPrompt:
    """Return what would be sent to have ``task`` done for ``question``.

    Args:
        question: The question.
        form: The prompt format.
        system: The system text of the role.
        task: What is to be written.
        tokenizer: The model's; None renders text only.
        reasonings: The reasoning to answer from; for ``ensemble``, the two to start from.

    Raises:
        PromptError: A value that the task needs is missing.
        UsageError: The format lacks the task, or needs a chat template that is not there.
    """
    return render(form, task, prompt_fields(question, system, task, reasonings), tokenizer)


def prompt_fields(
    question: QuestionText, system: str, task: Task, reasonings: Sequence[str]
) -> PromptFields:
    """Return the values that the prompt of ``task`` is filled with."""
    first, second = (*reasonings, None, None)[:2]
    is_pair = task == "ensemble"
    return PromptFields(
        **question_values(question),
        system=system,
        reasoning=None if is_pair else first,
        answer=question.reference_answer if task == "rationalise" else None,
        reasoning_a=first if is_pair else None,
        reasoning_b=second if is_pair else None,
    )
