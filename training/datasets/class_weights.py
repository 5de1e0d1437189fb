"""How much OK and not OK rows weigh, so that many of one kind do not drown few of the other.

KTO (Ethayarajh, Xu, Muennighoff, Jurafsky and Kiela, "KTO: Model Alignment as Prospect Theoretic
Optimization", 2024, section 4.2) asks for the weighted numbers of desirable and undesirable rows to
stand between 1:1 and 4:3; outside of that, the rarer kind is weighed up to the nearer end.
"""

MIN_RATIO, MAX_RATIO = 1.0, 4 / 3


def is_even(n_ok: int, n_not_ok: int) -> bool:
    """Tell whether rows with equal weights stand within the range."""
    return MIN_RATIO * n_not_ok <= n_ok <= MAX_RATIO * n_not_ok


def class_weights(n_ok: int, n_not_ok: int) -> tuple[float, float]:
    """Return the weights of OK and of not OK rows; 1 and 1 where there is only one kind."""
    if not n_ok or not n_not_ok or is_even(n_ok, n_not_ok):
        return 1.0, 1.0
    if n_ok < n_not_ok:
        return round(MIN_RATIO * n_not_ok / n_ok, 4), 1.0
    return 1.0, round(n_ok / (MAX_RATIO * n_not_ok), 4)
