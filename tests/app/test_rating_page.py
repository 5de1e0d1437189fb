"""Rating: what the cards and forms say, as AppTest draws them; the keys are pressed in Chromium."""

from db.database import Database
from tests.app.conftest import OpenApp, words_of
from tests.app.seed import Seeded
from tests.app.seed_ratings import seed_ratings
from workbench.rating.building import QueueSpec, build_queue, save_queue


def test_a_question_that_is_rated_stands_on_its_card_once(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    spec = QueueSpec.model_validate({"name": "asked", "scope": "question", "way": "single"})
    with store.write() as session:
        queue_id = save_queue(session, build_queue(session, spec))
    app = open_app("rating", queue=str(queue_id), rater="Mia")
    keys = [block.proto.id for block in _blocks(app._tree)]
    assert any(key.endswith("card_asked") for key in keys)
    assert not any(key.endswith("card_side_only") for key in keys)


def test_a_plan_of_few_cards_does_not_promise_that_a_clear_preference_shows(
    store: Database, filled: Seeded, open_app: OpenApp
) -> None:
    seed_ratings(store, filled)
    app = open_app("rating", new="1", rater="Mia")
    keep = next(one for one in app.multiselect if one.label.startswith("Leave out texts"))
    keep.set_value([])  # the few reasonings about starch have findings
    app.text_input[0].set_value("starch").run()
    said = words_of(app)
    assert "Too few to tell which is better" in said
    assert "100 : 0" not in said


def _blocks(block):  # type: ignore[no-untyped-def]
    yield from [block] if hasattr(block, "proto") and hasattr(block.proto, "id") else []
    for child in getattr(block, "children", {}).values():
        yield from _blocks(child)
