"""Whether the modules that a run is to train are in its base, and can be trained there."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from db.errors import UsageError
from serving.models.adapters import EMBEDDING, HEAD, linear_modules, shares_embeddings


def check_targets(base: Path, name: str, targets: Sequence[str]) -> None:
    """Return if each of ``targets`` names modules of the base that an adapter can hold.

    Raises:
        UsageError: One matches no module, or is a layer that the base uses twice.
    """
    modules = linear_modules(base)
    tied = [target for target in targets if target.rpartition(".")[2] in (EMBEDDING, HEAD)]
    if tied and shares_embeddings(base):
        raise UsageError(
            f"targets: {name} uses one tensor for {EMBEDDING} and {HEAD}, so that an adapter on "
            f"{' or '.join(tied)} can be neither served beside it nor merged; leave it out."
        )
    strange = [target for target in targets if not _matches(target, modules)]
    if strange:
        known = sorted({module.rpartition(".")[2] for module in modules} - {EMBEDDING, HEAD})
        raise UsageError(
            f"targets: {name} has no module called {', '.join(strange)}; it has {', '.join(known)}."
        )


def _matches(target: str, modules: Iterable[str]) -> bool:
    """Say whether PEFT finds a module by this name: whole, or the end of it after a dot."""
    return any(module == target or module.endswith(f".{target}") for module in modules)
