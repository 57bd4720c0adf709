"""The Python client of img-rest: `Client`, and `AsyncClient` for asyncio.

with Client("http://localhost:8080") as client:
    small = client.resize("photo.jpg", width=300, format="webp")

`img_client.errors` draws the tree of what a call can raise.
"""

from img_client.client import AsyncClient, Client
from img_client.errors import (
    ImgError,
    JobFailed,
    JobNotDone,
    NotFound,
    Refused,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    WaitTimedOut,
)
from img_client.exchanges import Job, Picture

__all__ = [
    "AsyncClient",
    "Client",
    "ImgError",
    "Job",
    "JobFailed",
    "JobNotDone",
    "NotFound",
    "Picture",
    "Refused",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "WaitTimedOut",
]
