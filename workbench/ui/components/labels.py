"""Numbers, models and rating axes, as people read them in the language of the visit."""

from datetime import UTC, datetime

from db.models import ModelRow
from db.settings import settings
from workbench.i18n import has
from workbench.rating.axes import load_axes
from workbench.ui.components.i18n import current_language, t
from workbench.ui.components.text import one_line, told


def model_note(model: ModelRow) -> str | None:
    """Return what is noted of a model, for markdown; the catalogue's words of a built-in one."""
    key = f"model.note.{model.name}"
    if has(key):
        return t(key)
    return told(model.note) if model.note else None


def axis_label(name: str, texts: str) -> str:
    """Return the label of a rating axis, or its name where no file of axes has it any more.

    Args:
        name: Of the axis, or of another kind of judgement, such as ``preference``.
        texts: Prefix of the catalogue's keys for these other kinds.
    """
    if has(f"{texts}.{name}"):
        return t(f"{texts}.{name}")
    axes = (axis for own in load_axes(settings().home_dir).values() for axis in own)
    found = next((axis for axis in axes if axis.name == name), None)
    return one_line(found.label_in(found.label, current_language())) if found else name


def count(value: int | None) -> str:
    """Return ``value`` with separators; a dash where it is unknown."""
    return "–" if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Return a length of time in its two largest units."""
    if seconds is None:
        return "–"
    total = max(0, round(seconds))
    if total < 60:
        return t("time.seconds", s=total)
    minutes, rest = divmod(total, 60)
    if minutes < 60:
        return t("time.minutes", m=minutes, s=rest) if minutes < 10 else t("time.about", m=minutes)
    hours, minutes = divmod(minutes, 60)
    return t("time.hours", h=hours, m=minutes)


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """Return how long ago ``moment`` was, in words."""
    if moment is None:
        return "–"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if seconds < 60:
        return t("time.just_now")
    if seconds < 3_600:
        return t("time.minutes_ago", m=int(seconds // 60))
    if seconds < 86_400:
        return t("time.hours_ago", h=int(seconds // 3_600))
    return t("time.days_ago", d=int(seconds // 86_400))


def percent(part: float, total: float) -> str:
    """Return ``part`` of ``whole`` as a percentage; a dash where there is no whole.

    With one digit more beside 0 and 100: what is not certain must not read so.
    """
    if not total:
        return "–"
    share = 100 * part / total
    if min(abs(share), abs(share - 100)) < 1e-6 or round(share) not in (0, 100):
        return f"{share:.0f} %"
    return f"{min(99.9, max(0.1, share)):.1f} %"


def size(n_bytes: int | None) -> str:
    """Return a size in MB or GB."""
    if n_bytes is None:
        return "–"
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"


def parameters(n: int | None) -> str:
    """Return a number of weights, in millions or billions."""
    if n is None:
        return "–"
    return f"{n / 1e9:.1f} B" if n >= 1e9 else f"{n / 1e6:.0f} M"
