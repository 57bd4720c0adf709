"""From the body of a request to a submission, in portions, whatever its size.

The body is a multipart form or the picture itself, with the parameters in the query.
"""

from __future__ import annotations

from typing import BinaryIO

from img_contract.config import LimitsConfig
from img_contract.job.formats import SIGNATURE_BYTES
from img_contract.ports import Submission
from werkzeug.wrappers import Request

from img_rest.errors import LengthRequired, UploadMalformed
from img_rest.requests.form import receive_form
from img_rest.requests.receiver import FILE_FIELD, PORTION_BYTES, Receiver, Upload, too_large


def receive(request: Request, submission: Submission, limits: LimitsConfig) -> Upload:
    """Stream the request's files into the submission, and return the rest. Raises RestError, StoreError."""
    if request.mimetype == "multipart/form-data":
        return receive_form(request, submission, limits)
    _receive_raw(request, submission, limits)
    return Upload()


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
    receiver = Receiver(submission.picture, FILE_FIELD, limits)
    left = length
    while left > 0:
        portion = stream.read(min(PORTION_BYTES if receiver.recognised else SIGNATURE_BYTES, left))
        if not portion:
            raise UploadMalformed(f"expected a body of {length} bytes as Content-Length says, found {length - left}")
        receiver.write(portion)
        left -= len(portion)
    receiver.finish()
