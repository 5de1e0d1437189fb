"""Reports of a session: Markdown, one self-contained HTML page, JSON. Texts of models stay text."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from db.text_rows import TextRow
from db.yaml_text import load_yaml, read_text
from workbench.dialogue.cards import Candidate
from workbench.dialogue.story import Judged, Story, StoryNode, Told
from workbench.dialogue.synopsis import SynopsisLine
from workbench.dialogue.tree import TreeNode

FOLDER = Path(__file__).parent
MOST_CALLED = 60
"""Characters of an answer that name it."""
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|!~])")
Words = Mapping[str, Any]


def as_html(story: Story) -> str:
    """Return a page that needs nothing beside itself; every text is escaped."""
    words = _words(story)
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            story=story,
            w=words,
            language=story.tree.dialogue.theme.language or "en",
            figures=_figures(story, words),
            about=_about(story, words),
            synopsis=_synopsis(story),
            came_by=lambda node: _came_by(node, words),
            became=lambda candidate: _became(candidate, words),
            by=lambda row: _by(row, words),
            verdict=lambda judged: _verdict(judged, words),
        )
    )


def as_markdown(story: Story) -> str:
    """Return the session as Markdown; signs of people and models with a meaning are escaped."""
    words = _words(story)
    lines = [f"# {_plain(story.tree.dialogue.name)}", "", _figures(story, words), ""]
    lines += [words["intro"], ""]
    lines += [f"- **{name}**: {_plain(value)}" for name, value in _about(story, words)]
    for kind, told in _synopsis(story):
        lines += ["", f"## {words[kind]}", ""]
        for line in told:
            numbers = ", ".join(str(story.number(one)) for one in line.node_ids)
            lines.append(f"- {_plain(line.text)}" + (f" ({numbers})" if numbers else ""))
    lines += ["", f"## {words['questions']}"]
    for one in story.nodes:
        lines += ["", *_markdown_node(one, story, words)]
    return "\n".join(lines) + "\n"


def as_json(story: Story) -> str:
    """Return all that is known of the session, as JSON."""
    dialogue = story.tree.dialogue
    value = {
        "format": "q2q-dialogue/1",
        "name": dialogue.name,
        "state": dialogue.state,
        "theme": asdict(dialogue.theme),
        "settings": dict(dialogue.settings),
        "began_at": story.began_at.isoformat(),
        "ended_at": story.ended_at.isoformat(),
        "people": list(story.people),
        "moves": dict(story.tree.moves),
        "current": story.number(story.tree.current_id) if story.tree.current_id else None,
        "synopsis": [
            {
                "kind": line.kind,
                "text": line.text,
                "questions": [story.number(one) for one in line.node_ids],
            }
            for line in (story.synopsis.lines if story.synopsis else ())
        ],
        "questions": [_json_node(one, story) for one in story.nodes],
    }
    return json.dumps(value, ensure_ascii=False, indent=2, default=str) + "\n"


def _json_node(one: StoryNode, story: Story) -> dict[str, Any]:
    node = one.node
    return {
        "number": one.number,
        "parent": story.number(node.parent_id) if node.parent_id else None,
        "question_id": node.question_id,
        "question": node.question,
        "context": node.context,
        "move": node.move,
        "source": node.source,
        "state": node.state,
        "same_as": story.number(node.merged_into) if node.merged_into else None,
        "reason": node.reason,
        "automatic": node.automatic,
        "tags": list(node.tags),
        "notes": list(node.notes),
        "rating": node.rating,
        "facts": [{"text": fact.text, "source": fact.source} for fact in one.facts],
        "chosen": _json_answer(one.chosen) if one.chosen else None,
        "others": [_json_answer(told) for told in one.others],
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
                "text": candidate.text,
                "move": candidate.move,
                "shown": candidate.is_shown,
                "repeat": candidate.is_repeat,
                "nearest": candidate.nearest,
                "similarity": candidate.similarity,
                "towards": candidate.towards,
                "decision": candidate.decision,
                "reason": candidate.reason,
            }
            for candidate in one.candidates
        ],
        "decisions": [asdict(decision) for decision in one.decisions],
    }


def _json_answer(told: Told) -> dict[str, Any]:
    answer, reasoning = told.answer, told.reasoning
    return {
        "answer_id": answer.id,
        "text": answer.text,
        "side": told.side,
        "source": answer.source,
        "model": answer.model,
        "prompt_format": answer.prompt_format,
        "findings": list(answer.flags),
        "reasoning_id": reasoning.id if reasoning else None,
        "reasoning": reasoning.text if reasoning else None,
        "reasoning_source": reasoning.source if reasoning else None,
        "reasoning_author": reasoning.author if reasoning else None,
    }


def _markdown_node(one: StoryNode, story: Story, words: Words) -> list[str]:
    node = one.node
    marks = [_came_by(node, words)]
    marks += [words["automatic"]] if node.automatic else []
    marks += [words["states"][node.state]] if node.state != "answered" else []
    if node.merged_into is not None:
        marks.append(f"{words['same_as']} {story.number(node.merged_into)}")
    lines = [
        f"{'#' * min(3 + node.depth, 6)} {one.number}. {_plain(node.question)}",
        "",
        f"*{' · '.join(marks)}*",
    ]
    if node.reason:
        lines += ["", f"**{words['why']}**: {_plain(node.reason)}"]
    for fact in one.facts:
        source = f" ({words['source']}: {_plain(fact.source)})" if fact.source else ""
        lines += ["", f"- **{words['facts']}**: {_plain(fact.text)}{source}"]
    answer = _block(one.chosen.answer.text) if one.chosen else words["not_answered"]
    lines += ["", answer]
    if one.chosen:
        lines += ["", f"*{words['answer']}: {_plain(_by(one.chosen.answer, words))}*"]
    if one.chosen and one.chosen.reasoning:
        lines += ["", f"**{words['reasoning']}**: {_plain(one.chosen.reasoning.text)}"]
    lines += [line for told in one.judged for line in ("", f"- {_plain(_verdict(told, words))}")]
    lines += [line for text in node.notes for line in ("", f"**{words['notes']}**: {_plain(text)}")]
    if node.tags:
        lines += ["", f"{words['tags']}: {', '.join(map(_plain, node.tags))}"]
    if one.candidates:
        lines += ["", f"**{words['considered'].format(n=len(one.candidates))}**", ""]
        lines += [f"- {_plain(c.text)} *({_became(c, words)})*" for c in one.candidates]
    return lines


def _came_by(node: TreeNode, words: Words) -> str:
    if node.parent_id is None:
        return str(words["root"])
    return str(words["moves"][node.move]) if node.move in words["moves"] else str(words["no_move"])


def _became(candidate: Candidate, words: Words) -> str:
    kind = candidate.decision or _undecided(candidate)
    reason = f": {candidate.reason}" if candidate.reason else ""
    return f"{words['became'][kind]}{reason}"


def _undecided(candidate: Candidate) -> str:
    """Return the word for a candidate that nobody decided on; shown ones may be repeats too."""
    if candidate.language is not None:
        return "language"
    if not candidate.is_repeat:
        return "undecided"
    return {"rejected": "rejected_before", "proposed": "proposed_before"}.get(
        candidate.nearest_is or "", "repeat"
    )


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


def _called(told: Told, words: Words) -> str:
    """Return how a report calls an answer: by its side, or by its first words."""
    if told.side is not None:
        return str(words["sides"][told.side])
    line = " ".join(told.answer.text.split())
    short = line if len(line) <= MOST_CALLED else f"{line[: MOST_CALLED - 1]}…"
    return str(words["quoted"]).format(text=short)


def _figures(story: Story, words: Words) -> str:
    nodes = story.tree.nodes
    return str(words["figures"]).format(
        nodes=len(nodes),
        answered=sum(node.state == "answered" for node in nodes),
        depth=max((node.depth for node in nodes), default=0) + 1,
    )


def _about(story: Story, words: Words) -> list[tuple[str, str]]:
    theme = story.tree.dialogue.theme
    told = {
        "concept": theme.concept,
        "goal": theme.goal,
        "opposing_goal": theme.opposing_goal,
        "audience": theme.audience,
        "points_of_view": ", ".join(theme.points_of_view),
    }
    return [(words[name], text) for name, text in told.items() if text]


def _synopsis(story: Story) -> list[tuple[str, list[SynopsisLine]]]:
    lines = story.synopsis.lines if story.synopsis else ()
    kinds = ("known", "open")
    found = [(kind, [line for line in lines if line.kind == kind]) for kind in kinds]
    return [(kind, told) for kind, told in found if told]


def _words(story: Story) -> Words:
    all_words = _all_words()
    return all_words.get(story.tree.dialogue.theme.language or "en", all_words["en"])


@cache
def _all_words() -> Mapping[str, Words]:
    found: dict[str, Words] = load_yaml(
        read_text(FOLDER / "report_words.yaml"), where="report_words.yaml"
    )
    return found


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
