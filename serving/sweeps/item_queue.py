"""What a sender sends, in order of arrival: items that can share a request are taken together."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class Item(Protocol):
    """Completions of one prompt."""

    is_alone: bool
    """Not to be sent together with others."""

    @property
    def size(self) -> int:
        """Number of completions."""

    @property
    def goes_first(self) -> bool:
        """Whether it is sent before those that were queued earlier."""

    @property
    def prompt_hash(self) -> str:
        """Tells which prompt took a server down."""

    @property
    def request_key(self) -> Hashable:
        """Equal for items that one request can carry."""


ItemT = TypeVar("ItemT", bound=Item)


class ItemQueue(Generic[ItemT]):
    """Items in order of arrival, those that can share a request taken together."""

    def __init__(self) -> None:
        self._by_key: OrderedDict[Hashable, deque[ItemT]] = OrderedDict()
        self.n_sequences = 0

    def put(self, item: ItemT) -> None:
        """Add ``item`` at the end."""
        key = (item.request_key, id(item) if item.is_alone else None)
        self._by_key.setdefault(key, deque()).append(item)
        self.n_sequences += item.size

    def first(self) -> ItemT:
        """Return the item that is taken next."""
        return next(iter(self._by_key.values()))[0]

    def take(self, max_sequences: int) -> list[ItemT]:
        """Return at least one item, and more of its kind up to ``max_sequences``."""
        key, items = next(iter(self._by_key.items()))
        size = items[0].size
        taken = [items.popleft()]
        while items and (len(taken) + 1) * size <= max_sequences:
            taken.append(items.popleft())
        if not items:
            del self._by_key[key]
        self.n_sequences -= size * len(taken)
        return taken

    def __bool__(self) -> bool:
        return bool(self._by_key)


async def until(changed: asyncio.Event, holds: Callable[[], bool]) -> None:
    """Return once ``holds`` does, looking again whenever ``changed`` is set."""
    while not holds():
        changed.clear()
        await changed.wait()
