"""From the body of a request to a submission, in portions, whatever its size.

The body is a multipart form or the picture itself, with the parameters in the query.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from img_contract.config import LimitsConfig
from img_contract.job.formats import SIGNATURE_BYTES
from img_contract.ports import Submission
from werkzeug.wrappers import Request

from img_rest.errors import LengthRequired, NotAPicture, UploadMalformed, UploadTooSlow
from img_rest.requests.form import receive_form
from img_rest.requests.hints import SHORT_BYTES, LineEnds, about_body
from img_rest.requests.receiver import FILE_FIELD, PORTION_BYTES, Receiver, RequestBody, Upload

FORM: Final = "multipart/form-data"


def receive(request: Request, submission: Submission, limits: LimitsConfig) -> Upload:
    """Stream the request's files into the submission, and return the rest. Raises RestError, StoreError."""
    if request.mimetype == FORM:
        return receive_form(request, submission, limits)
    try:
        _receive_raw(request, submission, limits)
    except NotAPicture as error:
        raise NotAPicture(f"{error}{about_body(request, error.head + _rest(request))}") from None
    return Upload()


def _rest(request: Request) -> bytes:
    """Return the rest of a body that is short."""
    rest = b""
    if request.content_length is not None and request.content_length <= SHORT_BYTES:
        with suppress(UploadTooSlow):
            rest = request.environ["wsgi.input"].read(SHORT_BYTES)
    return rest


def _receive_raw(request: Request, submission: Submission, limits: LimitsConfig) -> None:
    if request.content_length is None and request.environ.get("HTTP_TRANSFER_ENCODING"):
        raise LengthRequired(
            "expected Content-Length with a raw body: without it a broken connection looks like the end of the "
            "picture. Send the length, or a multipart form"
        )
    body = RequestBody(request, limits)
    receiver, line_ends = Receiver(submission.picture, FILE_FIELD, limits), LineEnds(request)
    while portion := body.read(PORTION_BYTES if receiver.recognised else SIGNATURE_BYTES):
        line_ends.look(portion)
        receiver.write(portion)
    receiver.finish()
    if line_ends.lost:
        raise UploadMalformed(
            "expected the bytes of the picture as they are, found none that is zero or ends a line, as curl leaves it "
            "with --data (-d): use --data-binary"
        )
