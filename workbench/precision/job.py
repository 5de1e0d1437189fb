"""The job: each precision is served in turn, writes and is scored; then the figures are stored."""

import asyncio
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from db.cancelling import Cancelled
from db.database import Database
from db.errors import Q2QError, UsageError
from db.jobs import OnProgress
from db.messages import Message
from db.sweeps import sweep_plan
from db.texts.inputs import question_texts
from serving.engine.client import ServedModel
from serving.engine.command import MAX_LOG_PROBS
from serving.formats.definitions import Completion, FormatDefinition, PromptError
from serving.formats.library import load_registry
from serving.formats.render import IGNORED_LABEL, render_example, task_templates
from serving.formats.tokenizer import PromptTokenizer
from serving.scoring.run import NO_LOG_PROBS, Scored, ScoreItem, ScoreRun, too_long
from serving.sweeps.expand import load_templates, prompt_fields
from serving.sweeps.run import Progress
from serving.sweeps.slots import ResolvedPlan
from workbench.jobs.contracts import JobContext
from workbench.jobs.engines import JobEngines
from workbench.jobs.server_lane import duration, run_sweep_of
from workbench.precision.divergence import Place, agreement, divergence, figures
from workbench.precision.spec import CompareSpec, parse_compare_spec
from workbench.precision.store import save_comparison
from workbench.precision.texts import AnswerText, Asked, answers_of, prepare


async def compare(context: JobContext) -> dict[str, Any]:
    """Compare precisions of a model. Payload: a ``CompareSpec``."""
    spec = parse_compare_spec(context.job.payload)
    asked = await asyncio.to_thread(_prepare, context, spec)
    run = _Comparison(context, spec, asked)
    with context.pool.for_job() as engines:
        return await run.run(engines)


def _prepare(context: JobContext, spec: CompareSpec) -> list[Asked]:
    with context.database.write() as session:
        return prepare(session, load_registry(context.settings, session), spec)


class _Comparison:
    """One run of the job, and how far it is: answers written and texts scored."""

    def __init__(self, context: JobContext, spec: CompareSpec, asked: Sequence[Asked]) -> None:
        self._context = context
        self._spec = spec
        self._reference, *self._others = asked
        n_questions = self._others[0].n_slots
        self._total = sum(one.n_slots + n_questions for one in asked)
        self._n_ended = 0
        self._started = time.monotonic()

    async def run(self, engines: JobEngines) -> dict[str, Any]:
        """Do all that is missing and store the figures.

        Raises:
            Cancelled: The job has to stop; answers that were written stay.
            Q2QError: A server cannot be had, or no text could be compared.
        """
        await self._write(engines, self._reference)
        texts, greedy = await asyncio.to_thread(self._texts)
        reference = await self._score(engines, self._reference, texts)
        results = []
        for one in self._others:
            await self._write(engines, one)
            scored = await self._score(engines, one, texts)
            results.append(await asyncio.to_thread(self._store, one, greedy, reference, scored))
        return {"model": self._reference.model.name, "comparisons": results}

    async def _write(self, engines: JobEngines, one: Asked) -> None:
        def on_progress(progress: Progress) -> None:
            ended = progress.done + progress.failed + progress.blocked
            note = self._context.pool.device_note
            self._report(one, ended, note or Message("writing answers"))

        await run_sweep_of(self._context, one.sweep_id, engines, on_progress=on_progress)
        self._n_ended += one.n_slots

    def _texts(self) -> tuple[list[AnswerText], dict[int, AnswerText]]:
        with self._context.database.read() as session:
            sampled = answers_of(session, self._reference.sweep_id, 1.0)
            greedy = answers_of(session, self._reference.sweep_id, 0.0)
        texts = [sampled[one] for one in sampled.keys() & greedy.keys()]
        if len(texts) < 2:
            raise Q2QError(
                "{model} answered fewer than two questions; see `q2q sweep show {sweep}`.",
                model=self._reference.model.name,
                sweep=self._reference.sweep_id,
            )
        return sorted(texts, key=lambda text: text.question_id), greedy

    async def _score(
        self, engines: JobEngines, one: Asked, texts: Sequence[AnswerText]
    ) -> "_Likelihoods":
        def on_progress(done: int, _: int | None, message: str) -> None:
            self._report(one, done, message)

        run = _Likelihoods(self._context.database, on_progress, self._spec, one, texts)
        counts = await run.run(engines, self._context.cancelled)
        if counts.cancelled:
            raise Cancelled
        if counts.unable:
            raise Q2QError(counts.unable[0])
        self._n_ended += len(texts)
        return run

    def _report(self, one: Asked, ended: int, what: str) -> None:
        done = self._n_ended + ended
        seconds = time.monotonic() - self._started
        if done < 2:
            message = Message("{model}: {what}", model=one.model.name, what=what)
        else:
            left = duration(seconds / done * (self._total - done))
            message = Message(
                "{model}: {what}, {left} left", model=one.model.name, what=what, left=left
            )
        self._context.report(done, self._total, message)

    def _store(
        self,
        one: Asked,
        greedy: Mapping[int, AnswerText],
        reference: "_Likelihoods",
        scored: "_Likelihoods",
    ) -> dict[str, Any]:
        known = sorted(reference.places.keys() & scored.places.keys())
        if len(known) < 2:
            raise Q2QError(
                "No two texts could be scored in {precision}: {why}",
                precision=one.precision,
                why=scored.why,
            )
        encode = scored.tokenizer.encode_untrusted
        with self._context.database.read() as session:
            own = answers_of(session, one.sweep_id, 0.0)
        found = figures(
            [divergence(reference.places[each], scored.places[each]) for each in known],
            [
                agreement(encode(greedy[each].text), encode(own[each].text))
                for each in known
                if each in own
            ],
        )
        result = {
            **asdict(found),
            "asked": self._spec.model_dump(mode="json"),
            "alternatives": MAX_LOG_PROBS,
            "engine": scored.engine_version,
            "sweeps": [self._reference.sweep_id, one.sweep_id],
        }
        with self._context.database.write() as session:
            save_comparison(session, one.model.id, self._reference.model.id, result)
        return {"model": one.model.name, "precision": one.precision, **result}


class _Likelihoods(ScoreRun[AnswerText]):
    """How likely one version finds each token of the texts, and the likeliest in its place."""

    doing = Message("reading likelihoods")
    n_alternatives = MAX_LOG_PROBS

    def __init__(
        self,
        database: Database,
        on_progress: OnProgress,
        spec: CompareSpec,
        asked: Asked,
        texts: Sequence[AnswerText],
    ) -> None:
        super().__init__(database, on_progress)
        self._spec = spec
        self._asked = asked
        self._texts: dict[Hashable, AnswerText] = {text.question_id: text for text in texts}
        self.places: dict[int, tuple[Place, ...]] = {}
        """Question → what was told of at each token of its text."""
        self.why = ""
        """Why the last text has none that has none."""
        self.engine_version: str | None = None
        self.tokenizer: PromptTokenizer

    def open(self) -> None:
        """Read the prompts' parts; everything is missing."""
        with self.database.read() as session:
            self._read(session)
        self.missing = {self._asked.model.id: dict(self._texts)}
        self.counts.wanted = len(self._texts)

    def _read(self, session: Session) -> None:
        plan = ResolvedPlan.model_validate(sweep_plan(session, self._asked.sweep_id))
        templates = load_templates(session)
        (format_id,) = plan.formats["vanilla"]
        self._form: FormatDefinition = templates.formats[format_id]
        self._systems = {role: templates.systems[ids[0]] for role, ids in plan.roles.items()}
        ids = [text.question_id for text in self._texts.values()]
        self._questions = {one.id: one for one in question_texts(session, ids)}

    def render(self, one: AnswerText, key: Hashable, model: ServedModel) -> ScoreItem:
        """Return the prompt as it is served, and the answer after it."""
        assert model.tokenizer is not None
        self.tokenizer, self.engine_version = model.tokenizer, model.engine_version
        question = self._questions[one.question_id]
        fields = prompt_fields(question, self._systems[question.role], "vanilla", ())
        answer = Completion(response=one.text)
        try:
            example = render_example(self._form, "vanilla", fields, answer, model.tokenizer)
        except (PromptError, UsageError) as error:
            return ScoreItem(key=key, problem=str(error))
        ids = example.token_ids
        if task_templates(self._form, "vanilla").ends_with_stop_token and not one.is_ended:
            ids = ids[:-1]
        n_scored = len(ids) - example.labels.count(IGNORED_LABEL)
        return ScoreItem(key=key, token_ids=ids, n_scored=n_scored, problem=too_long(ids, model))

    def store(self, model_id: int, scored: Sequence[Scored]) -> None:
        """Keep what was told of."""
        for item, score in scored:
            if item.alternatives is not None and score.error is None:
                assert isinstance(item.key, int)
                self.places[item.key] = item.alternatives
            else:
                self.why = score.error or NO_LOG_PROBS
