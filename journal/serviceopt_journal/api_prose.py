"""What docs/api.md says beside its tables."""

from __future__ import annotations

from textwrap import fill

from .metric_reference import columns


def _filled(text: str) -> str:
    """The paragraphs with lines of equal length, whatever was put into them."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(fill(each, 120, break_long_words=False, break_on_hyphens=False) for each in paragraphs) + "\n"


HEAD = """# The API

Generated from the types by `python -m serviceopt_journal.api_reference > docs/api.md`; do not edit.

The daemon answers HTTP/1.1 on a unix socket: `/run/serviceoptd/serviceoptd.sock` for root,
`$XDG_RUNTIME_DIR/serviceoptd/serviceoptd.sock` for a user, or where `SERVICEOPT_SOCKET` says. Who may open the socket
may do everything. Every body is JSON in UTF-8. `serviceoptctl --json` prints these documents, from the daemon or,
when it is down, from the journal; both are made by the same functions, and of the same types
(`serviceopt_journal.documents`), which a program in Python may import.

```sh
curl --unix-socket /run/serviceoptd/serviceoptd.sock http://localhost/v1/status
```

Times are seconds, points in time seconds since the epoch, rates per second. A value that is not known is `null`; the
type `value` is an integer, a number, a boolean or a string. Keys may be added; none is renamed or removed, and readers
should ignore those that they do not know. `{run}` is a run's number, or `latest`.

Limits, each told with status 400: a body of 8 MiB (an import: 40 MiB), a configuration of 1 Mi characters and 32 keys in
each other, a name of 200 characters, a reason of 2000. A request must have arrived whole within 20 seconds, a connection
that waits as long for its next one is closed, and so is the 129th at a time.
"""
ROWS = _filled(f"""The columns, in this order: {columns(predecessors=True)},
every target field, `error`, `backup`, `duration` (s),
`real_evaluation` (false: predicted or simulated), `fitness`, `num_prompts`, and then our own: `run`, `evaluation`,
`source` (`measured`, `simulated`, `predicted`, `imported`), `repeats`, `particle`, `feasible`, `violated`,
{columns(predecessors=False)}, `audited` (what a rejection rule had said of a particle that was measured all the
same), `confirmations` (measurements after the search; where there are some, the metrics are their median, and
`repeats` is their number), `remark` (why a result should not be believed, above all where a simulation goes beyond
its model's training data).

`export` writes them as CSV in UTF-8: booleans are `true` and `false`, nothing is an empty cell, and text that a
spreadsheet would execute has an apostrophe in front. Characters that nobody would see (controls, formatting, zero width)
stand as `\\x1b` or `\\u202e`, in JSON as its own escapes. `export --all` puts the target fields of all runs between the
two fixed parts. `export --events` has the columns `seq`, `time` (ISO 8601, UTC), `type`, `run`, `particle`,
`evaluation`, `payload` (JSON).
""")
IMPORT = """The run is over at once. Its identities are `imported:` and the SHA-256 of the file, so that no value of it is
reused and no run continues it.
"""
EVENTS = """## Record

An event as it stands in the journal: `seq`, `commit` (first `seq` of its transaction), `time`, `monotonic`,
`boot_id`, and `event` with `type`, `v` and the fields of [events.md](events.md).

### Which events

`GET /v1/events` takes `after` and `until` (numbers; the first excluded, the second included), `run`, `type` (may be
repeated), `since` (seconds since the epoch), `newest` (only the last so many) and `limit` (only the first so many).

## Stream

`GET /v1/events/stream` takes `after`, `run` and `type`. Each record is sent after it has become durable, once, in
order:

```text
id: 17
event: service_ready
data: {"seq":17,...}
```

A comment line comes every 10 seconds while nothing happens. Without `after` (or the header `Last-Event-ID`) the
stream begins with the next event. When the daemon ends, the stream ends; connect again with `after` set to the last
`id`.
"""
LOCAL = """## What `serviceoptctl --json` adds

`watch --json`, `run --watch --json`, `run --standalone --json` and `optimizer --json` print one [record](#record) on
each line and finally [how it ended](#ended).

The other commands print one document: `doctor` [what it found](#doctor), `check` a [checked](#checked-summary) or an
[unusable](#unusable-configuration) configuration, `journal verify` [whether it is sound](#verified-journal), `docs` its
[pages](#pages) or a [page](#page), `train` the [model](#trained-model), `profile` the [recordings](#profiled) and
`trust` a [comparison](#comparison).
"""
