"""The command img as a process, against the service in processes."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from img_client.command.app import app
from img_contract.testing import HANG_SECONDS, until
from img_testing.samples import encoded, four_corners
from img_testing.service import BIN, Service
from PIL import Image
from typer.testing import CliRunner, Result

pytestmark = [pytest.mark.long, pytest.mark.python_independent]

Img = Callable[..., subprocess.CompletedProcess[bytes]]
Inside = Callable[..., Result]


@pytest.fixture
def img(service: Service, tmp_path: Path) -> Img:
    """Run the command in a folder of its own, without a terminal."""

    def run(*arguments: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [BIN / "img", *arguments],
            cwd=tmp_path,
            env=os.environ | {"IMG_SERVER": service.url} | environment,
            input=stdin,
            capture_output=True,
            check=False,
            timeout=HANG_SECONDS,
        )

    return run


@pytest.fixture
def inside(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Inside:
    """Run the command within this process, which spares the start of Python."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environment: str) -> Result:
        return CliRunner(env={"IMG_SERVER": service.url} | environment).invoke(app, arguments, prog_name="img")

    return run


@pytest.fixture
def twenty(tmp_path: Path) -> Path:
    """A folder of 20 files: one picture is broken, and one is a PDF."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(18):
        (folder / f"{number:02}.png").write_bytes(encoded(Image.effect_noise((40 + number, 30), 60)))
    (folder / "broken.png").write_bytes(encoded(Image.effect_noise((400, 300), 60))[:9000])
    (folder / "scan.pdf").write_bytes(b"%PDF-1.7 this is no picture at all")
    return folder


def sizes(folder: Path) -> dict[str, tuple[str | None, int]]:
    found = {}
    for path in sorted(folder.rglob("*.*")):
        with Image.open(path) as image:
            image.load()
            found[path.relative_to(folder).as_posix()] = (image.format, image.width)
    return found


def lines(result: subprocess.CompletedProcess[bytes] | Result) -> dict[str, Any]:
    """Give what `--json` told, by file."""
    return {line["file"]: line for line in map(json.loads, result.stdout.splitlines())}


def test_of_twenty_files_two_fail_and_say_why_and_the_rest_is_done(img: Img, twenty: Path, tmp_path: Path) -> None:
    names = [str(path.relative_to(tmp_path)) for path in sorted(twenty.iterdir())]
    result = img("resize", *names, "-w", "8", "--format", "webp", "-o", "out")
    assert (result.returncode, result.stdout) == (1, b"")
    told = sorted(result.stderr.decode().splitlines())
    assert [line.split(": ")[:3] for line in told] == [
        ["img", "in/broken.png", "picture_corrupt"],
        ["img", "in/scan.pdf", "not_a_picture"],
    ]
    assert sizes(tmp_path / "out") == {f"{number:02}.png.webp": ("WEBP", 8) for number in range(18)}

    again = img("resize", "in", "-w", "8", "--format", "webp", "-o", "out", "--json")
    assert (again.returncode, again.stderr) == (1, b"")
    assert {line["state"] for line in lines(again).values()} == {"skipped", "failed"}
    assert lines(again)["in/scan.pdf"]["code"] == "not_a_picture"
    assert lines(again)["in/broken.png"]["job"]


def test_names_that_are_no_text_and_what_nobody_thought_of_stop_no_other_picture(
    img: Img, inside: Inside, tmp_path: Path, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    (tmp_path / "in").mkdir()
    for one in ("a.png", name):
        (tmp_path / "in" / one).write_bytes(png)
    told = img("resize", "in", "-w", "6", "-o", "out", "--dry-run")
    assert (told.returncode, b"in/caf\\udce9.png \xe2\x86\x92 out/caf\\udce9.png\n" in told.stdout) == (0, True), told
    found = lines(inside("resize", "in", "-w", "6", "-o", "out", "--json"))
    assert {line["state"] for line in found.values()} == {"done"}
    assert found["in/caf\\udce9.png"]["outputs"][0]["path"] == "out/caf\\udce9.png"
    assert sorted(os.listdir(b"out")) == [b"a.png", b"caf\xe9.png"]
    html = inside("resize", "in", "-o", "out", "--variants", "6w", "--html").stdout
    assert 'src="caf%E9-6w.png"' in html

    def broken(*_: object) -> None:
        raise RuntimeError("nobody thought of it")

    monkeypatch.setattr(Path, "replace", broken)
    failed = inside("resize", "in", "-w", "5", "-o", "other")
    assert failed.exit_code == 1
    assert failed.stderr.count("client_error: RuntimeError: nobody thought of it\n") == 2


def test_what_newer_results_keep_from_being_rendered_is_told(inside: Inside, tmp_path: Path, png: bytes) -> None:
    (tmp_path / "a.png").write_bytes(png)
    assert inside("resize", "a.png", "-w", "15", "-o", "out").stderr == ""
    again = inside("resize", "a.png", "-w", "17", "-o", "out")
    assert (again.exit_code, again.stderr) == (0, "img: 1 skipped, newer results are there (--force)\n")


def test_an_empty_file_is_told_alike_by_a_service_and_by_this_machine(inside: Inside, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    for where in ([], ["--local"]):
        assert lines(inside("resize", "a.png", "-w", "5", "-o", "out", "--json", *where))["a.png"]["code"] == (
            "upload_missing"
        )


def test_a_full_disk_behind_stdout_is_told_in_a_line(tmp_path: Path) -> None:
    for what in ("--version", "--help"):
        with Path("/dev/full").open("wb") as full:
            told = subprocess.run([BIN / "img", what], stdout=full, stderr=subprocess.PIPE, check=False, cwd=tmp_path)
        assert (told.returncode, told.stderr.count(b"\n"), b"No space left" in told.stderr) == (1, 1, True)


def test_the_same_command_again_makes_no_second_job_and_with_force_it_does(
    inside: Inside, service: Service, tmp_path: Path, png: bytes
) -> None:
    (tmp_path / "a.png").write_bytes(png)
    (tmp_path / "copy.png").write_bytes(png)
    command = ["resize", "a.png", "copy.png", "-w", "7", "-o", "out", "--json"]
    first = lines(inside(*command))
    assert first["a.png"]["job"] == first["copy.png"]["job"]
    (tmp_path / "out" / "a.png").unlink()
    again = lines(inside(*command))
    assert again["a.png"]["job"] == first["a.png"]["job"]
    assert again["copy.png"]["state"] == "skipped"
    assert again["a.png"]["outputs"][0]["width"] == 7

    service.client.cancel(first["a.png"]["job"])  # what was made is deleted, and is made anew
    (tmp_path / "out" / "a.png").unlink()
    anew = lines(inside(*command))
    assert (anew["a.png"]["state"], anew["a.png"]["job"] != first["a.png"]["job"]) == ("done", True)
    forced = lines(inside(*command, "--force"))
    assert [line["state"] for line in forced.values()] == ["done", "done"]
    assert forced["a.png"]["job"] != forced["copy.png"]["job"] != anew["a.png"]["job"]


def test_one_picture_comes_from_stdin_and_goes_to_stdout(img: Img, tmp_path: Path, png: bytes) -> None:
    result = img("resize", "-", "-w", "9", "--format", "jpg", stdin=png)
    assert (result.returncode, result.stderr) == (0, b"")
    with Image.open(io.BytesIO(result.stdout)) as image:
        assert (image.format, image.width) == ("JPEG", 9)
    assert img("resize", "-", "-w", "9", "-o", "named.webp", stdin=png).stdout == b""
    assert sizes(tmp_path) == {"named.webp": ("WEBP", 9)}
    failed = img("resize", "-", "-w", "9", stdin=b"no picture")
    assert (failed.returncode, failed.stdout) == (1, b"")
    assert failed.stderr.startswith(b"img: -: not_a_picture: ")


def test_variants_are_files_with_their_names_and_html_is_ready_for_a_page(img: Img, tmp_path: Path) -> None:
    (tmp_path / "in" / "a & b").mkdir(parents=True)
    (tmp_path / "in" / "a & b" / "c.png").write_bytes(encoded(four_corners((64, 32))))
    command = ["resize", "in", "-r", "-o", "out", "--variants", "16w,32w,64w.webp,thumb:8x8:cover", "--html"]
    expected = [
        "<picture>",
        '  <source type="image/webp" srcset="a%20%26%20b/c-64w.png.webp 64w">',
        '  <img src="a%20%26%20b/c-32w.png" srcset="SET" width="32" height="16" alt="">'.replace(
            "SET", "a%20%26%20b/c-16w.png 16w, a%20%26%20b/c-32w.png 32w"
        ),
        "</picture>",
    ]
    for _ in range(2):  # the second run tells the same, though all is there
        result = img(*command)
        assert (result.returncode, result.stdout.decode().splitlines()) == (0, expected)
    assert list(sizes(tmp_path / "out")) == [
        f"a & b/c-{name}" for name in ("16w.png", "32w.png", "64w.png.webp", "thumb.png")
    ]


def test_rendering_on_this_machine_gives_the_same_files_and_warnings(img: Img, tmp_path: Path, photo: bytes) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "photo.jpg").write_bytes(photo)
    (source / "flat.png").write_bytes(encoded(four_corners()))
    (source / "clear.png").write_bytes(encoded(four_corners().convert("RGBA").resize((33, 17))))
    frames = [Image.new("RGB", (20, 10), colour) for colour in ("red", "green", "blue")]
    (source / "moving.gif").write_bytes(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    (source / "print.tif").write_bytes(encoded(four_corners().convert("CMYK"), "TIFF"))
    (source / "broken.jpg").write_bytes(photo[:100_000])
    (tmp_path / "mark.png").write_bytes(encoded(Image.new("RGBA", (5, 5), (255, 0, 0, 128))))
    given = ["--variants", "300w,30x30:cover,80w.webp", "--format", "auto", "--watermark", "mark.png", "--json"]
    told = []
    for where in ("service", "local"):
        result = img("resize", "in", "-o", where, *given, *(["--local"] if where == "local" else []))
        assert (result.returncode, result.stderr) == (1, b"")
        found = lines(result)
        for line in found.values():
            for name in ("job", "seconds"):
                line.pop(name, None)
            for made in line.get("outputs", []):
                made["path"] = made["path"].removeprefix(where)
        told.append(found)
    assert told[0] == told[1]
    assert len(told[0]) == 6
    service_files, local_files = (
        {path.relative_to(tmp_path / where): path.read_bytes() for path in (tmp_path / where).rglob("*.*")}
        for where in ("service", "local")
    )
    assert len(service_files) == 15
    assert service_files == local_files


def test_in_a_terminal_it_shows_how_far_it_is_and_a_table_of_failures(
    service: Service, twenty: Path, tmp_path: Path
) -> None:
    ours, its = pty.openpty()
    names = [str(path.relative_to(tmp_path)) for path in sorted(twenty.iterdir())]
    environment = os.environ | {"IMG_SERVER": service.url, "TERM": "xterm", "COLUMNS": "160"}
    process = subprocess.Popen(
        [BIN / "img", "resize", *names, "-w", "8", "-o", "out"],
        cwd=tmp_path,
        env=environment,
        stdin=its,
        stdout=its,
        stderr=its,
    )
    os.close(its)
    shown = b""
    while portion := _read(ours):
        shown += portion
    os.close(ours)
    assert process.wait(HANG_SECONDS) == 1
    text = shown.decode()
    for part in ("20/20 · 100 %", "/s · ", " failed", "18 done in ", "broken.png", "picture_corrupt", "not_a_picture"):
        assert part in text, text


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # EIO: nobody has its other end any more
        return b""


def test_what_comes_into_a_watched_folder_is_rendered_until_ctrl_c(
    service: Service, tmp_path: Path, png: bytes, photo: bytes
) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    (source / "there.png").write_bytes(png)
    command = [str(BIN / "img"), "watch", str(source), "-o", str(out), "-w", "8", "--server", service.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until((out / "there.png").exists)
        (source / "broken.jpg").write_bytes(photo[:9000])
        (source / "late.png").write_bytes(png)
        until((out / "late.png").exists)
        assert process.stderr
        told = process.stderr.readline().decode()
        process.send_signal(2)
        assert process.wait(HANG_SECONDS) == 1
        assert process.stderr.read() == b""
    assert told.startswith(f"img: {source}/broken.jpg: picture_corrupt: ")
    assert sizes(out) == {"late.png": ("PNG", 8), "there.png": ("PNG", 8)}


def test_a_job_is_told_and_cancelled_by_its_guid(inside: Inside, service: Service, png: bytes) -> None:
    guid = service.post(png, width=5)
    told = inside("status", guid, "--wait", "60")
    assert told.exit_code == 0
    assert [line.split()[0] for line in told.stdout.splitlines()][:3] == ["status", "source", "result"]
    assert json.loads(inside("status", guid, "--json").stdout)["outputs"][0]["width"] == 5
    assert inside("cancel", guid, guid).exit_code == 0
    deleted = inside("status", guid)
    assert (deleted.exit_code, deleted.stdout) == (1, "")
    assert deleted.stderr.startswith("img: job_deleted: ")


def test_the_limits_of_the_service_are_told(inside: Inside, service: Service) -> None:
    assert json.loads(inside("limits", "--json").stdout) == service.client.limits().model_dump(mode="json")
    nowhere = inside("limits", "--server", "http://127.0.0.1:1")
    assert (nowhere.exit_code, nowhere.stdout) == (1, "")
    assert "no service answers at http://127.0.0.1:1; --server or IMG_SERVER says where" in nowhere.stderr


def test_jobs_are_listed_and_those_that_failed_say_why(inside: Inside, service: Service, png: bytes) -> None:
    done, failed = service.post(png, width=5), service.post(png[:80], width=5)
    for guid in (done, failed):
        service.client.wait(guid, HANG_SECONDS)
    told = inside("jobs", "-n", "2")
    assert told.exit_code == 0
    rows = [line.split("\t") for line in told.stdout.splitlines()]
    assert [row[:2] for row in rows] == [[failed, "failed"], [done, "done"]]
    assert rows[0][-1].startswith("picture_corrupt: ")
    for options in (["--failed"], ["--status", "failed", "--since", "1h"]):
        asked = [json.loads(line) for line in inside("jobs", *options, "--json").stdout.splitlines()]
        assert (asked[0]["id"], {job["status"] for job in asked}) == (failed, {"failed"})
    assert inside("jobs", "--since", "2100-01-01").stdout == ""
    for wrong in (["--since", "yesterday"], ["--failed", "--status", "done"], ["-n", "0"]):
        assert inside("jobs", *wrong).exit_code == 2


def test_on_a_terminal_jobs_are_a_table(service: Service, png: bytes) -> None:
    guid = service.post(png, width=5)
    ours, its = pty.openpty()
    environment = os.environ | {"IMG_SERVER": service.url, "TERM": "xterm", "COLUMNS": "160"}
    process = subprocess.Popen([BIN / "img", "jobs", "-n", "1"], env=environment, stdin=its, stdout=its, stderr=its)
    os.close(its)
    shown = b""
    while portion := _read(ours):
        shown += portion
    os.close(ours)
    assert process.wait(HANG_SECONDS) == 0
    assert guid in shown.decode()
    assert "│" in shown.decode()


def test_the_totals_of_the_service_are_told(inside: Inside, service: Service, png: bytes) -> None:
    service.client.resize(png, width=5)
    told = inside("stats")
    assert told.exit_code == 0
    assert [line[:11].strip() for line in told.stdout.splitlines()][:4] == ["queued", "processing", "engines", "free"]
    assert f" {version('img-engine')}" in told.stdout
    found = json.loads(inside("stats", "--json").stdout)
    assert found["hour"]["done"] >= 1
    assert found["engines"][0]["version"] == version("img-engine")


def test_a_shell_completes_commands_options_and_values(img: Img) -> None:
    def completed(line: str) -> list[str]:
        words = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
        return img(_IMG_COMPLETE="complete_bash", **words).stdout.decode().split()

    assert "--watermark-gravity" in completed("img resize --water")
    assert completed("img resize --fit co") == ["cover", "contain"]


def test_importing_the_client_loads_nothing_of_the_command() -> None:
    code = "import sys, img_client; print({'typer', 'rich', 'img_client.command'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"set()\n"
