"""Encodings: UTF-8 is read as it is, and a guess at anything else waits for a person's word."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from db.errors import UsageError
from serving.importers import read_rows
from serving.importers.encoding import EncodingGuessed, recoded
from tests.unit.test_import_readers import read, texts
from workbench.cli.main import app

ENGLISH = "".join(f"What is {number} and {number}?,It is {2 * number}.\n" for number in range(200))
UMLAUTS = "text\n" + "Wie heißt der größte Fluss?\n" * 200


def guess(data: bytes, name: str = "q.csv") -> EncodingGuessed:
    with pytest.raises(EncodingGuessed) as refusal:
        read_rows(data, name=name)
    return refusal.value


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        ("text\n日本一高い山はどこですか。\n", "cp932"),
        (f"text,answer\n{ENGLISH}Where is 東京?,In 日本\n", "cp932"),
        ("text\nこれはなんですか\n", "cp932"),
        ("text\nｶﾀｶﾅのテスト\n", "cp932"),
        ("text\n日本一高い山はどこですか。\n", "euc_jp"),
        (f"text,answer\n{ENGLISH}Where is 東京?,In 日本\n", "euc_jp"),
        ("text\n日本一高い山はどこですか。\n", "iso2022_jp"),
        ("text\n한국에서 가장 높은 산은?\n백두산입니다.\n안녕하세요\n", "cp949"),
        (f"text,answer\n{ENGLISH}What is 서울?,a city\n", "cp949"),
        ("text\n请介绍彩虹为什么有颜色。\n", "gb18030"),
        ("text\n最长的河是哪条？\n", "gb18030"),
        ("text\n請問彩虹為什麼有顏色？\n", "big5"),
        ("text\nPourquoi le ciel est-il bleu l'été ?\n", "cp1252"),
        (f"text,answer\n{ENGLISH}Wie heißt der größte Fluss?,Donau\n", "cp1252"),
        ("text\nMüller\n", "cp1252"),
        ("text\nIt’s “fine” – really…\n", "cp1252"),
        ("text\nJak się masz? Zażółć gęślą jaźń\n", "cp1250"),
        ("text\nКакая самая длинная река?\n", "cp1251"),
        ("text\nภูเขาที่สูงที่สุด\n", "cp874"),
    ],
)
def test_a_guess_is_refused_with_how_the_file_then_reads(content: str, encoding: str) -> None:
    data = content.encode(encoding)
    guessed = guess(data)
    foreign = next(line for line in content.splitlines() if not line.isascii())
    best = guessed.candidates[0]
    assert best.encoding == encoding
    assert foreign[:10] in best.sample or best.sample.lstrip("…")[:10] in foreign
    assert best.sample in str(guessed)
    assert f"may be {encoding}" in str(guessed)
    result = read_rows(data, name="q.csv", encoding=encoding)
    assert foreign.split(",")[0] in texts(result)
    assert f"Read as {encoding}." in result.notes


def test_a_few_lines_of_another_encoding_are_named_and_the_rest_stays_utf8() -> None:
    data = UMLAUTS.encode() + "Größe\n".encode("cp1252")
    for encoding in (None, "cp1252", "utf-8"):
        with pytest.raises(UsageError) as refusal:
            read_rows(data, name="q.csv", encoding=encoding)
        assert not isinstance(refusal.value, EncodingGuessed)
        offset = data.index(b"\xf6")
        assert str(refusal.value).startswith(f"q.csv: line 202, byte {offset} (0xf6) is not UTF-8")
        assert "1 line with such bytes" in str(refusal.value)


def test_one_bad_byte_in_a_japanese_text_is_named() -> None:
    data = "text\n日本一高い山は\n川は\n".encode()
    place = data.index("川".encode())
    with pytest.raises(UsageError, match=rf"line 3, byte {place} \(0xe5\) is not UTF-8, while"):
        read("q.csv", data[: place + 1] + data[place + 2 :])


def test_utf8_is_never_read_as_anything_else() -> None:
    result = read_rows(UMLAUTS.encode(), name="q.csv", encoding="cp1252")
    assert texts(result)[0] == "Wie heißt der größte Fluss?"
    assert "Read as utf-8." in result.notes


def test_a_text_with_colours_of_a_terminal_is_no_iso_2022() -> None:
    assert len(texts(read("q.csv", "text\n\x1b[31mred\x1b(B\n"))) == 1


def test_bytes_that_no_encoding_has_are_refused_with_their_place() -> None:
    data = b"text\nabc \xff\xff\xfe\x81\x00\x9d\xa0\xff\x80\xff\x90\x81\xff\n"
    with pytest.raises(UsageError, match=r"^q\.csv: line 2, byte 9 \(0xff\) is not UTF-8"):
        read("q.csv", data)


@pytest.mark.parametrize("name", ["nope", "rot13", "base64", "", "a\x00b"])
def test_a_name_that_is_no_encoding_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is no encoding; name one such as utf-8, cp932"):
        read_rows(b"text\nwhy?\n", name="q.csv", encoding=name)


def test_a_named_encoding_that_does_not_fit_is_refused_with_the_byte() -> None:
    data = "text\n한국에서 가장 높은 산은?\n".encode("cp949")
    with pytest.raises(UsageError, match=r"q\.csv: byte \d+ \(0x..\) is not ascii; name the right"):
        read_rows(data, name="q.csv", encoding="ascii")


def test_an_uploaded_text_is_recoded_to_utf8() -> None:
    assert recoded("text\n日本\n".encode("cp932"), "q.csv", "cp932") == "text\n日本\n".encode()


def test_the_command_line_asks_for_the_encoding_and_then_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("Q2Q_HOME", str(tmp_path / "home"))
    path = tmp_path / "q.csv"
    path.write_bytes("text\n한국에서 가장 높은 산은?\n안녕하세요\n".encode("cp949"))
    for command in (["question", "import"], ["dataset", "import"]):
        refused = CliRunner().invoke(app, [*command, str(path)])
        assert refused.exit_code != 0
        assert "add --encoding cp949" in str(refused.exception)
        assert "안녕하세요" in str(refused.exception)
    done = CliRunner().invoke(app, ["question", "import", str(path), "--encoding", "cp949"])
    assert done.exit_code == 0, done.output
    assert "2 added" in done.output
