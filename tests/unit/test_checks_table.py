"""The table of checks is the one place that names them: the page and the guide agree with it."""

import re
from pathlib import Path

from serving.checks import (
    BAD_FINDINGS,
    CHECKS,
    UNUSABLE_FINDINGS,
    CheckContext,
    check_answer,
    check_reasoning,
)
from training.datasets.rules import DemonstrationRules
from workbench.rating.sources import QueueSpec

GUIDE = Path(__file__).parents[2] / "docs" / "checks.md"
ON = {"both": {"reasoning", "answer"}, "reasonings": {"reasoning"}, "answers": {"answer"}}


def test_the_guide_lists_every_check_in_the_order_of_the_table() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", GUIDE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [name for name, _ in rows] == list(CHECKS)
    assert {name: ON[on] for name, on in rows} == {
        name: set(info.applies_to) for name, info in CHECKS.items()
    }


def test_one_list_of_bad_findings_serves_rules_and_queues_and_the_guide_tells_it() -> None:
    told = dict(re.findall(r"^\| `(\w+)` .* \| (\w*) \|$", GUIDE.read_text("utf-8"), re.MULTILINE))
    assert told == {name: info.severity for name, info in CHECKS.items()}
    assert set(UNUSABLE_FINDINGS) < set(BAD_FINDINGS) < set(CHECKS)
    rules = DemonstrationRules.model_validate({"name": "x", "take": {"ok": True}})
    assert rules.findings == QueueSpec(name="x").leave_out == BAD_FINDINGS


def test_the_example_of_the_guide_is_true() -> None:
    ctx = CheckContext(question="What is six times seven?", reference_answer="42")
    findings = check_reasoning("You should multiply and say 42.", ctx)
    assert [str(finding) for finding in findings] == [
        "Finding(name='answer_leak', detail='reference answer: 42')"
    ]
    assert "Finding(name='answer_leak', detail='reference answer: 42')" in GUIDE.read_text("utf-8")


def test_texts_get_only_findings_that_apply_to_them() -> None:
    bad = "the assistant 我不知道。 " * 60
    ctx = CheckContext(question="Why?", finish_reason="length", unparsed="no tag", answer=bad)
    for finding in check_reasoning(bad, ctx):
        assert "reasoning" in CHECKS[finding.name].applies_to
    for finding in check_answer(bad, ctx, bad):
        assert "answer" in CHECKS[finding.name].applies_to
