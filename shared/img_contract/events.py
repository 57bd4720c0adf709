"""The names of all log events, and what each means. Logs, metrics and docs read this table."""

from __future__ import annotations

from typing import Final

EVENTS: Final = {
    "job_accepted": "an upload is on the volume, and its client is answered",
    "job_repeated": "a request came again with its Idempotency-Key, and got the job that it made before",
    "job_cancelled": "a client cancelled a job that had not ended",
    "job_deleted": "a client deleted the files of a job that had ended",
    "job_claimed": "an engine starts an attempt; `waited` has the seconds since the upload",
    "job_done": "the results are published; `recorded` is false if another outcome was first",
    "job_failed": "the job has failed; `code` and `reason` are those of the status, `recorded` is as with job_done",
    "job_too_new": "a newer version has written the job: it is left, untouched, for an engine that understands it",
    "attempt_spent": "a child died or was stopped; the job is tried again until its attempts are spent",
    "attempt_lost": "an engine died or was cut off in the middle of an attempt, and the next one starts",
    "jobs_sent_again": "the broker had no message for `jobs` jobs that have not ended; they are delivered after all",
    "attempt_cancelled": "the engine or its children stop; the attempt is not counted",
    "claim_void": "the job was cancelled, or another engine took over, while an attempt was under way",
    "engine_started": "an engine takes jobs",
    "engine_stopped": "an engine has stopped in order",
    "children_restarted": "a child died idle, and another took its place",
    "child_not_started": "the system cannot start a child now; it is tried again with the next job",
    "libturbojpeg_missing": "large JPEGs take longer; `remedy` says how to install the library",
    "memory_not_limited": "the system refuses to limit the memory of a child: a large picture may take all there is",
    "upload_missing": "a job's upload is not on the volume any more; the job fails",
    "store_fault": "the volume cannot be read or written; what was to be done is tried again, and costs no attempt",
    "journal_line_lost": "a job that was submitted or has ended cannot be noted: a list may lack it; `reason` says why",
    "engines_not_notified": "no engine is connected, or its keys differ; the job is found by polling",
    "notifier_not_bound": "the notifier's address is taken; binding is tried again, and jobs are found by polling",
    "invalid_messages_dropped": "somebody else sends to an engine; `messages` counts since the last such line",
    "log_lines_dropped": "stderr was closed, full or slow; `lines` counts what was lost since the last such line",
    "library_message": "a library of the HTTP server reports a fault, in its own words: `message`",
    "status_unknown": "a job was taken, but its status cannot be read now",
    "readiness_changed": "/health/ready answers otherwise than before; `code` is that of the problem, or `ok`",
    "request_refused": "a request got an error; `code` is that of the problem",
    "request_crashed": "a defect of img-rest: please report it",
    "attempt_crashed": "a defect of img-engine, which cost an attempt: please report it",
    "dispatch_crashed": "a defect of img-engine, which goes on: please report it",
}
