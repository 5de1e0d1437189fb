"""Servers that are simply there, for tests and benchmarks."""

from collections.abc import Collection

from serving.engine.client import ServedModel


class FixedEngines:
    """Servers that are simply there."""

    def __init__(self, served: Collection[ServedModel], *, together: bool = True) -> None:
        self._served = {model.model_version_id: model for model in served}
        self._together = together
        self.served_groups: list[frozenset[int]] = []
        """Every group that was asked for, in order."""

    def groups(self, model_version_ids: Collection[int]) -> list[frozenset[int]]:
        """Return one set, or one for each model where they are not served together."""
        if self._together:
            return [frozenset(model_version_ids)]
        return [frozenset({one}) for one in model_version_ids]

    async def serve(self, group: frozenset[int]) -> dict[int, ServedModel]:
        """Return the models of ``group`` at once."""
        self.served_groups.append(group)
        return {one: self._served[one] for one in group}
