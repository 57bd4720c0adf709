"""The configuration of both containers: config.json, overridden by environment variables.

A key `limits.pixels` in the file is IMG_LIMITS__PIXELS in the environment. The defaults are those of `make run`: a
local folder and loopback sockets. All faults are reported together. docs/configuration.md has a row for every key.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    JsonConfigSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from img_contract.cluster_config import QueueConfig, StoreConfig
from img_contract.job.formats import Format
from img_contract.messages import quoted
from img_contract.notify.curve import CurveConfig
from img_contract.origins import as_browsers_write_it

VARIABLE_PREFIX: Final = "IMG_"
SECTION_END: Final = "__"
"""A key `limits.pixels` in the file is IMG_LIMITS__PIXELS in the environment."""

MIB: Final = 1024 * 1024

PREFIX: Final = re.compile(
    r"(/(?!\.{1,2}(/|$))([A-Za-z0-9._~!$&'()*+;=:@-]|%(?!2[EF]|5C|[01]|7F)[0-9A-F]{2})+)+", re.IGNORECASE
)
"""A path that a proxy puts before those of the API (RFC 3986, 3.3), as it is in a URL.

Not `.` and `..`, which clients resolve, no such character or slash in disguise, and no comma, which separates prefixes.
"""
_ROUTES: Final = (
    "resize",
    "jobs",
    "stats",
    "metrics",
    "limits",
    "health",
    "app",
    "swagger.json",
    "swaggerui",
    ".",
    "..",
)

Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_HOST_AND_PORT: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+(?:%\w+)?\]|[^\[\]:/\s]+):([0-9]{1,5})")


def _address(value: str) -> str:
    """Check an address of ZeroMQ, which takes `::1:5555` for the address ::1 or for ::1:5555."""
    kind, _, rest = value.partition("://")
    found = _HOST_AND_PORT.fullmatch(rest)
    if (kind == "ipc" and rest) or (kind == "tcp" and found and 1 <= int(found[1]) <= 65535):  # noqa: PLR2004  the last
        return value
    raise PydanticCustomError(
        "address", f"expected tcp://host:port, an IPv6 address in brackets, or ipc://path; found {quoted(value)}"
    )


def _peer(value: str) -> str:
    """Check the address of another process."""
    if value.startswith("tcp://*:"):
        raise PydanticCustomError("peer", f"expected the name or address of one host, found {quoted(value)}")
    return value


Address = Annotated[str, AfterValidator(_address)]


def _prefix(value: str) -> str:
    """Check a path under which a proxy offers the API; at a first part that is a route's, it could not be told off."""
    first = value[1:].partition("/")[0]
    if value and (not PREFIX.fullmatch(value) or first in _ROUTES):
        raise PydanticCustomError(
            "prefix", f"expected a path such as /images that is no route of the API, found {quoted(value)}"
        )
    return value


def _origins(value: Any) -> Any:
    """Accept origins as a list, as JSON, or as a text with commas between them."""
    given = value
    if isinstance(value, str):
        given = json.loads(value) if value.startswith("[") else [one.strip() for one in value.split(",")]
    for origin in given if isinstance(given, list | tuple) else [given]:
        sent = as_browsers_write_it(origin) if isinstance(origin, str) else None
        if origin not in ("*", sent):
            hint = f"; browsers write it {sent}" if sent else ""
            raise PydanticCustomError(
                "origin", f"expected * or origins such as https://shop.example:8443, found {quoted(origin)}{hint}"
            )
    return tuple(given)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpConfig(_Section):
    """The HTTP server of img-rest."""

    host: str = Field("127.0.0.1", description="Address that img-rest listens on.")
    port: Port = Field(8080, description="Port that img-rest listens on.")
    prefix: Annotated[str, AfterValidator(_prefix)] = Field(
        "", description="Path under which a proxy offers the API, such as /images; X-Forwarded-Prefix goes before it."
    )
    threads: int = Field(
        640, ge=8, le=4096, description="Requests that are served at the same time; a slow upload takes one of them."
    )
    connections: int = Field(
        4096, ge=16, le=65536, description="Connections that are open at the same time, idle ones included."
    )
    idle_seconds: Annotated[float, Field(ge=1, le=3600)] = Field(
        75.0,
        description="Time that a connection may stay without a complete request, so also the time for its headers; "
        "longer than the idle time-out of a balancer in front (often 60).",
    )
    wait_seconds: Seconds = Field(60.0, description="The longest `wait` that a client may ask for.")
    long_polls: int = Field(
        128, ge=0, description="Clients that may wait at the same time; a further one is answered at once."
    )
    uploads: int = Field(
        448, ge=1, description="Uploads that may be under way at the same time; a further one is answered with 503."
    )
    upload_bytes_per_second: float = Field(
        1024.0,
        ge=0,
        allow_inf_nan=False,
        description="Slowest upload; one that stays below it for ten seconds is cut off with 408.",
    )
    send_timeout_seconds: Seconds = Field(
        30.0, description="A client that takes nothing of its answer for this long is disconnected."
    )
    shutdown_timeout_seconds: Seconds = Field(10.0, description="How long requests may take to end at a stop.")

    @model_validator(mode="after")
    def _leaves_threads_for_others(self) -> Self:
        if self.long_polls + self.uploads >= self.threads:
            raise PydanticCustomError(
                "threads",
                "expected more threads than long_polls and uploads together, so that some are left for short requests; "
                f"found {self.threads} threads, {self.long_polls} long_polls, {self.uploads} uploads",
            )
        return self


class NotifierConfig(_Section):
    """The ZeroMQ line between the two."""

    bind: Address = Field("tcp://127.0.0.1:5555", description="Where img-rest binds its PUSH socket.")
    connect: Annotated[Address, AfterValidator(_peer)] = Field(
        "tcp://127.0.0.1:5555", description="Where each img-engine connects its PULL socket."
    )
    curve: CurveConfig | None = Field(None, description="Keys that encrypt it and keep strangers out.")


class LimitsConfig(_Section):
    """Limits of what is accepted; clients read them at GET /limits."""

    accept: tuple[Format, ...] = Field(tuple(Format), min_length=1, description="Formats that may be uploaded.")
    upload_bytes: int = Field(128 * MIB, ge=1, description="Largest upload, in bytes.")
    form_parts: int = Field(64, ge=1, le=1000, description="Most parts of a form: files and parameters.")
    field_bytes: int = Field(4096, ge=64, description="Largest parameter of a form, in bytes.")
    header_bytes: int = Field(
        16 * 1024, ge=1024, le=64 * 1024, description="Largest headers of a request, its line included, in bytes."
    )
    pixels: int = Field(
        64_000_000, ge=1, description="Most pixels of an uploaded picture, and of a result: width × height."
    )
    frames: int = Field(1000, ge=1, description="Most frames of an uploaded animation.")
    animation_pixels: int = Field(
        500_000_000, ge=1, description="Most pixels of an animation that stays one: width × height × frames."
    )
    message_bytes: int = Field(
        64 * 1024, ge=4096, description="Largest message on the notifier, in bytes; who sends a larger one is cut off."
    )
    queue: int = Field(10_000, ge=1, description="Most jobs that may wait; a further upload is answered with 503.")
    free_bytes: int = Field(
        256 * MIB, ge=0, description="Free space to keep on the volume; below it an upload is answered with 507."
    )


class AccessConfig(_Section):
    """Access to the API: keys and rates. Off by default."""

    keys: dict[
        Annotated[str, Field(pattern="^[A-Za-z0-9._-]{1,64}$")], Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    ] = Field(
        {}, description="API keys: a name for each, and the SHA-256 of the key in hexadecimal; `img-rest --new-key`."
    )
    rate: Annotated[str, Field(pattern="^[1-9][0-9]{0,8}/(second|minute|hour|day)$")] | None = Field(
        None, description="Uploads that a key, or without keys an address, may send: 60/minute, for example."
    )
    proxies: int = Field(
        0, ge=0, le=10, description="Reverse proxies in front, whose X-Forwarded headers are believed; 0: none."
    )
    metrics: Literal["key", "open", "off"] = Field(
        "key", description="Who may scrape GET /metrics: who has a key, where there are keys; everybody; nobody."
    )
    origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_origins)] | None = Field(
        None, description="Origins whose pages may use the API (CORS), such as https://shop.example; * is all."
    )
    list: bool = Field(
        default=False, description="Whether GET /jobs lists all jobs to everyone; with keys, each sees its own anyway."
    )


class EngineConfig(_Section):
    """The engine."""

    children: int = Field(0, ge=0, le=256, description="Child processes, each rendering one job; 0: one per core.")
    job_seconds: Seconds = Field(60.0, description="Time after which a child is killed, which costs an attempt.")
    child_bytes: int = Field(1024 * MIB, ge=256 * MIB, description="Address space of a child (RLIMIT_AS), in bytes.")
    attempts: int = Field(3, ge=1, le=100, description="Attempts at a job before it fails.")
    heartbeat_seconds: Seconds = Field(5.0, description="How often an engine touches its claims and publishes metrics.")
    lease_seconds: Seconds = Field(
        30.0, description="A claim that was not touched for this long is dead; longer than two heartbeats."
    )
    shutdown_timeout_seconds: Seconds = Field(20.0, description="How long jobs may take to end at a stop.")

    @model_validator(mode="after")
    def _lease_outlasts_heartbeats(self) -> Self:
        if self.lease_seconds <= 2 * self.heartbeat_seconds:
            raise PydanticCustomError(
                "lease",
                f"expected a lease_seconds of more than two heartbeats ({2 * self.heartbeat_seconds:g}), "
                f"found {self.lease_seconds:g}",
            )
        return self


class Config(BaseSettings):
    """Everything that can be set."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=VARIABLE_PREFIX,
        env_nested_delimiter=SECTION_END,
        env_ignore_empty=True,  # Compose makes an empty variable of one that is not set
        nested_model_default_partial_update=True,
    )

    volume: Path = Field(Path("var"), description="The folder that both containers share.")
    retention_seconds: Seconds = Field(24 * 3600.0, description="How long an ended job is kept.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error.")
    http: HttpConfig = HttpConfig()
    notifier: NotifierConfig = NotifierConfig()
    limits: LimitsConfig = LimitsConfig()
    access: AccessConfig = AccessConfig()
    engine: EngineConfig = EngineConfig()
    store: StoreConfig | None = Field(None, description="The object store that replaces the volume.")
    queue: QueueConfig | None = Field(None, description="The broker that replaces the notifier.")

    @field_validator("queue", mode="after")
    @classmethod
    def _comes_with_a_store(cls, queue: QueueConfig | None, info: ValidationInfo) -> QueueConfig | None:
        # Of a section with faults of its own there is no value here, and those faults are reported.
        if "store" in info.data and (queue is None) != (info.data["store"] is None):
            given, missing = ("store", "queue") if queue is None else ("queue", "store")
            raise PydanticCustomError(
                "together", f"expected store and queue, or neither of them; found {given} without {missing}"
            )
        return queue

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  not used: the base class passes them
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        if isinstance(env_settings, EnvSettingsSource):  # blanks are as empty as an empty variable
            read = env_settings.env_vars
            env_settings.env_vars = {name: value for name, value in read.items() if value and value.strip()}
        return init_settings, env_settings, JsonConfigSettingsSource(settings_cls)
