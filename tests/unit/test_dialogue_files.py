"""Themes, spreadsheets and reports: what comes in, what goes out."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from openpyxl import Workbook

from db.database import Database
from db.dialogues import list_themes
from db.errors import UsageError
from tests.fakes.server import FakeServer
from tests.unit.dialogue_lab import THEME, Lab
from workbench.dialogue.additions import add_fact, note
from workbench.dialogue.decisions import choose, reject, write
from workbench.dialogue.events import By
from workbench.dialogue.export import read_export
from workbench.dialogue.lifecycle import new_dialogue
from workbench.dialogue.report import as_html, as_json, as_markdown
from workbench.dialogue.settings import load_theme, parse_theme, store_theme
from workbench.dialogue.sheet_trees import import_sheet
from workbench.dialogue.sheets import n_nodes, plan_tree, read_sheet
from workbench.dialogue.tree import read_tree

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "themes").glob("*.yaml"))
HEADER = ["Goal", "Step", "QInitial", "AInitial", "FBA"]
HEADER += [f"FBQ{i}" for i in range(1, 6)] + [f"SEL{i}" for i in range(1, 6)]
HOSTILE = '<img src=x onerror="alert(1)"> ![x](http://example.org/x.png) **bold** <script>'


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_theme_begins_a_session(path: Path, database: Database) -> None:
    theme = load_theme(path)
    with database.write() as session:
        dialogue_id = new_dialogue(session, theme, By())
    with database.read() as session:
        (root,) = read_tree(session, dialogue_id).nodes
    assert root.question == theme.first_question


def test_there_are_examples_in_english_and_japanese() -> None:
    languages = [load_theme(path).language for path in EXAMPLES]
    assert len(languages) >= 3
    assert set(languages) == {"en", "ja"}


def test_all_mistakes_of_a_theme_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as refused:
        parse_theme({"name": " ", "concept": "x", "gaol": "y", "language": "english"})
    for place in ("name", "goal", "gaol", "language"):
        assert place in str(refused.value)
    with pytest.raises(UsageError, match="goal itself"):
        parse_theme({"name": "a", "concept": "b", "goal": "c", "opposing_goal": "c"})
    with pytest.raises(UsageError, match="no move 'dance'"):
        parse_theme({"name": "a", "concept": "b", "goal": "c", "settings": {"moves": ["dance"]}})
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [", "utf-8")
    with pytest.raises(UsageError, match="no YAML"):
        load_theme(broken)
    with pytest.raises(UsageError, match="cannot be read"):
        load_theme(tmp_path / "absent.yaml")


@pytest.mark.parametrize(
    "text",
    ["name: 2024-13-45", "[" * 20_000, "name: a\nconcept: b\ngoal: c\nname: d", "name: 2024-12-01"],
)
def test_a_theme_that_cannot_be_read_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "theme.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=r"theme\.yaml.*(date|key|name)"):
        load_theme(path)


def test_a_theme_in_use_does_not_change_under_its_sessions(database: Database) -> None:
    theme = parse_theme(THEME)
    with database.write() as session:
        store_theme(session, theme)
        store_theme(session, parse_theme(THEME | {"goal": "Another goal"}))
        new_dialogue(session, parse_theme(THEME | {"goal": "Another goal"}), By())
        with pytest.raises(UsageError, match="another name"):
            store_theme(session, theme)
        assert [one.goal for one in list_themes(session)] == ["Another goal"]


def test_a_first_question_is_made_in_the_language_of_the_theme() -> None:
    given = {"name": "a", "concept": "読書", "goal": "本を読む習慣を作る", "language": "ja"}
    assert "最初に" in parse_theme(given).question


def sheet(path: Path, rows: list[list[object]]) -> Path:
    book = Workbook()
    assert book.active is not None
    for row in (HEADER, *rows):
        book.active.append(row)
    book.save(path)
    return path


def test_a_spreadsheet_of_earlier_sessions_comes_in_as_trees(
    database: Database, tmp_path: Path
) -> None:
    none: list[object] = [None] * 10
    rows: list[list[object]] = [
        [
            *("Quiet streets", 1, "Why loud?", "Cars.", "too short"),
            *("Which cars?", "When?", "Where?", None, None),
            *(1, 0, "x", None, None),
        ],
        ["Quiet streets", 2, "Which cars?", "Old ones.", None, *none],
        ["静かな町", 1, "なぜうるさいのですか。", "車が多いからです。", None, *none],
        ["Quiet streets", 3, "Where?", None, None, *none],
    ]
    path = sheet(tmp_path / "old.xlsx", rows)
    with database.write() as session:
        found = import_sheet(session, path, By())
    assert [(one.goal, one.n_questions, one.is_new) for one in found] == [
        ("Quiet streets", 3, True),
        ("静かな町", 1, True),
    ]
    with database.read() as session:
        export = read_export(session, found[0].dialogue_id)
    tree = export.tree
    assert [(n.question, n.depth, n.state, n.source) for n in tree.nodes] == [
        ("Why loud?", 0, "answered", "imported"),
        ("Which cars?", 1, "answered", "imported"),
        ("Where?", 1, "open", "imported"),
    ]
    root = export.nodes[0]
    assert root.chosen is not None
    assert root.chosen.answer.text == "Cars."
    assert root.node.notes == ("too short",)
    assert [(c.text, c.decision) for c in root.candidates] == [
        ("Which cars?", "pick"),
        ("When?", None),
        ("Where?", "pick"),
    ]
    with database.write() as session:
        again = import_sheet(session, path, By())
    assert [(one.dialogue_id, one.is_new) for one in again] == [
        (one.dialogue_id, False) for one in found
    ]


def test_questions_that_wait_are_counted_as_the_tree_holds_them(
    database: Database, tmp_path: Path
) -> None:
    path = tmp_path / "twice.csv"
    path.write_text(
        "Goal,Step,QInitial,FBQ1,FBQ2,FBQ3,SEL1,SEL2,SEL3\n"
        "Quiet,1,Why?,When?,When?,Where?,x,x,x\n"  # one of a row that names it twice
        "Quiet,2,How?,When?,How?,Why?,x,x,x\n"  # taken again; itself is not hung under itself
        "Quiet,3,When?,,,,,,\n"  # the one of step 2
        "Quiet,4,When?,,,,,,\n",  # no other one waits for it: it follows step 3
        "utf-8",
    )
    (rows,) = read_sheet(path).values()
    plan = plan_tree(rows)
    assert [step.n_waiting for step in plan] == [2, 1, 0, 0]
    with database.write() as session:
        (found,) = import_sheet(session, path, By())
        (again,) = import_sheet(session, path, By())
        nodes = read_tree(session, found.dialogue_id).nodes
    assert sorted(node.question for node in nodes if node.state == "open") == sorted(
        ["Why?", "When?", "Where?", "How?", "When?", "Why?", "When?"]
    )
    assert len(nodes) == n_nodes(plan) == found.n_questions == again.n_questions == 7


def test_a_wrong_spreadsheet_is_refused_whole_with_every_row_named(
    database: Database, tmp_path: Path
) -> None:
    none: list[object] = [""] * 10
    rows: list[list[object]] = [
        ["A", "one", "Why?", "", "", *none],
        ["A", 2, "", "An answer without a question", "", *none],
        ["A", 3, "How?", "", "", *none],
    ]
    path = sheet(tmp_path / "wrong.xlsx", rows)
    with pytest.raises(UsageError) as refused, database.write() as session:
        import_sheet(session, path, By())
    assert "row 2" in str(refused.value)
    assert "row 3" in str(refused.value)
    csv = tmp_path / "other.csv"
    csv.write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(UsageError, match="QInitial"), database.write() as session:
        import_sheet(session, csv, By())
    with database.read() as session:
        assert list_themes(session) == []


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def told(database: Database, server: FakeServer) -> Lab:
    """A session with hostile texts everywhere."""
    lab = Lab(database, server, name=HOSTILE)
    server.text = lambda prompt, index, seed: f"{HOSTILE} {index}"
    with database.write() as session:
        add_fact(session, lab.id, lab.here, HOSTILE, HOSTILE, lab.by)
    view = lab.answer()
    with database.write() as session:
        choose(session, lab.id, lab.here, view.shown[0].answer.id, lab.by, reason=HOSTILE)
        note(session, lab.id, lab.here, HOSTILE, lab.by)
    server.text = lambda prompt, index, seed: json.dumps([f"{HOSTILE} why?"])
    view = lab.ask("gap")
    with database.write() as session:
        candidate = view.candidates[0]
        reject(session, lab.id, lab.here, candidate.event_id, candidate.place, lab.by)
        write(session, lab.id, lab.here, f"{HOSTILE} and then?", lab.by, reason=HOSTILE)
    return lab


def test_an_html_report_is_self_contained_and_shows_hostile_texts_as_text(
    database: Database, fake_server: FakeServer
) -> None:
    lab = told(database, fake_server)
    with database.read() as session:
        page = as_html(read_export(session, lab.id))
    tags = _Tags()
    tags.feed(page)
    names = {tag for tag, _ in tags.found}
    assert not names & {"script", "img", "link", "iframe"}
    links = [a["href"] for tag, a in tags.found if tag == "a"]
    assert all(link is not None and link.startswith("#") for link in links)
    assert "url(" not in page
    assert page.count("onerror") == page.count("onerror=&#34;alert(1)&#34;")
    assert "&lt;script&gt;" in page


def test_a_markdown_report_holds_no_image_and_no_html(
    database: Database, fake_server: FakeServer
) -> None:
    lab = told(database, fake_server)
    with database.read() as session:
        text = as_markdown(read_export(session, lab.id))
    assert "![x]" not in text
    assert "<img" not in text.replace("\\<", "")
    assert "\\*\\*bold\\*\\*" in text


def test_the_json_holds_everything_that_was_decided(
    database: Database, fake_server: FakeServer
) -> None:
    lab = told(database, fake_server)
    with database.read() as session:
        value = json.loads(as_json(read_export(session, lab.id)))
    root, child = value["questions"]
    assert [one["decision"] for one in root["candidates"]] == ["reject"]
    assert root["facts"] == [{"text": HOSTILE, "source": HOSTILE}]
    assert len(root["others"]) == 2
    assert {one["kind"] for one in root["decisions"]} == {"choose", "reject", "write"}
    assert (child["parent"], child["reason"]) == (1, HOSTILE)


def test_a_japanese_report_is_in_japanese(database: Database, fake_server: FakeServer) -> None:
    lab = Lab(database, fake_server, language="ja", first_question="なぜ静かなのですか。")
    with database.read() as session:
        export = read_export(session, lab.id)
    assert "まだ回答がありません。" in as_html(export)
    assert "最初の問い" in as_markdown(export)
