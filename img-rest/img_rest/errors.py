"""Every error that this package raises on purpose; `api.problems` maps each to a status.

RestError
├── UploadMissing          no file came with the request
├── UploadMalformed        the body is not what its headers say, or it broke off
├── UploadTooSlow          the body comes more slowly than the minimum rate
├── KeyMissing             no API key came with the request, or an unknown one
├── CrossSite              a page of another site made the browser send the request
├── ListingOff             jobs are not listed, since whoever knows a guid may read the result
├── LengthRequired         a raw body without Content-Length, whose end would look like a broken connection
├── NotAPicture            the first bytes are not those of an accepted picture
├── ParametersInvalid      one or more parameters were refused, all of them listed
│   └── QueryInvalid       those of a list of jobs
├── NoEngine               no engine is alive
└── Limited                a limit was exceeded; the error carries both numbers
    ├── UploadTooLarge     more bytes than allowed
    ├── FormTooLarge       too many parts, or a parameter of too many bytes
    ├── HeadersTooLarge    the request's headers have too many bytes
    ├── QueueFull          too many jobs wait
    ├── UploadsFull        too many uploads are under way
    └── VolumeFull         too little space is left
"""

from __future__ import annotations

from dataclasses import dataclass


class RestError(Exception):
    """Root of this package's errors."""


class UploadMissing(RestError):
    """No file came with the request."""


class UploadMalformed(RestError):
    """The body is not what its headers say, or it broke off."""


class UploadTooSlow(RestError):
    """The body comes more slowly than the minimum rate."""


class KeyMissing(RestError):
    """No API key came with the request, or an unknown one."""


class CrossSite(RestError):
    """A page of another site, which the configuration does not name, made the browser send the request."""


class ListingOff(RestError):
    """Jobs are not listed: without keys they are anyone's, unless the configuration says so."""


class LengthRequired(RestError):
    """A raw body came without Content-Length."""


class Limited(RestError):
    """A limit was exceeded."""

    def __init__(self, detail: str, *, limit: int, actual: int) -> None:
        super().__init__(detail)
        self.limit = limit
        self.actual = actual


class UploadTooLarge(Limited):
    """More bytes than allowed."""


class FormTooLarge(Limited):
    """The form has too many parts, or a parameter of too many bytes."""


class HeadersTooLarge(Limited):
    """The request's headers have too many bytes."""


class NotAPicture(RestError):
    """The first bytes, `head`, are not those of an accepted picture."""

    def __init__(self, detail: str, head: bytes = b"") -> None:
        super().__init__(detail)
        self.head = head


@dataclass(frozen=True)
class ParameterFault:
    """One parameter that was refused, and why."""

    parameter: str
    detail: str


class ParametersInvalid(RestError):
    """One or more parameters were refused."""

    def __init__(self, faults: list[ParameterFault]) -> None:
        super().__init__("; ".join(f"{fault.parameter}: {fault.detail}" for fault in faults))
        self.faults = faults


class QueryInvalid(ParametersInvalid):
    """One or more parameters of a list of jobs were refused."""


class QueueFull(Limited):
    """Too many jobs wait; room is expected in `retry_seconds`."""

    def __init__(self, detail: str, *, limit: int, actual: int, retry_seconds: int) -> None:
        super().__init__(detail, limit=limit, actual=actual)
        self.retry_seconds = retry_seconds


class UploadsFull(Limited):
    """Too many uploads are under way."""


class VolumeFull(Limited):
    """Too little space is left."""


class NoEngine(RestError):
    """No engine is alive. Uploads are accepted all the same and wait for one."""
