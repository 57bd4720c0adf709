"""Configuration of what keeps and delivers jobs beyond one machine: an S3-compatible store, and Celery on RabbitMQ.

The package img_cluster works by it. Both sections are left out on one machine, and are given together on many.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError


def _broker(value: SecretStr) -> SecretStr:
    """Check the kind of address; the address itself may hold a password."""
    if not value.get_secret_value().startswith(("amqp://", "amqps://")):
        raise PydanticCustomError("broker", "expected an address such as amqp://user:password@host:5672/vhost")
    return value


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreConfig(_Section):
    """The object store; its files replace those of the volume."""

    kind: Literal["s3"] = Field(description="s3: any store with that interface and conditional writes.")
    bucket: str = Field(min_length=3, max_length=63, description="Name of the bucket, which exists.")
    prefix: str = Field(
        "", pattern=r"^([A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*)?$", description="What the names of all objects begin with."
    )
    endpoint: str | None = Field(
        None, pattern="^https?://[^@]+$", description="Address of the store; left out, that of AWS."
    )
    region: str = Field("us-east-1", min_length=1, description="Region of the bucket.")
    path_style: bool = Field(default=True, description="Name the bucket in the path, not in the host.")
    access_key: str | None = Field(
        None, description="Access key; left out, the chain of the cloud (environment, web identity, instance)."
    )
    secret_key: SecretStr | None = Field(None, description="Secret of the access key.")
    timeout_seconds: float = Field(
        30.0, ge=1, le=600, description="Time that one request to the store may take; also that of all its repetitions."
    )
    redirect: bool = Field(
        default=False, description="Send a client that fetches a result to the store itself, by a link of 60 seconds."
    )

    @model_validator(mode="after")
    def _has_both_or_neither(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            raise PydanticCustomError("keys", "expected access_key and secret_key, or neither of them; found one")
        return self


class QueueConfig(_Section):
    """The broker and its queue; they replace the notifier."""

    kind: Literal["celery"] = Field(description="celery: Celery's workers on RabbitMQ.")
    broker: Annotated[SecretStr, AfterValidator(_broker)] = Field(
        description="Address of RabbitMQ, with user and password; several, separated by semicolons, for a cluster."
    )
    name: str = Field(
        "img.jobs", pattern="^[A-Za-z0-9._-]{1,200}$", description="Name of the queue; others are named after it."
    )
    heartbeat_seconds: float = Field(
        10.0,
        ge=1,
        le=300,
        description="A connection that is silent for two to three of these is dead; its jobs go on elsewhere.",
    )
    lost_seconds: float = Field(
        120.0,
        ge=2,
        le=86400,
        description="A job that has waited this long without a message at the broker is sent again.",
    )
    timeout_seconds: float = Field(10.0, ge=1, le=600, description="Time that the broker may take to confirm a job.")
