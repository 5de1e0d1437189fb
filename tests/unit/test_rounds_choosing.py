"""The questions of a limited comparison: a fixed draw over languages, not the oldest ones."""

from collections import Counter

import pytest
from sqlalchemy import select, update

from db.database import Database
from db.identity import AS_STORED, question_hash
from db.models import get_model
from db.settings import settings
from db.tables import Generation, ModelVersion, Question
from serving.models.as_served import as_served
from serving.sweeps.spec import QuestionSelection
from tests.unit import sweep_lab
from tests.unit.round_lab import write_round
from workbench.rounds.comparison import compare_round
from workbench.rounds.questions import Drawable, draw, sweep_spec
from workbench.rounds.spec import parse_round
from workbench.rounds.verdict import judge

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


def test_all_models_of_a_round_are_served_in_one_precision(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = write_round(database, 4)
    spec = {"name": "first", "dataset": "rows"}
    config = parse_round(spec)
    assert "precision" not in config.as_config()["compare"]
    registry = sweep_lab.registry_of(database)
    with database.write() as session:
        for stored in session.scalars(select(ModelVersion)):
            stored.kind, stored.precision, stored.digest = "base", AS_STORED, stored.name

    def asked(**compare: object) -> tuple[object, ...]:
        wanted = parse_round({**spec, "compare": compare})
        with database.read() as session:
            one = sweep_spec(session, registry, found, wanted)
        return one.models, one.precision

    names = ("base", "round-first")
    assert asked() == (names, ("bf16",))
    assert asked(precision="nf4") == (names, ("nf4",))
    monkeypatch.setenv("Q2Q_PRECISION", "fp8")
    settings.cache_clear()
    assert asked() == (names, ("fp8",))
    settings.cache_clear()


async def test_a_round_in_fp8_is_compared_like_any_other(database: Database) -> None:
    found = write_round(database, 6)
    with database.write() as session:
        for stored in session.scalars(select(ModelVersion)).all():
            stored.kind, stored.precision, stored.digest = "base", AS_STORED, stored.name
            session.flush()
            quantised = as_served(session, get_model(session, stored.id), "fp8")
            own = update(Generation).where(Generation.model_version_id == stored.id)
            session.execute(own.values(model_version_id=quantised.id))
    with database.read() as session:
        compared = compare_round(session, found)
        assert judge(found, compared) is not None
    assert [one.model for one in compared.models] == ["base@fp8", "round-first@fp8"]
    assert [one.model_id for one in compared.models] == [1, 2]
