"""One uploaded file: limited in size, checked by its first bytes, and written to the submission."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from img_contract.config import LimitsConfig
from img_contract.failpoints import failpoint
from img_contract.job.formats import SIGNATURE_BYTES, sniff
from img_contract.ports import UploadedFile

from img_rest.errors import NotAPicture, UploadMissing, UploadTooLarge

FILE_FIELD: Final = "file"
WATERMARK_FIELD: Final = "watermark"
PORTION_BYTES: Final = 256 * 1024
"""How much of a body is read at once."""


@dataclass
class Upload:
    """What came with a request besides its files, which are in the submission."""

    filename: str | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    watermarked: bool = False


class Receiver:
    """Receives the content of one file."""

    def __init__(self, target: UploadedFile, field: str, limits: LimitsConfig, before: int = 0) -> None:
        self._target = target
        self._field = field
        self._limits = limits
        self._before = before
        """Bytes of the request's other files."""
        self._head = b""

    @property
    def recognised(self) -> bool:
        """Whether enough has come to recognise its format."""
        return len(self._head) == SIGNATURE_BYTES

    def write(self, chunk: bytes) -> None:
        """Check and write the next bytes. Raises UploadTooLarge, NotAPicture, StoreError."""
        actual = self._before + self._target.received + len(chunk)
        if actual > self._limits.upload_bytes:
            raise too_large(actual, self._limits)
        if len(self._head) < SIGNATURE_BYTES:
            self._head += chunk[: SIGNATURE_BYTES - len(self._head)]
            if self.recognised:
                self._check_format()
        failpoint("upload.receiving")
        self._target.write(chunk)

    def finish(self) -> None:
        """Check the file once all of it has come. Raises UploadMissing, NotAPicture."""
        if not self._target.received:
            raise UploadMissing(
                f"expected a picture in the form field {self._field!r} or as the request's body, found an empty one"
            )
        self._check_format()

    def _check_format(self) -> None:
        found = sniff(self._head)
        if found not in self._limits.accept:
            what = f"a {found} picture" if found else _describe(self._head)
            where = "" if self._field == FILE_FIELD else f" in the form field {self._field!r}"
            raise NotAPicture(f"expected one of {', '.join(self._limits.accept)}{where}; found {what}")


def too_large(actual: int, limits: LimitsConfig) -> UploadTooLarge:
    """Return the error for an upload of so many bytes or more."""
    return UploadTooLarge(
        f"expected an upload of at most {limits.upload_bytes} bytes, found {actual} or more",
        limit=limits.upload_bytes,
        actual=actual,
    )


def _describe(head: bytes) -> str:
    if not head.strip(b"\0"):
        return "zeros"
    if head.lstrip()[:1] == b"<":
        return "markup (SVG, XML and HTML are not accepted)"
    if head.startswith(b"%PDF"):
        return "a PDF document"
    printable = head.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in head)  # noqa: PLR2004  ASCII's space
    return "text" if printable else f"first bytes {head[:8].hex(' ')}"
