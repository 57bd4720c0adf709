"""Requests that are no HTTP, or nearly: each ends with an answer or a closed connection, and lets nothing in."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
from flask.testing import FlaskClient
from img_contract.config import Config
from img_contract.notify.memory import MemoryNotifier
from img_contract.testing import until
from img_contract.volume.layout import Layout
from img_contract.volume.store import VolumeJobs
from img_rest.app import create_app
from img_testing.raw_http import ALLOWED_5XX, BOUNDARY, FORM, HOST, Exchange, crashes, form, request, take_apart, talk
from img_testing.service import TOP, Service
from img_testing.web import web
from img_testing.witness import TINY, Row, all_jobs, rounds

pytestmark = pytest.mark.faults

CORPUS: Final = TOP.parent / "shared" / "corpus"
IDLE_SECONDS: Final = 1
"""`http.idle_seconds`: so soon a connection is closed on which nothing comes."""


@pytest.fixture(scope="module")
def service(standing: Callable[..., Service]) -> Iterator[Service]:
    running = standing(IMG_HTTP__IDLE_SECONDS=str(IDLE_SECONDS), IMG_LIMITS__QUEUE="1000000")
    running.start_rest()
    yield running
    assert crashes(running) == []


def post(*headers: str | bytes, body: bytes = TINY, target: str = "/resize?width=5") -> bytes:
    """A raw upload with these headers, Content-Length not added."""
    return request("POST", target, *headers) + body


def form_post(*headers: str | bytes, body: bytes) -> bytes:
    return post(FORM, *headers, body=body, target="/resize")


def get(*headers: str | bytes, target: str = "/health", host: bytes = HOST) -> bytes:
    return request("GET", target, *headers, host=host)


def chunk(content: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(content), extension, content)


LENGTH: Final = f"Content-Length: {len(TINY)}"
CHUNKED: Final = "Transfer-Encoding: chunked"
LAST: Final = b"0\r\n\r\n"
WHOLE: Final = form(TINY)
SECOND: Final = get(target="/limits")
WEBSOCKET: Final = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)

Case = tuple[bytes, list[int]]
"""What is sent, and the statuses of all answers over that connection."""

LENGTHS: Final[dict[str, Case]] = {
    "sound": (post(LENGTH), [202]),
    "undersized": (post(f"Content-Length: {len(TINY) - 9}"), [202, 400]),
    "negative": (post("Content-Length: -5"), [400]),
    "twice the same": (post(LENGTH, LENGTH), [202]),
    "twice, different": (post(LENGTH, "Content-Length: 5"), [400]),
    "a list": (post(f"{LENGTH}, {len(TINY)}"), [400]),
    "2^64": (post("Content-Length: 18446744073709551616"), [400]),
    "5000 digits": (post("Content-Length: " + "9" * 5000), [400]),
    "5000 zeros": (post("Content-Length: " + "0" * 5000, body=b""), [400]),
    "a sign": (post("Content-Length: +5"), [400]),
    "hexadecimal": (post("Content-Length: 0x10"), [400]),
    "an exponent": (post("Content-Length: 1e3"), [400]),
    "an underscore": (post("Content-Length: 1_0"), [400]),
    "empty": (post("Content-Length: "), [400]),
    "arabic digits": (post("Content-Length: ٣"), [400]),
    "with an underscore in its name": (post(LENGTH, "Content_Length: 3"), [202]),
    "none": (post(body=b""), [400]),
}

CHUNKS: Final[dict[str, Case]] = {
    "a form": (form_post(CHUNKED, body=chunk(WHOLE) + LAST), [202]),
    "a raw upload": (post(CHUNKED, body=chunk(TINY) + LAST), [411]),
    "no number": (form_post(CHUNKED, body=b"zz\r\n" + WHOLE), [400]),
    "negative": (form_post(CHUNKED, body=b"-5\r\n" + WHOLE), [400]),
    "a sign": (form_post(CHUNKED, body=b"+5\r\n" + WHOLE), [400]),
    "hexadecimal prefix": (form_post(CHUNKED, body=b"0x5\r\n" + WHOLE), [400]),
    "a huge number": (form_post(CHUNKED, body=b"f" * 40 + b"\r\n" + WHOLE), [400]),
    "smaller than it is": (form_post(CHUNKED, body=b"5\r\n" + WHOLE + b"\r\n" + LAST), [400]),
    "an extension": (form_post(CHUNKED, body=chunk(WHOLE, b";a=b;c") + LAST), [202]),
    "an extension of 100 kB": (form_post(CHUNKED, body=chunk(WHOLE, b";" + b"a" * 100_000) + LAST), [400]),
    "a bare LF in an extension": (form_post(CHUNKED, body=chunk(WHOLE, b";a\nb") + LAST), [400]),
    "trailers": (form_post(CHUNKED, body=chunk(WHOLE) + b"0\r\nX-A: b\r\nContent-Length: 5\r\nHost: y\r\n\r\n"), [202]),
    "length and chunks": (form_post("Content-Length: 5", CHUNKED, body=chunk(WHOLE) + LAST + SECOND), [202]),
    "chunks and length": (form_post(CHUNKED, "Content-Length: 5", body=chunk(WHOLE) + LAST + SECOND), [202]),
    "length that hides a second": (form_post("Content-Length: 6", CHUNKED, body=LAST + SECOND), [400]),
    "chunks that hide a second": (
        post(f"Content-Length: {len(LAST + SECOND)}", CHUNKED, body=LAST + SECOND),
        [411],
    ),
    "twice": (form_post(CHUNKED, CHUNKED, body=chunk(WHOLE) + LAST), [202]),
    "identity": (form_post("Transfer-Encoding: identity", body=WHOLE), [400]),
    "unknown": (form_post("Transfer-Encoding: xchunked", LENGTH, body=WHOLE), [400]),
    "a space before the colon": (form_post("Transfer-Encoding : chunked", body=chunk(WHOLE) + LAST), [400]),
    "a tab": (form_post("Transfer-Encoding:\tchunked", body=chunk(WHOLE) + LAST), [202]),
    "a vertical tab": (form_post(b"Transfer-Encoding: \x0bchunked", body=chunk(WHOLE) + LAST), [400]),
    "in quotes": (form_post('Transfer-Encoding: "chunked"', body=chunk(WHOLE) + LAST), [400]),
    "chunked, identity": (form_post("Transfer-Encoding: chunked, identity", body=chunk(WHOLE) + LAST), [400]),
    "of HTTP/1.0": (form_post(CHUNKED, body=chunk(WHOLE) + LAST).replace(b"HTTP/1.1", b"HTTP/1.0"), [400]),
    "an underscore in its name": (post("Transfer_Encoding: chunked", body=b""), [400]),
}

LINES: Final[dict[str, Case]] = {
    "a folded header": (get("X-A: b\r\n c"), [400]),
    "bare LF": (b"GET /health HTTP/1.1\nHost: x\n\n", [200]),
    "bare CR": (b"GET /health HTTP/1.1\rHost: x\r\r", [400]),
    "NUL in a value": (get(b"X-A: a\0b"), [400]),
    "NUL in a name": (get(b"X\0A: b"), [400]),
    "a control character": (get(b"X-A: a\x01b"), [400]),
    "bytes beyond ASCII in a value": (get(b"X-A: \xff", "X-B: €"), [200]),
    "HTTP/0.9": (b"GET /health\r\n\r\n", [400]),
    "HTTP/1.0": (b"GET /health HTTP/1.0\r\n\r\n", [200]),
    "HTTP/1.2": (b"GET /health HTTP/1.2\r\n\r\n", [400]),
    "HTTP/2.0": (b"GET /health HTTP/2.0\r\n\r\n", [400]),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", []),
    "a TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"A" * 508, [400]),
    "zeros": (bytes(100), [400]),
    "empty lines": (b"\r\n\r\n\r\n", []),
    "half a request": (b"GET /health HTTP/1.1\r\nHost: x\r\n", []),
    "two spaces": (b"GET  /health  HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "absolute": (get(target="http://elsewhere/health"), [200]),
    "absolute, with a user": (get(target="https://u:p@elsewhere:99/health"), [200]),
    "a file": (get(target="file:///etc/passwd"), [400]),
    "a script": (get(target="javascript:alert(1)"), [400]),
    "an asterisk": (request("OPTIONS", "*"), [404]),
    "GET of an asterisk": (get(target="*"), [404]),
    "CONNECT": (request("CONNECT", "elsewhere:443"), [400]),
    "no slash": (get(target="health"), [400]),
    "two slashes": (get(target="//elsewhere/health"), [404]),
    "a euro sign in the query": (get(target="/limits?x=€"), [200]),
    "a euro sign in a parameter": (get(target="/resize/status/x?wait=€"), [422]),
    "a euro sign in the path": (get(target="/resize/€"), [404]),
    "broken escapes": (get(target="/%zz%ff%00?%zz%ff%00&&=="), [404]),
    "Expect: 100-continue": (post(LENGTH, "Expect: 100-continue"), [202]),
    "an unknown expectation": (post(LENGTH, "Expect: 200-ok"), [202]),
    "pipelined": (get() + SECOND + get(target="/nowhere"), [200, 200, 404]),
    "pipelined after an upload": (post(LENGTH) + SECOND, [202, 200]),
    "no Host": (get(host=b""), [400]),
    "no Host, absolute": (get(target="http://x/health", host=b""), [200]),
    "two Hosts": (get(host=HOST + HOST), [400]),
    "an empty Host": (get(host=b"Host:\r\n"), [400]),
    "a script as Host": (get(target="/", host=b'Host: "><script>alert(1)</script>\r\n'), [400]),
    "a path in Host": (get(host=b"Host: x/y\r\n"), [400]),
    "a user in Host": (get(host=b"Host: u@x\r\n"), [400]),
    "a port too long": (get(host=b"Host: x:123456\r\n"), [400]),
    "an underscore in Host": (get(host=b"Host: img_rest:8080\r\n"), [200]),
    "an IPv6 address": (get(host=b"Host: [::1]:8080\r\n"), [200]),
    "10,000 headers": (get(*(f"X-{number}: y" for number in range(10_000))), [431]),
    "a header of 1 MB": (get("X: " + "a" * 1_000_000), [431]),
    "a header of 20 kB": (get("X: " + "a" * 20_000), [431]),
    "a target of 40 kB": (get(target="/" + "a" * 40_000), [431]),
    "a target of 100 kB": (get(target="/" + "a" * 100_000), [414]),
    "a method of 10 kB": (request("A" * 10_000, "/health"), [405]),
    "an odd method": (request("G$T", "/health"), [405]),
    "a method in lower case": (request("get", "/health"), [400]),
    "head in lower case": (request("head", "/health"), [400]),
    "TRACE": (request("TRACE", "/health", "X-Secret: 1"), [405]),
    "another method in a header": (post("X-HTTP-Method-Override: GET", LENGTH, target="/health"), [405]),
    "DELETE in a header": (post("X-HTTP-Method: DELETE", "X-Method-Override: DELETE", LENGTH), [202]),
    "a WebSocket": (get(*WEBSOCKET), [400]),
    "a WebSocket as an upload": (post(LENGTH, *WEBSOCKET), [400]),
    "h2c": (get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"), [200]),
    "GET with a body": (get("Content-Length: 5") + b"hello" + SECOND, [200, 200]),
    "GET with chunks": (get(CHUNKED) + chunk(b"hello") + LAST + SECOND, [200, 200]),
}

BROKEN_OFF: Final[dict[str, Case]] = {
    "raw": (post(f"Content-Length: {len(TINY) + 50}"), [400]),
    "raw, nothing of it": (post(LENGTH, body=b""), [400]),
    "a form behind its last boundary": (form_post(f"Content-Length: {len(WHOLE) + 10}", body=WHOLE), [400]),
    "a form in its picture": (form_post(f"Content-Length: {len(WHOLE)}", body=WHOLE[:-40]), [400]),
    "a form of which there is nothing": (form_post(f"Content-Length: {len(WHOLE)}", body=b""), [400]),
    "chunks in the picture": (form_post(CHUNKED, body=chunk(WHOLE[:-40])), [400]),
    "a chunk that is not full": (form_post(CHUNKED, body=chunk(WHOLE)[:-60]), [400]),
}
"""The client says that no more comes, before all of it has come."""


UNREAD: Final[dict[str, tuple[bytes, int]]] = {
    "raw": (request("POST", "/nowhere", "Content-Length: 100") + b"abc", 404),
    "chunks": (request("POST", "/nowhere", CHUNKED) + chunk(b"hello"), 404),
    "the last chunk": (request("POST", "/nowhere", CHUNKED) + b"0\r\n", 404),
    "nothing": (request("DELETE", "/resize/x", "Content-Length: 100"), 404),
    "GET": (request("GET", "/health", "Content-Length: 100") + b"abc", 200),
}
"""Bodies that nobody needs and that do not come: a connection that stayed would be taken up for good."""

TOO_LARGE: Final[dict[str, Case]] = {
    "a length of 2^63": (post("Content-Length: 9223372036854775808"), [413]),
    "a length larger than allowed": (post("Content-Length: 999999999"), [413]),
    "a form larger than allowed": (form_post("Content-Length: 999999999", body=WHOLE), [413]),
}


def exchange(service: Service, sent: bytes, *, half_close: bool = False) -> Exchange:
    found = talk(service.port, sent, seconds=25, half_close=half_close)
    assert found.ended, "neither answered nor closed"
    assert [status for status in found.statuses if status >= 500 and status not in ALLOWED_5XX] == []
    until(service.alive, why="the service answers no more")
    return found


def all_of(service: Service, cases: dict[str, Case], *, half_close: bool = False) -> None:
    """Send each over a connection of its own, and compare what came back."""
    with ThreadPoolExecutor(48) as clients:
        found = dict(
            zip(
                cases,
                clients.map(lambda case: exchange(service, case[0], half_close=half_close), cases.values()),
                strict=True,
            )
        )
    odd = {name: (found[name].statuses, "for", cases[name][1]) for name in cases}
    assert {name: told for name, told in odd.items() if told[0] != told[2]} == {}
    for name, one in found.items():
        assert one.rest == b"", name
        for answer in one.answers:
            if answer.status >= 400 and answer.body:
                assert answer.headers["Content-Type"] == "application/problem+json", name
                assert json.loads(answer.body)["status"] == answer.status
    nothing_is_left(service)


def nothing_is_left(service: Service) -> None:
    until(lambda: list((service.volume / "incoming").iterdir()) == [], why="leftovers in incoming/")
    assert web.post(f"{service.url}/resize?width=5", content=TINY, timeout=30).status_code == 202


def test_lengths_that_are_wrong(service: Service) -> None:
    all_of(service, LENGTHS)


def test_chunks_that_are_wrong(service: Service) -> None:
    all_of(service, CHUNKS)


def test_lines_that_are_wrong(service: Service) -> None:
    all_of(service, LINES)


def test_a_body_that_ends_early_becomes_no_job(service: Service) -> None:
    before = len(all_jobs(service.volume))
    all_of(service, BROKEN_OFF, half_close=True)
    assert len(all_jobs(service.volume)) == before + 1  # the one that was sent to see that the service lives


def test_what_never_ends_is_cut_off(service: Service, row: Callable[[str], Row]) -> None:
    """The same, and the client stays there; refusals of what does not come; and the requests of other servers' tests.

    All of it takes ten seconds, so it is sent at once.
    """
    before = len(all_jobs(service.volume))
    cases = {f"{name}, broken off": (sent, [408]) for name, (sent, _) in BROKEN_OFF.items()}
    cases["chunks without an end"] = (form_post(CHUNKED, body=chunk(WHOLE)), [408])
    for name, (sent, status) in UNREAD.items():
        cases |= {f"{name}, {one}": (sent, [status]) for one in range(4)}
    with ThreadPoolExecutor(1) as beside:
        others = beside.submit(what_other_servers_are_tested_with, service, row)
        all_of(service, cases | TOO_LARGE)
        others.result()
    assert len(all_jobs(service.volume)) == before + 1


def what_other_servers_are_tested_with(service: Service, row: Callable[[str], Row]) -> None:
    files = sorted((CORPUS / "gunicorn-http").glob("*/*.http"))
    if not files:
        row("raw requests of gunicorn").add(remark="none: ../shared/corpus/gunicorn-http is not there")
        return
    with ThreadPoolExecutor(len(files)) as clients:
        found = list(clients.map(lambda path: exchange(service, written_out(path.read_bytes())), files))
    for path, one in zip(files, found, strict=True):
        assert len(one.statuses) <= written_out(path.read_bytes()).count(b" HTTP/") + 1, path
        assert one.rest == b"", path
    seen = Counter(tuple(one.statuses) for one in found)
    row("raw requests of gunicorn").add(rounds=len(files), remark=str(dict(seen)))


def written_out(text: bytes) -> bytes:
    """A file of gunicorn's tests as the bytes that it stands for (gunicorn, tests/treq.py)."""
    sent = text.replace(b"\n", b"").replace(b"\\r\\n", b"\r\n")
    for escape, byte in ((b"\\0", b"\0"), (b"\\n", b"\n"), (b"\\t", b"\t")):
        sent = sent.replace(escape, byte)
    return sent


# Forms

WORDS: Final = (
    b"\r\n", b"\n", b"\r", b"--", b"--" + BOUNDARY, b"--" + BOUNDARY + b"--", b"\r\n--" + BOUNDARY + b"\r\n", b"\0",
    b"\xff",
    b'"', b"\\", b";", b"=", b": ", b" ", b"\t", b"filename*=UTF-8''%00%ff%0d%0a",
    b"filename*0*=UTF-8''a; filename*1=b",
    b"name=file", b'name="file"', b'name="width"', b"name", b"charset=utf-7", b"charset=\xff", b"Content-Length: 5\r\n",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Type: multipart/mixed; boundary=x\r\n", b"\xc0\x80",
    b"\xed\xa0\x80",
    b"=?utf-8?B?AAAA?=", b"%0d%0a", b"9" * 5000, b"a" * 5000, b'Content-Disposition: form-data; name="wait"\r\n\r\n',
)  # fmt: skip


def mutations(sound: bytes, number: int, seed: int = 1) -> Iterator[bytes]:
    """A form with a few things put in, taken out, doubled or swapped; the same ones each time."""
    chance = random.Random(seed)
    for _ in range(number):
        body = bytearray(sound)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(body) + 1)
            end = min(len(body), at + chance.choice((1, 2, 8, 40)))
            match chance.randrange(5):
                case 0:
                    body[at:at] = chance.choice(WORDS)
                case 1:
                    body[at:end] = b""
                case 2:
                    body[at:end] = chance.randbytes(end - at)
                case 3:
                    body[at:at] = body[at:end]
                case _:
                    body[at:end] = chance.choice(WORDS)
        yield bytes(body)


def forms_of_others() -> list[tuple[bytes, bytes]]:
    """Boundary and body of each form in the corpora."""
    found = []
    for folder in ("go-fuzz-multipart", "werkzeug-multipart"):
        for path in sorted((CORPUS / folder).rglob("*")):
            if path.is_file() and path.suffix not in (".png", ".txt"):
                body = path.read_bytes()
                first = body.split(b"\r\n", 1)[0]
                found.append((first[2:] if first.startswith(b"--") else b"foo", body))
    return found


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    config = Config.model_validate({"volume": tmp_path / "volume", "limits": {"free_bytes": 0, "queue": 1_000_000}})
    layout = Layout(config.volume)
    layout.prepare()
    return create_app(config, VolumeJobs(layout, MemoryNotifier())).test_client()


SOUND: Final = form(TINY, b'filename="a.png"', width=5, format="webp", variants="a:5w,b:6w") + b"epilogue"


def test_broken_forms_are_refused_and_leave_nothing(
    client: FlaskClient, tmp_path: Path, row: Callable[[str], Row]
) -> None:
    seen: Counter[int] = Counter()
    for body in mutations(SOUND, rounds(600, 20_000)):
        answer = client.post("/resize", data=body, content_type=FORM.decode().partition(": ")[2], buffered=True)
        assert answer.status_code < 500, body
        seen[answer.status_code] += 1
    row("broken forms").add(remark=f"{seen.total()} mutations of a form, in the process: {dict(seen)}")
    assert set(seen) <= {202, 400, 413, 415, 422}
    assert seen[400] > 100
    assert seen[202] > 30
    assert list((tmp_path / "volume" / "incoming").iterdir()) == []


def test_broken_forms_over_the_wire(service: Service, row: Callable[[str], Row]) -> None:
    bodies = [(BOUNDARY, body) for body in mutations(SOUND, rounds(150, 2000), seed=2)] + forms_of_others()

    def send(one: tuple[bytes, bytes]) -> int:
        kind = b"Content-Type: multipart/form-data; boundary=" + one[0]
        found = talk(service.port, request("POST", "/resize", kind, "Connection: close", body=one[1]), seconds=25)
        assert found.ended, one[1]
        (status,) = found.statuses
        return status

    with ThreadPoolExecutor(8) as clients:
        seen = Counter(clients.map(send, bodies))
    row("broken forms").add(remark=f"{len(bodies)} broken forms over the wire: {dict(seen)}")
    assert set(seen) <= {202, 400, 413, 415, 422}
    nothing_is_left(service)


@pytest.mark.parametrize(
    "boundary", ["", '""', "\0", "a" * 70, "a" * 5000, "ä", '"a b"', "a;charset=x", "'", "%s", "\\", "--", '"\\""']
)
def test_any_boundary_is_taken_or_refused(service: Service, boundary: str) -> None:
    told = boundary.encode()
    used = told.strip(b'"').replace(b"\\", b"")
    body = WHOLE.replace(BOUNDARY, used)
    kind = b"Content-Type: multipart/form-data; boundary=" + told
    found = talk(service.port, request("POST", "/resize", kind, "Connection: close", body=body), seconds=25)
    assert found.ended
    assert set(found.statuses) <= {202, 400, 415}


# What answers carry


def test_every_answer_carries_the_headers_that_browsers_need(service: Service) -> None:
    for method, target in (
        ("GET", "/nowhere"), ("POST", "/health"), ("HEAD", "/health"), ("HEAD", "/nowhere"), ("OPTIONS", "/resize"),
        ("OPTIONS", "/nowhere"), ("TRACE", "/"), ("GET", "/swaggerui/swagger-ui.css"), ("HEAD",
        "/swaggerui/swagger-ui.css"),
        ("GET", "/swaggerui/swagger-ui-bundle.js"), ("GET", "/swaggerui/nothing"), ("GET",
        "/swaggerui/../../etc/passwd"),
        ("GET", "/swaggerui/%2e%2e/%2e%2e/img_rest/app.py"), ("GET", "/resize//status/a"), ("PUT", "/resize/x"),
        ("get", "/"),
    ):  # fmt: skip
        found = talk(service.port, request(method, target, "Connection: close"), method=method)
        (answer,) = found.answers
        assert answer.headers["X-Content-Type-Options"] == "nosniff", (method, target)
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert "unsafe-eval" not in answer.headers["Content-Security-Policy"]
        assert answer.body == b"" or method != "HEAD"
        if answer.status == 405:
            assert answer.headers["Allow"]
        assert "Set-Cookie" not in answer.headers
        assert b"X-Secret" not in answer.body


def test_head_of_a_result_says_what_get_would_say(service: Service) -> None:
    engine = service.start_engine()
    sent = web.post(f"{service.url}/resize?width=5&wait=50", content=TINY, timeout=60)
    service.kill(engine)
    target = sent.headers["Location"]
    got = talk(service.port, request("GET", target, "Connection: close")).answers[0]
    # A second request on the same connection: a body that HEAD had left there would stand before its answer.
    found = talk(service.port, request("HEAD", target) + SECOND)
    answers, rest = take_apart(found.received, "HEAD")
    assert answers[0].status == got.status == 200
    for name in ("Content-Length", "Content-Type", "ETag", "Content-Disposition", "Cache-Control"):
        assert answers[0].headers[name] == got.headers[name]
    assert int(got.headers["Content-Length"]) == len(got.body)
    with suppress(ValueError):
        answers = [answers[0], *take_apart(found.received.split(b"\r\n\r\n", 1)[1])[0]]
    assert [answer.status for answer in answers] == [200, 200]
    assert json.loads(answers[1].body)["accept"]
    assert rest is not None
