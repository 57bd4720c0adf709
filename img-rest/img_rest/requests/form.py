"""A multipart form: the picture in the field `file`, perhaps a watermark in `watermark`, and parameters beside them."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import chain
from typing import Final

from img_contract.config import LimitsConfig
from img_contract.messages import quoted
from img_contract.ports import Submission, UploadedFile
from multipart import MultipartError, MultipartSegment, ParserLimitReached, PushMultipartParser
from werkzeug.wrappers import Request

from img_rest.errors import FormTooLarge, NotAPicture, UploadMalformed, UploadMissing
from img_rest.requests.hints import about_body, name_in_place_of_file
from img_rest.requests.receiver import FILE_FIELD, PORTION_BYTES, WATERMARK_FIELD, Receiver, RequestBody, Upload

OVERHEAD_BYTES: Final = 1024 * 1024
"""What boundaries, headers of parts and parameters may add to the size of the files."""


def receive_form(request: Request, submission: Submission, limits: LimitsConfig) -> Upload:
    """Stream the files of a form into the submission, and return the rest. Raises RestError, StoreError."""
    upload = Upload()
    received: dict[str, int] = {}
    try:
        body = RequestBody(request, limits, OVERHEAD_BYTES)
        with _form_parser(request, limits) as parser:
            for segment, chunks in _segments(parser, body, limits):
                name = segment.name or ""
                if name in received:
                    raise UploadMalformed(f"expected one field {quoted(name)}, found several")
                if name == FILE_FIELD:
                    upload.filename = tidy_filename(segment.filename)
                    _, whole = _begun(segment, chunks)
                    received[name] = _receive_file(submission.picture, name, whole, limits, received)
                elif name == WATERMARK_FIELD:
                    first, whole = _begun(segment, chunks)
                    if first:  # a browser sends an empty one where no file was chosen
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
        hint = about_body(request, b"")
        raise UploadMalformed(f"expected a well-formed multipart form: {error}{hint}") from None
    if FILE_FIELD not in received:
        raise UploadMissing(f"expected a picture in the form field {FILE_FIELD!r}, found no such field")
    upload.watermarked = WATERMARK_FIELD in received
    return upload


def _form_parser(request: Request, limits: LimitsConfig) -> PushMultipartParser:
    boundary = request.mimetype_params.get("boundary")
    if not boundary:
        raise UploadMalformed("expected a boundary in the Content-Type of a multipart form, found none")
    return PushMultipartParser(boundary, max_segment_count=limits.form_parts + 1)


def _begun(segment: MultipartSegment, chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """Return the first bytes of a file, and an iterator of all. Raises NotAPicture if they are a file's name."""
    first = next(chunks, b"")
    if fault := name_in_place_of_file(segment.name, segment.filename, first):
        raise NotAPicture(f"expected a picture, {fault}")
    return first, chain([first], chunks)


def _receive_file(
    target: UploadedFile, name: str, chunks: Iterator[bytes], limits: LimitsConfig, received: dict[str, int]
) -> int:
    """Stream one file and return its size in bytes. Raises RestError, StoreError."""
    receiver = Receiver(target, name, limits, before=sum(received.values()))
    for chunk in chunks:
        receiver.write(chunk)
    receiver.finish()
    return target.received


def _segments(
    parser: PushMultipartParser, body: RequestBody, limits: LimitsConfig
) -> Iterator[tuple[MultipartSegment, Iterator[bytes]]]:
    """Yield each part of a form with an iterator of its content, which must be exhausted before the next part."""
    events = iter(parser.parse_blocking(body.read, PORTION_BYTES))

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
    return value.decode()  # UTF-8, whatever charset the part claims: RFC 7578, 5.1.2, deprecates the claim


def _form_too_large(what: str, limit: int, actual: int) -> FormTooLarge:
    return FormTooLarge(f"expected a form of at most {what}, found {actual} or more", limit=limit, actual=actual)


def tidy_filename(name: str | None) -> str | None:
    """Return a client's file name without folders, control and formatting characters; at most 255 characters."""
    if not name:
        return None
    last = name.replace("\\", "/").rpartition("/")[2]
    tidy = "".join(letter for letter in last if unicodedata.category(letter)[0] != "C").strip()
    return tidy[:255] or None
