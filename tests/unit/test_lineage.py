"""Lineage is told both ways, for every kind of item, by one core and by the command line."""

import uuid
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy.orm import Session

from db.database import Database
from db.errors import UsageError
from db.identity import Ref
from db.lineage.nodes import MAX_LABEL, MAX_NODES, LineageGroup
from db.lineage.read import lineage
from db.rating.ratings import NewRating, Target, add_ratings, ensure_rater, undo_ratings
from db.rating.summaries import judgements
from db.tables import (
    Answer,
    Dataset,
    DatasetRow,
    DatasetRowRating,
    Dialogue,
    DialogueEvent,
    DialogueNode,
    MergeProof,
    ModelVersion,
    Question,
    Rater,
    ReasoningVariant,
    Round,
    SweepGeneration,
    Theme,
    TrainingRun,
    VariantParent,
)
from db.texts.provenance import comparable, item_text, provenance, question_of
from tests.store_rows import (
    make_answer,
    make_generation,
    make_library,
    make_prompt,
    make_question,
    make_sweep,
    make_variant,
)


@pytest.fixture
def filled(database: Database) -> Database:
    fill(database)
    return database


def fill(database: Database) -> None:
    """Write a question and its edits; v1 by the model, v2 edited from it, v3 from both; answers."""
    with database.write() as session:
        make_library(session)
        first = make_question(session, "Why is the sky blue?")
        second = make_question(
            session, "Why is the sky red?", parent_id=first, root_id=first, move="rebut"
        )
        make_question(session, "Why at dusk?", parent_id=second, root_id=first, move="deepen")
        sweep, later = make_sweep(session), make_sweep(session, "later")
        prompt = make_prompt(session, "<|instruction|>Why?", None)
        v1 = make_variant(session, first, "Think of light.", sweep_id=sweep, prompt_id=prompt)
        session.add(SweepGeneration(sweep_id=later, generation_id=1, made_here=False))
        v2 = make_variant(session, first, "Think of red light.", source="edited")
        v3 = make_variant(session, first, "Think of both.", source="edited")
        aki = ensure_rater(session, "Aki")
        session.get_one(ReasoningVariant, v2).author_id = aki
        for child, parent, position in ((v2, v1, 0), (v3, v2, 0), (v3, v1, 1)):
            session.add(VariantParent(variant_id=child, parent_id=parent, position=position))
        a1 = make_answer(session, first, v1, "It scatters.", sweep_id=sweep, model_version_id=2)
        a2 = make_answer(session, first, v2, "It scatters more.", source="edited")
        session.get_one(Answer, a2).parent_id = a1
        make_generation(session, first, error="The server gave nothing.", variant_id=v1)
        _train(session, first, v1, a1)


def _train(session: Session, question_id: int, variant_id: int, answer_id: int) -> None:
    """Write a dataset of the texts, a run, its adapter m3, the merged m4, a round, a dialogue."""
    session.add(ModelVersion(name="adapter", kind="adapter", digest="sha256:3", base_id=1))
    session.flush()
    session.add(ModelVersion(name="merged", kind="merged", digest="sha256:4", base_id=1))
    session.add(Dataset(name="good ones", kind="dpo", rules={}))
    session.flush()
    session.add_all(
        [
            DatasetRow(
                dataset_id=1, position=0, question_id=question_id, variant_id=variant_id,
                rejected_variant_id=3, answer_id=answer_id, target="whole", payload={},
            ),
            TrainingRun(
                dataset_id=1, base_model_version_id=1, adapter_model_version_id=3, method="dpo",
                config={},
            ),
            MergeProof(model_version_id=4, adapter_model_version_id=3, passed=True),
            Round(
                name="round 1", config={}, starts_from_id=1, dataset_id=1,
                merged_model_version_id=4, verdict="keep",
            ),
            Theme(name="light", concept="light", goal="know"),
        ]
    )  # fmt: skip
    session.flush()
    session.add(Dialogue(theme_id=1, name="On light"))
    session.flush()
    session.add(DialogueNode(dialogue_id=1, question_id=question_id, position=0))
    session.add(DialogueEvent(dialogue_id=1, kind="pick", answer_id=answer_id))


def told(groups: Sequence[LineageGroup]) -> dict[str, list[str]]:
    """Return each relation with what it leads to: short names, or the names of what has none."""
    return {group.relation: [node.ref or node.label for node in group.nodes] for group in groups}


LEARNED = {
    "datasets": ["d1"],
    "training_runs": ["t1"],
    "models": ["m3", "m4"],
    "rounds": ["r1"],
}
SENT = {"prompt": ["<|instruction|>Why?"], "model": ["m1"], "sweeps": ["first", "later"]}
BOTH_WAYS: dict[str, tuple[dict[str, list[str]], dict[str, list[str]]]] = {
    "q1": (
        {},
        {
            "edits": ["q2", "q3"],
            "variants": ["v1", "v2", "v3"],
            "answers": ["a1", "a2"],
            "sweeps": ["first", "later"],
            **LEARNED,
            "dialogues": ["On light"],
        },
    ),
    "q3": ({"question_parents": ["q2", "q1"]}, {}),
    "v1": (
        {"generation": ["g1"], **SENT, "question": ["q1"]},
        {"edits": ["v2", "v3"], "answers": ["a1"], **LEARNED},
    ),
    "v2": (
        {"made_from": ["v1"], "author": ["Aki"], "question": ["q1"]},
        {"edits": ["v3"], "answers": ["a2"]},
    ),
    "v3": ({"made_from": ["v1", "v2"], "question": ["q1"]}, LEARNED),
    "a1": (
        {
            "under": ["v1"],
            "generation": ["g2"],
            "model": ["m2"],
            "model_bases": ["m1"],
            "sweeps": ["first"],
            "question": ["q1"],
        },
        {"edits": ["a2"], **LEARNED, "dialogues": ["On light"]},
    ),
    "a2": (
        {"made_from": ["a1"], "under": ["v2"], "reasoning_parents": ["v1"], "question": ["q1"]},
        {},
    ),
    "g1": ({**SENT, "question": ["q1"]}, {"variants": ["v1"]}),
    "g2": (
        {
            "under": ["v1"],
            "model": ["m2"],
            "model_bases": ["m1"],
            "sweeps": ["first"],
            "question": ["q1"],
        },
        {"answers": ["a1"]},
    ),
    "g3": ({"under": ["v1"], "model": ["m1"], "question": ["q1"]}, {}),
    "m1": (
        {},
        {
            "models": ["m2", "m3", "m4"],
            "generations": ["g3", "g1"],
            "sweeps": ["later", "first"],
            "training_runs": ["t1"],
            "rounds": ["r1"],
        },
    ),
    "m3": (
        {"model_bases": ["m1"], "training_runs": ["t1"], "datasets": ["d1"]},
        {"training_runs": ["t1"]},
    ),
    "m4": (
        {
            "merged_from": ["m3"],
            "model_bases": ["m1"],
            "training_runs": ["t1"],
            "datasets": ["d1"],
            "rounds": ["r1"],
        },
        {},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BOTH_WAYS)
def test_each_kind_of_item_tells_both_ways(filled: Database, name: str) -> None:
    with filled.read() as session:
        found = lineage(session, name)
    up, down = BOTH_WAYS[name]
    assert told(found.up) == up
    assert told(found.down) == down


def test_whatever_comes_from_an_item_leads_back_to_it(filled: Database) -> None:
    """Every text that the way down names is asked for its way up, over all steps."""
    with filled.read() as session:
        for name in BOTH_WAYS:
            for group in lineage(session, name).down:
                for node in group.nodes:
                    if node.kind in ("question", "variant", "answer", "generation"):
                        back = lineage(session, node.ref or "")
                        names = [ref for refs in told(back.up).values() for ref in refs]
                        assert name in names, (name, group.relation, node.ref)


def test_a_long_line_of_edits_is_followed_to_its_end(filled: Database) -> None:
    with filled.write() as session:
        last = 3
        for _ in range(MAX_NODES + 15):
            child = make_variant(session, 1, "You should go on.", source="edited")
            session.add(VariantParent(variant_id=child, parent_id=last))
            last = child
    with filled.read() as session:
        up = next(one for one in lineage(session, Ref("variant", last)).up)
        down = next(one for one in lineage(session, "v1").down)
    assert (up.relation, up.total, len(up.nodes)) == ("made_from", MAX_NODES + 15 + 2, MAX_NODES)
    assert [node.steps for node in up.nodes] == list(range(1, MAX_NODES + 1))
    assert (down.relation, down.total) == ("edits", MAX_NODES + 15 + 2)


def test_a_circle_of_parents_comes_to_an_end(filled: Database) -> None:
    with filled.write() as session:
        session.add(VariantParent(variant_id=1, parent_id=3))
    with filled.read() as session:
        assert told(lineage(session, "v1").up)["made_from"] == ["v3", "v1", "v2"]


def test_long_texts_are_named_by_their_first_words(filled: Database) -> None:
    with filled.write() as session:
        make_answer(session, 1, 3, "長い" * 100_000)
        make_generation(session, 1, text="x" * 200_000)
    with filled.read() as session:
        groups = lineage(session, "v3").down + lineage(session, "m1").down
        text = item_text(session, Ref("answer", 3), 20)
        made = provenance(session, "a3", limit=20)
    assert max(len(node.label) for group in groups for node in group.nodes) == MAX_LABEL
    assert (text.text, text.n_characters) == ("長い" * 10, 200_000)
    assert made.text == "長い" * 10


def rate(session: Session, rater: int, scope: Any, target: Target, **said: Any) -> int:
    card = uuid.uuid4().hex
    one = NewRating(rater_id=rater, scope=scope, target=target, blind=True, card_id=card, **said)
    return add_ratings(session, [one])[0]


def test_judgements_are_told_from_the_side_of_the_item(filled: Database) -> None:
    v1, v2 = Target(question_id=1, variant_id=1), Target(question_id=1, variant_id=2)
    a1 = Target(question_id=1, variant_id=1, answer_id=1)
    with filled.write() as session:
        aki = ensure_rater(session, "Aki")
        session.add(Rater(name="judge", kind="model", model_version_id=2))
        session.flush()
        rate(session, aki, "reasoning", v1, other=v2, axis="preference", outcome="a")
        rate(session, aki, "reasoning", v2, other=v1, axis="preference", outcome="a")
        rate(session, 2, "reasoning", v2, other=v1, axis="preference", outcome="both_bad")
        rate(session, aki, "reasoning", v1, axis="clear", value=4, note="Short.")
        rate(session, aki, "reasoning", v1, axis="tag", label="nice")
        undo_ratings(session, [rate(session, aki, "reasoning", v1, axis="clear", value=1)])
        rate(session, aki, "answer", a1, axis="correct", value=2)
        rate(session, aki, "question", Target(question_id=1), axis="deeper", value=3)
    with filled.read() as session:
        compared, n_compared = judgements(session, Ref("variant", 1), 9, compared=True)
        alone, n_alone = judgements(session, Ref("variant", 1), 9, compared=False)
        answer = judgements(session, Ref("answer", 1), 9, compared=False)[0]
        question = judgements(session, Ref("question", 1), 9, compared=False)[0]
        down = {group.relation: group for group in lineage(session, "v1").down}
        given = told(lineage(session, "m2").down)
    assert [(row.result, str(row.other)) for row in compared] == [
        ("both_bad", "v2"), ("lost", "v2"), ("won", "v2"),
    ]  # fmt: skip
    assert (n_compared, n_alone) == (3, 2)
    assert [(row.axis, row.value, row.label, row.note) for row in alone] == [
        ("tag", None, "nice", None),
        ("clear", 4, None, "Short."),
    ]
    assert [row.rater_kind for row in compared] == ["model", "person", "person"]
    assert [(row.axis, row.value) for row in answer] == [("correct", 2)]
    assert [(row.axis, row.value) for row in question] == [("deeper", 3)]
    assert [node.label for node in down["comparisons"].nodes] == [
        "preference both_bad v2", "preference lost v2", "preference won v2",
    ]  # fmt: skip
    assert [node.label for node in down["ratings"].nodes] == ["tag nice", "clear 4"]
    assert given["ratings_given"] == ["preference"]


def test_texts_of_one_question_can_be_compared_the_nearest_first(filled: Database) -> None:
    with filled.write() as session:
        make_answer(session, 1, None, "Because.", source="human")
        make_variant(session, 2, "Elsewhere.", source="human")
    with filled.read() as session:
        with_v1 = list(comparable(session, Ref("variant", 1)))
        with_a2 = list(comparable(session, Ref("answer", 2)))
        few = list(comparable(session, Ref("answer", 2), limit=1))
        assert question_of(session, Ref("variant", 4)) == 2
    assert with_v1 == ["v2", "v3", "a1", "a2", "a3"]
    assert with_a2 == ["a1", "a3", "v1", "v2", "v3"]
    assert few == ["v1"]


@pytest.mark.parametrize("missing", ["q99", "v99", "a99", "g99", "m99"])
def test_what_is_not_there_gives_a_sentence(filled: Database, missing: str) -> None:
    with filled.read() as session, pytest.raises(UsageError, match=f"There is no .* {missing}"):
        lineage(session, missing)


def test_only_texts_have_a_text(filled: Database) -> None:
    with filled.read() as session:
        with pytest.raises(UsageError, match="m1 is a model"):
            item_text(session, Ref("model", 1), None)
        with pytest.raises(UsageError, match="no answer a9"):
            item_text(session, Ref("answer", 9), None)
        with pytest.raises(UsageError, match="no reasoning or answer q1"):
            question_of(session, Ref("question", 1))
        assert item_text(session, Ref("generation", 3), 10).text == ""
        assert (
            session.get_one(Question, 1).text == item_text(session, Ref("question", 1), None).text
        )


def test_the_cut_leaves_everything_else_of_the_origin_as_it_is(filled: Database) -> None:
    with filled.read() as session:
        whole, cut = provenance(session, "a1"), provenance(session, "a1", limit=3)
    assert (whole.text, cut.text) == ("It scatters.", "It ")
    assert whole.generation is not None
    assert cut.generation is not None
    assert cut.generation.completion == whole.generation.completion == "raw"
    assert (cut.parents, cut.generation.sweeps) == (whole.parents, whole.generation.sweeps)


def test_a_model_leads_to_the_ratings_that_trained_it_and_a_text_to_its_training(
    filled: Database,
) -> None:
    with filled.write() as session:
        rater = ensure_rater(session, "Aki")
        target = Target(question_id=1, variant_id=1)
        said = NewRating(
            rater_id=rater, scope="reasoning", target=target, axis="ok", value=1, blind=True,
            card_id="c1",
        )  # fmt: skip
        (rating_id,) = add_ratings(session, [said])
        session.add(DatasetRowRating(row_id=1, rating_id=rating_id))
        session.get_one(Round, 1).training_run_id = 1
        late = make_answer(session, 1, 1, "By the merge.", sweep_id=2, model_version_id=4)
    with filled.read() as session:
        model, text = lineage(session, "m4"), lineage(session, f"a{late}")
        for found in (model, text):
            up = told(found.up)
            assert up["merged_from"] == ["m3"]
            assert (up["training_runs"], up["datasets"]) == (["t1"], ["d1"])
            assert up["ratings_behind"] == ["ok"]
        dataset, run, one = (lineage(session, name) for name in ("d1", "t1", "r1"))
    assert told(dataset.up) == {
        "ratings_behind": ["ok"],
        "questions": ["q1"],
        "variants": ["v1", "v3"],
        "answers": ["a1"],
    }
    assert told(dataset.down) == {
        "training_runs": ["t1"],
        "models": ["m3", "m4"],
        "rounds": ["r1"],
    }
    assert told(run.up) == {"model": ["m1"], "datasets": ["d1"], "ratings_behind": ["ok"]}
    assert told(run.down) == {"models": ["m3", "m4"], "rounds": ["r1"]}
    assert told(one.up) == {"model": ["m1"], "datasets": ["d1"], "ratings_behind": ["ok"]}
    assert told(one.down) == {"training_runs": ["t1"], "models": ["m3", "m4"]}
