"""What is in no page fails here: every route, configuration key, parameter, step and code; and every dead link."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import pytest
from img_contract.config import Config
from img_contract.job.choices import Fit, Gravity, Metadata, Placeholder, Profile, Subsampling, Turn
from img_contract.job.formats import RESULT_FORMATS
from img_contract.job.outcome import State, WarningCode
from img_contract.job.resize import Resize
from img_contract.notify.memory import MemoryNotifier
from img_contract.testing import free_port
from img_contract.volume.layout import Layout
from img_contract.volume.store import VolumeJobs
from img_engine.render.pipeline import LOADING, STEPS
from img_rest.api.problems import all_codes
from img_rest.app import create_app
from pydantic import BaseModel

pytestmark = pytest.mark.python_independent

TOP = Path(__file__).parents[1]
DOCS = TOP / "docs"
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", TOP / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]


def page(name: str) -> str:
    return (TOP / name).read_text(encoding="utf-8")


def keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    found: list[str] = []
    for name, field in model.model_fields.items():
        kind = next((one for one in get_args(field.annotation) if one is not type(None)), field.annotation)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += keys(kind, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Every method and route that the application has."""
    config = Config(volume=tmp_path_factory.mktemp("volume"))
    app = create_app(config, VolumeJobs(Layout(config.volume), MemoryNotifier()))
    return [
        (method, re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", rule.rule))
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    ]


def test_every_route_is_in_the_readme(routes: list[tuple[str, str]]) -> None:
    readme = page("README.md")
    ours = [(method, rule) for method, rule in routes if not rule.startswith(("/swaggerui", "/app/"))]
    assert ("POST", "/resize") in ours
    assert [route for route in ours if f"`{route[0]} {route[1]}`" not in readme] == []


def test_every_configuration_key_is_in_its_table_with_its_default() -> None:
    table = page("docs/configuration.md")
    rows = {match[1]: match[0] for match in re.finditer(r"^\| `([a-z_.]+)` \|.*$", table, re.MULTILINE)}
    assert sorted(rows) == sorted(keys(Config))
    for key, row in rows.items():
        value: Any = Config()
        for part in key.split("."):
            value = getattr(value, part, None)  # of a section that is left out no key has a value
        told = row.split("|")[2].strip()
        expected = ", ".join(value) if isinstance(value, tuple) else str(value)
        assert told == f"`{expected.removesuffix('.0')}`", f"{key}: the table has {told}, the default is {expected}"
        variable = "IMG_" + key.upper().replace(".", "__")
        assert f"`{variable}`" in row, f"{key}: the row does not name {variable}"


def test_every_parameter_and_each_of_its_values_is_explained() -> None:
    told = page("docs/parameters.md")
    values = [*Fit, *Gravity, *Metadata, *Profile, *Placeholder, *Subsampling, *map(str, Turn), *RESULT_FORMATS]
    names = [*Resize.model_fields, "wait", "watermark", *values]
    assert [name for name in names if f"`{name}`" not in told] == []


def test_every_code_of_an_error_and_of_a_warning_is_explained() -> None:
    errors = page("docs/errors.md")
    codes = all_codes() | {str(code) for code in WarningCode}
    assert sorted(code for code in codes if f"`{code}`" not in errors) == []
    told = set(re.findall(r"^\| `([a-z_]+)` \|", errors, re.MULTILINE))
    assert sorted(told - codes) == [], "the page explains what does not exist"


def test_every_state_and_every_step_is_explained() -> None:
    assert [state for state in State if f"`{state}`" not in page("README.md")] == []
    assert [step.__name__ for step in (*LOADING, *STEPS) if f"`{step.__name__}`" not in page("docs/design.md")] == []


def test_the_program_that_submits_a_job_from_another_api_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = page("docs/message-format.md").partition("```python\n")[2].partition("```")[0]
    for ours, here in {"/data": str(tmp_path / "volume"), "0.0.0.0:5555": f"127.0.0.1:{free_port()}"}.items():
        assert ours in program
        program = program.replace(ours, here)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0" + bytes(60))
    monkeypatch.chdir(tmp_path)
    exec(program, {})  # noqa: S102  it is ours
    job_id, state = capsys.readouterr().out.splitlines()[-1].split()
    assert (state, Layout(tmp_path / "volume").exists(job_id)) == ("queued", True)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(TOP)))
def test_every_link_to_a_file_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
    local = [link for link in links if "://" not in link and not link.startswith("mailto:")]
    assert [link for link in local if not (path.parent / link).exists()] == []


def test_every_make_target_that_is_named_exists() -> None:
    makefile = page("Makefile")
    named = {target for path in PAGES for target in re.findall(r"`make ([a-z0-9-]+)", path.read_text(encoding="utf-8"))}
    assert named
    assert [target for target in sorted(named) if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
