"""The benchmark's part on servers: a short run, with servers that are missing and one that does the wrong thing."""

from __future__ import annotations

import os
import subprocess
import sys
from textwrap import dedent

import pytest
from img_testing.service import TOP

pytestmark = [pytest.mark.long, pytest.mark.python_independent]

WRONG_SIZE = f"""\
    #!{sys.executable}
    import io, os
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from PIL import Image

    picture = io.BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "JPEG")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(picture.getvalue())

    host, port = os.environ["IMGPROXY_BIND"].split(":")
    ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a short run writes on a machine without Node, with an imgproxy that gives pictures of another size."""
    folder = tmp_path_factory.mktemp("bench")
    (folder / "bin").mkdir()
    (folder / "bin" / "imgproxy").write_text(dedent(WRONG_SIZE))
    (folder / "bin" / "imgproxy").chmod(0o755)
    options = ["--parts", "servers", "--rows", "photo-variants", "--rounds", "1", "--seconds", "0.2"]
    subprocess.run(
        [sys.executable, "bench/bench.py", *options, "--work", folder / "work", "--output", folder / "page.md"],
        cwd=TOP,
        env=os.environ | {"PATH": str(folder / "bin")},
        check=True,
    )
    return (folder / "page.md").read_text()


def test_ours_is_measured_and_so_are_its_children_alone(page: str) -> None:
    servers, _, service = page.partition("### The service and its children")
    assert "\n| ours |" in servers
    assert "\n| 2725×2225 JPEG → 320, 640, 1280, 1920 | " in service


def test_a_server_that_is_not_installed_is_left_out_with_that_reason(page: str) -> None:
    assert "Node + sharp is not installed" in page
    assert "\n| Node + sharp |" not in page


def test_a_server_whose_picture_has_another_size_is_not_measured(page: str) -> None:
    assert "imgproxy, 2725×2225 JPEG → 320, 640, 1280, 1920 (expected 320 pixels of width, found 8×8)" in page
    assert "\n| imgproxy |" not in page
