"""What is exported comes in again in another store, with the same texts, in every shape."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from db.database import Database, open_database
from db.datasets import find_dataset
from db.tables import DatasetRow, Question, Rater, Rating
from serving.importers.folders import read_examples
from serving.importers.training_data import (
    ExampleCounts,
    Judge,
    JudgedBy,
    import_examples,
    preview_examples,
)
from tests.unit.dataset_lab import Lab, lab_session
from training.datasets.export import default_prompt_format, export

KINDS = ("sft", "dpo", "kto")
RULES: dict[str, dict[str, Any]] = {
    "sft": {"take": {"sources": ["imported"]}, "without_reasoning": 0.5, "per_question": 9},
    "dpo": {"kind": "dpo"},
    "kto": {"kind": "kto"},
}
COMMON = {"findings": [], "near_duplicates": None, "held_out": 0.3}
SUFFIX = {"alpaca": ".json", "sharegpt": ".json", "messages": ".jsonl", "trl": ".jsonl"}
EXACT = [
    *((kind, shape, None) for kind in KINDS for shape in ("parquet", "hf", "llamafactory")),
    *((kind, shape, None) for kind in KINDS for shape in ("sharegpt", "messages", "trl")),
    *((kind, "hf", "chat") for kind in KINDS),
    ("sft", "alpaca", None),
    ("dpo", "alpaca", None),
]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[Lab]:
    """A store with a dataset of each kind; its texts hold tags, blank lines and contexts."""
    database = fresh(migrated_file, tmp_path_factory.mktemp("first"))
    with lab_session(database) as session:
        lab = Lab(session)
        for i in range(7):
            name = "富士山の高さはい"[i]
            q = lab.question(
                f"{name}は?\n\n{'abcdefg'[i] * 12}",
                context="文\n\nmore" if i % 2 else "",
                role=("assistant", "logician")[i % 2],
            )
            v = lab.reasoning(q, f"You should think of {name}.\n\nSay no <|reasoning|>.")
            w = lab.reasoning(q, f"You should nap {i}.")
            a = lab.answer(q, v, f"答え {name} <|response|> </question>")
            b = lab.answer(q, w, f"No {i}.")
            alone, worse = lab.answer(q, None, f"It is {name}."), lab.answer(q, None, "Who knows?")
            again = lab.answer(q, v, f"Another {name}.")
            lab.rate(v, over=w)
            lab.rate(a, over=b, scope="whole")
            lab.rate(alone, over=worse, scope="answer")
            lab.rate(a, over=again, scope="answer", outcome="b")
            lab.rate(v, 1, axis="ok"), lab.rate(w, 0, axis="ok")
            lab.rate(b, 0, axis="ok", scope="whole"), lab.rate(alone, 1, axis="ok", scope="answer")
        for kind in KINDS:
            lab.freeze(name=kind, **COMMON, **RULES[kind])
        yield lab
    database.close()


def fresh(migrated_file: Path, folder: Path) -> Database:
    shutil.copy(migrated_file, folder / "q2q.sqlite")
    return open_database(f"sqlite:///{folder / 'q2q.sqlite'}")


def write(lab: Lab, kind: str, shape: str, folder: Path, form: str | None = None) -> Path:
    """Export a dataset and return what to import: a file, or the folder of a folder format."""
    target = folder / f"{kind}{SUFFIX.get(shape, '.parquet' if shape == 'parquet' else '')}"
    definition = lab.registry.format(form or default_prompt_format(shape)).definition
    export(lab.session, find_dataset(lab.session, kind), shape, target, form=definition)
    return target


def bring(lab: Lab, path: Path, **more: Any) -> ExampleCounts:
    files = read_examples(path, lab.registry, only=more.pop("only", None))
    return import_examples(lab.database, files, judge=more.pop("judge", Judge()), **more).counts


def lines(lab: Lab, kind: str, shape: str, folder: Path, form: str | None = None) -> set[str]:
    """Return the rows of an export, each as JSON without the ids of the store."""
    path = write(lab, kind, shape, folder, form)
    files = [path] if path.is_file() else sorted(path.rglob("*.[jp]*"))
    found: set[str] = set()
    for file in files:
        if file.name in ("dataset_info.json", "README.md"):
            continue
        if file.suffix == ".parquet":
            import pyarrow.parquet as pq

            rows = pq.read_table(file).to_pylist()
        else:
            text = file.read_text("utf-8")
            rows = json.loads(text) if text.startswith("[") else map(json.loads, text.splitlines())
        for row in rows:
            kept = {k: v for k, v in row.items() if not k.endswith("_id") and k != "position"}
            kept.pop("n_ratings", None)
            found.add(json.dumps(kept, sort_keys=True, ensure_ascii=False))
    return found


@pytest.mark.parametrize(("kind", "shape", "form"), EXACT)
def test_the_same_texts_come_out_again(
    stored: Lab,
    migrated_file: Path,
    tmp_path: Path,
    kind: str,
    shape: str,
    form: str | None,
) -> None:
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    before = lines(stored, kind, shape, tmp_path / "a", form)
    path = next((tmp_path / "a").iterdir())
    database = fresh(migrated_file, tmp_path)
    with lab_session(database) as session:
        lab = Lab(session)
        counts = bring(lab, path)
        assert counts.errors == counts.left_out == 0
        assert counts.rows == len(before)
        assert bring(lab, path).brings == 0  # the same again adds nothing
        lab.freeze(name=kind, **{**COMMON, "held_out": 0}, **RULES[kind])
        after = lines(lab, kind, shape, tmp_path / "b", form)
    database.close()
    assert after == before


def test_pairs_and_labels_become_ratings_of_somebody_who_was_not_blind(
    stored: Lab, database: Database, tmp_path: Path
) -> None:
    with lab_session(database) as session:
        lab = Lab(session)
        pairs = bring(lab, write(stored, "dpo", "trl", tmp_path), judge=Judge(name="Nao"))
        labels = bring(lab, write(stored, "kto", "trl", tmp_path), judge=Judge(kind="model"))
        assert pairs.comparisons == pairs.pairs == pairs.rows > 0
        assert labels.labels == labels.judged == labels.rows > 0
        raters = dict(session.execute(select(Rater.name, Rater.kind)).all())
        assert raters == {"Nao": "person", "imported": "model"}
        said = session.scalars(select(Rating)).all()
        assert {(one.axis, one.outcome, one.blind) for one in said} == {
            ("preference", "a", False),
            ("ok", None, False),
        }
        assert {one.scope for one in said} == {"reasoning", "answer", "whole"}
        with pytest.raises(Exception, match="no row to train on"):
            lab.freeze(name="people only", **COMMON, **RULES["kto"])
        lab.freeze(name="models", raters="models", **COMMON, **RULES["kto"])


@pytest.mark.parametrize("kind", ["person", "model"])
def test_a_name_in_other_width_or_composition_is_the_same_rater(
    stored: Lab, database: Database, tmp_path: Path, kind: JudgedBy
) -> None:
    path = write(stored, "dpo", "trl", tmp_path)
    with lab_session(database) as session:
        lab = Lab(session)
        assert bring(lab, path, judge=Judge(name="ガÉ Q", kind=kind)).comparisons > 0
        for name in ("ｶﾞÉ Ｑ", " カ\u3099E\u0301 Q "):
            assert bring(lab, path, judge=Judge(name=name, kind=kind)).brings == 0
            Judge(name=name, kind=kind).rater(session)
        assert list(session.scalars(select(Rater.name))) == ["ガÉ Q"]


def test_the_worse_text_of_a_pair_is_not_imitated(
    stored: Lab, database: Database, tmp_path: Path
) -> None:
    with lab_session(database) as session:
        lab = Lab(session)
        bring(lab, write(stored, "dpo", "trl", tmp_path))
        lab.freeze(name="sft", **{**COMMON, "held_out": 0}, **RULES["sft"])
        learned = json.dumps(list(session.scalars(select(DatasetRow.payload))), ensure_ascii=False)
    assert "It is" in learned
    assert "nap" not in learned
    assert "Who knows" not in learned


def test_held_out_splits_stay_held_out_and_a_leak_is_refused(
    stored: Lab, database: Database, tmp_path: Path
) -> None:
    folder = write(stored, "sft", "hf", tmp_path)
    train, held = folder / "data" / "train.parquet", folder / "data" / "held_out.parquet"
    with lab_session(database) as session:
        lab = Lab(session)
        counts = bring(lab, folder)
        asked = set(session.scalars(select(Question.text).where(Question.held_out)))
        assert counts.held_out > 0
        assert 0 < len(asked) < 7
        shutil.copyfile(held, train)
        files = read_examples(folder, lab.registry)
        found = preview_examples(lab.database, files, Judge())
    assert found.counts.errors == counts.held_out
    assert "held_out.parquet, row 1: is held out, and its question also trains" in (
        found.problems[0].sentence
    )
    assert "data/train.parquet, row 1" in found.problems[0].sentence


SAVE = """
import json, sys
from datasets import Dataset, DatasetDict
rows = {name: [json.loads(line) for line in open(path)] for name, path in
        (one.split("=") for one in sys.argv[2:])}
both = DatasetDict({name: Dataset.from_list(found) for name, found in rows.items()})
both.save_to_disk(sys.argv[1] + "/dict")
both["train"].save_to_disk(sys.argv[1] + "/one")
for name, found in both.items():
    found.to_parquet(f"{sys.argv[1]}/hub/data/{name}-00000-of-00001.parquet")
"""


def test_what_datasets_saved_is_read(stored: Lab, database: Database, tmp_path: Path) -> None:
    train = write(stored, "dpo", "messages", tmp_path)
    test = tmp_path / "test.jsonl"
    test.write_text(
        json.dumps(
            {
                "prompt": [{"role": "user", "content": "Held?"}],
                "chosen": [{"role": "assistant", "content": "Yes."}],
                "rejected": [{"role": "assistant", "content": "No."}],
            }
        )
        + "\n"
    )
    out = tmp_path / "out"
    (out / "hub" / "data").mkdir(parents=True)
    given = [str(out), f"train={train}", f"test={test}"]
    subprocess.run([sys.executable, "-c", SAVE, *given], check=True, capture_output=True)
    with lab_session(database) as session:
        lab = Lab(session)
        first = bring(lab, out / "dict")
        assert (first.held_out, first.pairs) == (1, first.rows)
        assert bring(lab, out / "hub").brings == 0
        one = bring(lab, out / "one")
        assert (one.brings, one.rows) == (0, first.rows - 1)
        assert session.scalar(select(Question.held_out).where(Question.text == "Held?"))


def test_a_known_question_gets_its_context_back(stored: Lab, tmp_path: Path) -> None:
    path = write(stored, "sft", "messages", tmp_path)
    files = read_examples(path, stored.registry)
    assert preview_examples(stored.database, files, Judge()).counts.questions == 0


def test_a_leak_is_found_where_one_row_is_bare_and_the_other_one_is_not(
    stored: Lab, tmp_path: Path
) -> None:
    told = {"instruction": "Who pays?", "input": "Of the buses.", "output": "The town."}
    (tmp_path / "train.json").write_text(json.dumps([told]), "utf-8")
    said = [("user", "Who pays?\n\nOf the buses."), ("assistant", "Everybody.")]
    turns = {"messages": [{"role": role, "content": text} for role, text in said]}
    (tmp_path / "test.jsonl").write_text(json.dumps(turns) + "\n", "utf-8")
    files = read_examples(tmp_path, stored.registry)
    found = preview_examples(stored.database, files, Judge())
    assert [one.sentence for one in found.problems] == [
        "test.jsonl, line 1: is held out, and its question also trains (train.json, item 1); take"
        " one out."
    ]
    files = read_examples(tmp_path, stored.registry)
    again = import_examples(stored.database, files, judge=Judge(), skip_errors=True)
    assert (again.counts.questions, again.counts.errors) == (1, 1)
