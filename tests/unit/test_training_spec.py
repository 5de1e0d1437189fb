"""Specs of training runs: presets exact, the choice by device told, mistakes told all at once."""

from pathlib import Path
from typing import Any

import pytest

from db.errors import UsageError
from serving.engine.shape import DEFAULT_SHAPE, shape_of
from training.child.events import check_finite, failure_of
from training.methods import METHODS, ROW_KINDS, methods_for
from training.runs.prepare import looked_at
from training.runs.presets import PRESETS, RunSettings, choose_preset, preset_gib
from training.runs.process import check_report_to, exit_sentence, sentence
from training.runs.spec import choose_method, load_spec, on_gpus, parse_spec, resolve
from workbench.i18n import translate_message

EXAMPLES = Path(__file__).parents[2] / "examples" / "training_runs"


def test_notebook_is_the_notebook() -> None:
    assert PRESETS["notebook"].model_dump() == {
        "r": 16, "alpha": 16, "dropout": 0.0,
        "targets": ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        "learning_rate": 2e-4, "schedule": "linear", "warmup": 5, "max_steps": 100,
        "epochs": None, "batch": 2, "accumulation": 4, "max_length": 2048, "packing": False,
        "recomputation": "unsloth", "base_precision": "nf4", "layers": "unsloth",
        "optimizer": "adamw_8bit",
        "weight_decay": 0.01, "seed": 3407, "eval_every": 25, "save_every": 25, "samples": 3,
        "loss_on": "all", "beta": 0.1, "desirable_weight": 1.0,
        "undesirable_weight": 1.0, "processes": 1, "nodes": 1, "rendezvous": None,
        "report_to": "none",
    }  # fmt: skip


def test_fast_packs_and_max_keeps_activations() -> None:
    fast, largest = PRESETS["fast"], PRESETS["max"]
    assert (fast.packing, fast.batch, fast.accumulation, fast.recomputation) == (
        True, 4, 1, "unsloth",
    )  # fmt: skip
    assert (largest.packing, largest.batch, largest.max_length, largest.recomputation) == (
        True, 4, 2048, "none",
    )  # fmt: skip
    assert PRESETS["laptop"].base_precision == "bf16"
    assert (fast.base_precision, largest.base_precision) == ("nf4_fp8", "fp8")
    assert fast.layers == largest.layers == "compiled"


@pytest.mark.parametrize(
    ("device", "memory", "preset"),
    [
        ("cpu", 0, "laptop"),
        ("cuda", 141, "max"),
        ("cuda", 24, "24gb"),
        ("cuda", 16, "fast"),
        ("cuda", 10, "notebook"),
    ],
)
def test_the_default_looks_at_the_device_and_says_why(
    device: Any, memory: float, preset: str
) -> None:
    chosen, why = choose_preset(device, memory)
    assert chosen == preset
    assert why.startswith(f"{preset}: ")
    assert device == "cpu" or f"{memory} GiB" in why


@pytest.mark.parametrize(
    ("gpus", "rows", "told", "processes"),
    [
        (1, 9999, {}, 1), (4, 9999, {}, 4), (8, 1000, {}, 2), (4, 100, {}, 1),
        (4, 9, {"processes": 3}, 3), (4, 9999, {"packing": False}, 4),
        (4, 130, {"packing": False, "processes": "auto"}, 2),
    ],
)  # fmt: skip
def test_each_gpu_gets_a_process_as_far_as_there_are_rows(
    gpus: int, rows: int, told: dict[str, Any], processes: int
) -> None:
    spec = parse_spec({"dataset": "a", "preset": "max", **told})
    found = on_gpus(resolve(spec, "sft", "cuda", 141), spec, gpus, rows)
    assert found.settings.processes == processes
    assert ("processes is" in found.why) == (gpus > 1 and processes != 3)


def test_nodes_and_where_they_meet_are_given_together() -> None:
    for one in ({"nodes": 2}, {"rendezvous": "a:1"}):
        with pytest.raises(UsageError, match="together"):
            parse_spec({"dataset": "a", **one})
    both = parse_spec({"dataset": "a", "nodes": 2, "rendezvous": "a:29500"})
    assert resolve(both, "sft", "cpu", 0).settings.world_size == 2


@pytest.mark.parametrize(
    ("memory", "preset"),
    [(11.25, "notebook"), (15, "fast"), (22.5, "24gb"), (45, "24gb"), (79.2, "max"), (140, "max")],
)
def test_a_14b_base_takes_the_preset_that_its_card_holds(memory: float, preset: str) -> None:
    assert choose_preset("cuda", memory)[0] == preset


def test_presets_follow_the_size_of_the_base() -> None:
    small = shape_of(
        {
            "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
            "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
            "tie_word_embeddings": True,
        },
        "llama-1b",
    )  # fmt: skip
    assert choose_preset("cuda", 22.5, small)[0] == "max"
    assert "1.2 billion parameters" in choose_preset("cuda", 22.5, small)[1]
    # measured on one H200 with the default base: benchmarks/results/training_fast_h200.json
    assert preset_gib("fast", DEFAULT_SHAPE) == pytest.approx(11.9, rel=0.03)
    assert preset_gib("max", DEFAULT_SHAPE) == pytest.approx(86.3 - 12.7, rel=0.03)


def test_what_is_told_wins_over_the_preset() -> None:
    spec = parse_spec({"dataset": 3, "preset": "fast", "epochs": 2, "r": 8})
    settings = resolve(spec, "sft", "cuda", 24).settings
    assert (settings.r, settings.epochs, settings.max_steps, settings.alpha) == (8, 2, None, 16)
    assert spec.dataset == "3"


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UsageError) as told:
        parse_spec({"dataset": "a", "learning_rat": 1, "r": 0, "preset": "huge"})
    text = str(told.value)
    assert "did you mean learning_rate" in text
    assert "r: " in text
    assert "preset: " in text


@pytest.mark.parametrize(
    ("values", "kind", "device", "named"),
    [
        ({"packing": True}, "sft", "cpu", "packing"),
        ({"load_in_4bit": True}, "sft", "cpu", "load_in_4bit"),
        ({"packing": True}, "dpo", "cuda", "packing"),
        ({"batch": 1}, "kto", "cpu", "batch"),
        ({"method": "orpo"}, "sft", "cpu", "ORPO trains on pairs .* choose one of sft"),
        ({"method": "kto"}, "dpo", "cpu", "choose one of dpo, orpo"),
        ({"method": "orpo", "packing": True}, "dpo", "cuda", "packing"),
    ],
)
def test_what_the_device_or_method_cannot_do_is_refused(
    values: dict[str, Any], kind: str, device: Any, named: str
) -> None:
    with pytest.raises(UsageError, match=named):
        resolve(parse_spec({"dataset": "a", **values}), kind, device, 24)


def test_a_preset_for_gpus_is_fitted_to_a_cpu_and_says_so() -> None:
    resolved = resolve(parse_spec({"dataset": "a", "preset": "notebook"}), "sft", "cpu", 0)
    assert resolved.settings.base_precision == "bf16"
    assert "base_precision is bf16" in resolved.why
    told = translate_message(resolved.why, "ja")
    assert told.startswith("notebook：指定されたプリセットです。base_precision は bf16：4 ビット")
    cpu = resolve(parse_spec({"dataset": "a"}), "sft", "cpu", 0).why
    assert "GPU がない" in translate_message(cpu, "ja")
    gpu = resolve(parse_spec({"dataset": "a"}), "sft", "cuda", 24).why
    assert "GPU は 24 GiB" in translate_message(gpu, "ja")


def test_runs_made_before_there_was_a_base_precision_are_read() -> None:
    older = PRESETS["notebook"].model_dump(exclude={"base_precision", "layers"})
    for in_4bit, precision in ((True, "nf4"), (False, "bf16")):
        settings = RunSettings(**older, load_in_4bit=in_4bit)
        assert (settings.base_precision, settings.layers) == (precision, "unsloth")
        spec = parse_spec({"dataset": "a", "preset": "fast", "load_in_4bit": in_4bit})
        assert resolve(spec, "sft", "cuda", 24).settings.base_precision == precision


def test_fp8_takes_a_gpu_that_has_it_and_compiled_layers() -> None:
    spec = {"dataset": "a", "preset": "max", "base_precision": "fp8"}
    compiled = parse_spec({**spec, "layers": "compiled"})
    assert resolve(compiled, "sft", "cuda", 141).settings.base_precision == "fp8"
    with pytest.raises(UsageError, match=r"base_precision: .*8\.9"):
        resolve(compiled, "sft", "cuda", 80, capability=8.0)
    with pytest.raises(UsageError, match="set layers: compiled"):
        resolve(parse_spec({**spec, "layers": "unsloth"}), "sft", "cuda", 141)


@pytest.mark.parametrize(
    ("capability", "precision", "layers"),
    [(9.0, "fp8", "compiled"), (8.0, "nf4", "compiled"), (7.5, "nf4", "unsloth")],
)
def test_presets_are_fitted_to_older_gpus(capability: float, precision: str, layers: str) -> None:
    asked = parse_spec({"dataset": "a", "preset": "max"})
    resolved = resolve(asked, "sft", "cuda", 80, capability=capability)
    settings = resolved.settings
    assert (settings.base_precision, settings.layers) == (precision, layers)
    assert ("FP8" in resolved.why) == (capability < 8.9)


def test_looks_at_held_out_rows_stay_short_beside_the_steps() -> None:
    looks = {name: looked_at(settings) for name, settings in PRESETS.items()}
    assert looks == {"laptop": 64, "notebook": 80, "fast": 200, "24gb": 200, "max": 200}
    assert looked_at(PRESETS["laptop"].model_copy(update={"eval_every": 2})) == 16


def test_curves_go_elsewhere_only_where_the_package_is_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    installed = {"tensorboardX"}
    monkeypatch.setattr("training.runs.process.find_spec", lambda name: name in installed or None)
    check_report_to("none")
    check_report_to("tensorboard")
    with pytest.raises(UsageError, match=r"report_to: .*trackio is not installed .*uv pip install"):
        check_report_to("trackio")


def test_length_is_given_one_way() -> None:
    with pytest.raises(UsageError, match="max_steps or epochs"):
        parse_spec({"dataset": "a", "max_steps": 1, "epochs": 1})


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_loads(path: Path) -> None:
    assert load_spec(path).dataset


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "memory"),
        (MemoryError(), "memory"),
        (OSError(28, "No space left on device"), "disk"),
        (RuntimeError("PytorchStreamWriter failed: No space left on device"), "disk"),
        (ValueError("odd"), "bug"),
    ],
)
def test_the_child_tells_memory_and_disk_from_bugs(error: Exception, kind: str) -> None:
    assert failure_of(error)["kind"] == kind


def test_failures_name_the_setting_to_change(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert "recomputation: unsloth" in sentence("memory", "", PRESETS["max"], log)
    assert "batch: 2 (now 4)" in sentence("memory", "", PRESETS["fast"], log)
    small = PRESETS["fast"].model_copy(update={"batch": 1})
    assert "max_length: 1024" in sentence("memory", "", small, log)
    assert "save_every" in sentence("disk", "", small, log)
    assert str(log) in sentence("bug", "odd", small, log)
    assert "batch: 2" in exit_sentence(-9, PRESETS["fast"], log, on_gpu=False)


def test_a_kind_of_rows_trains_by_its_usual_method_unless_another_one_is_asked_for() -> None:
    assert [methods_for(kind)[0] for kind in ROW_KINDS] == list(ROW_KINDS)
    assert choose_method(parse_spec({"dataset": "a"}), "dpo") == "dpo"
    assert choose_method(parse_spec({"dataset": "a", "method": "orpo"}), "dpo") == "orpo"
    assert all(set(one.settings) <= set(RunSettings.model_fields) for one in METHODS.values())


def test_a_loss_that_is_no_number_ends_the_run_with_a_remedy() -> None:
    check_finite(0.5, 3)
    with pytest.raises(ArithmeticError) as told:
        check_finite(float("nan"), 3)
    assert "step 3; set a lower learning_rate" in failure_of(told.value)["message"]
