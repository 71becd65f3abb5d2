"""Every request of the API: its body, its answer, and what there is to know of it."""

from __future__ import annotations

import msgspec

from . import particles, records, requests, runs


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One request that the daemon answers."""

    request: str  # method and path
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None  # None: it is a stream
    note: str = ""


ROUTES = (
    Route(request="GET /v1/status", answer=runs.Status),
    Route(request="GET /v1/runs", answer=runs.Runs),
    Route(request="POST /v1/runs", body=requests.Submission, answer=requests.Accepted, note="status 201"),
    Route(
        request="POST /v1/import",
        body=requests.Import,
        answer=requests.ImportedResults,
        note="status 201; 409 when the same content was imported already",
    ),
    Route(request="GET /v1/runs/{run}", answer=runs.Run),
    Route(
        request="GET /v1/runs/{run}/best",
        answer=particles.Recommendation,
        note="404 while nothing has been measured",
    ),
    Route(
        request="GET /v1/runs/{run}/best/files",
        answer=particles.FinishedFiles,
        note="404 where no file was edited, or its content was not kept",
    ),
    Route(request="GET /v1/runs/{run}/rows", answer=runs.Table),
    Route(request="GET /v1/runs/{run}/particles", answer=particles.Particles),
    Route(request="POST /v1/runs/{run}/pause", body=requests.Reason, answer=runs.Run),
    Route(request="POST /v1/runs/{run}/resume", body=requests.Reason, answer=runs.Run),
    Route(request="POST /v1/runs/{run}/cancel", body=requests.Reason, answer=runs.Run),
    Route(request="POST /v1/runs/{run}/reconfigure", body=requests.NewConfiguration, answer=requests.Changes),
    Route(
        request="POST /v1/drain", answer=requests.Draining, note="what is measured is finished, nothing more is started"
    ),
    Route(request="POST /v1/log-level", body=requests.LogLevel, answer=requests.LogLevel),
    Route(request="GET /v1/events", answer=records.Records, note="query: [which events](#which-events)"),
    Route(request="GET /v1/events/stream", answer=None, note="[server-sent events](#stream)"),
)
