"""Reports of a dialogue as Markdown, one self-contained HTML page or JSON; texts stay text."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from db.dialogues import ForkedFrom
from db.texts.rows import TextRow
from workbench.dialogue.cards import AnswerCard, Candidate
from workbench.dialogue.export import DialogueExport, ExportedQuestion, Judged
from workbench.dialogue.outcomes import words_of_reports
from workbench.dialogue.replay import Replay
from workbench.dialogue.synopsis import SynopsisLine
from workbench.dialogue.tree import TreeNode

FOLDER = Path(__file__).parent
MAX_CALLED = 60
"""Characters of an answer that name it."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|!~])")
Texts = Mapping[str, Any]


def as_html(export: DialogueExport) -> str:
    """Return a page that needs nothing beside itself; every text is escaped."""
    return _rendered("report.html.j2", export)


def as_markdown(export: DialogueExport) -> str:
    """Return the dialogue as Markdown; signs of people and models with a meaning are escaped."""
    return _rendered("report.md.j2", export)


def _rendered(template: str, export: DialogueExport) -> str:
    language = export.tree.dialogue.theme.language or "en"
    texts = words_of_reports(language)
    environment = _environment(is_html=template == "report.html.j2")
    report = _Report(export, texts)
    return environment.get_template(template).render(
        export=export, w=texts, r=report, language=language
    )


def as_json(export: DialogueExport) -> str:
    """Return all that is known of the dialogue, as JSON."""
    dialogue = export.tree.dialogue
    value = {
        "format": "q2q-dialogue/1",
        "name": dialogue.name,
        "state": dialogue.state,
        "state_reason": export.state_reason,
        "forked_from": asdict(dialogue.forked_from) if dialogue.forked_from else None,
        "theme": asdict(dialogue.theme),
        "settings": dict(dialogue.settings),
        "began_at": export.began_at.isoformat(),
        "ended_at": export.ended_at.isoformat(),
        "people": list(export.people),
        "moves": dict(export.tree.moves),
        "current": export.number(export.tree.current_id) if export.tree.current_id else None,
        "synopsis": [
            {
                **_fields(line, "kind", "text"),
                "questions": [export.number(one) for one in line.node_ids],
            }
            for line in (export.synopsis.lines if export.synopsis else ())
        ],
        "synopsis_edited": bool(export.synopsis and export.synopsis.is_edited),
        "replays": [
            _fields(one, "sweep_id", "changes", "model", "state", "problems")
            for one in export.replays
        ],
        "questions": [_json_node(one, export) for one in export.nodes],
    }
    return json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"


def _fields(one: object, *names: str, **renamed: str) -> dict[str, Any]:
    """Return attributes of ``one`` by name, those of ``renamed`` by another; all None of None."""
    found = dict(zip(names, names, strict=True)) | renamed
    return {key: None if one is None else attrgetter(name)(one) for key, name in found.items()}


def _json_node(one: ExportedQuestion, export: DialogueExport) -> dict[str, Any]:
    node = one.node
    return {
        "number": one.number,
        "parent": export.number(node.parent_id) if node.parent_id else None,
        **_fields(node, "question_id", "question", "context", "move", "source", "called", "state"),
        "state_reason": node.aside_reason,
        "held_out": node.held_out,
        "same_as": export.number(node.merged_into) if node.merged_into else None,
        **_fields(node, "reason", "automatic", "tags", "notes", "rating"),
        "facts": [asdict(fact) for fact in one.facts],
        "chosen": _json_answer(one.chosen) if one.chosen else None,
        "chosen_because": node.choice_reason,
        "chosen_automatically": node.answer_automatic,
        "replayed": [
            {"sweep_id": replay.sweep_id, "answers": texts} for replay, texts in one.replayed
        ],
        "others": [_json_answer(card) for card in one.others],
        "judged": [
            {
                "read": [judged.first.answer.id, judged.other.answer.id],
                "better": judged.better.answer.id if judged.better else None,
                "why": judged.why,
            }
            for judged in one.judged
        ],
        "candidates": [
            {
                **_fields(candidate, "text", "move", shown="is_shown", repeat="is_repeat"),
                **_fields(candidate, "nearest", "similarity", "towards", "decision", "called"),
                "became": candidate.outcome.text if candidate.outcome else None,
                "reason": candidate.reason,
            }
            for candidate in one.candidates
        ],
        "decisions": [asdict(decision) for decision in one.decisions],
    }


def _json_answer(card: AnswerCard) -> dict[str, Any]:
    return {
        "answer_id": card.answer.id,
        "text": card.answer.text,
        "side": card.side,
        **_fields(card.answer, "source", "model", "prompt_format", findings="flags"),
        **_fields(
            card.reasoning,
            reasoning_id="id",
            reasoning="text",
            reasoning_source="source",
            reasoning_author="author",
        ),
    }


def forked_words(parent: ForkedFrom, texts: Texts) -> str:
    """Return where a fork began, in words: the dialogue and the number of the question."""
    form: str = texts["forked"]
    return form.format(id=parent.dialogue_id, name=parent.name, n=parent.number)


class _Report:
    """What both templates say in words."""

    def __init__(self, export: DialogueExport, texts: Texts) -> None:
        self.export, self.texts = export, texts

    def came_by(self, node: TreeNode) -> str:
        move = [self.texts["moves"][node.move]] if node.move in self.texts["moves"] else []
        return " · ".join([*move, self.texts["called"][node.called]])

    def marks(self, node: TreeNode) -> list[str]:
        """Return what else is told of a question beside its text, in words."""
        marks = [self.texts["automatic"]] if node.automatic else []
        marks += [self.texts["states"][node.state]] if node.state != "answered" else []
        marks += [self.texts["held_out"]] if node.held_out else []
        return marks + (
            [f"{self.texts['rating']} {node.rating:.1f}"] if node.rating is not None else []
        )

    def became(self, candidate: Candidate) -> str:
        other = candidate.outcome.text if candidate.outcome else None
        text = f" → {self.texts['quoted'].format(text=other)}" if other else ""
        reason = f": {candidate.reason}" if candidate.reason else ""
        return f"{self.texts['called'][candidate.called]}{text}{reason}"

    @property
    def forked(self) -> str:
        """Return which dialogue and question it was forked from; nothing where it was not."""
        parent = self.export.tree.dialogue.forked_from
        return forked_words(parent, self.texts) if parent else ""

    @property
    def state(self) -> str:
        """Return that a dialogue is paused or closed, and why; nothing where it is open."""
        state = self.export.tree.dialogue.state
        if state == "open":
            return ""
        reason = f" ({self.export.state_reason})" if self.export.state_reason else ""
        return f"{self.texts['state']}: {self.texts['dialogue_states'][state]}{reason}"

    def replayed(self, replay: Replay) -> str:
        changes = ", ".join(str(value) for value in replay.changes.values())
        return str(self.texts["replayed"]).format(changes=changes)

    def by(self, row: TextRow) -> str:
        """Return who or what wrote a text."""
        if row.source == "human" and row.author is None:
            return str(self.texts["by_workbench"])
        form: str = self.texts["written"].get(row.source, "{model}")
        return form.format(who=row.author or "–", model=row.model or "–")

    def verdict(self, judged: Judged) -> str:
        """Return what the audience said of two answers, in the order in which it read them."""
        better = self.texts["neither"] if judged.better is None else self.called(judged.better)
        sentence: str = self.texts["verdict"].format(
            first=self.called(judged.first), other=self.called(judged.other), better=better
        )
        return f"{sentence} {judged.why}".strip()

    def called(self, card: AnswerCard) -> str:
        """Return how a report calls an answer: by its side, or by its first words."""
        if card.side is not None:
            return str(self.texts["sides"][card.side])
        line = " ".join(card.answer.text.split())
        short = line if len(line) <= MAX_CALLED else f"{line[: MAX_CALLED - 1]}…"
        return str(self.texts["quoted"]).format(text=short)

    @property
    def figures(self) -> str:
        nodes = self.export.tree.nodes
        return str(self.texts["figures"]).format(
            nodes=len(nodes),
            answered=sum(node.state == "answered" for node in nodes),
            depth=max((node.depth for node in nodes), default=0) + 1,
        )

    @property
    def about(self) -> list[tuple[str, str]]:
        theme = self.export.tree.dialogue.theme
        fields = {
            "concept": theme.concept,
            "goal": theme.goal,
            "opposing_goal": theme.opposing_goal,
            "audience": theme.audience,
            "points_of_view": ", ".join(theme.points_of_view),
        }
        return [(self.texts[name], text) for name, text in fields.items() if text]

    @property
    def synopsis(self) -> list[tuple[str, list[SynopsisLine]]]:
        lines = self.export.synopsis.lines if self.export.synopsis else ()
        kinds = ("known", "open")
        found = [(kind, [line for line in lines if line.kind == kind]) for kind in kinds]
        return [(kind, own) for kind, own in found if own]


@cache
def _environment(*, is_html: bool) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=is_html,
        undefined=StrictUndefined,
        trim_blocks=not is_html,
        lstrip_blocks=not is_html,
        keep_trailing_newline=not is_html,
    )
    environment.filters |= {
        "plain": _plain,
        "block": _block,
        "number": lambda node_id, export: export.number(node_id),
    }
    return environment


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _plain(text: str) -> str:
    """Return ``text`` on one line, its signs without a meaning in Markdown."""
    return _escaped(" ".join(text.split()))


def _block(text: str) -> str:
    """Return ``text`` as a quotation, line by line."""
    return "\n".join(f"> {_escaped(line)}".rstrip() for line in text.splitlines())
