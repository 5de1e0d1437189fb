"""What came of a blind comparison, in words of either language."""

from workbench.i18n import Language, translate
from workbench.insights.duels import Duel
from workbench.rounds.evidence import PEOPLE
from workbench.rounds.numbers import figure


def raters_of(duel: Duel, language: Language) -> str:
    """Return who judged: people, or models."""
    return translate(f"duel.by.{duel.raters}", language)


def outcome(duel: Duel, language: Language) -> str:
    """Return the sentence that says which model is preferred, if either."""
    sure = {True: "better", False: "worse", None: "open"}[duel.is_better]
    return translate(
        f"duel.said.{sure}",
        language,
        raters=raters_of(duel, language),
        model=duel.model,
        against=duel.against,
    )


def figures_of(duel: Duel, language: Language) -> str:
    """Return the share of points with its interval, and what it rests on."""
    return translate(
        "duel.figures",
        language,
        points=figure(duel.points, PEOPLE),
        won=figure(duel.won, PEOPLE),
        tied=figure(duel.tied, PEOPLE),
        lost=figure(duel.lost, PEOPLE),
        n=duel.n_judgements,
        questions=duel.n_questions,
        people=duel.n_raters,
        both_bad=duel.both_bad,
    )


def by_rater(duel: Duel, language: Language) -> list[str]:
    """Return the share of points in the eyes of each rater, where they are told apart."""
    return [
        f"{translate('duel.rater', language, n=place)}: {figure(one, PEOPLE)}"
        for place, one in enumerate(duel.by_rater, 1)
    ]
