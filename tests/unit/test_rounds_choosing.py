"""The questions of a limited comparison: a fixed draw over languages, not the oldest ones."""

from collections import Counter

from sqlalchemy import select

from db.database import Database
from db.identity import question_hash
from db.tables import Question
from serving.sweeps.spec import QuestionSelection
from tests.unit import sweep_lab
from tests.unit.round_lab import write_round
from workbench.rounds.questions import Drawable, draw, sweep_spec
from workbench.rounds.spec import parse_round

ROWS = [
    Drawable(place + 1, "ja" if place % 4 == 0 else "en", question_hash(f"Why {place}?"))
    for place in range(80)
]


def languages(ids: list[int]) -> Counter[str]:
    return Counter(row.language for row in ROWS if row.id in ids)


def test_each_language_has_its_share_and_the_oldest_are_not_first() -> None:
    assert languages(draw(ROWS, 8)) == {"en": 6, "ja": 2}
    assert languages(draw(ROWS, 40)) == {"en": 30, "ja": 10}
    assert draw(ROWS, 8) != list(range(1, 9))
    assert sum(draw(ROWS, 40)) > 1.2 * sum(range(1, 41))


def test_the_same_questions_give_the_same_draw_in_any_store_and_order() -> None:
    other = [row._replace(id=1_000 - row.id) for row in reversed(ROWS)]
    assert sorted(1_000 - one for one in draw(other, 12)) == draw(ROWS, 12)


def test_a_higher_limit_and_a_new_question_keep_most_of_the_draw() -> None:
    assert set(draw(ROWS, 12)) < set(draw(ROWS, 20))
    more = [*ROWS, Drawable(900, "en", question_hash("Who?"))]
    assert len(set(draw(more, 12)) & set(draw(ROWS, 12))) >= 11


def test_a_round_asks_what_is_drawn_and_without_a_limit_all(database: Database) -> None:
    found = write_round(database, 12, languages=("en", "ja", "en"))

    def asked(**questions: object) -> QuestionSelection:
        compare = {"questions": {"held_out": True, **questions}}
        spec = parse_round({"name": "first", "dataset": "rows", "compare": compare})
        registry = sweep_lab.registry_of(database)
        with database.read() as session:
            return sweep_spec(session, registry, found, spec).questions

    six = asked(limit=6)
    assert (len(six.ids), six.limit) == (6, None)
    with database.read() as session:
        told = session.scalars(select(Question.language).where(Question.id.in_(six.ids))).all()
    assert Counter(told) == {"en": 4, "ja": 2}
    assert asked(limit=6) == six
    assert asked(limit=12) == QuestionSelection(held_out=True, limit=12)
    assert asked() == QuestionSelection(held_out=True)
    assert asked(search="nothing like it", limit=6).search == "nothing like it"
