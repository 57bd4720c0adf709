"""Reading the configuration from its file and the environment, with every fault at once and no secret in any."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsConfigDict

from img_contract.config import SECTION_END, VARIABLE_PREFIX, Config
from img_contract.errors import ConfigError
from img_contract.messages import describe_fault

_OTHER_VARIABLES: Final = frozenset(
    {"IMG_CONFIG", "IMG_FAILPOINTS", "IMG_PORT", "IMG_ENGINE_MEMORY", "IMG_STORE_SECRET"}
)
"""They have a meaning elsewhere: the file to read, failpoints.py, the files of Compose."""

_SERVICE_LINK: Final = re.compile(
    r"\w+_SERVICE_HOST=.*|\w+_SERVICE_PORT(_\w+)?=\d+|\w*PORT=(tcp|udp|sctp)://.*|\w*PORT_\d+_(TCP|UDP|SCTP)(_\w+)?=.*"
)
"""What Kubernetes tells every container of a service, as does Docker of a link: of one called img-http, IMG_HTTP_PORT,
for example. https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables"""

_LIKENESS: Final = 0.8
"""How much a name has to resemble one of ours to be taken for it, as difflib measures it."""


def add_config_option(parser: argparse.ArgumentParser) -> None:
    """Give a command the option --config: the file that `load_config` is to read, or None."""
    default = os.environ.get("IMG_CONFIG")
    parser.add_argument(
        "--config",
        type=Path,
        default=Path(default) if default else None,
        metavar="FILE",
        help="config.json; without it, $IMG_CONFIG, else built-in defaults (a local folder, loopback sockets)",
    )


def load_config(path: Path | None) -> Config:
    """Read the configuration from a file (None: defaults) and the environment. Raises ConfigError with every fault."""
    if path is not None:
        _check_file(path)

    class FromFile(Config):
        model_config = SettingsConfigDict(json_file=path)

    unknown = _unknown_variables(os.environ)
    try:
        config = FromFile()
    except ValidationError as error:
        raise ConfigError(_faults(error) + unknown) from None
    except ValueError as error:  # an environment variable that should have been JSON
        raise ConfigError([str(error), *unknown]) from None
    if unknown:
        raise ConfigError(unknown)
    return config


def _unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """Return a fault for each variable that looks like a setting of ours that is misspelt.

    Those that are misspelt after the section's name are found with the rest. Others may have variables that begin with
    our prefix, too. Upper and lower case are the same, as for those that are read.
    """
    spelt = {name.upper(): name for name in environment}
    return [
        f"{spelt[name]}: expected a variable that docs/configuration.md has, found one that is unknown"
        + _suggestion(_variable(meant) if meant else None)
        for name, value in sorted((name.upper(), value.strip()) for name, value in environment.items())
        if value and name.startswith(VARIABLE_PREFIX) and name not in _OTHER_VARIABLES
        if name.removeprefix(VARIABLE_PREFIX).partition(SECTION_END)[0].lower() not in Config.model_fields
        if not _SERVICE_LINK.fullmatch(f"{name}={value}")
        if (meant := _key_meant(name.removeprefix(VARIABLE_PREFIX))) or SECTION_END in name
    ]


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Return every key: `http.port`, for example."""
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        section = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if section:
            yield from _keys(section, f"{prefix}{name}.")
        else:
            yield prefix + name


def _variable(key: str) -> str:
    return VARIABLE_PREFIX + key.upper().replace(".", SECTION_END)


def _key_meant(name: str) -> str | None:
    """Return the key that a variable without its prefix may be meant for.

    One like it, one without its section, one of which the last words are missing, or one with the service before it.
    """
    keys = {_variable(key).removeprefix(VARIABLE_PREFIX): key for key in _keys(Config)}
    near = difflib.get_close_matches(name, keys, 1, _LIKENESS)
    lacks_section = (variable for variable in keys if variable.endswith(SECTION_END + name))
    words = name.replace(SECTION_END, "_")
    of_section = words.lower() in Config.model_fields
    flat = {variable.replace(SECTION_END, "_"): variable for variable in keys}
    cut_short = (flat[one] for one in flat if one.startswith(f"{words}_") and not of_section)
    of_service = (flat[one] for one in flat if words in {f"REST_{one}", f"ENGINE_{one}"})
    found = next(chain(near, lacks_section, cut_short, of_service), None)
    return keys[found] if found else None


def _suggestion(name: str | None) -> str:
    return f"; did you mean {name}?" if name else ""


def _check_file(path: Path) -> None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: expected a file that can be read, found: {error.strerror}"]) from None
    except ValueError as error:
        raise ConfigError([f"{path}: expected JSON, found: {error}"]) from None
    if not isinstance(content, dict):
        raise ConfigError([f"{path}: expected a JSON object, found: {type(content).__name__}"])


def _faults(error: ValidationError) -> list[str]:
    details = error.errors()
    # A list with a bad item is reported twice, once for the item and once for itself; the item says more.
    inner = {fault["loc"][:-1] for fault in details}
    return [
        f"{'.'.join(map(str, fault['loc']))}: {describe_fault({**fault, 'input': _quotable(fault)})}"
        + (_suggestion(_key_near(fault["loc"])) if fault["type"] == "extra_forbidden" else "")
        for fault in details
        if fault["loc"] not in inner
    ]


def _key_near(where: tuple[int | str, ...]) -> str | None:
    """Return the key of the same section that resembles one that is none."""
    section, wanted = ".".join(map(str, where[:-1])), ".".join(map(str, where))
    others = [key for key in _keys(Config) if key.rpartition(".")[0] == section]
    return next(iter(difflib.get_close_matches(wanted, others, 1, _LIKENESS)), None)


class _Unquoted:
    """Stands in a message for what may be, or hold, a secret."""

    def __repr__(self) -> str:
        return "a value that is not shown here"


_SECRET: Final = ("notifier", "access", "store", "queue")
"""Sections that may hold secrets: keys of notifier, store and broker, and a key of the API in place of its digest."""

_PUBLIC: Final = {
    ("notifier", "bind"),
    ("notifier", "connect"),
    ("access", "rate"),
    ("access", "proxies"),
    ("access", "origins"),
    ("store", "kind"),
    ("store", "bucket"),
    ("store", "prefix"),
    ("store", "region"),
    ("store", "path_style"),
    ("store", "timeout_seconds"),
    ("store", "redirect"),
    ("queue", "kind"),
    ("queue", "name"),
    ("queue", "heartbeat_seconds"),
    ("queue", "lost_seconds"),
    ("queue", "timeout_seconds"),
}


def _quotable(fault: ErrorDetails) -> object:
    """Return what was found, unless it may be a secret, which also one under a misspelt key may be."""
    where, found = fault["loc"], fault["input"]
    secret = where[:1] and where[0] in _SECRET and where not in _PUBLIC
    hidden = secret or fault["type"] == "extra_forbidden" or isinstance(found, dict | list)
    return _Unquoted() if hidden else found
