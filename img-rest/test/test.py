"""The shortest proof that the API works: a picture goes in, its status can be asked, its file comes out.

cd img-rest && python3 -m venv ./venv && source venv/bin/activate
pip install -r requirements.txt && pytest test/test.py
"""

from __future__ import annotations

import io
from collections.abc import Callable

from flask.testing import FlaskClient
from img_contract.notify.memory import MemoryNotifier


def test_a_picture_is_accepted_and_a_guid_given_at_once(
    client: FlaskClient, png: bytes, notifier: MemoryNotifier
) -> None:
    answer = client.post("/resize", data={"file": (io.BytesIO(png), "red.png"), "width": "2"})
    assert answer.status_code == 202
    body = answer.get_json()
    assert body["status"] == "queued"
    assert len(body["id"]) == 36
    assert answer.headers["Location"] == body["links"]["status"] == f"/resize/status/{body['id']}"
    assert answer.headers["Retry-After"] == "1"
    notified = notifier.wait(1)
    assert notified is not None
    assert notified.id == body["id"]
    assert notified.resize.width == 2
    assert notified.source.filename == "red.png"
    assert notified.source.bytes == len(png)


def test_its_status_can_be_asked_from_beginning_to_end(
    client: FlaskClient, png: bytes, finish: Callable[[], bytes]
) -> None:
    posted = client.post("/resize?width=2", data=png, content_type="image/png").get_json()
    first = client.get(posted["links"]["status"])
    assert first.status_code == 200
    assert first.get_json()["status"] == "queued"
    assert first.headers["Retry-After"] == "1"
    finish()
    last = client.get(posted["links"]["status"])
    body = last.get_json()
    assert body["status"] == "done"
    assert "Retry-After" not in last.headers
    assert body["source"]["width"] == 4
    assert body["outputs"][0]["href"] == posted["links"]["result"]
    assert (body["outputs"][0]["width"], body["outputs"][0]["height"]) == (2, 1)


def test_its_file_comes_out(client: FlaskClient, png: bytes, finish: Callable[[], bytes]) -> None:
    posted = client.post("/resize?width=2", data=png, content_type="image/png").get_json()
    early = client.get(posted["links"]["result"])
    assert early.status_code == 409
    assert early.headers["Retry-After"] == "1"
    content = finish()
    answer = client.get(posted["links"]["result"])
    assert answer.status_code == 200
    assert answer.data == content
    assert answer.content_type == "image/png"


def test_the_landing_page_is_swagger_ui_and_documents_every_route(client: FlaskClient) -> None:
    assert b"swagger-ui" in client.get("/").data
    document = client.get("/swagger.json").get_json()
    assert set(document["paths"]) == {
        "/resize",
        "/resize/{guid}",
        "/resize/{guid}/{name}",
        "/resize/status/{guid}",
        "/jobs",
        "/stats",
        "/limits",
        "/metrics",
        "/health",
        "/health/ready",
    }
