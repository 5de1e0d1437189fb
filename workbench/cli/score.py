"""``q2q score``: does the reasoning move the answer, and does it give the answer away?"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from db.database import Database
from db.errors import UsageError
from db.jobs import enqueue, get_job, request_cancel
from db.settings import Settings
from db.store.migrate import open_home
from serving.scoring.judge import parse_judge_spec
from serving.scoring.spec import ScoreSpec, parse_score_spec
from serving.sweeps.selection import chosen_model
from workbench.cli.output import (
    Json,
    inform,
    parse_id,
    show,
    show_done,
    show_fields,
    show_json,
    show_table,
)
from workbench.cli.progress import follow_job, look_for_models
from workbench.cli.typer_app import CommandGroup
from workbench.insights.reasoning import LevelReport, ReasoningReport, read_reasoning_report
from workbench.insights.reasoning_verdict import DIFFERENT, WORTH, WORTH_OF_TOKEN, Lack
from workbench.stats.intervals import Estimate

app = CommandGroup()

SweepId = Annotated[str | None, typer.Option("--sweep", help="Only answers of this sweep.")]
Questions = Annotated[
    list[str] | None,
    typer.Option("--question", help="Only of this question, e.g. q12; repeatable."),
]
Role = Annotated[str | None, typer.Option(help="Only answers of this role.")]
Model = Annotated[
    str | None, typer.Option(help="Only answers of this model; with --people, who scores.")
]
People = Annotated[
    bool, typer.Option("--people", help="Answers that people wrote or imported; needs --model.")
]
Format = Annotated[str, typer.Option("--format", help="With --people: the prompt format.")]
MostQuestions = Annotated[int, typer.Option(min=1, help="At most so many, the oldest.")]
MostReasonings = Annotated[int, typer.Option(min=1, max=64, help="Of one question.")]
MostAnswers = Annotated[int, typer.Option(min=1, max=64, help="Under one reasoning.")]

VERDICTS = {
    "input": "The reasoning is an input: surely above every control, by more than {least} bits.",
    "words": "The reasoning is an input by its words: surely above reasonings of other questions,"
    " but shuffled or cut in half it does as much (to within {least} bits).",
    "input_unsorted": "The reasoning is an input: surely above reasonings of other questions, by"
    " more than {least} bits. Whether by more than its words or its beginning is not clear yet.",
    "output": "The reasoning is only an output: it makes at most {at_most} bits of difference to"
    " the answer (95 % confidence), under the limit of {least}.",
    "unclear": "Not clear yet whether the reasoning is an input or only an output.",
}
PER_TOKEN = {
    "input": "For each token: an input, surely more than {least} bits a token.",
    "output": "For each token: hardly anything, at most {at_most} bits a token (95 % confidence),"
    " under the limit of {least}.",
    "unclear": "For each token: not clear yet.",
}
MISSING = {
    "questions": "Questions: {has:,} so far; with about {needs:,} like these it would be clear.",
    "questions_some": "Questions: {has:,} so far; more of them may make it clear.",
    "close_some": "The estimate is near the limit: more questions like these ({has:,} so far) will"
    " hardly tell; more answers under each reasoning may.",
    "different": "Different reasonings: those of {has:,} questions differ enough (mean difference"
    " of their wording {different:g} or more); to call them only an output takes {needs:,}.",
    "sampling": "Sampling: {has:,} questions have answers drawn from what scores them (temperature"
    " 1, no top-p, top-k, min-p or penalties, not cut off, not in one pass with the reasoning);"
    " to call reasonings only an output takes {needs:,}.",
    "controls": "Controls: none of {needs:,} questions has scores under reasonings of other"
    " questions; leave out --no-controls.",
    "chance_some": "Answers fit their own reasonings no better than chance may (p above 0.05).",
    "ceiling_some": "More reasonings: with {has:,} a question the bits are near their limit, so"
    " that bits a token may be more than they seem.",
}
KINDS = ("own", "shuffled", "truncated", "foreign")
MAX_FLAGGED = 10


@app.as_command()
def run(
    sweep: SweepId = None,
    questions: Questions = None,
    role: Role = None,
    model: Model = None,
    people: People = False,
    format_: Format = "chat@1",
    most_questions: MostQuestions = 200,
    most_reasonings: MostReasonings = 8,
    most_answers: MostAnswers = 4,
    controls: Annotated[
        bool, typer.Option("--controls/--no-controls", help="Also under control reasonings.")
    ] = True,
    leak: Annotated[
        bool, typer.Option("--leak/--no-leak", help="Also with the question withheld.")
    ] = True,
    retry: Annotated[
        bool, typer.Option("--retry", help="Also what could not be scored before.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score every answer under every reasoning of its question, and under controls.

    What has a score keeps it: the same command again goes on, or says that nothing is missing.

    Example:
      q2q score run --sweep 1
      q2q score run --question q12 --question q13 --no-leak
    """
    spec = _spec(
        sweep=sweep,
        questions=questions,
        role=role,
        model=model,
        people=people,
        format=format_,
        most_questions=most_questions,
        most_reasonings=most_reasonings,
        most_answers=most_answers,
        controls=controls,
        leak=leak,
        retry=retry,
    )

    with open_home() as (settings, database):
        with database.read() as session:
            before = read_reasoning_report(session, spec)
        if not before.pairs:
            raise UsageError(NOTHING)
        with database.write() as session:
            job_id = enqueue(session, "score", payload=spec.model_dump(mode="json"))
        result = _followed(settings, database, job_id, "score run")
        if result.get("failed"):
            with database.read() as session:
                errors = read_reasoning_report(session, spec).errors
            result["failures"] = [{"n": n, "error": error} for error, n in errors]
    if as_json:
        show_json(result)
        return
    _show_counts(result)
    for failure in result.get("failures", ())[:3]:
        inform(f"{failure['n']:,} × {failure['error']}")
    if result.get("failed"):
        inform("Why pairs could not be scored: q2q score show. Once more: q2q score run --retry")


def _followed(settings: Settings, database: Database, job_id: int, command: str) -> dict[str, Any]:
    """Follow a job of scoring or judging to its end; return its result."""
    job = follow_job(
        settings,
        database,
        job_id,
        command=command,
        what=f"Job {job_id}",
        cancel=f"q2q score cancel {job_id}",
        resume="the same command again.",
        cancelled="It was cancelled.",
    )
    return dict(job.result or {})


def _show_counts(result: Mapping[str, Any]) -> None:
    show_fields({name: value for name, value in result.items() if name not in HIDDEN})
    for reason in result.get("unable", ()):
        inform(reason)


HIDDEN = ("unable", "cancelled", "failures")
NOTHING = (
    "There is nothing to score: no answer here stands under a reasoning. Run a sweep first; its"
    " answers are scored with `q2q score run --sweep …`."
)


@app.as_command()
def judge(
    model: Annotated[str, typer.Option(help="The model that judges, or “default”.")],
    sweep: SweepId = None,
    questions: Questions = None,
    most_answers: Annotated[int, typer.Option(min=1, help="At most so many, the oldest.")] = 5_000,
    as_json: Json = False,
) -> None:
    """Have a model judge whether answers say what the reference answers say.

    Both orders are asked; where they agree the model rates the answer OK or not OK. Its ratings
    stand beside those of people, never among them (Insights, q2q rate insights --raters models).

    Example:
      q2q score judge --sweep 1 --model default
    """
    spec = parse_judge_spec(
        {
            "model": model,
            "sweep": parse_id(sweep, "sweep") if sweep else None,
            "questions": tuple(parse_id(one, "question") for one in questions or ()),
            "most_answers": most_answers,
        }
    )
    with open_home() as (settings, database):
        look_for_models(settings, database, [model])
        with database.write() as session:
            chosen_model(session, model)
            job_id = enqueue(session, "judge", payload=spec.model_dump(mode="json"))
        result = _followed(settings, database, job_id, "score judge")
    if as_json:
        show_json(result)
        return
    _show_counts(result)


@app.as_command("show")
def show_(
    sweep: SweepId = None,
    questions: Questions = None,
    role: Role = None,
    model: Model = None,
    people: People = False,
    format_: Format = "chat@1",
    most_questions: MostQuestions = 200,
    most_reasonings: MostReasonings = 8,
    most_answers: MostAnswers = 4,
    as_json: Json = False,
) -> None:
    """Show how much answers tell of their reasonings, and which reasonings give them away.

    Example:
      q2q score show --sweep 1
      q2q score show --json
    """
    spec = _spec(
        sweep=sweep,
        questions=questions,
        role=role,
        model=model,
        people=people,
        format=format_,
        most_questions=most_questions,
        most_reasonings=most_reasonings,
        most_answers=most_answers,
    )

    with open_home() as (_, database), database.read() as session:
        found = read_reasoning_report(session, spec)
    if as_json:
        show_json(found)
    elif not found.pairs:
        show(NOTHING)
    else:
        _show(found)


@app.as_command()
def cancel(
    job: Annotated[int, typer.Argument(help="Number of the job, as `q2q score run` told.")],
    as_json: Json = False,
) -> None:
    """Stop a scoring job that waits or runs; what it scored stays.

    Example:
      q2q score cancel 7
    """
    with open_home() as (_, database), database.write() as session:
        if get_job(session, job).kind not in ("score", "judge"):
            raise UsageError(
                "Job {job} scores nothing; cancel a sweep with `q2q sweep cancel`.", job=job
            )
        was_active = request_cancel(session, job)
    show_done(
        f"Job {job} stops." if was_active else f"Job {job} neither waits nor runs.",
        {"job_id": job, "cancelled": was_active},
        as_json,
    )


def _spec(
    *, sweep: str | None, questions: list[str] | None, people: bool, **values: object
) -> ScoreSpec:
    return parse_score_spec(
        {
            "sweep": parse_id(sweep, "sweep") if sweep else None,
            "questions": tuple(parse_id(one, "question") for one in questions or ()),
            "answers": "people" if people else "model",
            **values,
        }
    )


def _show(found: ReasoningReport) -> None:
    show(f"{found.scored:,} of {found.pairs:,} pairs of answer and reasoning are scored.")
    if found.missing:
        inform("To score what is missing: q2q score run, with the same options.")
    for reason, n in found.errors[:3]:
        inform(f"{n:,} could not be scored: {reason}")
    for level in found.levels:
        show("")
        sampling = level.sampling or "written by people"
        show(f"{level.model}, {level.role}, {level.format}, {sampling}")
        _show_bits(level)
        _show_leak(level)
        if level.distance is not None:
            distance = level.distance
            show(
                "By their words, answers under different reasonings are"
                f" {_span(distance.between)} apart, under the same {_span(distance.within)}"
                f" ({distance.n_questions} questions, p = {distance.p:.3f})."
            )


def _show_bits(level: LevelReport) -> None:
    own = level.scores.get("own")
    if own is None:
        show(f"No score yet: {level.n_questions} questions have two or more reasonings.")
        return
    _show_verdicts(level)
    show(
        f"Bits of {level.limit:.2f} possible, over {level.n_scored} questions;"
        " intervals hold the truth in 95 of 100 cases."
    )
    show_table(
        [
            {
                "reasonings": kind,
                "bits": _span(one.bits),
                "per token": _span(one.per_token, 3),
                "p": f"{one.p:.3f}",
                "own exceeds it by": _span(level.margins[kind]) if kind in level.margins else None,
            }
            for kind in KINDS
            if (one := level.scores.get(kind))
        ],
        ("reasonings", "bits", "per token", "p", "own exceeds it by"),
    )


def _show_verdicts(level: LevelReport) -> None:
    show(_verdict(VERDICTS[level.verdict], level.at_most, WORTH * level.limit, 2))
    _show_missing(level.missing)
    per_token = level.per_token
    show(_verdict(PER_TOKEN[per_token.verdict], per_token.at_most, WORTH_OF_TOKEN, 3))
    if per_token.missing != level.missing:
        _show_missing(per_token.missing)


def _verdict(sentence: str, at_most: float | None, least: float, digits: int) -> str:
    return sentence.format(at_most=f"{at_most or 0:.{digits}f}", least=f"{least:.2f}")


def _show_missing(missing: Sequence[Lack]) -> None:
    for one in missing:
        name = one.what if one.needs is not None else f"{one.what}_some"
        show(f"- {MISSING[name].format(has=one.has, needs=one.needs, different=DIFFERENT)}")


def _show_leak(level: LevelReport) -> None:
    if level.leak is None:
        return
    show(
        f"Leak, bits a token with the question withheld: {_span(level.leak.own)},"
        f" foreign reasonings {_span(level.leak.foreign)}."
    )
    flagged = level.leak.flagged
    if flagged:
        named = ", ".join(f"v{one.variant_id} ({one.above:+.1f})" for one in flagged[:MAX_FLAGGED])
        more = "" if len(flagged) <= MAX_FLAGGED else f" and {len(flagged) - MAX_FLAGGED} more"
        show(f"Reasonings that seem to hold the answer: {named}{more}.")


def _span(found: Estimate, digits: int = 2) -> str:
    if found.low is None or found.high is None:
        return f"{found.value:.{digits}f}"
    return f"{found.value:.{digits}f} ({found.low:.{digits}f} to {found.high:.{digits}f})"
