"""Reports of a session: Markdown, one self-contained HTML page, JSON. Texts of models stay text."""

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
MOST_CALLED = 60
"""Characters of an answer that name it."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|!~])")
Words = Mapping[str, Any]


def as_html(export: DialogueExport) -> str:
    """Return a page that needs nothing beside itself; every text is escaped."""
    words = _words(export)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            export=export,
            w=words,
            language=export.tree.dialogue.theme.language or "en",
            figures=_figures(export, words),
            about=_about(export, words),
            synopsis=_synopsis(export),
            came_by=lambda node: _came_by(node, words),
            became=lambda candidate: _became(candidate, words),
            marks=lambda node: _marks(node, words),
            forked=_forked(export, words),
            state=_state(export, words),
            replay=lambda it: _replayed(it, words),
            by=lambda row: _by(row, words),
            verdict=lambda judged: _verdict(judged, words),
        )
    )


def as_markdown(export: DialogueExport) -> str:
    """Return the session as Markdown; signs of people and models with a meaning are escaped."""
    words = _words(export)
    lines = [f"# {_plain(export.tree.dialogue.name)}", "", _figures(export, words), ""]
    lines += [
        f"{_plain(line)}\n" for line in (_forked(export, words), _state(export, words)) if line
    ]
    lines += [words["intro"], ""]
    lines += [f"- **{name}**: {_plain(value)}" for name, value in _about(export, words)]
    for kind, told in _synopsis(export):
        lines += ["", f"## {words[kind]}", ""]
        for line in told:
            numbers = ", ".join(str(export.number(one)) for one in line.node_ids)
            lines.append(f"- {_plain(line.text)}" + (f" ({numbers})" if numbers else ""))
    if export.synopsis and export.synopsis.lines and export.synopsis.is_edited:
        lines += ["", f"*{words['edited_by_person']}*"]
    lines += ["", f"## {words['questions']}"]
    for one in export.nodes:
        lines += ["", *_markdown_node(one, export, words)]
    return "\n".join(lines) + "\n"


def as_json(export: DialogueExport) -> str:
    """Return all that is known of the session, as JSON."""
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


def _markdown_node(one: ExportedQuestion, export: DialogueExport, words: Words) -> list[str]:
    node = one.node
    marks = [_came_by(node, words)]
    marks += [f"← {export.number(node.parent_id)}"] if node.parent_id is not None else []
    marks += _marks(node, words)
    if node.merged_into is not None:
        marks.append(f"{words['same_as']} {export.number(node.merged_into)}")
    lines = [
        f"{'#' * min(3 + node.depth, 6)} {one.number}. {_plain(node.question)}",
        "",
        f"*{' · '.join(marks)}*",
    ]
    if node.reason:
        lines += ["", f"**{words['why']}**: {_plain(node.reason)}"]
    if node.aside_reason:
        lines += ["", f"**{words['aside_because']}**: {_plain(node.aside_reason)}"]
    for fact in one.facts:
        source = f" ({words['source']}: {_plain(fact.source)})" if fact.source else ""
        lines += ["", f"- **{words['facts']}**: {_plain(fact.text)}{source}"]
    lines += (
        _markdown_answer(one.chosen, node, words) if one.chosen else ["", words["not_answered"]]
    )
    for replay, texts in one.replayed:
        for text in texts:
            lines += ["", f"*{_plain(_replayed(replay, words))}*", "", _block(text)]
    lines += [line for told in one.judged for line in ("", f"- {_plain(_verdict(told, words))}")]
    lines += [line for text in node.notes for line in ("", f"**{words['notes']}**: {_plain(text)}")]
    if node.tags:
        lines += ["", f"{words['tags']}: {', '.join(map(_plain, node.tags))}"]
    if one.candidates:
        lines += ["", f"**{words['considered'].format(n=len(one.candidates))}**", ""]
        lines += [f"- {_plain(c.text)} *({_plain(_became(c, words))})*" for c in one.candidates]
    return lines


def _markdown_answer(chosen: AnswerCard, node: TreeNode, words: Words) -> list[str]:
    told = [f"{words['answer']}: {_plain(_by(chosen.answer, words))}"]
    told += [words["sides"][chosen.side]] if chosen.side else []
    told += [words["automatic"]] if node.answer_automatic else []
    lines = ["", _block(chosen.answer.text), "", f"*{' · '.join(told)}*"]
    if node.choice_reason:
        lines += ["", f"**{words['chosen_because']}**: {_plain(node.choice_reason)}"]
    if chosen.reasoning:
        lines += ["", f"**{words['reasoning']}**: {_plain(chosen.reasoning.text)}"]
    return lines


def _came_by(node: TreeNode, words: Words) -> str:
    move = [words["moves"][node.move]] if node.move in words["moves"] else []
    return " · ".join([*move, words["called"][node.called]])


def _marks(node: TreeNode, words: Words) -> list[str]:
    """Return what else is told of a question beside its text, in words."""
    marks = [words["automatic"]] if node.automatic else []
    marks += [words["states"][node.state]] if node.state != "answered" else []
    marks += [words["held_out"]] if node.held_out else []
    return marks + ([f"{words['rating']} {node.rating:.1f}"] if node.rating is not None else [])


def _became(candidate: Candidate, words: Words) -> str:
    other = candidate.outcome.text if candidate.outcome else None
    text = f" → {words['quoted'].format(text=other)}" if other else ""
    reason = f": {candidate.reason}" if candidate.reason else ""
    return f"{words['called'][candidate.called]}{text}{reason}"


def _forked(export: DialogueExport, words: Words) -> str:
    """Return which dialogue and question a session was forked from; nothing where it was not."""
    parent = export.tree.dialogue.forked_from
    return forked_words(parent, words) if parent else ""


def forked_words(parent: ForkedFrom, words: Words) -> str:
    """Return where a fork began, in words: the dialogue and the number of the question."""
    form: str = words["forked"]
    return form.format(id=parent.dialogue_id, name=parent.name, n=parent.number)


def _state(export: DialogueExport, words: Words) -> str:
    """Return that a session is paused or closed, and why; nothing where it is open."""
    state = export.tree.dialogue.state
    if state == "open":
        return ""
    reason = f" ({export.state_reason})" if export.state_reason else ""
    return f"{words['state']}: {words['dialogue_states'][state]}{reason}"


def _replayed(replay: Replay, words: Words) -> str:
    changes = ", ".join(str(value) for value in replay.changes.values())
    return str(words["replayed"]).format(changes=changes)


def _by(row: TextRow, words: Words) -> str:
    """Return who or what wrote a text."""
    if row.source == "human" and row.author is None:
        return str(words["by_workbench"])
    form: str = words["written"].get(row.source, "{model}")
    return form.format(who=row.author or "–", model=row.model or "–")


def _verdict(judged: Judged, words: Words) -> str:
    """Return what the audience said of two answers, in the order in which it read them."""
    better = words["neither"] if judged.better is None else _called(judged.better, words)
    said: str = words["verdict"].format(
        first=_called(judged.first, words), other=_called(judged.other, words), better=better
    )
    return f"{said} {judged.why}".strip()


def _called(told: AnswerCard, words: Words) -> str:
    """Return how a report calls an answer: by its side, or by its first words."""
    if told.side is not None:
        return str(words["sides"][told.side])
    line = " ".join(told.answer.text.split())
    short = line if len(line) <= MOST_CALLED else f"{line[: MOST_CALLED - 1]}…"
    return str(words["quoted"]).format(text=short)


def _figures(export: DialogueExport, words: Words) -> str:
    nodes = export.tree.nodes
    return str(words["figures"]).format(
        nodes=len(nodes),
        answered=sum(node.state == "answered" for node in nodes),
        depth=max((node.depth for node in nodes), default=0) + 1,
    )


def _about(export: DialogueExport, words: Words) -> list[tuple[str, str]]:
    theme = export.tree.dialogue.theme
    told = {
        "concept": theme.concept,
        "goal": theme.goal,
        "opposing_goal": theme.opposing_goal,
        "audience": theme.audience,
        "points_of_view": ", ".join(theme.points_of_view),
    }
    return [(words[name], text) for name, text in told.items() if text]


def _synopsis(export: DialogueExport) -> list[tuple[str, list[SynopsisLine]]]:
    lines = export.synopsis.lines if export.synopsis else ()
    kinds = ("known", "open")
    found = [(kind, [line for line in lines if line.kind == kind]) for kind in kinds]
    return [(kind, told) for kind, told in found if told]


def _words(export: DialogueExport) -> Words:
    return words_of_reports(export.tree.dialogue.theme.language or "en")


@cache
def _environment() -> Environment:
    return Environment(loader=FileSystemLoader(FOLDER), autoescape=True, undefined=StrictUndefined)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _plain(text: str) -> str:
    """Return ``text`` on one line, its signs without a meaning in Markdown."""
    return _escaped(" ".join(text.split()))


def _block(text: str) -> str:
    """Return ``text`` as a quotation, line by line."""
    return "\n".join(f"> {_escaped(line)}".rstrip() for line in text.splitlines())
