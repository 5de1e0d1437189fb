"""Spreadsheets and tables: a cell is what a person sees in it, or it is refused by its place."""

import io
import zipfile
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.importers import read_rows
from serving.importers.workbooks import shown
from tests.unit.test_import_readers import read, sentences, texts


def saved(book: openpyxl.Workbook) -> bytes:
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def sheet_of(*rows: list[Any]) -> tuple[openpyxl.Workbook, Any]:
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for row in rows:
        sheet.append(row)
    return book, sheet


def changed(data: bytes, part: str, old: str, new: str) -> bytes:
    """Return a workbook with a piece of one of its parts changed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(stream, "w") as after:
        for name in before.namelist():
            text = before.read(name)
            if name == part:
                assert old.encode() in text
                text = text.replace(old.encode(), new.encode())
            after.writestr(name, text)
    return stream.getvalue()


def test_formulas_that_were_never_calculated_are_refused_by_cell() -> None:
    book, _ = sheet_of(
        ["text", "answer"], ["why?", "=1+1"], ["how?", "so"], ["=A2", "=B2"], ["", None]
    )
    result = read("q.xlsx", saved(book))
    assert texts(result) == ["how?"]
    assert [(one.line, one.field) for one in result.problems] == [
        (2, "answer"),
        (4, "text"),
        (4, "answer"),
    ]
    assert sentences(result)[0] == (
        "q.xlsx, row 2, field 'answer': cell B2 holds a formula that was never calculated; open "
        "the workbook in a spreadsheet program and save it there."
    )


def test_formulas_with_their_values_are_read_as_these() -> None:
    book, _ = sheet_of(["text", "answer"], ["why?", "=1+1"], ["how?", '=""'])
    data = changed(saved(book), "xl/worksheets/sheet1.xml", "<f>1+1</f><v />", "<f>1+1</f><v>2</v>")
    data = changed(
        data,
        "xl/worksheets/sheet1.xml",
        '<c r="B3"><f>""</f><v />',
        '<c r="B3" t="str"><f>""</f><v></v>',
    )
    result = read("q.xlsx", data)
    assert result.problems == []
    assert [row.output for row in result.rows] == ["2", None]


@pytest.mark.parametrize("error", ["#DIV/0!", "#N/A", "#NAME?", "#VALUE!", "#REF!"])
def test_cells_with_errors_are_never_answers(error: str) -> None:
    book, sheet = sheet_of(["text", "answer"], ["why?", None], ["how?", "so"])
    sheet["B2"] = error
    assert sheet["B2"].data_type == "e"
    result = read("q.xlsx", saved(book))
    assert texts(result) == ["how?"]
    assert f"field 'answer': cell B2 holds {error}; correct or empty it" in sentences(result)[0]


def test_errors_in_columns_that_nothing_reads_are_counted_in_a_note() -> None:
    book, sheet = sheet_of(["text", "colour"], ["why?", None], ["how?", "=1+1"])
    sheet["B2"] = "#N/A"
    result = read("q.xlsx", saved(book))
    assert texts(result) == ["why?", "how?"]
    assert result.problems == []
    assert any(note.startswith("2 cells are taken as empty") for note in result.notes)


def test_numbers_that_a_spreadsheet_has_rounded_are_refused() -> None:
    book, _ = sheet_of(["text", "id"], ["why?", 12345678901234567], ["how?", "12345678901234567"])
    result = read("q.xlsx", saved(book))
    assert [row.external_id for row in result.rows] == ["12345678901234567"]
    assert "cell B2 holds 1.23457e+16, a number of more than 15 digits" in sentences(result)[0]


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (42, "00000", "00042"),
        (123456, "00000", "123456"),
        (5551234, "000-0000", "555-1234"),
        (5551234, r"000\-0000", "555-1234"),
        (7, '"Q"000', 7),
        (0.5, "0%", "50%"),
        (0.1234, "0.0%", "12.3%"),
        (42, "General", 42),
        (3.5, "0.00", 3.5),
        (3, "0", 3),
        (-42, "00000", -42),
    ],
)
def test_ids_and_percentages_are_read_as_they_are_shown(
    value: float, form: str, text: float | str
) -> None:
    assert shown(value, form) == text


def test_an_id_keeps_its_leading_zeros() -> None:
    book, sheet = sheet_of(["text", "id"], ["why?", 42])
    sheet["B2"].number_format = "00000"
    assert read("q.xlsx", saved(book)).rows[0].external_id == "00042"


def test_a_hidden_sheet_never_wins_over_a_visible_one() -> None:
    book, sheet = sheet_of(["text"], ["hidden?"])
    sheet.sheet_state = "hidden"
    book.create_sheet("Seen").append(["text"])
    book["Seen"].append(["why?"])
    result = read("q.xlsx", saved(book))
    assert texts(result) == ["why?"]
    assert result.notes == ["Read sheet 'Seen'; not read: Sheet (hidden)."]


def test_escapes_of_a_cell_are_the_characters_that_they_stand_for() -> None:
    book, _ = sheet_of(["text"], ["a_x000D_\nb"], ["plain _x"], ["_x005F_x0041_"], ["5 x005F_ 6"])
    result = read("q.xlsx", saved(book))
    assert texts(result) == ["a\nb", "plain _x", "_x0041_", "5 x005F_ 6"]


def parquet(**columns: pa.Array) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


def test_bytes_of_a_parquet_file_that_are_no_text_are_refused_by_row() -> None:
    given = [b"why?", b"gr\xf6\xdfe", "größe".encode()]
    data = parquet(text=pa.array(given, pa.binary()), image=pa.array([b"\xff"] * 3, pa.binary()))
    result = read("q.parquet", data)
    assert texts(result) == ["why?", "größe"]
    assert sentences(result) == [
        "q.parquet, row 2, field 'text': holds bytes that are not UTF-8; correct them."
    ]


def test_texts_of_a_parquet_file_that_are_no_utf8_are_refused_by_row() -> None:
    raw = pa.array([b"why?", b"gr\xf6\xdfe", b"how?"], pa.binary())
    text = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    result = read("q.parquet", parquet(text=text, note=text))
    assert texts(result) == ["why?", "how?"]
    assert len(result.problems) == 1


# CSV: quotes that are never closed


def test_a_quote_that_is_never_closed_refuses_the_file_and_counts_what_follows() -> None:
    result = read("q.csv", 'text,id\nq,1\n"open,2\nx,3\ny,4\n')
    assert sentences(result) == [
        "q.csv, line 3: a double quote is opened here and never closed, and the 2 lines after it "
        "cannot be told apart; close it."
    ]
    assert result.problems[0].line is None  # no import without these rows either


def test_lines_that_a_broken_quote_took_along_are_named() -> None:
    result = read("q.csv", 'text,id\nq,1\n"open,2\nx,3\n"ok",4\nz,5\n')
    assert texts(result) == ["q", "z"]
    assert "lines 3 to 5 are lost with it" in sentences(result)[0]


def test_a_quote_that_is_closed_by_chance_does_not_swallow_rows() -> None:
    result = read("q.csv", 'text,id,output\nq,1,a\n"open,2,b\nx,3,c\ny"\nz,4,d\n')
    assert texts(result) == ["q", "z"]
    assert "line 3: has 1 fields of 3, and a text that holds whole rows" in sentences(result)[0]
    short = read("q.csv", 'text,id,output\n"two\nlines"\n')
    assert texts(short) == ["two\nlines"]


def test_a_long_text_between_quotes_is_no_open_quote() -> None:
    lines = "\n".join(["a line of a poem"] * 5_000)
    assert read_rows(f'text,id\n"{lines}",1\n'.encode(), name="q.csv").rows[0].text == lines
