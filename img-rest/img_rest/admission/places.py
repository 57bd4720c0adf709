"""A bound on what takes a thread for long, so that one kind of request never keeps the others out."""

from __future__ import annotations

import threading

from img_rest.errors import UploadsFull


class UploadPlaces:
    """So many uploads may be under way at once; a further one is refused. A context manager for one upload."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._places = threading.BoundedSemaphore(most)

    def __enter__(self) -> None:
        if not self._places.acquire(blocking=False):
            raise UploadsFull(
                f"expected fewer than {self._most} uploads under way, found {self._most}; try again later",
                limit=self._most,
                actual=self._most,
            )

    def __exit__(self, *_: object) -> None:
        self._places.release()
