"""What can be wrong with a model that is to be added."""

from db.errors import UsageError


class ModelError(UsageError):
    """A model folder or hub id cannot be used; the sentence says why and what to do."""
