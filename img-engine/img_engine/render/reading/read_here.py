"""Pictures that are opened and decoded here rather than by one of Pillow's decoders."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from PIL import Image, ImageFile


class ReadHere(ImageFile.ImageFile):
    """An opened picture, which Pillow's callers may load when they need its pixels."""

    def load(self) -> Any:
        """Decode, and become the decoded picture."""
        image = self._decoded()
        self.__class__ = image.__class__  # type: ignore[assignment]  # as Pillow's StubImageFile does
        self.__dict__ = image.__dict__
        return image.load()

    @abstractmethod
    def _decoded(self) -> Image.Image:
        """Return the picture with its pixels."""
