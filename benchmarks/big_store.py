"""A large store, written in bulk: a million generations with their texts, and many ratings.

10,000 questions with ten reasonings each and nine answers under each reasoning, of two models, two
formats and two samplings, in English and Japanese; every text is indexed for search, a tenth has a
finding, every answer a grade. Raters compared reasonings in ten queues, three quarters of whose
cards are done.
"""

import random
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.setting import note, question
from db.database import open_database
from db.identity import json_hash, question_hash, short_hash
from db.search import terms
from db.store.migrate import upgrade
from db.tables import ModelVersion, Sampling, Sweep
from serving.formats.library import load_definitions, sync_definitions

K, N = 10, 9
"""Reasonings of a question, and answers under each."""
RATERS = 20
STEPS = 2
"""Each reasoning is compared with its next neighbours on a circle: 20 cards a question."""
DONE = 0.75
"""Share of the cards that are rated."""
PER_QUEUE = 20_000
"""Cards of a queue: the most that one may have."""
QUEUE_ID = 1
NOW = "2026-11-01 12:00:00.000000"
_CHUNK = 20_000

ENGLISH = (
    "You should say first what stays the same, then what changes and who notices it.",
    "You should name one example from daily life and keep to plain words.",
    "You should ask what the visitor wants to know before you go into detail.",
    "You should compare two seasons and say which evidence would change your mind.",
    "You should admit what you do not know about the place.",
)
JAPANESE = (
    "まず変わらない点を述べ、次に季節ごとの変化を一つ例で示すべきです。",
    "初めての人が知りたいことを三つに絞り、順番に説明すべきです。",
    "分からない点は分からないと認め、確かめ方を添えるべきです。",
)


def build(path: Path, generations: int, ratings: int) -> None:
    """Write the store at ``path``; about a minute and a half for a million generations."""
    n_questions = max(1, generations // (K * (N + 1)))
    database = open_database(f"sqlite:///{path}")
    upgrade(database)
    with database.write() as session:
        sync_definitions(session, load_definitions())
        for i in range(2):
            parameters = {"temperature": 0.4 + 0.5 * i, "top_p": 0.95, "max_tokens": 256}
            session.add(Sampling(content_hash=json_hash(parameters), parameters=parameters))
            session.add(ModelVersion(name=f"model {'AB'[i]}", kind="declared"))
        session.add(_sweep(n_questions))
    database.close()
    with sqlite3.connect(path, isolation_level=None) as store:
        for pragma in ("foreign_keys=OFF", "synchronous=OFF", "cache_size=-400000"):
            store.execute(f"PRAGMA {pragma}")
        store.execute("BEGIN")
        writer = _Writer(store, n_questions)
        writer.texts()
        note(f"{n_questions * K * (N + 1):,} generations written")
        writer.ratings(ratings)
        store.execute("COMMIT")
        note(f"{ratings:,} ratings written")
        store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()


def _sweep(n_questions: int) -> Sweep:
    return Sweep(
        name="A large sweep",
        spec={"name": "A large sweep", "variants": K, "answers": N},
        spec_hash=short_hash("big"),
        plan={
            "question_ids": list(range(1, n_questions + 1)),
            "formats": {"reasoning": [1, 2]},
            "roles": {"assistant": [1]},
            "questions_by_role": {},
            "answerable_by_role": {},
            "model_ids": [1, 2],
            "answer_model_ids": None,
            "reasoning_sampling": [{}],
            "answer_sampling": [{}],
            "variants": K,
            "answers": N,
            "chosen": {},
            "chosen_by_role": {},
        },
        state="done",
        n_reasoning_slots=n_questions * K,
        n_answer_slots=n_questions * K * N,
        active_s=3600.0,
    )


class _Writer:
    def __init__(self, store: sqlite3.Connection, n_questions: int) -> None:
        self.store, self.n_questions = store, n_questions
        self.lot = random.Random(3)

    def texts(self) -> None:
        q = range(self.n_questions)
        self._insert("question", (self._question(i) for i in q))
        self._insert("generation", (self._made(i, v) for i in q for v in range(K)))
        self._insert("reasoning_variant", (self._variant(i, v) for i in q for v in range(K)))
        answers = [(i, v, a) for i in q for v in range(K) for a in range(N)]
        self._insert("generation", (self._made(*place) for place in answers))
        self._insert("answer", (self._answer(*place) for place in answers))
        self.store.execute(
            "INSERT INTO sweep_generation (sweep_id, generation_id, made_here)"
            " SELECT 1, id, 1 FROM generation"
        )
        for kind, table in (
            ("question", "question"),
            ("variant", "reasoning_variant"),
            ("answer", "answer"),
        ):
            self._index(kind, table)
        self.store.execute(
            "INSERT INTO answer_grade (answer_id, answer_check, check_key, correct, found,"
            " is_current, created_at) SELECT id, 'number', 'big', id * 7 % 10 < 6,"
            f" CAST(id % 7 AS TEXT), 1, '{NOW}' FROM answer"
        )
        for column, table in (("variant_id", "reasoning_variant"), ("answer_id", "answer")):
            self.store.execute(
                f"INSERT INTO check_flag ({column}, name) SELECT id,"
                f" CASE id % 3 WHEN 0 THEN 'cut_off' WHEN 1 THEN 'length' ELSE 'boilerplate' END"
                f" FROM {table} WHERE id % 10 = 0"
            )

    def ratings(self, n: int) -> None:
        """Rate reasonings in pairs by some queues, and give a fifth of ``n`` as values on axes."""
        raters = ({"id": i + 1, "name": f"rater {i + 1}", "kind": "person"} for i in range(RATERS))
        self._insert("rater", ({**one, "created_at": NOW} for one in raters))
        pairs = self._pairs()
        n_pairs = min(round(n * 0.8), round(len(pairs) * DONE))
        spec = f'{{"items": {min(PER_QUEUE, len(pairs))}, "sampler": "informative"}}'
        queue = {"way": "pair", "scope": "reasoning", "spec": spec, "overlap": 1}
        n_queues = -(-len(pairs) // PER_QUEUE)
        self._insert(
            "rating_queue",
            (
                {"id": i, "name": f"reasonings {i}", **queue, "created_at": NOW}
                for i in range(QUEUE_ID, QUEUE_ID + n_queues)
            ),
        )
        self._insert("queue_item", pairs)
        done = self.lot.sample(pairs, n_pairs)
        self._insert("rating", (self._comparison(item) for item in done))
        self._insert("rating", (self._value(i) for i in range(n - n_pairs)))
        self.store.execute(
            "INSERT INTO queue_item_state (item_id, rater_id, state, updated_at)"
            " SELECT queue_item_id, rater_id, 'submitted', created_at FROM rating"
            " WHERE queue_item_id IS NOT NULL"
        )

    def _insert(self, table: str, rows: Iterable[dict[str, Any]]) -> None:
        rows = iter(rows)
        while some := list(islice(rows, _CHUNK)):
            names = list(some[0])
            marks = ", ".join("?" * len(names))
            self.store.executemany(
                f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",
                [tuple(row.values()) for row in some],
            )

    def _index(self, kind: str, table: str) -> None:
        found = self.store.execute(f"SELECT id, text FROM {table} ORDER BY id")
        rows: Iterator[dict[str, Any]] = (
            {"kind": kind, "text_id": text_id, "terms": " ".join(terms(text))}
            for text_id, text in found
        )
        self._insert("search_text", rows)

    def _question(self, i: int) -> dict[str, Any]:
        text = question(i)
        return {
            "id": i + 1,
            "content_hash": question_hash(text),
            "text": text,
            "context": "",
            "reference_answer": f"#### {i % 97}",
            "answer_check": "number",
            "role": ("assistant", "creator", "logician")[i % 3],
            "language": "en" if text.isascii() else "ja",
            "source": "example",
            "created_at": NOW,
        }

    def _made(self, i: int, v: int, a: int | None = None) -> dict[str, Any]:
        """Return the generation of a reasoning, or of an answer under it."""
        number = i * K + v if a is None else self.n_questions * K + (i * K + v) * N + a
        text = self._words(i, number)
        return {
            "id": number + 1,
            "slot_key": f"{number:064x}",
            "attempt": 1,
            "kind": "reasoning" if a is None else "answer",
            "ok": 1,
            "question_id": i + 1,
            "variant_id": None if a is None else i * K + v + 1,
            "mode": "reasoning",
            "prompt_format_id": 1 + v % 2,
            "role_id": 1,
            "model_version_id": 1 + v // 2 % 2,
            "sampling_id": 1 + v // 4 % 2,
            "replicate": v if a is None else a,
            "text": text,
            "finish_reason": "length" if number % 11 == 0 else "stop",
            "prompt_tokens": 60,
            "completion_tokens": len(text) // 4,
            "latency_ms": 800.0,
            "created_at": NOW,
        }

    def _variant(self, i: int, v: int) -> dict[str, Any]:
        return self._text(i * K + v + 1, i, i * K + v)

    def _answer(self, i: int, v: int, a: int) -> dict[str, Any]:
        place = (i * K + v) * N + a
        row = self._text(place + 1, i, self.n_questions * K + place)
        return {**row, "variant_id": i * K + v + 1}

    def _text(self, text_id: int, i: int, number: int) -> dict[str, Any]:
        return {
            "id": text_id,
            "question_id": i + 1,
            "text": self._words(i, number),
            "source": "model",
            "generation_id": number + 1,
            "content_hash": f"{number:064x}",
            "created_at": NOW,
        }

    def _words(self, i: int, number: int) -> str:
        sentences = JAPANESE if i % 5 == 4 else ENGLISH
        first = number % len(sentences)
        said = [sentences[(first + step) % len(sentences)] for step in range(2 + number % 2)]
        return f"{' '.join(said)} ({number})"

    def _pairs(self) -> list[dict[str, Any]]:
        pairs = [
            (i, *sorted((i * K + v + 1, i * K + (v + step) % K + 1)))
            for i in range(self.n_questions)
            for step in range(1, STEPS + 1)
            for v in range(K)
        ]
        self.lot.shuffle(pairs)
        return [
            {
                "id": position + 1,
                "queue_id": QUEUE_ID + position // PER_QUEUE,
                "position": position % PER_QUEUE,
                "question_id": i + 1,
                "variant_id": a,
                "other_variant_id": b,
            }
            for position, (i, a, b) in enumerate(pairs)
        ]

    def _comparison(self, item: dict[str, Any]) -> dict[str, Any]:
        a, b = item["variant_id"] - 1, item["other_variant_id"] - 1
        lead = 0.12 * ((a % K % 2 == 0) - (b % K % 2 == 0)) + 0.08 * (a % K // 4 - b % K // 4)
        lot = self.lot.random()
        outcome = "tie" if lot > 0.9 else "both_bad" if lot > 0.85 else ""
        return self._fact(
            item["id"],
            question_id=item["question_id"],
            variant_id=item["variant_id"],
            other_question_id=item["question_id"],
            other_variant_id=item["other_variant_id"],
            axis="preference",
            value=None,
            outcome=outcome or ("a" if self.lot.random() < 0.5 + lead else "b"),
            swapped=self.lot.randrange(2),
            sampler="informative",
            queue_item_id=item["id"],
            card_id=f"card-{item['id']}",
        )

    def _value(self, i: int) -> dict[str, Any]:
        variant = self.lot.randrange(self.n_questions * K)
        return self._fact(
            i,
            question_id=variant // K + 1,
            variant_id=variant + 1,
            other_question_id=None,
            other_variant_id=None,
            axis=("helpful_hint", "clear", "novel")[i % 3],
            value=float(min(5, 1 + self.lot.randrange(4) + variant % 2)),
            outcome=None,
            swapped=None,
            sampler="random",
            queue_item_id=None,
            card_id=f"value-{i}",
        )

    def _fact(self, number: int, **said: Any) -> dict[str, Any]:
        return {
            "rater_id": 1 + number % RATERS,
            "scope": "reasoning",
            **said,
            "blind": 1,
            "answer_seen": 0,
            "seconds": 4.0 + number % 17,
            "created_at": f"2026-11-{1 + number % 20:02d} 12:00:00.000000",
        }
