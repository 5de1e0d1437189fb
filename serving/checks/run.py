"""All checks of one text at once; each name is found at most once."""

from serving.checks.findings import CheckContext, Finding
from serving.checks.form import leftover_problem, length_problem, reasoning_form_problem
from serving.checks.ignorance import ignorance
from serving.checks.language import answer_language_problem, reasoning_language_problem
from serving.checks.leak import find_leak
from serving.checks.repetition import repetition_problem
from serving.checks.sentences import split_sentences


def check_reasoning(text: str, ctx: CheckContext) -> list[Finding]:
    """Return what there is to say against ``text`` as a reasoning, in the order of ``CHECKS``.

    A leak is looked for in ``ctx.reference_answer`` and, where it is known, in ``ctx.answer``.
    """
    sentences = split_sentences(text)
    if not any(map(str.isalnum, text)):
        return _of_generation(ctx, is_empty=True)
    return _of_generation(ctx, is_empty=False) + _found(
        length=length_problem(text, sentences),
        form=reasoning_form_problem(text, sentences, ctx),
        language=reasoning_language_problem(text, ctx),
        repetition=repetition_problem(text, sentences, ctx.role),
        answer_leak=_reference_leak(text, ctx) or _answer_leak(text, ctx.answer, ctx),
    )


def check_answer(text: str, ctx: CheckContext, reasoning: str | None = None) -> list[Finding]:
    """Return what there is to say against ``text`` as an answer, in the order of ``CHECKS``.

    ``answer_leak`` here says that its ``reasoning`` held this answer already.
    """
    sentences = split_sentences(text)
    if not any(map(str.isalnum, text)):
        return _of_generation(ctx, is_empty=True)
    return _of_generation(ctx, is_empty=False) + _found(
        form=leftover_problem(text, ctx),
        language=answer_language_problem(text, ctx),
        repetition=repetition_problem(text, sentences, ctx.role),
        answer_leak=_answer_leak(reasoning, text, ctx),
        dont_know=ignorance(text, sentences),
    )


def _of_generation(ctx: CheckContext, *, is_empty: bool) -> list[Finding]:
    return _found(
        empty="no word" if is_empty else None,
        unparsed=ctx.unparsed,
        cut_off="stopped at the token limit" if ctx.finish_reason == "length" else None,
        content_filter=_FILTERED if ctx.finish_reason == "content_filter" else None,
        unusual_end=_unusual_end(ctx.finish_reason),
        prompt_cut=ctx.prompt_problem,
    )


_FILTERED = "ended by a content filter of the server"
_USUAL = (None, "stop", "length", "content_filter")


def _unusual_end(finish_reason: str | None) -> str | None:
    if finish_reason in _USUAL:
        return None
    if finish_reason == "unknown":
        return "the server did not say why the text ended"
    return f"the server ended it: {finish_reason}"[:120]


def _found(**details: str | None) -> list[Finding]:
    return [Finding(name, detail) for name, detail in details.items() if detail is not None]


def _reference_leak(reasoning: str, ctx: CheckContext) -> str | None:
    if not ctx.reference_answer:
        return None
    leak = find_leak(reasoning, ctx.reference_answer, ctx.question, ctx.context, exact=True)
    return leak and f"reference answer: {leak}"


def _answer_leak(reasoning: str | None, answer: str | None, ctx: CheckContext) -> str | None:
    if not reasoning or not answer:
        return None
    leak = find_leak(reasoning, answer, ctx.question, ctx.context, exact=False)
    return leak and f"answer: {leak}"
