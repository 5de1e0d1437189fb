"""Is a dataset enough, and even enough, to train on? What to say before it is trained."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from scipy.stats import binomtest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk import chunks
from db.datasets import DatasetInfo
from db.tables import DatasetRow, DatasetRowRating, Rating
from serving.formats.definitions import Completion
from training.datasets.build import Built
from training.datasets.rows import RowTexts, Target
from training.methods import ROW_KINDS, RowKind

FEW_ROWS = 20
"""A model learns fewer rows by heart."""
MAX_SHARE = 0.5
"""Of the rows, that one question should give."""
MAX_LENGTH_LEAN = 0.1
"""Share of pairs beyond one half whose chosen text is the longer (or the shorter) one."""
CONFIDENCE = 0.95
CautionName = Literal[
    "few_rows",
    "one_question",
    "one_rater",
    "only_ok",
    "only_not_ok",
    "uneven",
    "longer",
    "shorter",
    "length",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """What the rows to train on are made of."""

    rows: RowKind
    n_rows: int
    n_ok: int
    n_not_ok: int
    n_of_one_question: int
    """Rows of the question that gives most."""
    n_raters: int
    """Raters whose judgements are behind the rows."""
    n_longer: int = 0
    """Pairs whose chosen text is longer than the rejected one."""
    n_shorter: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """One thing to know before training; each language has its sentence under ``caution``."""

    name: CautionName
    values: dict[str, Any]


def read_balance(session: Session, dataset: DatasetInfo) -> Balance:
    """Return what a frozen dataset's rows to train on are made of."""
    mine = (DatasetRow.dataset_id == dataset.id, DatasetRow.split == "train")
    rows = session.execute(select(DatasetRow.label, DatasetRow.question_id).where(*mine)).all()
    leads = []
    kind = ROW_KINDS[dataset.kind]
    if kind == "pairs":
        texts = session.execute(select(DatasetRow.target, DatasetRow.payload).where(*mine))
        leads = [_lead(RowTexts.from_payload(row.payload), row.target) for row in texts]
    raters = (
        select(Rating.rater_id)
        .join(DatasetRowRating, DatasetRowRating.rating_id == Rating.id)
        .join(DatasetRow, DatasetRow.id == DatasetRowRating.row_id)
        .where(*mine)
        .distinct()
    )
    n_raters = len(session.scalars(raters).all())
    judged = [(row.label, row.question_id) for row in rows]
    return _balance(kind, judged, n_raters, leads)


def balance_of(session: Session, built: Built) -> Balance:
    """Return the same of a dataset that is not stored yet."""
    rows = [row for row in built.rows if row.split == "train"]
    ratings = {one for row in rows for one in row.candidate.rating_ids}
    return _balance(
        built.rules.rows,
        [(row.candidate.label, row.candidate.question_id) for row in rows],
        len(_raters(session, ratings)),
        [_lead(row.texts, row.target) for row in rows if built.rules.rows == "pairs"],
    )


def cautions(balance: Balance) -> list[Caution]:
    """Return what to know before training on such rows, the gravest first."""
    if not balance.n_rows:
        return []
    n_rows, n_ok, n_not_ok = balance.n_rows, balance.n_ok, balance.n_not_ok
    found: list[tuple[CautionName, bool, dict[str, Any]]] = [
        ("only_ok", balance.rows == "labelled" and not n_not_ok, {"n": n_ok}),
        ("only_not_ok", balance.rows == "labelled" and not n_ok, {"n": n_not_ok}),
        (
            "uneven",
            bool(n_ok and n_not_ok) and not is_even(n_ok, n_not_ok),
            {"ok": n_ok, "not_ok": n_not_ok},
        ),
        ("few_rows", n_rows < FEW_ROWS, {"n": n_rows}),
        (
            "one_question",
            n_rows > 1 and balance.n_of_one_question > MAX_SHARE * n_rows,
            {"percent": round(100 * balance.n_of_one_question / n_rows)},
        ),
        *_of_length(balance),
        ("one_rater", balance.rows != "demonstrations" and balance.n_raters == 1, {}),
    ]
    return [Caution(name=name, values=values) for name, holds, values in found if holds]


def _of_length(balance: Balance) -> list[tuple[CautionName, bool, dict[str, Any]]]:
    """Return how often the chosen text is the longer one, gravely where it is far from half."""
    n = balance.n_longer + balance.n_shorter
    if not n:
        return []
    share = balance.n_longer / n
    interval = binomtest(balance.n_longer, n).proportion_ci(CONFIDENCE, method="wilson")
    leans = abs(share - 0.5) > MAX_LENGTH_LEAN and not interval.low <= 0.5 <= interval.high
    name: CautionName = "length" if not leans else "longer" if share > 0.5 else "shorter"
    shares = {"percent": share, "low": interval.low, "high": interval.high}
    return [(name, True, {key: round(100 * value) for key, value in shares.items()} | {"n": n})]


def _lead(texts: RowTexts, target: Target) -> int:
    """Return by how many characters the chosen text of a pair is longer."""
    chosen, rejected = (texts.completion(target, rejected=rejected) for rejected in (False, True))
    return _length(chosen) - _length(rejected)


def _length(written: Completion) -> int:
    parts = (written.reasoning, written.response, written.questions)
    return sum(len(part or "") for part in parts)


def _balance(
    kind: RowKind,
    rows: Collection[tuple[bool | None, int]],
    n_raters: int,
    leads: Collection[int] = (),
) -> Balance:
    by_question = Counter(question_id for _, question_id in rows)
    labels = Counter(label for label, _ in rows)
    return Balance(
        rows=kind,
        n_rows=len(rows),
        n_ok=labels[True],
        n_not_ok=labels[False],
        n_of_one_question=max(by_question.values(), default=0),
        n_raters=n_raters,
        n_longer=sum(lead > 0 for lead in leads),
        n_shorter=sum(lead < 0 for lead in leads),
    )


def _raters(session: Session, rating_ids: Iterable[int]) -> set[int]:
    found: set[int] = set()
    for some in chunks(sorted(rating_ids)):
        found.update(session.scalars(select(Rating.rater_id).where(Rating.id.in_(some))))
    return found


MIN_RATIO, MAX_RATIO = 1.0, 4 / 3


def is_even(n_ok: int, n_not_ok: int) -> bool:
    """Tell whether rows with equal weights stand within the range."""
    return MIN_RATIO * n_not_ok <= n_ok <= MAX_RATIO * n_not_ok


def class_weights(n_ok: int, n_not_ok: int) -> tuple[float, float]:
    """Return the weights of OK and of not OK rows; 1 and 1 where there is only one kind.

    KTO (Ethayarajh, Xu, Muennighoff, Jurafsky and Kiela, "KTO: Model Alignment as Prospect
    Theoretic Optimization", 2024, section 4.2) asks for the weighted numbers of desirable and
    undesirable rows to stand between 1:1 and 4:3; outside of that, the rarer kind is weighed up to
    the nearer end.
    """
    if not n_ok or not n_not_ok or is_even(n_ok, n_not_ok):
        return 1.0, 1.0
    if n_ok < n_not_ok:
        return round(MIN_RATIO * n_not_ok / n_ok, 4), 1.0
    return 1.0, round(n_ok / (MAX_RATIO * n_not_ok), 4)
