"""Files on the volume are damaged, or are none of ours: no 5xx, no link followed, and the next job is served."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from img_contract.job.job import new_job_id
from img_contract.notify.memory import MemoryNotifier
from img_contract.volume.layout import Layout
from img_contract.volume.queue import VolumeWork
from img_testing.service import Service
from img_testing.web import web
from img_testing.witness import Row, Witness, age, age_leftovers, go_round, job_folder, picture

pytestmark = pytest.mark.faults

SECRET = picture(77, 55)
"""A picture outside the volume: whoever follows a link to it would show it."""

FILES = {
    "queued": ("job.json", "source", "outcome.json", "claim.1", "result"),
    "processing": ("job.json", "source", "outcome.json", "claim.1", "result"),
    "done": ("job.json", "source", "outcome.json", "claim.1", "result", "result/1-image.png"),
}
DAMAGES = ("missing", "empty", "half", "junk", "link", "another's", "folder", "pipe")


def damage(path: Path, how: str, another: Path, outside: Path) -> None:
    """Put something else where a file or folder is, or would be."""
    content = path.read_bytes() if path.is_file() else b'{"version": 1, "id": "'
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    match how:
        case "empty":
            path.touch()
        case "half":
            path.write_bytes(content[: len(content) // 2])
        case "junk":
            path.write_bytes(b"\0\xff\xfe junk \x80" * 100)
        case "link":
            outside.write_bytes(content if path.parent.name == "result" else SECRET)
            path.symlink_to(outside)
        case "another's" if another.is_dir():
            shutil.copytree(another, path)
        case "another's" if another.is_file():
            shutil.copyfile(another, path)
        case "folder":
            path.mkdir()
            (path / "something").write_bytes(b"in it")
        case "pipe":
            os.mkfifo(path)


def ask(service: Service, job_id: str) -> tuple[int, int]:
    """Ask everything there is to ask of a job; the answers' status codes for its status and its file."""
    state = web.get(f"{service.url}/resize/status/{job_id}", timeout=30)
    part = web.get(f"{service.url}/resize/{job_id}", headers={"Range": "bytes=0-99"}, timeout=30)
    found = web.get(f"{service.url}/resize/{job_id}", timeout=30)
    for answer in (state, part, found):
        assert answer.status_code < 500, answer.text
        assert SECRET not in answer.content
    return state.status_code, found.status_code


def told_well(case: tuple[str, str, str], status: Any, fetched: int) -> bool:
    """Whether a damaged job ended as it should: done, or failed with a reason; and never by way of a link."""
    state, name, how = case
    failed = status.status == "failed" and bool(status.error.detail)
    if name == "outcome.json" and how not in ("missing", "another's"):
        return failed and status.error.code == "job_damaged"
    if name == "source" and how == "link" and state != "done":
        return failed
    if name.startswith("result") and how == "link" and state == "done":
        return fetched != 200
    return failed or status.status == "done"


def test_damage_in_any_state_is_told_and_harms_nobody_else(
    make_service: Callable[..., Service], row: Callable[[str], Row], tmp_path: Path
) -> None:
    service = make_service()
    volume = service.volume
    service.start_rest()
    engine = service.launch_engine()
    witness = Witness(service, row("damaged files, each kind in each state"))
    outside = tmp_path / "outside"
    outside.mkdir()
    cases = [(state, name, how) for state, names in FILES.items() for name in names for how in DAMAGES]

    done = [case for case in cases if case[0] == "done"]
    jobs = dict(zip([witness.insist() for _ in done], done, strict=True))
    another = witness.insist(picture(60, 60))
    for job_id in [*jobs, another]:
        assert witness.ended(job_id).status == "done"
    service.kill(engine)
    ghost = VolumeWork(Layout(volume), MemoryNotifier(), "ghost")
    for case in [case for case in cases if case[0] != "done"]:
        job_id = witness.insist()
        jobs[job_id] = case
        if case[0] == "processing":
            assert ghost.claim(job_id)
    witness.accepted = []

    marks: dict[Path, int] = {}
    for job_id, (_, name, how) in jobs.items():
        target = outside / job_id
        damage(job_folder(volume, job_id) / name, how, job_folder(volume, another) / name, target)
        if target.exists():
            age(target, 1000)
            marks[target] = target.stat().st_mtime_ns
    for job_id in jobs:
        ask(service, job_id)
    age_leftovers(volume)
    go_round(volume)  # what lost its outcome has no marker, either
    service.launch_engine()
    log = service.logs / f"img-engine-{len(service._started) - 1}.log"
    faults = []
    for job_id, case in jobs.items():
        status = witness.ended(job_id)
        _, fetched = ask(service, job_id)
        if not told_well(case, status, fetched):
            faults.append((case, status, fetched))
        witness.row.add(rounds=1)
    assert faults == []
    assert [path for path, beat in marks.items() if path.stat().st_mtime_ns != beat] == [], "a link was followed"
    witness.settled(redone={job_id for job_id, case in jobs.items() if case == ("done", "outcome.json", "missing")})
    assert '"dispatch_crashed"' not in log.read_text()
    for job_id in jobs:
        service.client.cancel(job_id)
    assert sorted(path.name for path in outside.iterdir()) == sorted(path.name for path in marks)
    witness.row.add(jobs=len(jobs))


def strays(volume: Path, outside: Path) -> list[Path]:
    """Things that nobody of ours has made, in every folder, under names of ours and of others."""
    made = []
    for folder in ("jobs", "jobs/ab", "pending", "incoming", "engines", "idempotency"):
        (volume / folder).mkdir(exist_ok=True)
        for name in ("stray", "\n", "ü" * 40, "--help", "%2e%2e", None):
            for kind in ("file", "folder", "link", "dangling", "pipe"):
                path = volume / folder / (f"{name}-{kind}" if name else new_job_id())
                match kind:
                    case "file":
                        path.write_bytes(b"junk")
                    case "folder":
                        path.mkdir()
                        (path / "inner").mkdir()
                        (path / "inner" / "file").write_bytes(b"junk")
                    case "link":
                        path.symlink_to(outside)
                    case "dangling":
                        path.symlink_to(outside / "nothing")
                    case "pipe":
                        os.mkfifo(path)
                made.append(path)
    (volume / "jobs" / "cd").write_bytes(b"a file where a folder of jobs would be")
    (volume / "jobs" / "ce").symlink_to(outside)
    return made


def test_strays_on_the_volume_harm_nobody(own_service: Service, row: Callable[[str], Row], tmp_path: Path) -> None:
    service, outside = own_service, tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_bytes(SECRET)
    age(outside / "kept", 1_000_000)
    witness = Witness(service, row("strays in every folder"))
    before = witness.insist()
    witness.ended(before)
    made = strays(service.volume, outside)
    witness.row.add(rounds=len(made))

    def all_is_well() -> None:
        for _ in range(3):
            assert witness.ended(witness.insist()).status == "done"
        for path in made:
            ask(service, path.name) if path.parent.name in ("ab", "pending") and path.name.count("-") == 4 else None
        assert ask(service, before) == (200, 200)
        assert service.client.health(ready=True).engines
        for shard in ("cd", "ce"):
            assert ask(service, shard + new_job_id()[2:]) == (404, 404)

    all_is_well()
    for path in made:
        age(path, 100_000)
    try:
        go_round(service.volume)
    except Exception as error:  # noqa: BLE001  told below, with what it is
        pytest.fail(f"upkeep does not get over a stray: {error!r}")
    service.launch_engine()
    all_is_well()
    assert (outside / "kept").read_bytes() == SECRET
    assert list((service.volume / "incoming").iterdir()) == []
    assert "dispatch_crashed" not in service.log()
    jobs = witness.accepted
    assert {witness.ended(job_id).status for job_id in jobs} == {"done"}
    witness.row.add(jobs=len(jobs))
