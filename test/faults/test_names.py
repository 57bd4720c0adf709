"""Names from outside: in paths, of files, of hosts. None reaches a header, a log line or a path as it came."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import pytest
from img_contract.testing import until
from img_testing.raw_http import FORM, connect, crashes, form, request, talk
from img_testing.service import Service
from img_testing.witness import TINY, Row
from werkzeug.http import parse_options_header

pytestmark = pytest.mark.faults

GUID: Final = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
KNOWN: Final = re.compile(
    rf"(incoming|pending|engines|metrics|idempotency|recent|ended|(recent|ended)/\d{{10}}|metrics/[^/]+\.prom|jobs|jobs/[0-9a-f]{{2}}|pending/{GUID}|engines/[^/]+|incoming/[^/]+(/.*)?"
    rf"|jobs/[0-9a-f]{{2}}/{GUID}(/(job\.json|source|claim\.\d+|claim\.\d+\.ended|outcome\.json|result|result/[\w.-]+))?)"
)
"""Every path that may be on the volume."""

FILE_NAMES: Final[dict[str, bytes]] = {
    "a line break": b'filename="a\r\nX-Evil: 1\r\n.png"',
    "a bare line feed": b'filename="a\nb.png"',
    "an escaped line break": b'filename="a%0D%0AX-Evil: 1.png"',
    "quotes": b'filename="a\\"b\\".png"',
    "quotes and a parameter": b'filename="a%22; filename=%22b.html"',
    "right to left": 'filename="a\u202egnp.exe"'.encode(),
    "NUL": b'filename="a\0b.png"',
    "a bell and an escape": b'filename="a\x07\x1b[31mb.png"',
    "10 kB": b'filename="' + b"n" * 10_000 + b'.png"',
    "3 kB": b'filename="' + b"n" * 3000 + b'.png"',
    "a path": b'filename="../../../../etc/passwd"',
    "an absolute path": b'filename="/etc/cron.d/evil.png"',
    "a path of Windows": b'filename="C:\\\\windows\\\\evil.png"',
    "dots": b'filename=".."',
    "a hidden one": b'filename=".png"',
    "a device": b'filename="CON"',
    "RFC 5987": b"filename*=UTF-8''%e2%82%ac%0d%0aX-Evil:1%00.png",
    "RFC 5987, broken": b"filename*=UTF-8''%ff%fe.png",
    "RFC 5987, unknown charset": b"filename*=utf-7''+ACI-.png",
    "RFC 2231": b"filename*0*=UTF-8''a%2F..%2F; filename*1=b.png",
    "both": b"filename=a.png; filename*=UTF-8''%2e%2e%2fb.png",
    "RFC 2047": b'filename="=?utf-8?B?Li4vLi4vYQ0K?=.png"',
    "a lone surrogate": b'filename="a\xed\xa0\x80.png"',
    "no UTF-8": b'filename="\xff\xfe\x80.png"',
    "beyond the first plane": 'filename="😀\u0301\ufeff.png"'.encode(),
    "markup": b'filename="<script>alert(1)</script>.png"',
    "a template": b'filename="{{7*7}}${7*7}%(x)s%s%n.png"',
    "empty": b'filename=""',
    "spaces": b'filename="   "',
    "none": b"filename",
}

PATHS: Final = (
    "/resize/../../etc/passwd", "/resize/..", "/resize/.", "/resize/%2e%2e", "/resize/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/resize/..%2F..%2Fpending", "/resize/..%5C..%5Cpending", "/resize/%252e%252e%252f", "/resize/..%c0%af..%c0%afetc",
    "/resize/{guid}%00", "/resize/%00{guid}", "/resize/{guid}.", "/resize/{guid}..", "/resize/{guid};a=b",
    "/resize/{guid}%20",
    "/resize/{guid}%0a", "/resize/{guid}%0d%0aX-Evil:1", "/resize/{{{guid}}}", "/resize/{bare}",
    "/resize/{digits}", "/resize/{guid}/..", "/resize/{guid}/../job.json",
    "/resize/{guid}/..%2Fjob.json",
    "/resize/{guid}/..%2F..%2Fjob.json", "/resize/{guid}/%2e%2e/source", "/resize/{guid}/source",
    "/resize/{guid}/job.json",
    "/resize/{guid}/outcome.json", "/resize/{guid}/1-image.png%00", "/resize/{guid}/..%5Csource",
    "/resize/{guid}/%2Fetc%2Fpasswd",
    "/resize/{guid}/~root", "/resize/{guid}/CON", "/resize/{guid}/*", "/resize/{guid}/%ff%fe", "/resize/status/..%2F..",
    "/resize/status/%00", "/resize/status/{guid}%0a", "/resize/status/{guid}/../x",
    "/resize/" + "a" * 4096, "/resize/{guid}/" + "a" * 4096, "/resize/" + "%2e%2e%2f" * 400,
    "/resize/status/" + "%00" * 1000,
    "/resize/" + "a" * 100_000, "/resize/{guid}/" + "a/" * 50_000, "/swaggerui/..%2f..%2fapp.py",
    "/swaggerui/%2e%2e/app.py",
    "/swaggerui//etc/passwd", "/swaggerui/..%5capp.py", "/swaggerui/%00",
)  # fmt: skip


@pytest.fixture(scope="module")
def service(standing: Callable[..., Service]) -> Iterator[Service]:
    running = standing(IMG_HTTP__IDLE_SECONDS="2")
    running.start_rest()
    running.start_engine()
    yield running
    assert crashes(running) == []
    every_line_of_the_logs_is_one_event(running)


def every_line_of_the_logs_is_one_event(service: Service) -> None:
    for log in service.logs.iterdir():
        for line in log.read_bytes().splitlines()[1:]:  # the first says where it listens
            assert not [byte for byte in line if byte < 32 or byte == 127], line
            if line.startswith(b"{"):
                assert json.loads(line)["event"]
            else:
                assert line.startswith((b"img-rest", b"img-engine", b"[INFO]")), line


def nothing_strange_is_stored(service: Service) -> None:
    names = [str(path.relative_to(service.volume)) for path in service.volume.rglob("*")]
    assert [name for name in names if not KNOWN.fullmatch(name)] == []
    assert sorted(path.name for path in service.volume.parent.iterdir()) == ["logs", "volume"]


def done(service: Service) -> str:
    job_id = service.post(TINY, width=5)
    assert service.ended(job_id).status == "done"
    return job_id


def test_no_path_leads_anywhere_else(service: Service) -> None:
    guid = done(service)
    names = {
        "guid": guid,
        "bare": guid.replace("-", ""),
        "digits": "".join(chr(0x660 + int(one)) if one.isdigit() else one for one in guid),
    }
    secret = (service.volume / "jobs" / guid[:2] / guid / "job.json").read_bytes()[:40]
    told = {}
    for path in PATHS:
        for method in ("GET", "DELETE") if not path.startswith("/swaggerui") else ("GET",):
            found = talk(service.port, request(method, path.format(**names), "Connection: close"))
            (answer,) = found.answers
            told[method, path[:60]] = answer.status
            assert answer.status in (308, 400, 404, 405, 414, 431), (method, path)
            assert secret not in found.received
            assert b"root:" not in found.received
            assert "X-Evil" not in answer.headers
    assert service.status(guid).status == "done", "it was deleted under another name"
    nothing_strange_is_stored(service)


def test_no_file_name_reaches_a_header_a_log_or_a_path(service: Service, row: Callable[[str], Row]) -> None:
    def send(filename: bytes) -> tuple[int, str]:
        found = talk(service.port, request("POST", "/resize", FORM, "Connection: close", body=form(TINY, filename)))
        (answer,) = found.answers
        body = json.loads(answer.body)
        return answer.status, body["id"] if answer.status == 202 else body["code"]

    with ThreadPoolExecutor(8) as clients:
        sent = dict(zip(FILE_NAMES, clients.map(send, FILE_NAMES.values()), strict=True))
    refused = {name: told for name, (status, told) in sent.items() if status != 202}
    row("file names").add(rounds=len(FILE_NAMES), remark=f"refused: {refused}")
    assert set(refused.values()) <= {"upload_malformed", "upload_missing"}
    assert len(refused) < len(sent) / 2
    for name, (status, job_id) in sent.items():
        if status != 202:
            continue
        stored = service.ended(job_id)
        assert stored.status == "done", name
        filename = stored.source.filename
        assert filename is None or (
            len(filename) <= 255 and not re.search(r"[\x00-\x1f\x7f/\\\u202e\ud800-\udfff]", filename)
        )
        (answer,) = talk(service.port, request("GET", f"/resize/{job_id}", "Connection: close")).answers
        assert answer.status == 200, name
        assert "X-Evil" not in answer.headers
        (disposition,) = answer.headers.get_all("Content-Disposition") or []
        kind, parameters = parse_options_header(disposition)
        assert kind == "inline", name
        saved = parameters["filename"]
        assert saved.endswith("-5x3.png"), (name, saved)
        assert not re.search(r"[\x00-\x1f\x7f/\\\u202e]", saved), (name, saved)
        assert re.fullmatch(r"[ -~]+", disposition), (name, disposition)
    nothing_strange_is_stored(service)


def test_no_parameter_reaches_a_log_as_it_came(service: Service) -> None:
    """Names and values of parameters are told back and logged: in JSON, and not at any length."""
    for target in ("/resize?%0a%1b[31m=1", "/resize?wait=%0d%0aX-Evil:1", "/resize?width=%00%1b%7f",
    "/resize?" + "x" * 9000 + "=1",
                   "/resize?%ed%a0%80=%ff",
                   "/resize?" + "&".join(f"p{number}=1" for number in range(900))):  # fmt: skip
        (answer,) = talk(service.port, request("POST", target, "Connection: close", body=TINY)).answers
        assert (answer.status, json.loads(answer.body)["code"]) == (422, "parameters_invalid")
        assert "X-Evil" not in answer.headers
        assert b"\x1b" not in answer.body
    for header in (
        b"Idempotency-Key: a\xffb",
        b"Prefer: wait=\xff",
        b"Accept: image/\xff",
        b"Range: bytes=\xff",
        b"X-API-Key: \xff",
    ):
        found = talk(service.port, request("POST", "/resize?width=5", header, "Connection: close", body=TINY))
        assert set(found.statuses) <= {202, 422}, header
    every_line_of_the_logs_is_one_event(service)


def test_no_host_reaches_the_page(service: Service) -> None:
    for host in (
        b'"><script>alert(1)</script>',
        b"x'-alert(1)-'",
        b"evil.example/x",
        b"x\\y",
        b"x y",
        b"javascript:alert(1)",
    ):
        for target in ("/", "/swagger.json", "/resize//status/x", "/nowhere"):
            found = talk(service.port, request("GET", target, "Connection: close", host=b"Host: " + host + b"\r\n"))
            assert found.statuses == [400]
            assert host not in found.received
    for more in ("X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /evil.example", "Forwarded: host=evil.example",
                 "X-Forwarded-Proto: javascript", "X-Original-URL: /evil.example",
                 "X-Script-Name: /evil.example"):  # fmt: skip
        for target in ("/", "/swagger.json", "/resize//status/x"):
            found = talk(service.port, request("GET", target, more, "Connection: close"))
            assert b"evil.example" not in found.received
            assert b"javascript:" not in found.received.lower().replace(b"javascript:void", b"")


def test_the_log_is_written_while_a_client_is_there(service: Service) -> None:
    """The refusals above are in the log: or the tests of its lines would prove nothing."""
    with connect(service.port) as connection:
        connection.sendall(request("GET", "/resize/%0a%1b%00marked", "Connection: close"))
        connection.recv(65536)
    until(lambda: "marked" in service.log(), why="a refusal is not in the log")
    assert service.alive()
