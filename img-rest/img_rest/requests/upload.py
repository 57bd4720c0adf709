"""From the body of a request to a submission on the volume, in portions, whatever its size.

Two kinds of body: multipart/form-data with the picture in the field `file`, perhaps a watermark in the field
`watermark`, and the parameters beside them; or the picture itself with the parameters in the query.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import BinaryIO, Final

from flask import Request, Response, request
from img_contract.config import LimitsConfig
from img_contract.failpoints import failpoint
from img_contract.job.formats import SIGNATURE_BYTES, sniff
from img_contract.messages import quoted
from img_contract.ports import Submission, UploadedFile
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.exceptions import BadRequest

from img_rest.errors import (
    FormTooLarge,
    LengthRequired,
    NotAPicture,
    UploadMalformed,
    UploadMissing,
    UploadsFull,
    UploadTooLarge,
    UploadTooSlow,
)
from img_rest.server.gateway import Body

FILE_FIELD: Final = "file"
WATERMARK_FIELD: Final = "watermark"
_PORTION: Final = 256 * 1024
_FIRST: Final = 4096
"""The first portion of a form: what is no picture is often seen in it, and refused before a slow client sends more."""

_DRAIN_SECONDS: Final = 10.0
"""So long the rest of a refused upload is read."""

_UNREAD: Final = "img_rest.unread"
_FORM_OVERHEAD: Final = 1024 * 1024
"""What boundaries, part headers and parameters may add to the size of the file, in bytes."""


@dataclass
class Upload:
    """What came with a request beside its files: those are in the submission."""

    filename: str | None = None
    fields: list[tuple[str, str]] = field(default_factory=list)
    watermarked: bool = False


def receive(request: Request, submission: Submission, limits: LimitsConfig) -> Upload:
    """Stream the request's files into the submission. Raises RestError; StoreError if they cannot be written."""
    if request.mimetype == "multipart/form-data":
        return _receive_form(request, submission, limits)
    _receive_raw(request, submission, limits)
    return Upload()


def leave_unread(request: Request) -> None:
    """Do not read what is left of the body, whatever the answer."""
    request.environ[_UNREAD] = True


def drain_refused(response: Response, places: AbstractContextManager[object], limits: LimitsConfig) -> Response:
    """Read what the client of a refused request still sends, and drop it: for a while, and if a place is free.

    A connection that is closed over unread data is reset, and the client never sees why it was refused.
    """
    if response.status_code < BadRequest.code or request.environ.get(_UNREAD):
        return response
    left, until = limits.upload_bytes, time.monotonic() + _DRAIN_SECONDS
    stream = request.environ["wsgi.input"]
    read = partial(stream.read, until=until) if isinstance(stream, Body) else stream.read
    with suppress(UploadTooSlow, UploadsFull), places:
        while left > 0 and time.monotonic() < until and (portion := read(_PORTION)):
            left -= len(portion)
    return response


class _Receiver:
    """Where a picture's bytes go: judged by the first, counted, and written."""

    def __init__(self, part: UploadedFile, field: str, limits: LimitsConfig, before: int = 0) -> None:
        self._part = part
        self._field = field
        self._limits = limits
        self._before = before
        """Bytes of the request's other files."""
        self._head = b""

    @property
    def judged(self) -> bool:
        """Whether enough came to see what it is."""
        return len(self._head) == SIGNATURE_BYTES

    def write(self, chunk: bytes) -> None:
        actual = self._before + self._part.received + len(chunk)
        if actual > self._limits.upload_bytes:
            raise too_large(actual, self._limits)
        if len(self._head) < SIGNATURE_BYTES:
            self._head += chunk[: SIGNATURE_BYTES - len(self._head)]
            if self.judged:
                self._judge()
        failpoint("upload.receiving")
        self._part.write(chunk)

    def finish(self) -> None:
        if not self._part.received:
            raise UploadMissing(
                f"expected a picture in the form field {self._field!r} or as the request's body; found an empty one"
            )
        self._judge()

    def _judge(self) -> None:
        found = sniff(self._head)
        if found not in self._limits.accept:
            what = f"a {found} picture" if found else _describe(self._head)
            where = "" if self._field == FILE_FIELD else f" in the form field {self._field!r}"
            raise NotAPicture(f"expected one of {', '.join(self._limits.accept)}{where}; found {what}")


def too_large(actual: int, limits: LimitsConfig) -> UploadTooLarge:
    """The refusal of an upload of so many bytes."""
    return UploadTooLarge(
        f"expected an upload of at most {limits.upload_bytes} bytes, found {actual} or more",
        limit=limits.upload_bytes,
        actual=actual,
    )


def _receive_raw(request: Request, submission: Submission, limits: LimitsConfig) -> None:
    length = request.content_length
    if length is None:
        if request.environ.get("HTTP_TRANSFER_ENCODING"):
            raise LengthRequired(
                "expected Content-Length with a raw body: without it a broken connection looks like the end of the "
                "picture. Send the length, or a multipart form"
            )
        length = 0
    if length > limits.upload_bytes:
        raise too_large(length, limits)
    stream: BinaryIO = request.environ["wsgi.input"]
    receiver = _Receiver(submission.picture, FILE_FIELD, limits)
    left = length
    while left > 0:
        portion = stream.read(min(_PORTION if receiver.judged else SIGNATURE_BYTES, left))
        if not portion:
            raise UploadMalformed(f"expected a body of {length} bytes as Content-Length says, found {length - left}")
        receiver.write(portion)
        left -= len(portion)
    receiver.finish()


class _FormBody:
    """The body of a form, which has no more bytes than are allowed, and as many as its Content-Length says."""

    def __init__(self, request: Request, limits: LimitsConfig) -> None:
        self._stream: BinaryIO = request.environ["wsgi.input"]
        self._length = request.content_length
        self._limits = limits
        self._received = 0
        self._check(self._length or 0)

    def read(self, size: int) -> bytes:
        if not self._received:
            size = _FIRST
        if self._length is not None:
            size = min(size, self._length - self._received)
        portion = self._stream.read(size)
        self._received += len(portion)
        self._check(self._received)
        return portion

    def finish(self) -> None:
        """Read what is behind the last boundary. Raises UploadMalformed if the body ends before it should."""
        while self._length is not None and self._received < self._length:
            if not self.read(_PORTION):
                raise UploadMalformed(
                    f"expected a body of {self._length} bytes as Content-Length says, found {self._received}"
                )

    def _check(self, actual: int) -> None:
        if actual > self._limits.upload_bytes + _FORM_OVERHEAD:
            raise too_large(actual, self._limits)


def _form_parser(request: Request, limits: LimitsConfig) -> PushMultipartParser:
    boundary = request.mimetype_params.get("boundary")
    if not boundary:
        raise UploadMalformed("expected a boundary in the Content-Type of a multipart form, found none")
    return PushMultipartParser(boundary, max_segment_count=limits.form_parts + 1)


def _receive_form(request: Request, submission: Submission, limits: LimitsConfig) -> Upload:
    upload = Upload()
    received: dict[str, int] = {}
    try:
        body = _FormBody(request, limits)
        with _form_parser(request, limits) as parser:
            for segment, chunks in _segments(parser, body, limits):
                name = segment.name or ""
                if name in received:
                    raise UploadMalformed(f"expected one field {quoted(name)}, found several")
                if name == FILE_FIELD:
                    upload.filename = tidy_filename(segment.filename)
                    received[name] = _receive_file(submission.picture, name, chunks, limits, received)
                elif name == WATERMARK_FIELD:
                    first = next(chunks, b"")
                    if first:  # a browser sends an empty one where no file was chosen
                        whole = chain([first], chunks)
                        received[name] = _receive_file(submission.watermark(), name, whole, limits, received)
                elif segment.filename is not None:
                    raise UploadMissing(
                        f"expected the picture in the form field {FILE_FIELD!r}, found a file in {quoted(name)}"
                    )
                else:
                    upload.fields.append((name, _field_value(chunks, limits)))
        body.finish()
    except ParserLimitReached as error:
        raise UploadMalformed(f"expected parts with short headers: {error}") from None
    except (MultipartError, UnicodeError) as error:
        raise UploadMalformed(f"the multipart form is broken: {error}") from None
    if FILE_FIELD not in received:
        raise UploadMissing(f"expected a picture in the form field {FILE_FIELD!r}, found no such field")
    upload.watermarked = WATERMARK_FIELD in received
    return upload


def _receive_file(
    part: UploadedFile, name: str, chunks: Iterator[bytes], limits: LimitsConfig, received: dict[str, int]
) -> int:
    """Stream one file; give its size in bytes. Raises RestError, StoreError."""
    receiver = _Receiver(part, name, limits, before=sum(received.values()))
    for chunk in chunks:
        receiver.write(chunk)
    receiver.finish()
    return part.received


def _segments(
    parser: PushMultipartParser, body: _FormBody, limits: LimitsConfig
) -> Iterator[tuple[MultipartSegment, Iterator[bytes]]]:
    """Each part of a form with an iterator of its content, which is to be used up before the next part."""
    events = iter(parser.parse_blocking(body.read, _PORTION))

    def content() -> Iterator[bytes]:
        for event in events:
            if event is None:
                return
            yield bytes(event)

    count = 0
    for event in events:
        if isinstance(event, MultipartSegment):
            count += 1
            if count > limits.form_parts:
                raise _form_too_large(f"{limits.form_parts} parts", limits.form_parts, count)
            yield event, content()


def _field_value(chunks: Iterator[bytes], limits: LimitsConfig) -> str:
    value = b""
    for chunk in chunks:
        value += chunk
        if len(value) > limits.field_bytes:
            raise _form_too_large(f"{limits.field_bytes} bytes in a parameter", limits.field_bytes, len(value))
    return value.decode()  # UTF-8, whatever charset the part claims: RFC 7578 has done away with that


def _form_too_large(what: str, limit: int, actual: int) -> FormTooLarge:
    return FormTooLarge(f"expected a form of at most {what}, found {actual} or more", limit=limit, actual=actual)


def tidy_filename(name: str | None) -> str | None:
    """A client's file name without folders, control and formatting characters; at most 255 characters. Never a path."""
    if not name:
        return None
    last = name.replace("\\", "/").rpartition("/")[2]
    tidy = "".join(letter for letter in last if unicodedata.category(letter)[0] != "C").strip()
    return tidy[:255] or None


def _describe(head: bytes) -> str:
    if not head.strip(b"\0"):
        return "zeros"
    if head.lstrip()[:1] == b"<":
        return "markup (SVG, XML and HTML are not accepted)"
    if head.startswith(b"%PDF"):
        return "a PDF document"
    printable = head.isascii() and all(byte >= 32 or byte in b"\t\r\n" for byte in head)  # noqa: PLR2004  ASCII's space
    return "text" if printable else f"first bytes {head[:8].hex(' ')}"
