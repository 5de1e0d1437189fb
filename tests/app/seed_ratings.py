"""Ratings for a filled store: two raters who mostly agree, one queue, hidden repeats."""

import random
from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.orm import Session

from db.database import Database
from db.identity import json_hash
from db.rating.queues import get_items, get_queue
from db.rating.ratings import NewRating, add_ratings, ensure_rater
from db.tables import Generation, QueueItem, Rating, ReasoningVariant, Sampling
from tests.app.seed import Seeded
from workbench.rating.queues import QueueSpec, build_queue, save_queue

CALM = {"temperature": 0.2, "top_p": 0.95, "max_tokens": 256, "seed": None}


@dataclass
class Rated:
    """Ids of what was written."""

    queue_id: int
    rater_ids: tuple[int, ...]


def seed_ratings(
    database: Database, seeded: Seeded, names: tuple[str, ...] = ("Aki", "Ben")
) -> Rated:
    """Rate every pair of reasonings; those of the calmer sampling win more often."""
    lot = random.Random(5)
    with database.write() as session:
        calm = _two_samplings(session, seeded)
        spec = QueueSpec(name="pilot", leave_out=(), overlap=len(names))
        queue_id = save_queue(session, build_queue(session, spec))
        raters = tuple(ensure_rater(session, name) for name in names)
        ids = session.scalars(select(QueueItem.id).where(QueueItem.queue_id == queue_id)).all()
        n_items = get_queue(session, queue_id).n_items
        facts: list[NewRating] = []
        for number, item in enumerate(get_items(session, ids)):
            assert item.other is not None
            is_lead = (item.target.variant_id in calm) - (item.other.variant_id in calm)
            true = "a" if lot.random() < 0.5 + 0.3 * is_lead else "b"
            for rater in raters:
                said = true if lot.random() < 0.85 else lot.choice(["a", "b", "tie", "both_bad"])
                swapped = lot.random() < 0.5
                fact = {
                    "rater_id": rater,
                    "scope": "reasoning",
                    "target": item.target,
                    "other": item.other,
                    "axis": "preference",
                    "blind": True,
                    "sampler": "informative",
                    "seconds": 4 + 12 * lot.random(),
                }
                facts.append(
                    NewRating(
                        **fact,
                        outcome=said,
                        swapped=swapped,
                        queue_item_id=item.id,
                        card_id=f"card-{item.id}-{rater}",
                    )
                )
                if number % 5 == 0:
                    repeat = QueueItem(
                        queue_id=queue_id,
                        position=n_items + number * len(raters) + raters.index(rater),
                        question_id=item.target.question_id,
                        variant_id=item.target.variant_id,
                        other_variant_id=item.other.variant_id,
                        repeat_of_id=item.id,
                    )
                    session.add(repeat)
                    session.flush()
                    facts.append(
                        NewRating(
                            **fact,
                            outcome=said if lot.random() < 0.8 else "tie",
                            swapped=not swapped,
                            queue_item_id=repeat.id,
                            card_id=f"again-{item.id}-{rater}",
                        )
                    )
        add_ratings(session, facts)
        return Rated(queue_id, raters)


def seed_bulk_ratings(database: Database, rated: Rated, n: int, *, first: int = 0) -> None:
    """Write ``n`` more comparisons of the queue's pairs, in bulk, by many raters."""
    with database.write() as session:
        raters = [ensure_rater(session, f"rater {i}") for i in range(20)]
        items = session.execute(
            select(
                QueueItem.id,
                QueueItem.question_id,
                QueueItem.variant_id,
                QueueItem.other_variant_id,
            ).where(QueueItem.queue_id == rated.queue_id, QueueItem.repeat_of_id.is_(None))
        ).all()
        rows = []
        for i in range(first, first + n):
            item = items[i % len(items)]
            rows.append(
                {
                    "rater_id": raters[i // len(items) % len(raters)],
                    "scope": "reasoning",
                    "question_id": item.question_id,
                    "variant_id": item.variant_id,
                    "other_variant_id": item.other_variant_id,
                    "axis": "preference",
                    "outcome": "abba"[(i * 7919) % 4] if i % 9 else "tie",
                    "blind": True,
                    "swapped": bool((i * 31) % 2),
                    "answer_seen": False,
                    "sampler": "random",
                    "seconds": 5.0 + i % 17,
                    "queue_item_id": item.id,
                    "card_id": f"bulk-{i}",
                }
            )
        for start in range(0, n, 10_000):
            session.execute(insert(Rating), rows[start : start + 10_000])


def _two_samplings(session: Session, seeded: Seeded) -> set[int]:
    """Make the first reasoning of every question one of a calmer sampling; return those."""
    calm = Sampling(content_hash=json_hash(CALM), parameters=CALM)
    session.add(calm)
    session.flush()
    rows = session.execute(
        select(ReasoningVariant.id, ReasoningVariant.generation_id)
        .join(Generation, Generation.id == ReasoningVariant.generation_id)
        .where(ReasoningVariant.id.in_(seeded.variant_ids), Generation.replicate == 0)
    ).all()
    session.execute(
        update(Generation)
        .where(Generation.id.in_([row.generation_id for row in rows]))
        .values(sampling_id=calm.id)
    )
    return {row.id for row in rows}
