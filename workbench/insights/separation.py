"""Intervals where nearly all comparisons say the same, so that curvatures tell nothing.

Of 399 wins and one loss the likelihood is far from a normal curve, and leaving out the one question
with the loss changes everything. The estimate is then read as a share among an effective number of
independent comparisons, of which the exact binomial interval is taken: Korn and Graubard,
"Confidence Intervals for Proportions with Small Expected Number of Positive Counts Estimated from
Survey Data" (Survey Methodology, 1998); Clopper and Pearson (Biometrika, 1934).
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from workbench.insights.resampling import LEVEL, Array

FEW_POINTS, SMALL_SHARE = 10.0, 0.12
"""A level that won, or lost, fewer points than that and a smaller share is nearly separated."""
TINY = 1e-9


def nearly_separated(won: Array, lost: Array) -> Array:
    """Return which levels won or lost (next to) everything, given their points."""
    fewer = np.minimum(won, lost)
    return np.asarray((fewer < FEW_POINTS) & (fewer < SMALL_SHARE * (won + lost)))


@dataclass(frozen=True, slots=True)
class Separation:
    """Which of the leads that are shown need exact intervals; arrays of shape (n,)."""

    sparse: Array
    """Where (next to) all comparisons say the same."""
    scale: Array
    """Makes a lead over the mean one over all others, of which a share of points is known."""
    met: Array
    """Comparisons that tell of it; they count no more than they are."""

    def exact_ends(self, leads: Array, variances: Array, imagined: float) -> tuple[Array, Array]:
        """Return both ends of intervals of the sparse leads; infinite where all say the same.

        Args:
            leads: On the scale of log odds; the sparse ones only, as all that is given here.
            variances: Of the leads, if comparisons were independent; imagined ones included.
            imagined: Points that either side has from imagined ties, taken off again.
        """
        scale = self.scale[self.sparse]
        chance = expit(leads * scale)
        effective = 1 / (variances * scale**2 * chance * (1 - chance))
        effective = np.minimum(effective, self.met[self.sparse] + 2 * imagined)
        won, lost = effective * chance - imagined, effective * (1 - chance) - imagined
        # Less than half a point is what imagined ties leave, and none that was seen.
        won, lost = (np.where(points < 0.25, 0.0, points) for points in (won, lost))
        tail = (1 - LEVEL) / 2
        low = np.where(won > 0, stats.beta.ppf(tail, np.maximum(won, TINY), lost + 1), 0.0)
        high = np.where(lost > 0, stats.beta.isf(tail, won + 1, np.maximum(lost, TINY)), 1.0)
        with np.errstate(divide="ignore"):
            return logit(low) / scale, logit(high) / scale
