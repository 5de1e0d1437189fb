"""What people named, as it is called in the language of the visit: models' notes, rating axes."""

from db.models import ModelRow
from db.settings import settings
from workbench.rating.axes import load_axes
from workbench.ui.components.i18n import current_language, has, t
from workbench.ui.components.sentences import said
from workbench.ui.components.text import escaped, one_line


def model_note(model: ModelRow) -> str | None:
    """Return what is noted of a model, for markdown; the catalogue's words of a built-in one."""
    key = f"model.note.{model.name}"
    if has(key):
        return t(key)
    return escaped(said(model.note)) if model.note else None


def axis_label(name: str, words: str) -> str:
    """Return the label of a rating axis, or its name where no file of axes has it any more.

    Args:
        name: Of the axis, or of another kind of judgement, such as ``preference``.
        words: Prefix of the catalogue's keys for these other kinds.
    """
    if has(f"{words}.{name}"):
        return t(f"{words}.{name}")
    axes = (axis for own in load_axes(settings().home_dir).values() for axis in own)
    found = next((axis for axis in axes if axis.name == name), None)
    return one_line(found.said(found.label, current_language())) if found else name
