"""What the command decides before anything is sent: options, sources, names of results, usage errors."""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from img_client.command.app import app
from img_client.command.ending import Ending, Made, State
from img_client.command.html import picture, shown
from img_client.command.parameters import options, parse
from img_client.command.plan import leave_out_current, make_plan
from img_client.command.sources import find_sources
from img_contract.job.resize import Resize
from img_testing.samples import encoded
from img_testing.service import TOP
from PIL import Image
from pydantic import Field
from typer.testing import CliRunner

KINDS = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP"}


def some(folder: Path, *names: str) -> None:
    """Write a picture under each name, or what its suffix says."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = KINDS.get(path.suffix[1:].lower())
        path.write_bytes(encoded(Image.new("RGB", (8, 6)), kind) if kind else b"%PDF-1.7 this is no picture at all")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def results(*named: str, recursive: bool = False, **given: Any) -> dict[str, list[list[str]]]:
    """Give the possible results of each source, in the folder out."""
    asked = parse({"width": "5"} | given)
    sources = find_sources(named, recursive=recursive, out=Path("out"))
    plan = make_plan(sources, named, Path("out"), asked.resize)
    return {
        item.shown: [[path.as_posix() for path in paths] for paths in item.target.candidates(asked.resize)]
        for item in plan.items
        if item.target
    }


# Options


def test_every_parameter_of_the_service_is_an_option_with_its_help() -> None:
    group: Any = typer.main.get_command(app)
    for command in ("resize", "watch"):
        given = {one.name: one for one in group.commands[command].params}
        for name, field in Resize.model_fields.items():
            assert "--" + name.replace("_", "-") in given[name].opts
            assert given[name].help.replace("\\[", "[").startswith(field.description)


def test_a_new_parameter_is_an_option_by_itself() -> None:
    class Newer(Resize):
        sepia: float | None = Field(None, description="How brown.")
        careful: bool = Field(default=True, description="Take care.")

    called = {}

    def command(**given: Any) -> None:
        called.update(given)

    command.__signature__ = inspect.Signature(options(Newer)[-2:])  # type: ignore[attr-defined]
    newer = typer.Typer()
    newer.command()(command)
    assert CliRunner().invoke(newer, ["--sepia", "0.5", "--no-careful"]).exit_code == 0
    assert called == {"sepia": "0.5", "careful": False}
    told = CliRunner().invoke(newer, ["--help"]).stdout
    assert "How brown." in told
    assert "Take care." in told


def test_the_help_has_what_a_parameter_takes() -> None:
    """Brackets, too, which would be markup."""
    shown = CliRunner(env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"}).invoke(app, ["resize", "--help"]).stdout
    told = re.sub(r"[\s│]+", " ", shown)
    assert "[name:]size[:fit[:gravity]][.format]" in told
    assert "One of inside, outside, cover, contain, fill. [default: inside]" in told


def test_every_subcommand_and_each_option_of_its_own_is_in_the_docs() -> None:
    page = (TOP / "docs" / "clients.md").read_text(encoding="utf-8")
    group: Any = typer.main.get_command(app)
    assert [name for name in group.commands if f"`img {name} " not in page and f"`img {name}`" not in page] == []
    own = [one for name in group.commands for one in group.commands[name].params if one.name not in Resize.model_fields]
    told = [one for one in own if one.param_type_name == "option" and one.name != "help"]
    assert len(told) > 10
    assert [one.opts for one in told if not any(re.search(rf"[ `]{opt}\b", page) for opt in one.opts)] == []


def test_values_are_offered_where_a_parameter_has_a_list_of_them() -> None:
    fit = next(get_args(one.annotation)[1] for one in options(Resize) if one.name == "fit")
    assert fit.autocompletion() == ["inside", "outside", "cover", "contain", "fill"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["a.jpg", "-o", "out"], "width, height or variants"),
        (["a.jpg", "-o", "out", "-w", "0", "--format", "doc"], "--width: expected at least 1"),
        (["a.jpg", "-o", "out", "-w", "0", "--format", "doc"], "--format: expected 'jpeg'"),
        (["a.jpg", "-o", "out", "-w", "5", "--wide"], "No such option"),
        (["gone.jpg", "-o", "out", "-w", "5"], "no such file"),
        (["gone.jpg", "-w", "5"], "no such file"),
        (["a.jpg", "b.jpg", "-w", "5"], "-o FOLDER"),
        (["a.jpg", "--variants", "4w,5w"], "-o FOLDER"),
        (["a.jpg", "-w", "5", "--json"], "-o says where it goes"),
        (["a.jpg", "-w", "5", "--html"], "-o FOLDER"),
        (["a.jpg", "b.jpg", "-w", "5", "-o", "c.jpg"], "-o FOLDER"),
        (["a.jpg", "-w", "5", "-o", "c.heic"], "c.heic/ for a new one"),
        ([".", "-w", "5", "-o", "c.xyz"], "c.xyz/ for a new one"),
        (["a.jpg", "-", "-o", "out", "-w", "5"], "stands alone"),
        (["a.jpg", "-o", "a.jpg", "-w", "5"], "is a picture to be read"),
        ([".", "-o", ".", "-w", "5"], "is a picture to be read"),
        (["a.jpg", "other/a.jpg", "-o", "out", "-w", "5"], "would both become out/a.jpg"),
        (["a.jpg", "-o", "out", "--variants", "4w,4w.jpeg"], "one name"),
        (["a.jpg", "-o", "out", "-w", "5", "--watermark", "gone.png"], "gone.png"),
        ([], "Missing argument"),
    ],
)
def test_a_wrong_command_is_refused_before_anything_is_sent(here: Path, arguments: list[str], told: str) -> None:
    some(here, "a.jpg", "b.jpg", "other/a.jpg")
    result = CliRunner(env={"COLUMNS": "300", "IMG_SERVER": "http://127.0.0.1:1"}).invoke(app, ["resize", *arguments])
    assert (result.exit_code, told in result.output) == (2, True), result.output
    assert not (here / "out").exists()


def test_a_folder_with_a_dot_in_its_name_is_there_or_ends_with_a_slash(here: Path) -> None:
    some(here, "a.jpg", "there.heic/b.jpg")
    for out in ("there.heic", "new.xyz/"):
        result = CliRunner().invoke(app, ["resize", "a.jpg", "-w", "5", "--dry-run", "-o", out])
        assert (result.exit_code, result.stdout) == (0, f"a.jpg → {Path(out, 'a.jpg')}\n")


@pytest.mark.parametrize(
    ("kinds", "order"),
    [
        (["tiff", "avif", "webp", "png"], ["avif", "webp", "png"]),
        (["avif", "webp"], ["avif", "webp"]),
        (["tiff", "avif"], ["avif"]),
        (["tiff"], ["tiff"]),
    ],
)
def test_html_falls_back_to_what_most_browsers_show_and_to_tiff_only_alone(kinds: list[str], order: list[str]) -> None:
    outputs = [
        Made(path=f"out/a.{kind}", name=kind, media_type=f"image/{kind}", width=8, height=6, bytes=9) for kind in kinds
    ]
    ending = Ending(file="a", state=State.DONE, outputs=outputs)
    assert re.findall(r'srcset="a\.(\w+) 8w"', picture(ending, Path("out"))) == order
    assert shown(ending) == (kinds != ["tiff"])


def test_an_address_without_its_protocol_is_told_with_it() -> None:
    result = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["stats", "--server", "localhost:18901"])
    assert (result.exit_code, "such as http://localhost:18901," in result.output) == (2, True), result.output


# Sources and names


def test_a_folder_means_what_is_in_it_and_with_r_what_is_below(here: Path) -> None:
    some(here, "in/a.jpg", "in/.hidden.jpg", "in/sub/b.JPG", "in/sub/.git/c.jpg", "in/out/a.jpg")
    assert results("in") == {"in/a.jpg": [["out/a.jpg"]]}
    assert results("in", "in/a.jpg", recursive=True) == {
        "in/a.jpg": [["out/a.jpg"]],
        "in/out/a.jpg": [["out/out/a.jpg"]],
        "in/sub/b.JPG": [["out/sub/b.JPG"]],
    }


def test_results_that_lie_in_the_folder_are_no_sources(here: Path) -> None:
    some(here, "a.jpg", "out/a.jpg")
    assert results(".", recursive=True) == {"a.jpg": [["out/a.jpg"]]}


def test_what_is_no_picture_is_left_out_of_a_folder_but_not_if_it_is_named_or_named_like_one(here: Path) -> None:
    some(here, "in/a.jpg", "in/scan.pdf")
    (here / "in" / "empty.jpg").touch()
    plan = make_plan(find_sources(["in"], recursive=False, out=Path("out")), ["in"], Path("out"), Resize(width=5))
    assert [(one.file, one.code) for one in plan.skipped] == [("in/scan.pdf", "not_a_picture")]
    assert [item.shown for item in plan.items] == ["in/a.jpg", "in/empty.jpg"]
    assert list(results("in/scan.pdf")) == ["in/scan.pdf"]


def test_only_regular_files_are_taken_and_what_is_gone_stops_nothing(here: Path) -> None:
    """A dangling link, a pipe, and a file that is deleted before its turn."""
    some(here, "in/a.jpg", "in/gone.jpg")
    (here / "in" / "link.jpg").symlink_to("nowhere.jpg")
    os.mkfifo("in/pipe.jpg")
    named, asked = ["in", "in/pipe.jpg"], Resize(width=5)
    plan = make_plan(find_sources(named, recursive=False, out=Path("out")), named, Path("out"), asked)
    assert [(one.file, one.state, one.code) for one in plan.skipped] == [
        ("in/link.jpg", "skipped", "not_a_file"),
        ("in/pipe.jpg", "failed", "not_a_file"),  # because it was named
    ]
    (here / "in" / "gone.jpg").unlink()
    (here / "out" / "a.jpg").mkdir(parents=True)  # is no result, and so not a newer one
    leave_out_current(plan, asked, None)
    assert [item.shown for item in plan.items] == ["in/a.jpg", "in/gone.jpg"]
    alone = CliRunner().invoke(app, ["resize", "in/pipe.jpg", "-w", "5", "-o", "b.jpg"])
    assert (alone.exit_code, "no such file" in alone.output) == (2, True)


def test_a_result_has_the_suffix_of_its_format(here: Path) -> None:
    some(here, "a.JPG", "b.bmp", "c.png")
    (here / "c.png").rename("c.jpeg")  # a name that lies
    assert results("a.JPG", "c.jpeg") == {"a.JPG": [["out/a.JPG"]], "c.jpeg": [["out/c.jpeg.png"]]}
    assert results("a.JPG", format="jpg") == {"a.JPG": [["out/a.JPG"]]}
    assert results("a.JPG", format="webp") == {"a.JPG": [["out/a.JPG.webp"]]}
    assert {path for (paths,) in results("b.bmp").values() for path in paths} > {"out/b.bmp.png", "out/b.bmp.jpg"}
    assert results("a.JPG", width=None, variants="4w,5w.webp,small:4x4:cover.png") == {
        "a.JPG": [["out/a-4w.JPG"], ["out/a-5w.JPG.webp"], ["out/a-small.JPG.png"]]
    }


def test_the_name_of_a_result_follows_from_its_picture_whatever_comes_before_or_later(here: Path) -> None:
    """As phones make them: the same number as HEIC and as JPEG, of which the second may come the day after."""
    some(here, "1.png", "1.jpg", "2.png")
    each = {
        "1.png": [["out/1.png.jpg"]],
        "1.jpg": [["out/1.jpg"]],
        "2.png": [["out/2.png.jpg"]],
    }
    assert results(*each, format="jpeg") == each
    for name, paths in each.items():
        assert results(name, format="jpeg") == {name: paths}


def test_only_what_has_all_its_results_and_newer_is_left_out(here: Path) -> None:
    some(
        here,
        "a.jpg",
        "b.jpg",
        "c.jpg",
        "out/a-4w.jpg",
        "out/a-5w.jpg.webp",
        "out/b-4w.jpg",
        "out/c-4w.jpg",
        "out/c-5w.jpg.webp",
    )
    os.utime("out/c-4w.jpg", (0, 0))
    resize = parse({"variants": "4w,5w.webp"}).resize
    named = ["a.jpg", "b.jpg", "c.jpg"]

    def left(watermark: Path | None = None) -> list[str]:
        plan = make_plan(find_sources(named, recursive=False, out=Path("out")), named, Path("out"), resize)
        leave_out_current(plan, resize, watermark)
        return [item.shown for item in plan.items]

    assert left() == ["b.jpg", "c.jpg"]
    some(here, "mark.png")
    later = (here / "out/a-4w.jpg").stat().st_mtime + 5
    os.utime("mark.png", (later, later))
    assert left(Path("mark.png")) == named


def test_a_dry_run_tells_what_would_be_done_and_does_nothing(here: Path) -> None:
    some(here, "in/a.jpg", "in/b.bmp", "in/scan.pdf")
    runner = CliRunner(env={"IMG_SERVER": "http://127.0.0.1:1"})
    result = runner.invoke(app, ["resize", "in", "-o", "out", "-w", "5", "--dry-run"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "in/a.jpg → out/a.jpg",
        "in/b.bmp → out/b.bmp.*",
        "in/scan.pdf: skipped, no picture",
    ]
    assert not (here / "out").exists()
