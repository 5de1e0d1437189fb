"""How dialogues look on a terminal and as JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from db.database import Database
from db.dialogues import ForkedFrom, list_dialogues, read_events, read_nodes
from workbench.cli.dialogue_options import node_of
from workbench.cli.output import inform, show, show_fields, show_json, show_rows, show_table
from workbench.dialogue.cards import (
    AnswerCard,
    NodeView,
    UnderWay,
    node_view,
    steps_under_way,
)
from workbench.dialogue.compare import figures
from workbench.dialogue.events import open_steps
from workbench.dialogue.outcomes import called_words
from workbench.dialogue.replay import Replay
from workbench.dialogue.synopsis import read_synopsis
from workbench.dialogue.tree import Tree, TreeNode, read_tree

MAX_LABEL = 70
"""Characters of a question in a list."""


def list_all(database: Database, archived: bool, as_json: bool) -> None:
    """List the dialogues, the one that something happened in last first."""
    with database.read() as session:
        found = list_dialogues(session, archived=archived)
    if as_json:
        show_json(found)
        return
    if not found:
        inform("There is no dialogue yet. To begin one: q2q dialogue new THEME.yaml")
        return
    rows = [
        {
            **asdict(one),
            "questions": one.n_nodes,
            "answered": one.n_answered,
            "forked_from": _fork(one.forked_from),
        }
        for one in found
    ]
    names = ("id", "name", "state", "language", "questions", "answered", "forked_from")
    show_table(rows, (*names, "changed_at"))


def show_tree(database: Database, dialogue_id: int, as_json: bool) -> None:
    """Show a dialogue as a tree."""
    with database.read() as session:
        tree = read_tree(session, dialogue_id)
        under_way = steps_under_way(session, open_steps(read_events(session, dialogue_id)))
    parent = tree.dialogue.forked_from
    if as_json:
        show_json(
            {
                "dialogue": tree.dialogue.id,
                "name": tree.dialogue.name,
                "state": tree.dialogue.state,
                "forked_from": asdict(parent) if parent else None,
                "under_way": [_step_json(one) for one in under_way],
                "theme": asdict(tree.dialogue.theme),
                "settings": tree.dialogue.settings,
                "at": tree.node(tree.current_id).position + 1 if tree.current_id else None,
                "moves": tree.moves,
                "questions": [_node_json(node, tree) for node in tree.nodes],
            }
        )
        return
    theme = tree.dialogue.theme
    fields = {"name": tree.dialogue.name, "state": tree.dialogue.state, "goal": theme.goal}
    if parent:
        fields["forked_from"] = _fork(parent)
    show_fields(fields)
    _show_under_way(under_way)
    for line in _branch(tree):
        show(line)


def show_node(database: Database, dialogue_id: int, number: int, as_json: bool) -> None:
    """Show one question with its answers and what was proposed to ask next."""
    with database.read() as session:
        view = node_view(session, dialogue_id, node_of(session, dialogue_id, number))
    if as_json:
        show_json(
            {
                "node": number,
                "question": view.question.text,
                "context": view.question.context,
                "state": view.node.state,
                "step": view.step,
                "answers": answers_json(view),
                "chosen": view.chosen.answer.id if view.chosen else None,
                "questions": questions_json(view),
                "problems": view.problems,
                "notes": view.notes,
                "under_way": [_step_json(one) for one in view.under_way],
            }
        )
        return
    _show_under_way(view.under_way)
    show(f"{number}. {view.question.text}")
    if view.question.context:
        show(view.question.context)
    write_answers(view, show)
    write_questions(view, show)


def show_synopsis(database: Database, dialogue_id: int, as_json: bool) -> None:
    """Show what is known and what is open."""
    with database.read() as session:
        synopsis = read_synopsis(session, dialogue_id)
        numbers = {node.id: node.position + 1 for node in read_nodes(session, dialogue_id)}
    lines = synopsis.lines if synopsis else ()
    for problem in synopsis.problems if synopsis else ():
        inform(problem)
    rows = [
        {"kind": one.kind, "text": one.text, "questions": [numbers[node] for node in one.node_ids]}
        for one in lines
    ]
    show_rows(rows, ("kind", "text", "questions"), as_json)


def show_replay(replay: Replay, as_json: bool) -> None:
    """Show the answers of a replay beside those of the dialogue."""
    if as_json:
        show_json(replay)
        return
    for line in replay.lines:
        show(f"{line.number}. {line.question}")
        show(f"   before: {_short(line.before) if line.before else '-'}")
        for text in line.after:
            show(f"   now:    {_short(text)}")
    for problem in replay.problems:
        inform(problem)


def show_comparison(database: Database, one: int, other: int, as_json: bool) -> None:
    """Show two dialogues side by side."""
    with database.read() as session:
        found = figures(session, one), figures(session, other)
    if as_json:
        show_json({str(one.dialogue_id): asdict(one) for one in found})
        return
    names = [name for name in asdict(found[0]) if name not in ("dialogue_id", "moves")]
    rows: list[dict[str, object]] = [
        {"": name, **{str(f.dialogue_id): getattr(f, name) for f in found}} for name in names
    ]
    moves = list(dict.fromkeys(move for one in found for move in one.moves))
    rows += [
        {"": f"move {move}", **{str(f.dialogue_id): f.moves.get(move, 0) for f in found}}
        for move in moves
    ]
    show_table(rows, ("", *(str(one.dialogue_id) for one in found)))


def answers_json(view: NodeView) -> list[dict[str, Any]]:
    """Return the cards by letter, the shown ones first; nothing tells who wrote them."""
    return [
        {
            "letter": letter(place),
            "answer_id": card.answer.id,
            "reasoning_id": card.reasoning.id if card.reasoning else None,
            "reasoning": card.reasoning.text if card.reasoning else None,
            "text": card.answer.text,
            "findings": list(card.answer.flags),
            "shown": card in view.shown,
            "side": card.side,
            "chosen": card.is_chosen,
        }
        for place, card in enumerate([*view.shown, *view.folded])
    ]


def questions_json(view: NodeView) -> list[dict[str, Any]]:
    """Return the candidates by number, the shown ones first."""
    return [
        {
            "number": place,
            "text": one.text,
            "move": one.move,
            "shown": one.is_shown,
            "repeat": one.is_repeat,
            "folded": one.folded_because,
            "nearest": one.nearest,
            "language": one.language,
            "decision": one.decision,
            "called": one.called,
            "became": one.outcome.text if one.outcome else None,
            "reason": one.reason,
        }
        for place, one in enumerate(view.candidates, start=1)
    ]


def write_answers(view: NodeView, out: Any = inform) -> None:
    """Write the cards, the folded ones as a number."""
    for place, card in enumerate(view.shown):
        _write_card(letter(place), card, out)
    if view.folded:
        out(f"({len(view.folded)} more, from {letter(len(view.shown))} on)")


def write_questions(view: NodeView, out: Any = inform) -> None:
    """Write the candidates, the folded ones as a number."""
    words = called_words("en")
    for place, one in enumerate(view.candidates, start=1):
        if one.is_shown:
            decided = f" ({words[one.called]})" if one.decision else ""
            out(f"{place}. [{one.move or '-'}] {one.text}{decided}")
    folded = Counter(one.called for one in view.candidates if not one.is_shown)
    if folded:
        parts = [f"{n} {words[why]}" for why, n in folded.items() if why != "rest"]
        out(f"({folded.total()} more{': ' if parts else ''}{', '.join(parts)})")


def _step_json(one: UnderWay) -> dict[str, Any]:
    return {"step": one.kind, "job": one.job.id, "state": one.job.state}


def _show_under_way(steps: Sequence[UnderWay]) -> None:
    for one in steps:
        inform(f"Under way: {one.kind} (job {one.job.id}, {one.job.state})")


def _fork(parent: ForkedFrom | None) -> str:
    """Return where a fork began, as dialogue and number of the question."""
    return f"{parent.dialogue_id}, question {parent.number}" if parent else ""


def letter(place: int) -> str:
    """Return how an answer is called: A to Z, then numbers."""
    return chr(ord("A") + place) if place < 26 else str(place + 1)


def _write_card(name: str, card: AnswerCard, out: Any) -> None:
    mark = "*" if card.is_chosen else " "
    out(f"{mark}{name}: {card.answer.text}")
    if card.reasoning is not None:
        out(f"   (reasoning: {_short(card.reasoning.text)})")


def _branch(tree: Tree) -> list[str]:
    lines: list[str] = []
    for node in tree.by_branch():
        here = ">" if node.id == tree.current_id else " "
        move = f"[{node.move}] " if node.move else ""
        state = "" if node.state == "answered" else f" ({node.state})"
        state += " (held out)" if node.held_out else ""
        auto = " (automatic)" if node.automatic else ""
        same = f" (= {tree.node(node.merged_into).position + 1})" if node.merged_into else ""
        indent = "  " * node.depth
        text = _short(node.question)
        lines.append(f"{here}{indent}{node.position + 1}. {move}{text}{state}{auto}{same}")
    return lines


def _node_json(node: TreeNode, tree: Tree) -> dict[str, Any]:
    return {
        "number": node.position + 1,
        "parent": tree.node(node.parent_id).position + 1 if node.parent_id else None,
        "question_id": node.question_id,
        "question": node.question,
        "move": node.move,
        "source": node.source,
        "called": node.called,
        "held_out": node.held_out,
        "state": node.state,
        "same_as": tree.node(node.merged_into).position + 1 if node.merged_into else None,
        "answer_id": node.answer_id,
        "reason": node.reason,
        "state_reason": node.aside_reason,
        "automatic": node.automatic,
        "answers": node.n_answers,
        "candidates": node.n_candidates,
        "tags": list(node.tags),
    }


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MAX_LABEL else line[: MAX_LABEL - 1] + "…"
