"""A request's body and the files in it: limited in size, checked by their first bytes, written to the submission."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO, Final

from img_contract.config import LimitsConfig
from img_contract.failpoints import failpoint
from img_contract.job.formats import SIGNATURE_BYTES, sniff
from img_contract.ports import UploadedFile
from werkzeug.wrappers import Request

from img_rest.errors import NotAPicture, UploadMalformed, UploadMissing, UploadTooLarge
from img_rest.requests.hints import picture_as_text

FILE_FIELD: Final = "file"
WATERMARK_FIELD: Final = "watermark"
PORTION_BYTES: Final = 256 * 1024
"""How much of a body is read at once."""

_FIRST_BYTES: Final = 4096
"""Less at first, so that what is no picture is refused before a slow client sends more."""


@dataclass
class Upload:
    """What came with a request besides its files, which are in the submission."""

    filename: str | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    watermarked: bool = False


class RequestBody:
    """The body of a request: not larger than allowed, and of as many bytes as its Content-Length says."""

    def __init__(self, request: Request, limits: LimitsConfig, overhead_bytes: int = 0) -> None:
        self._stream: BinaryIO = request.environ["wsgi.input"]
        self._length = request.content_length
        self._limits = limits
        self._most = limits.upload_bytes + overhead_bytes
        self._received = 0
        self._check(self._length or 0)

    def read(self, size: int) -> bytes:
        """Return the next bytes, at most `size`; none at the end. Raises UploadMalformed, UploadTooLarge."""
        size = size if self._received else min(size, _FIRST_BYTES)
        if self._length is not None:
            size = min(size, self._length - self._received)
        portion = self._stream.read(size) if size else b""
        if size and not portion and self._length is not None:
            raise UploadMalformed(
                f"expected a body of {self._length} bytes as Content-Length says, found {self._received}"
            )
        self._received += len(portion)
        self._check(self._received)
        return portion

    def finish(self) -> None:
        """Read the rest, if it is known how much there is. Raises UploadMalformed."""
        while self._length is not None and self.read(PORTION_BYTES):
            pass

    def _check(self, actual: int) -> None:
        if actual > self._most:
            raise _too_large(actual, self._limits)


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
            raise _too_large(actual, self._limits)
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
            raise NotAPicture(f"expected one of {', '.join(self._limits.accept)}{where}; found {what}", self._head)


def _too_large(actual: int, limits: LimitsConfig) -> UploadTooLarge:
    """Return the error for an upload of so many bytes or more."""
    return UploadTooLarge(
        f"expected an upload of at most {limits.upload_bytes} bytes, found {actual} or more",
        limit=limits.upload_bytes,
        actual=actual,
    )


def _describe(head: bytes) -> str:
    if text := picture_as_text(head):
        return text
    if not head.strip(b"\0"):
        return "zeros"
    if head.lstrip()[:1] == b"<":
        return "markup (SVG, XML and HTML are not accepted)"
    if head.startswith(b"%PDF"):
        return "a PDF document"
    printable = head.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in head)  # noqa: PLR2004  ASCII's space
    return "text" if printable else f"first bytes {head[:8].hex(' ')}"
