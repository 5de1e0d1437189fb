"""Earlier dialogues from a spreadsheet as trees: what was asked, answered, proposed and taken."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.dialogues import (
    add_node,
    change_node,
    create_dialogue,
    list_themes,
    save_theme,
)
from db.identity import short_hash, text_hash
from db.questions import NewQuestion, add_child, add_question
from db.search import index_texts
from db.tables import Answer, DialogueEvent, ReasoningVariant
from workbench.dialogue.events import By, record
from workbench.dialogue.settings import DialogueSettings
from workbench.dialogue.sheets import SheetRow, n_nodes, plan_tree, read_sheet

MAX_NAME = 100
"""Characters of a goal that name the theme and the dialogue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedDialogue:
    """One tree of a spreadsheet."""

    dialogue_id: int
    goal: str
    n_questions: int
    is_new: bool
    """False where the very same rows had been imported before."""


def import_sheet(
    session: Session,
    path: Path | bytes,
    by: By,
    *,
    language: str = "en",
    name: str | None = None,
    encoding: str | None = None,
) -> list[ImportedDialogue]:
    """Store the dialogues of a spreadsheet, all of them or none; the same rows again add nothing.

    Args:
        session: Of an open write transaction.
        path: The file, or its bytes.
        by: Who imports it.
        language: ISO 639-1 code of its texts.
        name: What an uploaded file is called.
        encoding: What a text that is not UTF-8 is read as.

    Raises:
        UsageError: The file cannot be read.
        ImportRefused: Rows are wrong; each one is named.
    """
    goals = read_sheet(path, name=name, encoding=encoding)
    return [_store(session, goal, own, by, language) for goal, own in goals.items()]


def _store(
    session: Session, goal: str, rows: Sequence[SheetRow], by: By, language: str
) -> ImportedDialogue:
    plan = plan_tree(rows)
    dialogue_id = before = stored_before(session, goal, rows)
    if dialogue_id is None:
        theme_id = _theme(session, goal, plan[0].row, language)
        settings = DialogueSettings().model_dump(mode="json")
        dialogue_id = create_dialogue(session, theme_id, goal[:MAX_NAME], settings)
        tree, digest = _Tree(session, dialogue_id, by, language), _digest(goal, rows)
        for step in plan:
            tree.add(step.row, digest)
    return ImportedDialogue(
        dialogue_id=dialogue_id, goal=goal, n_questions=n_nodes(plan), is_new=before is None
    )


def _digest(goal: str, rows: Sequence[SheetRow]) -> str:
    ordered = sorted(rows, key=lambda row: row.step)
    return short_hash(goal, *(part for row in ordered for part in _parts(row)))


def _parts(row: SheetRow) -> Iterator[str]:
    yield from (str(row.step), row.question, row.answer, row.reasoning, row.note)
    yield from row.proposed
    yield "".join("1" if taken else "0" for taken in row.taken)


def stored_before(session: Session, goal: str, rows: Sequence[SheetRow]) -> int | None:
    """Return the dialogue that the very same rows were imported as; None where they were not."""
    digest = _digest(goal, rows)
    found = session.execute(
        select(DialogueEvent.dialogue_id, DialogueEvent.payload).where(
            DialogueEvent.kind == "import", DialogueEvent.node_id.is_not(None)
        )
    )
    return next((one for one, payload in found if payload.get("digest") == digest), None)


def _theme(session: Session, goal: str, first: SheetRow, language: str) -> int:
    """Return the theme of a goal; one of that name that says something else gets a number."""
    values: dict[str, Any] = {
        "concept": first.concept or goal,
        "goal": goal,
        "opposing_goal": None,
        "audience": first.audience or None,
        "points_of_view": [],
        "language": language,
    }
    taken = {theme.name: theme for theme in list_themes(session)}
    name, n = goal[:MAX_NAME], 1
    while name in taken and (taken[name].goal, taken[name].concept, taken[name].language) != (
        goal,
        values["concept"],
        language,
    ):
        n += 1
        name = f"{goal[: MAX_NAME - 5]} ({n})"
    if name in taken:
        return taken[name].id
    return save_theme(session, name, values)


class _Tree:
    """The tree of one goal while its rows are added."""

    def __init__(self, session: Session, dialogue_id: int, by: By, language: str) -> None:
        self._session, self._id, self._by, self._language = session, dialogue_id, by, language
        self._open: dict[str, tuple[int, int]] = {}
        """Text of a question that was taken and not yet asked → its node and question."""
        self._last: tuple[int, int] | None = None

    def add(self, row: SheetRow, digest: str) -> None:
        """Add one step: its question, answer, what was proposed and what was taken."""
        node_id, question_id = self._node(row, digest)
        answer_id = self._answer(row, node_id, question_id) if row.answer else None
        if row.note:
            self._event("note", node_id, question_id, {"text": row.note})
        if row.proposed:
            self._proposed(row, node_id, question_id, answer_id)
        self._last = (node_id, question_id)

    def _node(self, row: SheetRow, digest: str) -> tuple[int, int]:
        waiting = self._open.pop(row.question, None)
        if waiting is not None:
            self._event("goto", waiting[0], waiting[1], {"to": waiting[0], "imported": True})
            return waiting
        if self._last is None:
            question_id, _ = add_question(self._session, self._new(row.question))
        else:
            question_id, _ = add_child(self._session, self._last[1], self._new(row.question), None)
        parent_id = self._last[0] if self._last else None
        node_id = add_node(self._session, self._id, question_id, parent_id)
        payload = {"to": node_id, "line": row.line, "digest": digest}
        self._event("import", node_id if parent_id is None else parent_id, question_id, payload)
        return node_id, question_id

    def _new(self, text: str) -> NewQuestion:
        return NewQuestion(text=text, language=self._language, source="imported")

    def _answer(self, row: SheetRow, node_id: int, question_id: int) -> int:
        variant_id = None
        if row.reasoning:
            variant = ReasoningVariant(
                question_id=question_id,
                text=row.reasoning,
                source="imported",
                content_hash=text_hash(row.reasoning),
            )
            self._session.add(variant)
            self._session.flush()
            index_texts(self._session, "variant", [(variant.id, variant.text)])
            variant_id = variant.id
        answer = Answer(
            question_id=question_id,
            variant_id=variant_id,
            text=row.answer,
            source="imported",
            content_hash=text_hash(row.answer),
        )
        self._session.add(answer)
        self._session.flush()
        index_texts(self._session, "answer", [(answer.id, answer.text)])
        shown = {"shown": [answer.id], "folded": [], "problems": [], "imported": True}
        event_id = self._event("answers_shown", node_id, question_id, shown)
        self._event(
            "choose",
            node_id,
            question_id,
            {"event": event_id, "over": [], "imported": True},
            answer_id=answer.id,
            variant_id=variant_id,
        )
        change_node(self._session, node_id, state="answered")
        return answer.id

    def _proposed(
        self, row: SheetRow, node_id: int, question_id: int, answer_id: int | None
    ) -> None:
        candidates = [
            {
                "text": text,
                "move": None,
                "is_repeat": False,
                "similarity": 0.0,
                "same_as": None,
                "nearest": None,
            }
            for text in row.proposed
        ]
        event_id = self._event(
            "questions_shown",
            node_id,
            question_id,
            {
                "answer_id": answer_id,
                "candidates": candidates,
                "shown": list(range(len(candidates))),
                "problems": [],
                "imported": True,
            },
        )
        for text, place in sorted(row.children.items(), key=lambda one: one[1]):
            child_id, _ = add_child(self._session, question_id, self._new(text), None)
            child_node = add_node(self._session, self._id, child_id, node_id)
            payload = {
                "event": event_id,
                "place": place,
                "proposed": text,
                "move": None,
                "is_edited": False,
                "to": child_node,
                "imported": True,
            }
            self._event("pick", node_id, child_id, payload)
            self._open[text] = (child_node, child_id)

    def _event(
        self,
        kind: str,
        node_id: int,
        question_id: int,
        payload: Mapping[str, Any],
        **refs: int | None,
    ) -> int:
        refs |= {"node_id": node_id, "question_id": question_id}
        return record(self._session, self._id, kind, self._by, payload, reason=None, **refs)
