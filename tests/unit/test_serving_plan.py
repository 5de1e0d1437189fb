"""The plan of the hardware: a table of cases, the memory behind it, and what it refuses."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from db.errors import Q2QError, UsageError
from db.settings import Settings
from serving.engine.hardware import Gpu, described_gpus, read_gpus
from serving.engine.memory import Split, cache_bytes_per_token, weight_bytes
from serving.engine.plan import ServingPlan, Subject, make_plan
from serving.engine.plan_rules import choose, heads_divide
from serving.engine.plan_sentence import explain
from serving.engine.plan_types import PRECISION_NAMES, Choice, DoesNotFit, Wanted
from serving.engine.shape import ModelShape, read_shape
from workbench.i18n import translate_message

CONFIGS: dict[str, dict[str, Any]] = {
    "phi-3-medium": {
        "hidden_size": 5120, "intermediate_size": 17920, "num_hidden_layers": 40,
        "num_attention_heads": 40, "num_key_value_heads": 10, "vocab_size": 32064,
        "max_position_embeddings": 4096,
    },
    "llama-70b": {
        "hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 128256,
        "max_position_embeddings": 131072,
    },
    "smollm2": {
        "hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30,
        "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
        "max_position_embeddings": 8192, "tie_word_embeddings": True,
    },
}  # fmt: skip


def folder(tmp_path: Path, name: str, **more: Any) -> Path:
    made = tmp_path / name
    made.mkdir()
    (made / "config.json").write_text(json.dumps(CONFIGS[name] | more))
    return made


def shape(tmp_path: Path, name: str, **more: Any) -> ModelShape:
    return read_shape(folder(tmp_path, name, **more), name)


def short(choice: Choice) -> str:
    split = choice.split
    spread = f"{choice.data}x{split.tensor}" + (f"x{split.pipeline}" if split.pipeline > 1 else "")
    return f"{choice.precision} {spread} {choice.max_num_seqs}"


@pytest.mark.parametrize(
    ("model", "gpus", "expected"),
    [  # precision, engines x tensor parallel (x pipeline), sequences of an engine
        ("phi-3-medium", "1x12", "nf4 1x1 24"),
        ("phi-3-medium", "1x16:7.5", "nf4 1x1 64"),
        ("phi-3-medium", "1x16", "nf4 1x1 64"),
        ("phi-3-medium", "2x16:7.5", "nf4 2x1 64"),
        ("phi-3-medium", "1x24", "fp8 1x1 96"),
        ("phi-3-medium", "1x24:8.6", "nf4 1x1 192"),
        ("phi-3-medium", "2x24:8.6", "bf16 1x2 192"),
        ("phi-3-medium", "3x24:8.6", "bf16 1x2 192"),
        ("phi-3-medium", "8x24", "fp8 8x1 96"),
        ("phi-3-medium", "1x48", "bf16 1x1 256"),
        ("phi-3-medium", "1x80:9.0", "bf16 1x1 768"),
        ("phi-3-medium", "2x141:9.0", "bf16 2x1 1024"),
        ("phi-3-medium", "1x48,1x8", "bf16 1x1 256"),
        ("phi-3-medium", "2x80:9.0,1x48", "bf16 2x1 768"),
        ("smollm2", "1x16:7.5", "bf16 1x1 256"),
        ("smollm2", "8x24", "bf16 8x1 256"),
        ("llama-70b", "1x80:9.0", "nf4 1x1 256"),
        ("llama-70b", "2x48", "fp8 1x2 96"),
        ("llama-70b", "4x16:7.5", "nf4 1x4 64"),
        ("llama-70b", "4x80:9.0", "bf16 2x2 64"),
        ("llama-70b", "2x141:9.0", "fp8 2x1 512"),
    ],
)
def test_the_table_of_cases(tmp_path: Path, model: str, gpus: str, expected: str) -> None:
    assert short(choose(shape(tmp_path, model), described_gpus(gpus), Wanted())) == expected


def test_ten_heads_of_keys_and_values_divide_by_1_2_5_and_10(tmp_path: Path) -> None:
    phi = shape(tmp_path, "phi-3-medium")
    assert [n for n in range(1, 11) if heads_divide(phi, n)] == [1, 2, 5, 10]
    with pytest.raises(UsageError, match="set one of 1, 2, 5, 10"):
        choose(phi, described_gpus("4x24"), Wanted(tensor=4))


def test_a_pipeline_is_taken_where_heads_do_not_divide(tmp_path: Path) -> None:
    odd = shape(tmp_path, "llama-70b", num_attention_heads=62, num_key_value_heads=31)
    # 62 and 31 heads divide by 1 and 31 only
    assert short(choose(odd, described_gpus("3x24:8.6"), Wanted())).startswith("nf4 1x1x3")


def test_what_fits_in_no_way_is_refused_with_what_would(tmp_path: Path) -> None:
    others = [shape(tmp_path, "smollm2"), shape(tmp_path, "phi-3-medium")]
    with pytest.raises(DoesNotFit) as refused:
        choose(shape(tmp_path, "llama-70b"), described_gpus("2x24"), Wanted(), others)
    text = str(refused.value)
    assert "does not fit 2 x 24 GB" in text
    assert "18 billion parameters in 16 bit" in text or "19 billion parameters in 16 bit" in text
    assert text.endswith("of yours smollm2, phi-3-medium.")


def gpu(index: int, total: float, free: float, capability: float = 9.0) -> Gpu:
    return Gpu(index=index, name="H", total_gib=total, free_gib=free, capability=capability)


def test_memory_that_other_programs_hold_counts(tmp_path: Path) -> None:
    phi = shape(tmp_path, "phi-3-medium")
    busy = choose(phi, [gpu(0, 80, 29)], Wanted())
    assert busy.precision == "fp8"
    assert busy.pool.utilization * 80 < 29 - 0.6
    # the GPU that is full is left alone, and the plan says which it uses
    plan = choose(phi, [gpu(0, 80, 1), gpu(1, 80, 80)], Wanted())
    assert [one.index for one in plan.used] == [1]
    with pytest.raises(DoesNotFit, match=r"leave at most 0\.5 GiB of a GPU free"):
        choose(phi, [gpu(0, 80, 0.5)], Wanted())
    with pytest.raises(DoesNotFit, match="needs compute capability"):
        choose(phi, [gpu(0, 32, 32, 7.0)], Wanted())


def test_a_precision_that_is_asked_for_stays_whatever_others_hold(tmp_path: Path) -> None:
    subject = Subject(
        shape=shape(tmp_path, "phi-3-medium"), name="phi", device="cuda", precision="bf16"
    )
    settings = Settings(home=tmp_path)
    assert "26.0 GiB of weights leave room" in make_plan(subject, settings, [gpu(0, 45, 45)]).why
    with pytest.raises(DoesNotFit, match=r"phi-3-medium in 16 bit .* hold 20\.0 GiB of 1 x H"):
        make_plan(subject, settings, [gpu(0, 45, 25)])
    # where no idle GPU holds it either, the precision is named
    with pytest.raises(DoesNotFit, match="with precision = bf16, and would without"):
        make_plan(subject, settings, [gpu(0, 24, 20)])


def test_adapters_take_memory_of_the_cache(tmp_path: Path) -> None:
    phi, card = shape(tmp_path, "phi-3-medium"), described_gpus("1x48")
    alone = choose(phi, card, Wanted()).memory
    beside = choose(phi, card, Wanted(lora_ranks=4 * 64)).memory
    # rank 64 on seven projections: 2 bytes x 64 x 102,400 inputs and outputs x 40 layers, 4 times
    adapters = 4 * 2 * 64 * 102_400 * 40 / 2**30
    assert phi.lora_width == 40 * 102_400
    assert alone.cache_gib - beside.cache_gib > adapters > 1.9


def test_people_override_each_value(tmp_path: Path) -> None:
    phi, cards = shape(tmp_path, "phi-3-medium"), described_gpus("4x80:9.0")
    asked = Wanted(
        precision="fp8", tensor=2, data=1, max_model_len=1024, max_num_seqs=7,
        gpu_memory_utilization=0.5,
    )  # fmt: skip
    choice = choose(phi, cards, asked)
    assert (short(choice), choice.max_model_len) == ("fp8 1x2 7", 1024)
    assert choice.pool.utilization == 0.5
    with pytest.raises(DoesNotFit):
        choose(phi, cards, Wanted(data=5))


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"tensor": 5}, "tensor_parallel_size = 5"),
        ({"data": 9, "max_num_seqs": 8}, "data_parallel_size = 9"),
        ({"max_num_seqs": 100_000}, "max_num_seqs = 100000"),
        ({"gpu_memory_utilization": 1.0}, "gpu_memory_utilization = 1.0"),
        ({"tensor": 5, "data": 9}, "tensor_parallel_size = 5, data_parallel_size = 9"),
    ],
)
def test_a_value_that_is_in_the_way_is_named(
    tmp_path: Path, asked: dict[str, Any], named: str
) -> None:
    with pytest.raises(DoesNotFit, match=rf"4 x 24 GB with {named}, and would without"):
        choose(shape(tmp_path, "phi-3-medium"), described_gpus("4x24"), Wanted(**asked))


def test_values_that_no_hardware_can_have_are_refused_or_cut(tmp_path: Path) -> None:
    wide = choose(
        shape(tmp_path, "phi-3-medium"), described_gpus("1x24"), Wanted(max_model_len=10**6)
    )
    assert wide.max_model_len == 4096
    small = Subject(name="small", device="cpu", folder=folder(tmp_path, "smollm2"))
    for values, named in (
        ({"tensor_parallel_size": 2}, "heads of small"),
        ({"pipeline_parallel_size": 31}, "the 30 layers of small"),
        ({"data_parallel_size": 99}, "lower data_parallel_size"),
    ):
        with pytest.raises(Q2QError, match=named):
            make_plan(small, Settings(home=tmp_path, **values))


def test_memory_agrees_with_what_was_measured(tmp_path: Path) -> None:
    """Field figures: an H200 at 0.9 had a cache of 510,192 tokens, in 16 bit, 1024 sequences."""
    phi = shape(tmp_path, "phi-3-medium")
    assert phi.parameters == pytest.approx(13.96e9, rel=0.001)
    assert weight_bytes(phi, "bf16") == 2 * phi.parameters
    assert cache_bytes_per_token(phi, Split()) == 204_800
    assert cache_bytes_per_token(phi, Split(tensor=2)) == 102_400
    h200 = choose(phi, [gpu(0, 140.4, 140.0)], Wanted())
    assert h200.memory.cache_tokens == pytest.approx(510_192, rel=0.02)
    budget = h200.pool.budget_gib
    held = h200.memory.weights_gib + h200.memory.working_gib + h200.memory.cache_gib
    assert held == pytest.approx(budget, rel=0.001)


def test_the_counted_tensors_agree_with_the_formula(embedded_model: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((embedded_model / "config.json").read_bytes())
    counted, by_formula = read_shape(embedded_model), read_shape(tmp_path)
    assert counted.parameters == 134_515_008
    assert counted == by_formula.model_copy(update={"name": counted.name})


@pytest.mark.parametrize("key", ["num_key_value_heads", "head_dim", "max_position_embeddings"])
@pytest.mark.parametrize("value", ["three", 0, -1, True, [1]])
def test_a_size_that_is_none_is_told_by_its_name(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"does not say {key}"):
        shape(tmp_path, "phi-3-medium", **{key: value})
    assert shape(tmp_path, "smollm2", **{key: None}).head_dim == 64


def test_a_quantised_folder_is_served_as_it_comes(tmp_path: Path) -> None:
    stored = shape(tmp_path, "phi-3-medium", quantization_config={"quant_method": "awq"})
    stored = stored.model_copy(update={"stored_bytes": 8 * 2**30})
    choice = choose(stored, described_gpus("1x16:7.5"), Wanted())
    assert (choice.precision, choice.memory.weights_gib) == ("awq", 8.0)
    with pytest.raises(UsageError, match="quantised already"):
        choose(stored, described_gpus("1x16:7.5"), Wanted(precision="fp8"))


@pytest.mark.parametrize(
    ("gpus", "parts"),
    [
        ("1x16:7.5", ("4 bit", "one engine on 1 x 16 GB (15 GiB)", "capability 8.9", "float16")),
        ("2x24", ("FP8", "2 engines", "16 bit (26.0 GiB of weights) leaves too little room")),
        ("2x24:8.6", ("16 bit", "one engine of 2 GPUs", "tensor parallel")),
        ("3x24:8.6", ("one GPU stays unused",)),
        ("1x48", ("26.0 GiB of weights leave room for the cache", "256 sequences at once")),
    ],
)
def test_one_sentence_tells_the_choice_and_why(
    tmp_path: Path, gpus: str, parts: tuple[str, ...]
) -> None:
    phi, cards = shape(tmp_path, "phi-3-medium"), described_gpus(gpus)
    sentence = explain(phi, choose(phi, cards, Wanted()), cards)
    assert sentence.startswith("phi-3-medium in ")
    for part in parts:
        assert part in sentence
    japanese = translate_message(sentence, "ja")
    assert "同時に" in japanese
    for english in (" engine", " weights", "tensor", " GPUs", " since "):
        assert english not in japanese


def test_the_plan_carries_what_the_server_is_started_with(tmp_path: Path) -> None:
    subject = Subject(
        folder=folder(tmp_path, "phi-3-medium"), name="phi", context_length=4096, device="cuda"
    )
    settings = Settings(home=tmp_path)
    plan = make_plan(subject, settings, [gpu(0, 15, 0.2, 7.5), gpu(1, 15, 15, 7.5)])
    assert (plan.precision, plan.dtype, plan.gpus) == ("nf4", "float16", (1,))
    assert plan.memory is not None
    assert plan.memory.total_gib < 15
    again = ServingPlan.model_validate_json(plan.model_dump_json())
    assert translate_message(again.why, "ja") == translate_message(plan.why, "ja") != plan.why
    unknown = make_plan(subject, settings, [])
    assert (unknown.max_num_seqs, unknown.memory) == (256, None)
    on_cpu = Subject(folder=subject.folder, name="phi", context_length=4096, device="cpu")
    with pytest.raises(DoesNotFit, match="does not fit this machine"):
        make_plan(on_cpu, Settings(home=tmp_path, kv_cache_gib=100_000))


def test_gpus_are_read_from_nvidia_smi() -> None:
    listed = "0, NVIDIA H200, 143771, 143100, 9.0\n1, Tesla T4, 15360, 1024, 7.5\n"
    first, second = read_gpus(listed)
    assert (first.name, round(first.total_gib, 1), first.capability) == ("H200", 140.4, 9.0)
    assert (second.index, second.free_gib) == (1, 1.0)


@pytest.mark.parametrize("text", ["", "2", "0x24", "2x", "x24", "2x24:9", "999x24", "1x0"])
def test_cards_that_are_described_otherwise_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="such as 2x24"):
        described_gpus(text)


def test_described_cards_have_the_memory_that_is_there() -> None:
    t4, h100 = described_gpus("1x16:7.5, 1x80:9.0")
    assert (t4.total_gib, t4.capability) == (15.0, 7.5)
    assert (h100.index, h100.total_gib, h100.capability) == (1, pytest.approx(79.2), 9.0)


README = Path(__file__).parents[2] / "README.md"
ROW = re.compile(r"^\| [^|]*\(`(\d+x[^`]+)`\) \|[^|]*\| ([^|]+) \|", re.MULTILINE)


@pytest.mark.parametrize(("gpus", "chosen"), ROW.findall(README.read_text("utf-8")))
def test_the_table_of_the_readme_says_what_is_chosen(
    tmp_path: Path, gpus: str, chosen: str
) -> None:
    cards, phi = described_gpus(gpus), shape(tmp_path, "phi-3-medium")
    choice = choose(phi, cards, Wanted())
    parts = [str(PRECISION_NAMES[choice.precision])]
    if choice.pool.capability < 8:
        parts.append("float16" if choice.data == 1 else "2 engines")
    elif choice.data > 1:
        parts.append(f"{choice.data} engines")
    elif choice.split.gpus > 1:
        parts.append(f"one engine of {choice.split.gpus} GPUs")
    assert chosen == f"{', '.join(parts)}; {choice.data * choice.max_num_seqs} sequences"
