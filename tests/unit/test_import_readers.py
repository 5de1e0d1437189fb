"""Reading files: kinds, encodings, broken input, limits. Each refusal is one clear sentence."""

import contextlib
import io
import json
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.errors import UsageError
from db.input_text import MAX_TEXT_CHARS
from serving.importers import ImportFile, read_rows
from serving.importers.source import MAX_UNPACKED_BYTES

JAPANESE = "日本一高い山はどこですか。"
CHINESE = "请介绍彩虹为什么有颜色。"
DAY = datetime.fromisoformat("2024-05-01")
NOON = datetime.fromisoformat("2024-05-01T12:30:00")


def read(name: str, content: str | bytes, encoding: str = "utf-8") -> ImportFile:
    data = content.encode(encoding) if isinstance(content, str) else content
    return read_rows(data, name=name)


def texts(result: ImportFile) -> list[str]:
    return [row.text for row in result.rows]


def sentences(result: ImportFile) -> list[str]:
    return [problem.sentence for problem in result.problems]


def workbook(*sheets: list[list[Any]]) -> bytes:
    book = openpyxl.Workbook()
    for number, rows in enumerate(sheets):
        sheet = book.worksheets[0] if number == 0 else book.create_sheet(f"Sheet{number + 1}")
        for row in rows:
            sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def parquet(columns: dict[str, list[Any]]) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


ALPACA = {
    "instruction": JAPANESE,
    "input": "地理の質問",
    "output": "富士山です。",
    "reasoning": "You should compare heights.",
    "flag": "assistant",
    "category": "geography",
    "language": "ja",
}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("q.jsonl", json.dumps(ALPACA).encode()),
        ("q.ndjson", json.dumps(ALPACA, ensure_ascii=False).encode()),
        ("q.json", json.dumps([ALPACA]).encode()),
        ("q.json", json.dumps({"data": [ALPACA], "version": 1}).encode()),
        ("q.json", json.dumps(ALPACA, indent=2).encode()),
        ("q.json", (json.dumps(ALPACA) + "\n" + json.dumps(ALPACA)).encode()),
        ("q.jsonl", json.dumps([ALPACA], indent=2).encode()),
        ("Q.CSV", (",".join(ALPACA) + "\n" + ",".join(ALPACA.values())).encode()),
        ("q.csv", (";".join(ALPACA) + "\n" + ";".join(ALPACA.values())).encode()),
        ("q.tsv", ("\t".join(ALPACA) + "\r\n" + "\t".join(ALPACA.values())).encode()),
        ("q.xlsx", workbook([list(ALPACA), list(ALPACA.values())])),
        ("q.parquet", parquet({key: [value] for key, value in ALPACA.items()})),
    ],
)
def test_every_kind_of_file_gives_the_same_row(name: str, data: bytes) -> None:
    result = read(name, data)
    assert result.problems == []
    row = result.rows[0]
    assert (row.text, row.context, row.output) == (JAPANESE, "地理の質問", "富士山です。")
    assert (row.reasoning, row.role) == ("You should compare heights.", "assistant")
    assert (row.category, row.language) == ("geography", "ja")


@pytest.mark.parametrize(
    ("content", "encoding", "told"),
    [
        (f"text\n{JAPANESE}\n", "utf-8", "utf-8"),
        (f"text\n{JAPANESE}\n", "utf-8-sig", "utf-8-sig"),
        (f"text\n{JAPANESE}\n", "utf-16", "utf-16"),
        (f"text\n{JAPANESE}\n", "utf-16-le", "utf-16-le"),
        (f"text\n{JAPANESE}\n", "utf-16-be", "utf-16-be"),
        (f"text\n{JAPANESE}\n", "utf-32", "utf-32"),
        ("text\nplain\n", "ascii", "utf-8"),
    ],
)
def test_the_encoding_of_a_file_is_found(content: str, encoding: str, told: str) -> None:
    result = read("q.csv", content, encoding)
    assert result.encoding == told
    assert texts(result) == [content.split("\n")[1]]


def test_a_utf16_file_cut_in_the_middle_of_a_character_is_refused() -> None:
    with pytest.raises(UsageError, match=r"q\.csv: byte \d+"):
        read("q.csv", "text\nplain".encode("utf-16") + b"\x41")


@pytest.mark.parametrize(
    ("columns", "field", "value"),
    [
        ({"Question": "why?"}, "text", "why?"),
        ({" PROMPT ": "why?"}, "text", "why?"),
        ({"instruction": "why?", "text": "### Instruction: why?"}, "text", "why?"),
        ({"instruction": "", "question": "why?"}, "text", "why?"),
        ({"text": "why?", "context": "c"}, "context", "c"),
        ({"text": "why?", "reference": "r"}, "reference_answer", "r"),
        ({"text": "why?", "expected": 42}, "reference_answer", "42"),
        ({"text": "why?", "expected": 42.0}, "reference_answer", "42"),
        ({"text": "why?", "expected": 3.5}, "reference_answer", "3.5"),
        ({"text": "why?", "expected": False}, "reference_answer", "false"),
        ({"text": "why?", "expected": float("nan")}, "reference_answer", None),
        ({"text": "why?", "answer": "because"}, "output", "because"),
        ({"text": "why?", "role": "Logician"}, "role", "logician"),
        ({"text": "why?", "flag": None}, "role", "assistant"),
        ({"text": "why?", "flag": ""}, "role", "assistant"),
        ({"text": "why?", "tags": ["a", "b", "a", " "]}, "tags", ("a", "b")),
        ({"text": "why?", "tags": "a; b；c"}, "tags", ("a", "b", "c")),
        ({"text": "why?", "tags": 7}, "tags", ("7",)),
        ({"text": "why?", "tags": []}, "tags", ()),
        ({"text": "why?", "id": 7}, "external_id", "7"),
        ({"text": "why?", "held_out": True}, "held_out", True),
        ({"text": "why?", "held_out": "no"}, "held_out", False),
        ({"text": "why?", "language": "zh-Hant"}, "language", "zh-Hant"),
        ({"text": "  why?\r\nreally?\r "}, "text", "why?\nreally?"),
        ({"text": "a\x00b\x07c\ufeff"}, "text", "abc"),
        ({"text": "line\u2028separator\x85"}, "text", "line\u2028separator"),
        ({"text": "tab\tstays"}, "text", "tab\tstays"),
    ],
)
def test_columns_have_several_names_and_values_several_forms(
    columns: dict[str, Any], field: str, value: object
) -> None:
    result = read("q.jsonl", json.dumps(columns))
    assert result.problems == []
    assert getattr(result.rows[0], field) == value


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"text": "q", "flag": "poet"}, "field 'flag': unknown role 'poet'; use one of assistant"),
        ({"text": ""}, "field 'text': the question is empty"),
        ({"text": "\x00"}, "field 'text': the question is empty"),
        ({"text": ["q"]}, "field 'text': holds a list; give a text"),
        ({"text": "q", "output": {"a": 1}}, "field 'output': holds an object"),
        ({"text": "q", "tags": [["a"]]}, "field 'tags': holds a list in a list"),
        ({"text": "q", "language": "Japanese!"}, "field 'language': 'Japanese!' is no language"),
        ({"text": "q", "held_out": "maybe"}, "field 'held_out': 'maybe' is not true or false"),
        ({"text": "q \ud83d"}, "field 'text': holds half a character (\\ud83d)"),
        ({"text": "x" * (MAX_TEXT_CHARS + 1)}, "field 'text': has 200,001 characters; at most"),
        ({"text": "q", "output": "x" * 10_000_000}, "field 'output': has 10,000,000 characters"),
    ],
)
def test_a_bad_value_is_a_problem_that_names_line_and_field(
    columns: dict[str, Any], sentence: str
) -> None:
    result = read("q.jsonl", '{"text": "good", "id": "1"}\n\n' + json.dumps(columns))
    assert [one for one in sentences(result) if one.startswith(f"q.jsonl, line 3, {sentence}")]
    assert texts(result) == ["good"]
    assert "\n" not in sentences(result)[0]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("q.jsonl", '{"text": "a"}\n{"text": \n', "q.jsonl, line 2: no valid JSON"),
        ("q.jsonl", '{"text": "a"}\n[1]\n', "q.jsonl, line 2: holds list; write an object"),
        ("q.jsonl", '{"text": "a"}\nnull\n', "q.jsonl, line 2: holds null"),
        ("q.jsonl", '{"text": "a"}\n' + "[" * 100_000, "q.jsonl, line 2: no valid JSON"),
        ("q.json", '[{"text": "a"}, "b"]', "q.json, item 2: holds str"),
        ("q.json", '[{"text": "a"},\n{"text": }]', "q.json: no valid JSON (Expecting value"),
        ("q.json", "7", "q.json: holds no list"),
        ("q.csv", 'text,id\nq,1\n"open,2\nx,3\n', "q.csv, line 3: a double quote is opened here"),
        ("q.csv", 'text,id\nq,1\n"a"b,2\nx,3\n', "q.csv, line 3: cannot be read"),
        ("q.csv", "text,id\na, b,1\n", "q.csv, line 2: has 3 fields but the header has 2"),
        ("q.csv", "text,Text\na,b\n", "q.csv, field 'Text': two columns have this name"),
        (
            "q.jsonl",
            '{"custom_id": "1", "response": {"body": {}}, "error": null}',
            "q.jsonl, line 1: is the output of a batch",
        ),
    ],
)
def test_broken_lines_are_problems_with_their_place(name: str, content: str, sentence: str) -> None:
    assert any(one.startswith(sentence) for one in sentences(read(name, content)))


def test_lines_after_a_broken_csv_line_are_still_read() -> None:
    result = read("q.csv", 'text,id\nq,1\n"a"b,2\n"two\nlines",3\n')
    assert texts(result) == ["q", "two\nlines"]
    assert [row.line for row in result.rows] == [2, 4]


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("q.csv", b"", "q.csv: the file is empty"),
        ("q.csv", b" \n\n", "q.csv: the file is empty"),
        ("q.csv", b"text\n", "q.csv: holds no rows"),
        ("q.jsonl", b"\xef\xbb\xbf", "q.jsonl: holds no rows"),
        ("q.json", b"[]", "q.json: holds no rows"),
        ("q.txt", b"why?", "q.txt: files of this kind are not read; give one of .csv"),
        ("q", b"why?", "q: files of this kind are not read"),
        ("q.xlsx", b"PK nonsense", "q.xlsx: this is not a readable XLSX workbook"),
        ("q.xlsx", b"\xd0\xcf\x11\xe0 old or locked", "q.xlsx: this is not a readable XLSX"),
        ("q.parquet", b"PAR1 nonsense", "q.parquet: this is not a readable Parquet file"),
        (
            "q.csv",
            b"frage,antwort\na,b\n",
            "q.csv: no column can be the question; found frage, antwort. Name it one of "
            "instruction, question, prompt, problem, query, user_prompt, text, 質問, 問題, 問い.",
        ),
        ("q.jsonl", b'{"a": 1}', "q.jsonl: no column can be the question; found a."),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_sentence(
    name: str, data: bytes, sentence: str
) -> None:
    with pytest.raises(UsageError) as refusal:
        read(name, data)
    assert str(refusal.value).startswith(sentence)
    assert "\n" not in str(refusal.value)


def test_a_missing_file_is_refused_by_its_path(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.csv: cannot be read"):
        read_rows(tmp_path / "nowhere.csv")


def test_a_path_is_read_like_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "質問.csv"
    path.write_text(f"text\n{JAPANESE}\n", encoding="utf-16")
    result = read_rows(path)
    assert (result.name, texts(result)) == ("質問.csv", [JAPANESE])


def test_unused_columns_are_named_once() -> None:
    result = read("q.csv", "text,colour,input,size\na,b,c,d\ne,f,g,h\n")
    assert result.notes == ["Kept as fields of the questions: colour, size."]


def test_removed_control_characters_are_told_once() -> None:
    result = read("q.jsonl", '{"text": "a\\u0000"}\n{"text": "b\\u0007"}\n')
    assert result.notes == ["Control characters were removed from 2 texts."]


def test_a_10_mb_file_of_fair_texts_is_fine() -> None:
    line = json.dumps({"text": "あ" * 30_000}, ensure_ascii=False)
    result = read("q.jsonl", "\n".join([line] * 120))
    assert (len(result.rows), result.problems) == (120, [])


def test_excel_cells_become_what_a_person_would_write() -> None:
    rows = [
        ["instruction", "reference", "category", None, "id"],
        ["How many?", 42, DAY, "no header", 1.0],
        [None, None, None, None, None],
        ["How much?", 3.25, date(2024, 5, 2), None, 10**12],
        [7, True, NOON, None, None],
    ]
    found = read("q.xlsx", workbook(rows)).rows
    assert [row.line for row in found] == [2, 4, 5]
    assert [row.text for row in found] == ["How many?", "How much?", "7"]
    assert [row.reference_answer for row in found] == ["42", "3.25", "true"]
    assert [row.category for row in found] == ["2024-05-01", "2024-05-02", "2024-05-01 12:30:00"]
    assert [row.external_id for row in found] == ["1", "1000000000000", None]


def test_the_sheet_with_questions_is_taken_and_the_others_are_named() -> None:
    result = read("q.xlsx", workbook([["note"], ["hello"]], [["text"], ["why?"]], []))
    assert texts(result) == ["why?"]
    assert result.notes == ["Read sheet 'Sheet2'; not read: Sheet."]


def test_a_workbook_that_unpacks_to_too_much_is_refused() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"<row/>")
        archive.infolist()[0].file_size = MAX_UNPACKED_BYTES + 1
    with pytest.raises(UsageError, match="unpacks to"):
        read("q.xlsx", stream.getvalue())


def test_parquet_lists_are_tags_and_missing_values_are_empty() -> None:
    result = read(
        "q.parquet",
        parquet({"text": ["a", "b"], "tags": [["x", "y"], None], "reference": [1.5, None]}),
    )
    assert [row.tags for row in result.rows] == [("x", "y"), ()]
    assert [row.reference_answer for row in result.rows] == ["1.5", None]


def batch(*messages: dict[str, Any], **more: Any) -> str:
    body = {"model": "m", "messages": list(messages)}
    request = {"custom_id": "r-1", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(request | more)


def test_a_batch_request_becomes_a_question_with_its_system_text_as_context() -> None:
    line = batch(
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
    )
    result = read("batch.jsonl", line)
    row = result.rows[0]
    assert (row.text, row.context, row.external_id) == ("Why?", "Be brief.", "r-1")
    assert (result.problems, result.notes) == ([], [])


def test_a_chat_row_becomes_a_question_with_an_answer() -> None:
    messages = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]
    row = read("chat.jsonl", json.dumps({"messages": messages, "flag": "logician"})).rows[0]
    assert (row.text, row.output, row.role) == ("Why?", "So.", "logician")


@pytest.mark.parametrize(
    "body", [{"prompt": "Why?"}, {"input": "Why?", "instructions": "Be brief."}]
)
def test_batch_requests_of_the_other_endpoints_are_read_too(body: dict[str, str]) -> None:
    row = read("batch.jsonl", json.dumps({"custom_id": "r", "body": body})).rows[0]
    assert (row.text, row.external_id) == ("Why?", "r")


@pytest.mark.parametrize(
    "line",
    [
        batch({"role": "user", "content": "a"}, {"role": "user", "content": "b"}),
        batch({"role": "system", "content": "a"}),
        batch(),
        batch({"role": "tool", "content": "a"}),
        batch({"role": "user", "content": [{"type": "image_url", "image_url": {}}]}),
        batch({"role": "user"}),
        json.dumps({"custom_id": "r", "body": "text"}),
        json.dumps({"messages": "text"}),
    ],
)
def test_a_conversation_that_is_no_question_is_a_problem(line: str) -> None:
    result = read("batch.jsonl", line)
    assert result.rows == []
    assert sentences(result)[0].startswith("batch.jsonl, line 1, field ")


def test_roles_that_a_user_added_are_accepted() -> None:
    data = b'{"text": "q", "flag": "poet"}'
    result = read_rows(data, name="q.jsonl", roles=("assistant", "poet"))
    assert result.rows[0].role == "poet"


@settings(deadline=None)  # the first text that is no UTF-8 loads the detector of encodings
@given(st.binary(max_size=200), st.sampled_from(["q.csv", "q.json", "q.jsonl", "q.xlsx"]))
def test_any_bytes_are_read_or_refused_but_never_break_the_reader(data: bytes, name: str) -> None:
    with contextlib.suppress(UsageError):
        result = read(name, data)
        assert result.rows or result.problems


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_any_texts_survive_a_round_trip_through_jsonl_or_are_problems(values: list[str]) -> None:
    content = "\n".join(json.dumps({"text": value}) for value in ["first", *values])
    result = read("q.jsonl", content)
    bad = {problem.line for problem in result.problems}
    assert len(result.rows) + len(bad) == len(values) + 1
