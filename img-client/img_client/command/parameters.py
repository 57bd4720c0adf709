"""The parameters of a job as options of a command. A new field of the model is a new option, and needs nothing here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from img_contract.job.resize import Resize
from img_contract.messages import describe_fault
from pydantic import BaseModel, ValidationError

_SHORT: Final = {"width": "-w"}
_PANEL: Final = "Parameters of the picture"


@dataclass(frozen=True)
class Asked:
    """What is to be done to each picture."""

    given: dict[str, Any]
    """What was given, as text: what is sent."""
    resize: Resize
    """The same, understood."""
    watermark: Path | None = None


def with_parameters(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command, in place of its `**given`, an option for each parameter."""
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]
    command.__signature__ = signature.replace(parameters=[*own, *options(Resize)])  # type: ignore[attr-defined]
    return command


def options(model: type[BaseModel]) -> list[inspect.Parameter]:
    """Return an option for each field of a model. All but switches take text: the model itself says what is valid."""
    declared = model.model_json_schema()
    return [_option(name, field, declared.get("$defs", {})) for name, field in declared["properties"].items()]


def _option(name: str, field: dict[str, Any], shared: dict[str, Any]) -> inspect.Parameter:
    long, default = "--" + name.replace("_", "-"), field.get("default")
    about = field.get("description", "").replace("[", r"\[")  # to Rich, brackets are markup
    kind: Any
    if isinstance(default, bool):
        kind = Annotated[
            bool | None,
            typer.Option(f"{long}/--no-{long[2:]}" if default else long, help=about, rich_help_panel=_PANEL),
        ]
    else:
        choices = _choices(field, shared)
        more = [f"One of {', '.join(choices)}."] if choices else []
        more += [] if default is None else [rf"\[default: {default}]"]
        info = typer.Option(
            *[long, *filter(None, [_SHORT.get(name)])],
            help=" ".join([about, *more]),
            metavar=name.rpartition("_")[2].upper(),
            autocompletion=(lambda: choices) if choices else None,
            rich_help_panel=_PANEL,
        )
        kind = Annotated[str | None, info]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _choices(field: dict[str, Any], shared: dict[str, Any]) -> list[str]:
    """Return the values that a field names, in any of its forms."""
    if "$ref" in field:
        return _choices(shared[field["$ref"].rpartition("/")[2]], shared)
    return [
        *map(str, field.get("enum", [])),
        *(one for form in field.get("anyOf", []) for one in _choices(form, shared)),
    ]


def parse(given: dict[str, Any], watermark: Path | None = None) -> Asked:
    """Understand the options that were given, those that are not None. Raises typer.BadParameter: exit status 2."""
    sent = {name: value for name, value in given.items() if value is not None}
    try:
        return Asked(sent, Resize.model_validate(sent), watermark)
    except ValidationError as error:
        faults = [
            " ".join([*(f"--{str(where).replace('_', '-')}:" for where in fault["loc"][:1]), describe_fault(fault)])
            for fault in error.errors(include_url=False)
        ]
        raise typer.BadParameter("; ".join(dict.fromkeys(faults))) from None
