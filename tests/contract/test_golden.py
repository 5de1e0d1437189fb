"""Identity by content: the hashes by which stored rows are found never change.

Were one of them to change, every sweep of every store would be run anew. So no change of a value in
``golden.json`` is meant; a new task or format is added by

    WRITE_SNAPSHOTS=1 python -m pytest tests/contract/test_golden.py

``store.sqlite.xz`` was written by ``make_store`` with the code of that day, and stays as it is.
"""

import json
import lzma
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from db.database import Database, open_database
from db.identity import json_hash, question_hash, short_hash, slot_key, text_hash
from serving.engine.messages import SamplingParameters
from serving.formats.definitions import DIALOGUE_TASKS, Completion, PromptFields
from serving.formats.library import load_definitions
from serving.formats.render import render, render_example
from serving.formats.tokenizer import PromptTokenizer
from serving.models.folder import digest_folder
from serving.scoring.spec import ScoreSpec
from serving.sweeps.plan import save_asks
from serving.sweeps.spec import Ask
from tests.contract.seeded_home import q2q, write_files
from tests.contract.snapshots import HERE, check_snapshot
from tests.fakes.server import FakeServer
from tests.unit import score_lab
from tests.unit import sweep_lab as lab
from tests.unit.test_digest import make_adapter, make_model
from tests.unit.test_sweep_plan import add_variants

STORE = HERE / "store.sqlite.xz"
FIELDS = PromptFields(
    system="You answer with care.",
    question="Why is the sky blue?\r\n<|im_end|> <|response|> なぜ空は青い？ ",
    context="Seen at noon, cafe\u0301.",
    reasoning="You should think of short waves.",
    answer="Short waves scatter most.",
    reasoning_a="You should think of waves.",
    reasoning_b="You should think of air.",
    theme="Concept: light",
    move="Each doubts one claim.",
    language="English",
    text="Light is a wave.",
    answer_a="It is blue.",
    answer_b="It is black.",
)
WRITES = Completion(
    reasoning="You should say so.", response="It is so.", questions='["Who saw it?"]'
)
QUESTIONS = (
    ("Why is the sky blue?", "", "assistant"),
    (" Why is the sky blue?\n", "cafe\u0301", "translator"),
    ("なぜ空は青い？", "", "logician"),
)
TWO = [{}, {"temperature": 0, "max_tokens": 64}]
EXISTING = {"reasonings": {"ids": [1, 2, 3]}}
SWEEPS: dict[str, dict[str, Any]] = {
    "roles, temperatures": {"roles": ["question", "logician"], "reasoning_sampling": TWO},
    "seeded": {"seed": 7, "answers": 2, "answer_sampling": TWO},
    "crossed": {"models": ["fake", "other"], "answer_models": ["other", "fake"]},
    "no reasoning": {"modes": ["vanilla", "rationalise"], "seed": 11},
    "from existing": {"modes": ["supplied", "ensemble"], **EXISTING},
    "one pass": {"one_pass": True, "seed": 3},
}
"""Each is run with prompts as text and as token ids."""
K_N = {"variants": 2, "answers": 1}
MODELS = ("fake", "other")
SCORED = ScoreSpec(sweep=2)
SLOTS = """
SELECT s.name, g.kind, g.mode, g.model_version_id, g.replicate, g.seed, q.content_hash,
    p.content_hash, a.content_hash, g.slot_key
FROM sweep_generation l
JOIN sweep s ON s.id = l.sweep_id
JOIN generation g ON g.id = l.generation_id
JOIN question q ON q.id = g.question_id
JOIN prompt p ON p.id = g.prompt_id
JOIN sampling a ON a.id = g.sampling_id
WHERE g.variant_id IS NULL OR g.variant_id <= 3
ORDER BY s.id, g.slot_key
"""


async def make_store(database: Database, server: FakeServer, tokenizer: PromptTokenizer) -> None:
    """Run sweeps of all kinds, a dialogue's asks and scores: so ``store.sqlite.xz`` was made."""
    lab.fill(database, 2, models=MODELS)
    add_variants(database, 1, "You should look.", "You should look twice.", "You should count.")
    for name, spec in SWEEPS.items():
        for formats, written in ((["tagged@1"], "as text"), (["tagged@1", "chat@1"], "as ids")):
            given = {"name": f"{name}, {written}", "formats": formats, "models": ["fake"]}
            await run(database, lab.save(database, **given | K_N | spec), server, tokenizer)
    await run(database, save_all_asks(database), server, tokenizer)
    await score_lab.score(database, server.endpoint, tokenizer, SCORED)


async def run(
    database: Database, sweep_id: int, server: FakeServer, tokenizer: PromptTokenizer
) -> None:
    """Run what is missing of a sweep; its name says whether prompts are sent as text."""
    name = lab.scalar(database, f"SELECT name FROM sweep WHERE id = {sweep_id}")
    reads = None if "as text" in name else tokenizer
    outcome = await lab.run(database, sweep_id, server.endpoint, *MODELS, tokenizer=reads)
    assert (outcome.state, outcome.done) == ("done", outcome.cells), f"{name}: {outcome}"


def save_all_asks(database: Database) -> int:
    """Store the asks of a dialogue, in both of its formats, as one sweep; return its id."""
    registry = lab.registry_of(database)
    given = {"theme": "light", "move": "Doubt it.", "language": "English", "text": "So."}
    given |= {"answer": "So.", "answer_a": "So.", "answer_b": "No."}
    asks = [
        Ask(
            question_id=1,
            task=task,
            given=given,
            format_id=registry.format(form).id,
            sampling=SamplingParameters(),
            replicates=2,
        )
        for task in DIALOGUE_TASKS
        for form in ("dialogue", "dialogue-tagged")
    ]
    with database.write() as session:
        return save_asks(session, registry, asks, model="fake", name="asks, as ids")


def slots(store: Path) -> list[tuple[Any, ...]]:
    """Return the slots of a store whose keys hold no id of a variant that a run numbered."""
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(SLOTS).fetchall()


@pytest.fixture
def tokenizer(embedded_model: Path) -> PromptTokenizer:
    return PromptTokenizer.load(embedded_model)


async def test_new_sweeps_have_the_slots_that_they_always_had(
    database: Database,
    fake_server: FakeServer,
    tokenizer: PromptTokenizer,
    home: Path,
    tmp_path: Path,
) -> None:
    fake_server.models = MODELS
    await make_store(database, fake_server, tokenizer)
    database.close()
    if not STORE.exists():
        with closing(sqlite3.connect(home / "q2q.sqlite", isolation_level=None)) as store:
            store.execute("VACUUM")
        STORE.write_bytes(lzma.compress((home / "q2q.sqlite").read_bytes()))
    old = tmp_path / "old.sqlite"
    old.write_bytes(lzma.decompress(STORE.read_bytes()))
    assert slots(home / "q2q.sqlite") == slots(old)


async def test_in_an_old_store_every_slot_is_done(
    fake_server: FakeServer, tokenizer: PromptTokenizer, home: Path
) -> None:
    home.mkdir()
    (home / "q2q.sqlite").write_bytes(lzma.decompress(STORE.read_bytes()))
    q2q("setup")  # brings it up to date
    n_before = fake_server.count
    database = open_database(f"sqlite:///{home / 'q2q.sqlite'}")
    sweeps = lab.rows(database, "SELECT id, name, spec, purpose FROM sweep ORDER BY id")
    assert len(sweeps) == 2 * len(SWEEPS) + 1
    for sweep_id, _, spec, purpose in sweeps:
        await run(database, sweep_id, fake_server, tokenizer)
        if purpose == "sweep":
            again = lab.save(database, **json.loads(spec))
            await run(database, again, fake_server, tokenizer)
    await run(database, save_all_asks(database), fake_server, tokenizer)
    scored = await score_lab.score(database, fake_server.endpoint, tokenizer, SCORED)
    assert (scored.new, scored.failed) == (0, 0)
    assert scored.scored == scored.pairs > 0
    assert fake_server.count == n_before
    database.close()


def prompt_hashes(tokenizer: PromptTokenizer | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for reference, form in load_definitions().formats.items():
        if tokenizer is None and form.kind == "chat":
            continue
        for task in form.tasks.given():
            prompt = render(form, task, FIELDS, tokenizer)
            found[f"{reference} {task}"] = {
                "prompt": prompt.content_hash,
                "text": short_hash(prompt.text),
                "ids": len(prompt.token_ids),
                "stop": [*prompt.stop, *prompt.stop_token_ids],
                "schema": short_hash(prompt.json_schema or ""),
            }
    return found


def example_hashes(tokenizer: PromptTokenizer) -> dict[str, str]:
    found = {}
    for reference, form in load_definitions().formats.items():
        for task in form.tasks.given():
            example = render_example(form, task, FIELDS, WRITES, tokenizer)
            found[f"{reference} {task}"] = short_hash(str((example.token_ids, example.labels)))
    return found


def test_hashes_of_content_and_prompts_are_those_of_the_snapshot(
    tokenizer: PromptTokenizer, tmp_path: Path
) -> None:
    definitions = load_definitions()
    sampling = SamplingParameters(temperature=0, seed=5).resolved()
    questions = [question_hash(*one) for one in QUESTIONS]
    key = {"question": questions[0], "prompt": "p", "model": "sha256:1", "sampling": "s"}
    found = {
        "text": [text_hash(text) for text, _, _ in QUESTIONS],
        "question": questions,
        "sampling": json_hash(sampling),
        "slot": slot_key(**key, replicate=0),
        "slot of an answer": slot_key(**key, replicate=3, variant_id=12),
        "roles": {name: one.definition_hash for name, one in definitions.roles.items()},
        "formats": {name: one.definition_hash for name, one in definitions.formats.items()},
        "tokenizer": tokenizer.content_hash,
        "prompts as text": prompt_hashes(None),
        "prompts as ids": prompt_hashes(tokenizer),
        "examples to learn from": example_hashes(tokenizer),
        "model": digest_folder(make_model(tmp_path / "model")).digest,
        "adapter": digest_folder(
            make_adapter(tmp_path / "adapter", "base", "layers.0.q_proj", (2, 4), (4, 2))
        ).digest,
    }
    check_snapshot("golden", found)


@pytest.mark.usefixtures("database")
def test_datasets_have_the_hash_that_they_always_had(tmp_path: Path) -> None:
    write_files(tmp_path)
    q2q("question", "import", str(tmp_path / "questions.jsonl"))
    for file in ("labels", "pairs"):
        q2q("dataset", "import", str(tmp_path / f"{file}.jsonl"))
    built = {
        name: json.loads(q2q("dataset", "build", str(tmp_path / f"{name}.yaml"), "--json"))
        for name in ("sft", "dpo", "kto")
    }
    hashes = {name: (one["kept"], one["content_hash"]) for name, one in built.items()}
    assert hashes == {
        "sft": (8, "e3679b445d1825a8c9bfdcfeca59a31e"),
        "dpo": (4, "4dd74feaad96e13df5ac0e76b8a8d2ec"),
        "kto": (4, "5ce0e42bf486ecf5907332d0b69fd584"),
    }
