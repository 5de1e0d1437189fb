"""For and against: answers argued for each of two goals, and the audience as a judge.

The judge is a model that plays the audience. It reads the two answers in both orders; each order is
a rating of its own by a rater of kind ``model``, which no figure mixes with people.
"""

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dialogues import DialogueRow, EventRow, get_dialogue, read_events
from db.errors import UsageError
from db.jobs import JobEnd
from db.models import get_model
from db.rating.ratings import NewRating, Outcome, Target, add_ratings
from db.tables import Answer, Rater
from serving.engine.messages import SamplingParameters
from serving.formats.library import Registry
from serving.formats.parse import read_json_object
from serving.reasonings import save_reasoning
from serving.sweeps.plan import save_asks
from serving.sweeps.spec import Ask
from workbench.dialogue.events import By
from workbench.dialogue.settings import ask_format
from workbench.dialogue.step_result import engine_problems, written
from workbench.dialogue.turn import Step, answer_from, at, start_step

Side = Literal["goal", "opposing"]
SIDES: tuple[Side, ...] = ("goal", "opposing")
SAMPLING = SamplingParameters(temperature=0.3, max_tokens=200)
MAX_PERSONA = 40
"""Characters of the audience in the name of its rater."""
_HINT = (
    "You should argue for this goal: {goal} You should give the strongest reasons for it that the"
    " facts allow. You should answer the best objection. You should say where the facts are unsure."
)
_PERSONA = "You are to be convinced. You are: {audience}. What you care about: {goals}."


def argue(
    session: Session, registry: Registry, dialogue_id: int, node_id: int, by: By
) -> tuple[Step, Step]:
    """Have the question of a node answered once for the goal and once for the opposing one.

    Raises:
        UsageError: The theme has no opposing goal, or the dialogue is not open.
    """
    dialogue, node, _ = at(session, dialogue_id, node_id)
    steps = []
    for side, goal in _goals(dialogue).items():
        variant_id = save_reasoning(
            session,
            node.question_id,
            _HINT.format(goal=_sentence(goal)),
            None,
            note=f"side: {side}",
        )
        steps.append(
            answer_from(session, registry, dialogue_id, node_id, variant_id, by, side=side)
        )
    return steps[0], steps[1]


def judge(
    session: Session,
    registry: Registry,
    dialogue_id: int,
    node_id: int,
    answer_ids: tuple[int, int],
    by: By,
) -> tuple[Step, Step]:
    """Have the audience judge two answers of a node, in both orders; called again, once more.

    Raises:
        UsageError: The theme has no audience, or an answer belongs to another question.
    """
    dialogue, node, settings = at(session, dialogue_id, node_id)
    if not dialogue.theme.audience:
        raise UsageError("The theme names no audience that could judge; give it one.")
    texts = _texts(session, answer_ids)
    goals = [goal for goal in (dialogue.theme.goal, dialogue.theme.opposing_goal) if goal]
    persona = _PERSONA.format(audience=dialogue.theme.audience, goals=" / ".join(goals))
    before = verdicts(session, dialogue_id, node_id).get(answer_ids, [])
    steps = []
    for is_swapped in (False, True):
        first, other = reversed(answer_ids) if is_swapped else answer_ids
        asked = Ask(
            question_id=node.question_id,
            task="judge",
            given={"theme": persona, "answer_a": texts[first], "answer_b": texts[other]},
            format_id=ask_format(settings, registry).id,
            sampling=SAMPLING,
            replicates=1 + sum(event.payload["is_swapped"] == is_swapped for event in before),
        )
        name = f"dialogue {dialogue_id}, question {node.position + 1}: judge"
        sweep_id = save_asks(session, registry, [asked], model=settings.model, name=name)
        payload = {"a": answer_ids[0], "b": answer_ids[1], "is_swapped": is_swapped}
        steps.append(start_step(session, node, by, "judge", sweep_id, payload))
    return steps[0], steps[1]


def verdict_result(session: Session, step: EventRow, end: JobEnd) -> dict[str, Any]:
    """Return what the judge said of one order."""
    texts = written(session, step)
    problems = engine_problems(session, step, end)
    verdict = read_json_object(texts[-1].text) if texts else None
    outcome = _outcome(verdict, is_swapped=step.payload["is_swapped"]) if verdict else None
    why = str(verdict.get("why") or "") if verdict else ""
    if outcome is None:
        problems.append("The judge gave no verdict that could be read.")
    pair = {name: step.payload[name] for name in ("a", "b", "is_swapped")}
    return {**pair, "outcome": outcome, "why": why, "problems": problems}


def rate_verdict(session: Session, step: EventRow, result: Mapping[str, Any]) -> None:
    """Store what the judge said of one order as a rating of a model, where it said something."""
    if result["outcome"] is None:
        return
    targets = []
    for name in ("a", "b"):
        answer = session.get_one(Answer, step.payload[name])
        targets.append(
            Target(
                question_id=answer.question_id, variant_id=answer.variant_id, answer_id=answer.id
            )
        )
    rating = NewRating(
        rater_id=_rater(session, step, written(session, step)[-1].model_version_id),
        scope="answer",
        target=targets[0],
        other=targets[1],
        axis="preference",
        outcome=result["outcome"],
        blind=True,
        swapped=step.payload["is_swapped"],
        answer_seen=True,
        sampler="judge",
        card_id=f"judge-{step.id}",
        note=result["why"] or None,
    )
    add_ratings(session, [rating])


def verdicts(
    session: Session, dialogue_id: int, node_id: int
) -> dict[tuple[int, int], list[EventRow]]:
    """Return what the judge said at a node, by pair of answers: one event for each order."""
    found: dict[tuple[int, int], list[EventRow]] = {}
    for event in read_events(session, dialogue_id, node_id=node_id, kinds=("verdict",)):
        found.setdefault((event.payload["a"], event.payload["b"]), []).append(event)
    return found


def _goals(dialogue: DialogueRow) -> dict[Side, str]:
    if dialogue.theme.opposing_goal is None:
        raise UsageError("The theme has no opposing goal; give it one to argue for and against.")
    return {"goal": dialogue.theme.goal, "opposing": dialogue.theme.opposing_goal}


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "。", "！", "？")) else f"{text}."


def _texts(session: Session, answer_ids: tuple[int, int]) -> dict[int, str]:
    rows = session.execute(select(Answer.id, Answer.text).where(Answer.id.in_(answer_ids)))
    found: dict[int, str] = dict(rows.all())
    if len(found) < 2:
        raise UsageError("Name two different answers of this question.")
    return found


def _outcome(verdict: Mapping[str, object], *, is_swapped: bool) -> Outcome | None:
    better = verdict.get("better")
    if better == "neither":
        return "tie"
    if better not in ("first", "other"):
        return None
    return "a" if (better == "first") != is_swapped else "b"


def _rater(session: Session, step: EventRow, model_version_id: int) -> int:
    """Return the rater that stands for this model as this audience, writing it on first sight."""
    audience = get_dialogue(session, step.dialogue_id).theme.audience or ""
    name = f"{get_model(session, model_version_id).name} as {audience[:MAX_PERSONA]}"
    known = session.scalar(select(Rater).where(Rater.name == name))
    if known is None:
        known = Rater(name=name, kind="model", model_version_id=model_version_id)
        session.add(known)
        session.flush()
    return known.id
