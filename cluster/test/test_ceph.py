"""Ceph's gateway keeps the rules, too; the contract's tests run over it as well. `CEPH=1`."""

from __future__ import annotations

import os
import subprocess

import pytest
from img_contract.testing import HANG_SECONDS
from img_testing.ceph import Gateway
from img_testing.cluster import BIN, Figure

pytestmark = pytest.mark.cluster


def test_check_store_finds_ceph_good(ceph: Gateway, figure: Figure) -> None:
    secret = ceph.config.secret_key
    assert secret is not None
    settings = {
        "IMG_STORE__KIND": "s3",
        "IMG_STORE__BUCKET": ceph.config.bucket,
        "IMG_STORE__ENDPOINT": str(ceph.config.endpoint),
        "IMG_STORE__ACCESS_KEY": str(ceph.config.access_key),
        "IMG_STORE__SECRET_KEY": secret.get_secret_value(),
        "IMG_QUEUE__KIND": "celery",
        "IMG_QUEUE__BROKER": "amqp://localhost:1/",  # the command needs none
    }
    checked = subprocess.run(
        [BIN / "img-engine", "--check-store"],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=HANG_SECONDS,
    )
    assert checked.returncode == 0, checked.stderr
    assert "one succeeded, 5 times out of 5" in checked.stdout
    version = subprocess.run(["radosgw", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    figure(f"Ceph {version}: img-engine --check-store", checked.stdout.partition(": ")[2].strip())
