"""Texts taken apart by their templates: as the shortest match does, and in linear time."""

import random
import re
import time

import pytest

from db.database import Database
from serving.importers.unwrap import Unwrapper, match_template
from tests.unit import sweep_lab


@pytest.mark.parametrize(
    ("template", "text", "fields"),
    [
        ("{question}", "Why?", {"question": "Why?"}),
        ("Q: {question}\nA:", "Q: a\nA: b\nA:", {"question": "a\nA: b"}),
        ("{theme}\n{context}\nend", "a\nb\nc\nend", {"theme": "a", "context": "b\nc"}),
        ("{theme}{context}.", "ab.", {"theme": "", "context": "ab"}),
        ("say {{{question}}} {{x}}", "say {a{} {x}", {"question": "a{"}),
        ("{question}: {question}!", "a: b: a: b!", {"question": "a: b"}),
        ("Q: {question}", "q: a", None),
        ("{question} Q: {context} Q: ", "a Q: ", None),
        ("only this", "only this, and more", None),
    ],
)
def test_slots_are_as_short_as_they_can_be(
    template: str, text: str, fields: dict[str, str] | None
) -> None:
    assert match_template(template, text) == fields


def test_it_finds_what_a_search_with_all_ways_finds() -> None:
    drawn = random.Random(7)
    names = ["theme", "context", "question", "answer"]
    for _ in range(2_000):
        literals = ["".join(drawn.choices("ab", k=drawn.randint(0, 2))) for _ in range(5)]
        template = "".join(f"{a}{{{b}}}" for a, b in zip(literals, names, strict=False))
        ways = [f"{a}(?P<{b}>.*?)" for a, b in zip(literals, names, strict=False)]
        text = "".join(drawn.choices("ab", k=drawn.randint(0, 9)))
        match = re.fullmatch("".join(ways) + literals[4], text)
        assert match_template(template + literals[4], text) == (match and match.groupdict())


def test_a_hostile_prompt_takes_no_longer_than_its_length_asks(database: Database) -> None:
    """Tried in all ways, two million blank lines of a theme and a context would take a day."""
    sweep_lab.fill(database, n_questions=0)
    registry = sweep_lab.registry_of(database)
    asking = registry.format("dialogue-tagged").definition.tasks.get("ask")
    assert asking is not None
    given = dict.fromkeys(("system", "move", "language", "theme", "question", "answer"), "x")
    prompt = asking.prompt.format(context="\n" * 2_000_000, **given)
    hostile = prompt.replace("\n<|response|>", " <|response|>")
    assert hostile != prompt
    begun = time.monotonic()
    assert Unwrapper.of(registry).asked(hostile).form is None
    assert time.monotonic() - begun < 30
