"""A dialogue of many questions without a model: answers, proposals and decisions as stored rows."""

import random
from itertools import permutations

from db.database import Database
from db.dialogues import NewEvent, add_event, change_node, read_nodes
from db.identity import text_hash
from db.questions import get_question
from db.rating.ratings import ensure_rater
from db.tables import MOVES, Answer, ReasoningVariant
from tests.unit.dialogue_lab import SUBJECTS, theme
from workbench.dialogue.decisions import choose, park, pick, reject
from workbench.dialogue.events import By
from workbench.dialogue.lifecycle import new_dialogue
from workbench.dialogue.synopsis import SynopsisLine, edit_synopsis

WAYS = (
    "Who measured what happens to {} and {}?",
    "Why would {} matter more to the shop owners than {}?",
    "Which town changed {} first, and what came of {}?",
    "What speaks against the common view of {}, and of {}?",
    "What would a child say of {} and {}?",
)
N_PROPOSED = 9


def seed_dialogue(database: Database, n_nodes: int, name: str = "A town without cars") -> int:
    """Return a session of so many questions, a few parked or rejected, in branches of any depth."""
    lot = random.Random(11)
    with database.write() as session:
        by = By(rater_id=ensure_rater(session, "Ada"))
        dialogue_id = new_dialogue(session, theme(name=name), by)
        waiting = [node.id for node in read_nodes(session, dialogue_id)]
        n = 1
        while n < n_nodes and waiting:
            here = waiting.pop(lot.randrange(max(0, len(waiting) - 6), len(waiting)))
            event_id = _answer_and_propose(session, dialogue_id, here, lot, by)
            for place in range(min(lot.choice((2, 3, 4)), n_nodes - n)):
                at = (session, dialogue_id, here, event_id, place)
                if lot.random() < 0.15:
                    park(*at, by)
                else:
                    auto = By(rater_id=by.rater_id, automatic=lot.random() < 0.2)
                    why = "it can be checked" if lot.random() < 0.3 else None
                    waiting.append(pick(*at, auto, reason=why))
                n += 1
            reject(session, dialogue_id, here, event_id, N_PROPOSED - 1, by)
        last = waiting[-1]
        _answer_and_propose(session, dialogue_id, last, lot, by)
        add_event(
            session,
            NewEvent(dialogue_id=dialogue_id, kind="goto", node_id=last, payload={"to": last}),
        )
    return dialogue_id


def _answer_and_propose(session, dialogue_id, node_id, lot, by):  # type: ignore[no-untyped-def]
    """Give a question three answers, choose one, and propose next questions; return the event."""
    node = next(one for one in read_nodes(session, dialogue_id) if one.id == node_id)
    ids = []
    for i in range(3):
        subject = lot.choice(SUBJECTS)
        reasoning = f"You should weigh {subject} before you decide, and say who told you. ({i})"
        variant = ReasoningVariant(
            question_id=node.question_id,
            text=reasoning,
            source="imported",
            content_hash=text_hash(f"{node_id} {reasoning}"),
        )
        session.add(variant)
        session.flush()
        text = f"What is known of {subject} is little: two towns counted, and both found a change. "
        answer = Answer(
            question_id=node.question_id,
            variant_id=variant.id,
            text=text * 3,
            source="imported",
            content_hash=text_hash(f"{node_id} {i} {text}"),
        )
        session.add(answer)
        session.flush()
        ids.append(answer.id)
    common = {"dialogue_id": dialogue_id, "node_id": node_id}
    shown = {"shown": ids, "folded": [], "problems": []}
    add_event(session, NewEvent(kind="answers_shown", payload=shown, **common))
    choose(session, dialogue_id, node_id, ids[0], by)
    change_node(session, node_id, state="answered")
    here = get_question(session, node.question_id).text
    all_texts = [way.format(*pair) for way in WAYS for pair in permutations(SUBJECTS, 2)]
    texts = lot.sample([text for text in all_texts if text != here], N_PROPOSED)
    proposed = [
        {
            "text": text,
            "move": lot.choice(MOVES),
            "is_repeat": place == N_PROPOSED - 2,
            "nearest": "What changes in a town centre when private cars may not enter it?",
            "nearest_node_id": None,
            "same_as": None,
            "similarity": lot.random(),
            "goal_distance": lot.random(),
            "opposing_distance": lot.random(),
            "towards": lot.choice(("goal", "opposing", None)),
        }
        for place, text in enumerate(texts)
    ]
    payload = {
        "answer_id": ids[0],
        "candidates": proposed,
        "shown": [0, 1, 2, 3, 4, 5],
        "problems": [],
    }
    return add_event(session, NewEvent(kind="questions_shown", payload=payload, **common))


def seed_synopsis(database: Database, dialogue_id: int) -> None:
    """Give a session a synopsis whose lines lead to its questions."""
    with database.write() as session:
        nodes = [node.id for node in read_nodes(session, dialogue_id)]
        lines = [
            SynopsisLine(
                kind="known",
                text="Two towns counted, and both found fewer cars at night.",
                node_ids=(nodes[0], nodes[1]),
            ),
            SynopsisLine(
                kind="known", text="Deliveries move to the morning.", node_ids=(nodes[2],)
            ),
            SynopsisLine(kind="open", text="Nobody has asked the bus company.", node_ids=()),
        ]
        edit_synopsis(session, dialogue_id, lines, By(rater_id=ensure_rater(session, "Ada")))


def seed_sides(database: Database, name: str) -> int:
    """Return a session whose first question is argued for both goals and judged in both orders."""
    with database.write() as session:
        by = By(rater_id=ensure_rater(session, "Ada"))
        dialogue_id = new_dialogue(session, theme(name=name), by)
        (node,) = read_nodes(session, dialogue_id)
        common = {"dialogue_id": dialogue_id, "node_id": node.id}
        texts = {
            "goal": "Two towns that closed their centres counted more visitors after a year.",
            "opposing": "Shops that live on quick errands lose those who come by car.",
        }
        ids = {}
        for side, text in texts.items():
            reasoning = f"You should argue for the {side} goal and answer the best objection."
            variant = ReasoningVariant(
                question_id=node.question_id,
                text=reasoning,
                source="imported",
                content_hash=text_hash(reasoning),
            )
            session.add(variant)
            session.flush()
            answer = Answer(
                question_id=node.question_id,
                variant_id=variant.id,
                text=text,
                source="imported",
                content_hash=text_hash(text),
            )
            session.add(answer)
            session.flush()
            ids[side] = answer.id
            told = {"variant_id": variant.id, "side": side, "answers": 1}
            add_event(session, NewEvent(kind="answer", payload=told, **common))
        shown = {"shown": list(ids.values()), "folded": [], "problems": []}
        add_event(session, NewEvent(kind="answers_shown", payload=shown, **common))
        for is_swapped in (False, True):
            verdict = {
                "a": ids["goal"],
                "b": ids["opposing"],
                "is_swapped": is_swapped,
                "outcome": "b" if is_swapped else "a",
                "why": "It names figures that I can check."
                if not is_swapped
                else "It knows my trade.",
                "problems": [],
            }
            add_event(session, NewEvent(kind="verdict", payload=verdict, **common))
    return dialogue_id
