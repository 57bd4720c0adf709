"""A volume that cannot do what jobs need is refused at start and by /health/ready, with the reason and what helps."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from img_client import Unavailable
from img_contract.testing import until
from img_contract.volume.layout import Layout
from img_testing.service import BIN, Service

pytestmark = pytest.mark.faults

COMMANDS = [["img-rest"], ["img-engine"], ["img-engine", "--check"], ["img-engine", "--check-volume"]]
STRANGER = 12345

NO_LINKS = """
#include <errno.h>
int link(const char *from, const char *to) { errno = EPERM; return -1; }
int linkat(int a, const char *from, int b, const char *to, int flags) { errno = EPERM; return -1; }
"""


@pytest.fixture(scope="session")
def without_links(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which no file system has hard links."""
    if not shutil.which("cc"):
        pytest.skip("this test compiles a library in C")
    library = tmp_path_factory.mktemp("shim") / "no_links.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-xc", "-o", library, "-"], input=NO_LINKS.encode(), check=True)
    return {"LD_PRELOAD": str(library)}


def refusal(command: list[str], volume: Path, before: tuple[str, ...] = (), more: dict[str, str] | None = None) -> str:
    """Run a command that has to refuse its volume; return what it says."""
    name, *options = command
    ended = subprocess.run(
        [*before, BIN / name, *options],
        env=os.environ | {"IMG_VOLUME": str(volume)} | (more or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def powerless() -> tuple[str, ...]:
    """What to put before a command so that file permissions hold for it, though it is root's."""
    if not shutil.which("setpriv") or os.geteuid():
        pytest.skip("this test takes capabilities from root by setpriv")
    return ("setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown")


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_volume_without_hard_links_is_refused(
    command: list[str], tmp_path: Path, without_links: dict[str, str]
) -> None:
    said = refusal(command, tmp_path / "volume", more=without_links)
    assert f"cannot make a hard link and flush a folder: {tmp_path}" in said
    assert "Operation not permitted (EPERM); the volume needs hard links" in said
    assert list(tmp_path.glob("volume/*/*")) == [], "something was left over"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("whose", ["volume", "volume/jobs", "volume/jobs/ab", "volume/engines", "volume/pending"])
def test_a_folder_of_another_user_is_refused_by_name(command: list[str], whose: str, tmp_path: Path) -> None:
    before = powerless()
    layout = Layout(tmp_path / "volume")
    if whose != "volume":
        layout.prepare()
    folder = tmp_path / whose
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, STRANGER, STRANGER)
    said = refusal(command, layout.root, before)
    ours = f"{os.geteuid()}:{os.getegid()}"
    assert f"{folder}" in said
    assert f"Permission denied (EACCES); this process is {ours}, and {folder} belongs to 12345:12345" in said
    assert f"chown -R {ours}" in said


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_volume_in_a_place_that_cannot_be_is_refused(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = refusal(command, tmp_path / "file" / "volume")
    assert f"cannot prepare the volume: {tmp_path / 'file' / 'volume'}" in said
    assert "Not a directory (ENOTDIR)" in said


@pytest.mark.parametrize("broken", ["incoming", "jobs", "pending", "engines", "idempotency"])
def test_a_volume_that_breaks_later_is_refused_by_readiness_with_the_reason(
    make_service: Callable[..., Service], broken: str
) -> None:
    service = make_service()
    service.start_rest()
    service.start_engine()
    assert service.client.health(ready=True).engines == 1
    (service.volume / broken).rename(service.volume / "elsewhere")
    (service.volume / broken).touch()
    with pytest.raises(Unavailable) as refused:
        service.client.health(ready=True)
    assert refused.value.code == "volume_unavailable"
    assert f"{service.volume / broken}" in str(refused.value)
    assert "(ENOTDIR)" in str(refused.value)
    until(lambda: '"volume_unavailable"' in service.log())
    line = next(line for line in service.log().splitlines() if '"volume_unavailable"' in line)
    assert f"{service.volume / broken}" in line
    assert "(ENOTDIR)" in line


def test_a_sound_volume_passes_and_nothing_is_left(tmp_path: Path) -> None:
    passed = subprocess.run(
        [BIN / "img-engine", "--check-volume"],
        env=os.environ | {"IMG_VOLUME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (passed.returncode, passed.stderr) == (0, "")
    assert str(tmp_path) in passed.stdout
    assert list(tmp_path.glob("*/*")) == []
