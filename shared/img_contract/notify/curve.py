"""Keys that encrypt the notifier and let only the two containers on it: CURVE (https://rfc.zeromq.org/spec/26/).

`python -m img_contract.notify.curve` prints a fresh set for config.json. img-rest is the server, each img-engine a
client.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Annotated, Final, Self

import zmq
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError
from zmq.utils import z85

KEY_CHARACTERS: Final = 40
"""32 bytes in Z85 (https://rfc.zeromq.org/spec/32/)."""

_Z85: Final = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


def _public(text: str) -> str:
    if len(text) != KEY_CHARACTERS:
        raise PydanticCustomError(
            "key_length", f"expected a key of {KEY_CHARACTERS} characters, found {len(text)} characters"
        )
    if not _decodes(text):
        raise PydanticCustomError("key_alphabet", "expected a key in Z85, found characters that are none of it")
    return text


def _secret(secret: SecretStr) -> SecretStr:
    _public(secret.get_secret_value())  # the same form; a fault never quotes it
    return secret


def _decodes(text: str) -> bool:
    if not _Z85.fullmatch(text):
        return False
    try:
        z85.decode(text)
    except Exception:  # noqa: BLE001  five characters that come to more than four bytes: pyzmq lets struct.error out
        return False
    return True


PublicKey = Annotated[str, AfterValidator(_public)]
SecretKey = Annotated[SecretStr, AfterValidator(_secret)]


class CurveConfig(BaseModel):
    """Keys of the notifier: all four, or no such section. Both containers may have the same file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    server_public: PublicKey = Field(description="Public key of img-rest; an engine listens to no other.")
    server_secret: SecretKey = Field(description="Secret key of img-rest.")
    client_public: PublicKey = Field(description="Public key of the engines; img-rest lets no other listen.")
    client_secret: SecretKey = Field(description="Secret key of the engines.")

    @model_validator(mode="after")
    def _are_pairs(self) -> Self:
        if not zmq.has("curve"):
            raise PydanticCustomError("curve", "expected a libzmq that can encrypt, found one without CURVE")
        for side, public, secret in (
            ("server", self.server_public, self.server_secret),
            ("client", self.client_public, self.client_secret),
        ):
            if zmq.curve_public(secret.get_secret_value().encode()).decode() != public:
                raise PydanticCustomError(
                    "key_pair", f"expected a {side}_public that belongs to {side}_secret, found another's"
                )
        return self


def fresh_keys() -> dict[str, str]:
    """Two new pairs, as the section `notifier.curve` takes them."""
    keys: dict[str, str] = {}
    for side in ("server", "client"):
        public, secret = zmq.curve_keypair()
        keys |= {f"{side}_public": public.decode(), f"{side}_secret": secret.decode()}
    return keys


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"notifier": {"curve": fresh_keys()}}, indent=2) + "\n")
