"""The model merges two reasonings: what is asked for, and which reasonings came of it."""

import pytest

from db.database import Database
from db.errors import UsageError
from db.tables import ReasoningVariant, VariantParent
from serving.formats.library import load_definitions, sync_definitions
from serving.sweeps.plan import plan_sweep
from tests.app.seed import seed_store
from workbench.rating.editing import merge_by_model, merge_jobs, merge_spec, merged


def test_a_merge_is_one_reasoning_with_its_answers_before_all_other_work(
    database: Database,
) -> None:
    seeded = seed_store(database)
    pair = seeded.variant_ids[:2]
    with database.write() as session:
        registry = sync_definitions(session, load_definitions())
        spec = merge_spec(session, pair, 3)
        plan = plan_sweep(session, spec, registry)
    assert plan.cells == 1 + 3
    assert spec.modes == ("ensemble",)
    assert spec.models == ("smollm2-135m-instruct",)
    sweep_id = merge_by_model(database, registry, pair, 3)
    with database.read() as session:
        (job,) = merge_jobs(session, list(reversed(pair)))
        assert (job.sweep_id, job.is_active) == (sweep_id, True)
        assert merged(session, pair) == []


def test_another_merge_of_the_same_two_is_another_sample(database: Database) -> None:
    seeded = seed_store(database)
    pair, other = seeded.variant_ids[:2], seeded.variant_ids[2]
    with database.write() as session:
        for made_of in (pair, [pair[0], other], [*pair, other]):
            template = session.get_one(ReasoningVariant, other)
            variant = ReasoningVariant(
                question_id=template.question_id,
                text=f"made of {made_of}",
                source="edited",
                content_hash=f"hash {made_of}",
            )
            session.add(variant)
            session.flush()
            for parent in made_of:
                session.add(VariantParent(variant_id=variant.id, parent_id=parent))
        session.flush()
        assert merged(session, pair) == [], "people made these"
        assert merge_spec(session, pair, 0).variants == 1


def test_only_two_reasonings_of_one_question_are_merged(database: Database) -> None:
    seeded = seed_store(database)
    first, last = seeded.variant_ids[0], seeded.variant_ids[-1]
    with database.read() as session:
        for wrong in ([first], [first, first], [first, last]):
            with pytest.raises(UsageError, match="two reasonings of one question"):
                merge_spec(session, wrong, 1)
