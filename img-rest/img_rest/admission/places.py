"""A limit on the uploads under way: each takes a thread for long, and some must be left for other requests."""

from __future__ import annotations

import threading

from img_rest.errors import UploadsFull


class UploadPlaces:
    """Lets so many uploads be under way at a time; a context manager for one. Entering it raises UploadsFull."""

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
