"""SQL views beside the event table, for every tool that reads SQLite: sqlite3, sqlite-utils, Datasette, DuckDB, pandas.

They are derived from the events' bytes alone and may change with any release; `docs/events.md` describes the events.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .metric_table import GENERATE_SPEED, METRIC, SUCCESS_RATE, THROUGHPUT, TPOT, TTFT

_SPEED, _RATE, _SUCCESS, _FIRST, _LATER = (
    METRIC[key].column for key in (GENERATE_SPEED, THROUGHPUT, SUCCESS_RATE, TTFT, TPOT)
)


def _select(text: str) -> str:
    """Writes `@a.b` out: the value at that place of an event's fields."""
    return re.sub(r"@([a-z_.]+)", r"json_extract(body, '$.event.\1')", text).strip()


_EVENTS = """
SELECT seq, json_extract(body, '$.time') AS time, @type AS type, @v AS v, @run AS run,
  @particle AS particle, @evaluation AS evaluation, @measurement AS measurement, body
FROM event
"""

_RUNS = """
WITH submitted AS (
  SELECT run, time, @name AS name, @settings.engine AS engine,
    @settings.benchmark AS benchmark, @seed AS seed, @run_identity AS run_identity,
    @measurement_identity AS measurement_identity
  FROM events WHERE type = 'run_submitted'
), started AS (
  SELECT run, min(time) AS time FROM events WHERE type = 'run_started' GROUP BY run
), finished AS (
  SELECT run, time, @outcome AS outcome, @reason AS reason,
    @recommended AS recommended, @feasible AS feasible,
    @evaluations AS evaluations, @seconds AS seconds
  FROM events WHERE type = 'run_finished'
)
SELECT submitted.run, name, engine, benchmark, submitted.time AS submitted, started.time AS started,
  finished.time AS finished, outcome, reason, recommended, feasible, evaluations, seconds, seed, run_identity,
  measurement_identity
FROM submitted LEFT JOIN started USING (run) LEFT JOIN finished USING (run)
"""

_EVALUATIONS = """
WITH launching AS (
  SELECT run, evaluation, min(particle) AS particle, max(@attempt) AS attempts, min(time) AS launched,
    max(@simulated) AS simulated
  FROM events WHERE type = 'service_launching' GROUP BY run, evaluation
), ready AS (
  SELECT run, evaluation, max(time) AS ready, @waited AS waited
  FROM events WHERE type = 'service_ready' GROUP BY run, evaluation
), interrupted AS (
  SELECT run, evaluation, count(*) AS interruptions
  FROM events WHERE type = 'evaluation_interrupted' GROUP BY run, evaluation
), finished AS (
  SELECT run, evaluation, time AS finished, @error AS error, @seconds AS seconds,
    @particles AS particles, @backup AS backup
  FROM events WHERE type = 'evaluation_finished'
)
SELECT run, evaluation, particle, particles, attempts, coalesce(interruptions, 0) AS interruptions, simulated, launched,
  ready, waited, finished, seconds, error, backup
FROM launching LEFT JOIN ready USING (run, evaluation) LEFT JOIN interrupted USING (run, evaluation)
  LEFT JOIN finished USING (run, evaluation)
"""

_MEASUREMENTS = f"""
WITH started AS (
  SELECT run, evaluation, measurement, @attempt AS attempt, time AS started,
    @concurrency AS concurrency, @request_rate AS request_rate,
    @num_prompts AS num_prompts
  FROM events WHERE type = 'measurement_started'
), ended AS (
  SELECT run, particle, evaluation, measurement, @attempt AS attempt, time AS ended,
    substr(type, 13) AS outcome, coalesce(@reason, '') AS error, @seconds AS seconds,
    @simulated AS simulated,
    coalesce(@metrics, @observed) AS metrics
  FROM events WHERE type IN ('measurement_finished', 'measurement_failed', 'measurement_rejected')
)
SELECT run, particle, evaluation, measurement, attempt, outcome, concurrency, request_rate, num_prompts,
  json_extract(metrics, '$.{GENERATE_SPEED}') AS {_SPEED}, json_extract(metrics, '$.{THROUGHPUT}') AS {_RATE},
  json_extract(metrics, '$.{SUCCESS_RATE}') AS {_SUCCESS},
  json_extract(metrics, '$.{TTFT}.mean') AS {_FIRST},
  json_extract(metrics, '$.{TPOT}.mean') AS {_LATER}, error, started, ended, seconds, simulated, metrics
FROM ended LEFT JOIN started USING (run, evaluation, measurement, attempt)
"""  # noqa: S608 - constants only

_REJECTIONS = """
SELECT seq, time, run, particle, evaluation, measurement, @rule AS rule, @reason AS reason,
  coalesce(@predicted, @observed) AS metrics, coalesce(@kind, '') AS kind, coalesce(@audited, 0) AS audited
FROM events WHERE type IN ('particle_rejected', 'measurement_rejected')
"""

# A particle that was matched has no measurement of its own: the recommendation follows the match, at
# most once, since a match always names the particle that was measured.
_BEST = f"""
WITH recommended AS (
  SELECT run, @recommended AS particle, @feasible AS feasible
  FROM events WHERE type = 'run_finished' AND @recommended IS NOT NULL
), matched AS (
  SELECT run, particle, @same_as_run AS measured_run, @same_as_particle AS measured_particle
  FROM events WHERE type = 'particle_matched'
), target AS (
  SELECT recommended.run, recommended.particle, feasible, coalesce(measured_run, recommended.run) AS measured_run,
    coalesce(measured_particle, recommended.particle) AS measured_particle
  FROM recommended LEFT JOIN matched USING (run, particle)
), candidate AS (
  SELECT target.run, target.particle, 1 AS recommended, feasible, evaluation, measurement, concurrency, request_rate,
    {_SPEED}, {_RATE}, {_SUCCESS}, {_FIRST}, {_LATER}, simulated
  FROM target JOIN measurements
    ON measurements.run = measured_run AND measurements.particle = measured_particle AND outcome = 'finished'
  UNION ALL
  SELECT run, particle, 0, NULL, evaluation, measurement, concurrency, request_rate,
    {_SPEED}, {_RATE}, {_SUCCESS}, {_FIRST}, {_LATER}, simulated
  FROM measurements WHERE outcome = 'finished' AND run NOT IN (SELECT run FROM recommended)
), ranked AS (
  SELECT *, row_number() OVER (PARTITION BY run ORDER BY {_SPEED} DESC, evaluation, measurement) AS place
  FROM candidate
), proposed AS (
  SELECT run, particle, @configuration AS configuration FROM events WHERE type = 'particle_proposed'
)
SELECT run, particle, recommended, feasible, {_SPEED}, {_RATE}, {_SUCCESS}, {_FIRST},
  {_LATER}, concurrency, request_rate, evaluation, measurement, configuration, simulated
FROM ranked LEFT JOIN proposed USING (run, particle) WHERE place = 1
"""  # noqa: S608 - constants only

VIEWS: Mapping[str, str] = {
    "events": _select(_EVENTS),
    "runs": _select(_RUNS),
    "evaluations": _select(_EVALUATIONS),
    "measurements": _select(_MEASUREMENTS),
    "rejections": _select(_REJECTIONS),
    "best": _select(_BEST),
}
"""Name -> the SELECT behind it, in the order in which they must be made."""
