"""What the routes and use cases work with, built once, by `create_app`."""

from __future__ import annotations

from dataclasses import dataclass, field

from img_contract.config import Config
from img_contract.ports import Jobs

from img_rest.admission.backlog import Backlog
from img_rest.admission.places import UploadPlaces
from img_rest.admission.readiness import Readiness
from img_rest.exposition import Exposition
from img_rest.waiting import LongPolls


@dataclass(frozen=True)
class Services:
    """One of each, shared by all threads."""

    config: Config
    jobs: Jobs
    backlog: Backlog
    uploads: UploadPlaces
    long_polls: LongPolls
    exposition: Exposition
    readiness: Readiness = field(default_factory=Readiness)
