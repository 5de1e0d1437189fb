from pathlib import Path

import pytest
import yaml

from db.errors import UsageError
from serving.formats.definitions import FormatDefinition, parse_template, without_empty_context
from serving.formats.library import load_definitions

GUIDE = Path(__file__).parents[2] / "docs/formats.md"
ROLES = ("assistant", "translator", "creator", "logician")

MINE = """
roles:
  - name: teacher
    version: 1
    system: You teach.
formats:
  - name: mine
    version: 1
    kind: tagged
    response_tag: "### Response:"
    tags: ["### Instruction:", "### Reasoning:", "### Response:"]
    tasks:
      whole:
        prompt: "{system}\\n### Instruction:\\n{question}\\n{context}\\n### Reasoning:\\n"
        completion: "{reasoning}\\n### Response:\\n{answer}"
  - name: polite
    version: 3
    kind: chat
    response_tag: "Answer:"
    tags: ["Answer:"]
    tasks:
      vanilla:
        prompt: "Please answer {{kindly}}: {question}"
        completion: "{answer}"
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "formats.yaml"
    path.write_text(text, "utf-8")
    return path


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(UsageError) as refused:
        load_definitions(written(tmp_path, text))
    return str(refused.value)


def changed(**changes: object) -> str:
    form = load_definitions().format("tagged@1").dump() | {"name": "mine"} | changes
    return yaml.safe_dump({"formats": [form]})


def test_the_built_in_roles_and_formats_are_there() -> None:
    definitions = load_definitions()
    assert [definitions.role(name).reference for name in ROLES] == [f"{r}@1" for r in ROLES]
    for name in ("tagged", "chat"):
        form = definitions.format(name)
        assert form.reference == f"{name}@1"
        assert len(form.tasks.given()) == 6


def test_the_built_in_instructions_ask_for_what_makes_a_reasoning() -> None:
    chat = load_definitions().format("chat").tasks.given()
    for task in ("reasoning", "rationalise", "ensemble", "whole"):
        instruction = chat[task].prompt
        for words in ("English", "at most five", '"You should ..."', "say that you don't know"):
            assert words in " ".join(instruction.split()), (task, words)
        assert "answer" in instruction
    assert "hint" in chat["answer"].prompt


def test_the_tagged_prompts_of_a_trained_model_hold_no_instruction() -> None:
    tagged = load_definitions().format("tagged").tasks
    assert tagged.answer is not None
    assert tagged.answer.prompt == (
        "{system}\n<|instruction|>{question}\n<|context|>{context}\n"
        "<|reasoning|>{reasoning}\n<|response|>"
    )


def test_a_user_adds_roles_and_formats_without_code(tmp_path: Path) -> None:
    definitions = load_definitions(written(tmp_path, MINE))
    assert definitions.role("teacher").system == "You teach."
    assert definitions.format("polite").version == 3
    assert list(definitions.format("mine").tasks.given()) == ["whole"]
    assert definitions.format("tagged").reference == "tagged@1"


def test_an_empty_file_adds_nothing(tmp_path: Path) -> None:
    assert load_definitions(written(tmp_path, "")) == load_definitions()


def test_a_bare_name_is_its_newest_version(tmp_path: Path) -> None:
    roles = [{"name": "assistant", "version": v, "system": f"Version {v}."} for v in (10, 9)]
    definitions = load_definitions(written(tmp_path, yaml.safe_dump({"roles": roles})))
    assert definitions.role("assistant").version == 10
    assert definitions.role("assistant@9").system == "Version 9."


def test_an_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"no prompt format 'taged@1': did you mean tagged@1\?"):
        load_definitions().format("taged@1")
    with pytest.raises(UsageError, match="known are assistant@1, creator@1"):
        load_definitions().role("king")


def test_saying_the_same_again_is_no_redefinition(tmp_path: Path) -> None:
    form = load_definitions().format("tagged").dump()
    again = written(tmp_path, yaml.safe_dump({"formats": [form]}))
    assert load_definitions(again) == load_definitions()


def test_a_definition_said_differently_needs_a_new_version(tmp_path: Path) -> None:
    text = "\nroles:\n  - {name: creator, version: 1, system: You create.}\n"
    message = refusal(tmp_path, text)
    assert "formats.yaml, line 3, roles[0]: creator@1" in message
    assert "give it a new version, such as 2" in message


def test_all_problems_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    text = (
        MINE.replace("version: 3", "version: 0")
        .replace("system: You teach.", "sistem: You teach.")
        .replace("{{kindly}}", "{kindly}")
    )
    message = refusal(tmp_path, text)
    assert "4 problems" in message
    assert "line 3, roles[0].system: Field required." in message
    assert "line 5, roles[0].sistem" in message
    assert "line 17, formats[1].version" in message
    assert "line 23, formats[1].tasks.vanilla.prompt: unknown placeholder {kindly}" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("roles: [", "is no YAML"),
        ("- 1", "line 1, top level"),
        (changed(kind="other"), "formats[0].kind"),
        (changed(tags=["<|context|>"]), "tags must hold the response_tag"),
        (changed(tags=["x"]), "two characters"),
        (changed(tags=[" <|response|>"]), "white space"),
        (changed(tasks={}), "at least one task"),
        (changed(name="Two Words"), "formats[0].name"),
    ],
)
def test_a_broken_file_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    assert words in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("task", "prompt", "completion", "words"),
    [
        ("answer", "{system}{question}", "{answer}", "prompt must hold {reasoning}"),
        ("answer", "{question}{reasoning}", "{answer}", "prompt must hold {system}"),
        ("vanilla", "{system}{question}{answer}", "{answer}", "prompt cannot hold {answer}"),
        ("vanilla", "{system}{question}", "{reasoning}", "completion must hold {answer}"),
        ("whole", "{system}{question}", "{reasoning}{answer}", "must hold the response_tag"),
        ("whole", "{system}{question}", "{answer}", "{reasoning} and then {answer}"),
    ],
)
def test_a_task_must_hold_what_it_is_about(
    tmp_path: Path, task: str, prompt: str, completion: str, words: str
) -> None:
    text = changed(tasks={task: {"prompt": prompt, "completion": completion}})
    message = refusal(tmp_path, text)
    assert f"tasks.{task}." in message
    assert words in message


def test_a_chat_format_gives_the_system_text_in_its_own_turn(tmp_path: Path) -> None:
    vanilla = {"prompt": "{system} {question}", "completion": "{answer}"}
    message = refusal(tmp_path, changed(kind="chat", tasks={"vanilla": vanilla}))
    assert "as the system message" in message


@pytest.mark.parametrize("template", ["{quest}", "{}", "{0}", "{question!r}", "{question:>9}"])
def test_an_unknown_placeholder_is_named(template: str) -> None:
    with pytest.raises(ValueError, match=r"unknown placeholder .*use one of {system}, {question}"):
        parse_template(template)


def test_a_single_brace_asks_to_be_doubled() -> None:
    with pytest.raises(ValueError, match="for braces that are text"):
        parse_template("a } b")


def test_a_missing_file_and_a_wrong_encoding_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.yaml cannot be read"):
        load_definitions(tmp_path / "none.yaml")
    path = tmp_path / "sjis.yaml"
    path.write_bytes("roles: [] # 役割".encode("shift_jis"))
    with pytest.raises(UsageError, match="UTF-8"):
        load_definitions(path)


def test_the_paragraph_of_an_empty_context_is_left_out() -> None:
    template = "{question}\n\nBackground:\n{context}\n\nAnswer."
    assert without_empty_context(template) == "{question}\n\nAnswer."


def test_a_definition_has_the_same_hash_after_a_round_trip() -> None:
    form = load_definitions().format("chat")
    again = FormatDefinition.model_validate(form.dump())
    assert again == form
    assert again.definition_hash == form.definition_hash


def test_the_example_of_the_guide_can_be_loaded(tmp_path: Path) -> None:
    example = GUIDE.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    definitions = load_definitions(written(tmp_path, example))
    assert {"headings@1", "brief@1"} <= set(definitions.formats)
    assert "teacher@1" in definitions.roles
