"""A particle with its result, the recommendation, and what the rejection rules did."""

from __future__ import annotations

import msgspec

from ..metrics import Metrics
from ..proof import Proof
from ..values import Configuration, Kind


class Particle(msgspec.Struct, frozen=True, kw_only=True):
    """A point that was proposed, its result, and how it stands by the objective."""

    particle: int  # its number in the run, from 1
    evaluation: int | None = None  # the launch on which it was measured
    origin: str = ""  # how the search came to it
    configuration: Configuration  # field name -> value
    # of its confirmations the median, else of its measurements in the search, or `null`
    metrics: Metrics | None = None
    repeats: int = 0  # measurements behind `metrics`
    confirmations: int = 0  # how many of them were made after the search, to confirm it
    feasible: bool  # whether every SLO holds; of a recommendation that was confirmed: with enough confidence
    violated: tuple[str, ...] = ()  # the SLOs that do not hold, in words
    fitness: float | None = None  # smaller is better
    error: str = ""  # why it did not run properly
    rejected: str = ""  # why it was not run at all
    # what a rejection rule said of it, though it was measured anyway to check the rule; empty otherwise
    audited: str = ""
    predicted: Metrics | None = None  # on which a rejection rests
    matched: tuple[int, int] | None = None  # run and particle whose result it took
    seconds: float = 0.0  # spent on it
    simulated: bool = False  # whether its values are simulated
    # what its result, or that of the particle whose it took, is: `measured`, `simulated`, `imported`, or `predicted` of one
    # that was not run; empty: it has none
    kind: Kind = ""
    # why its latest measurement should not be believed (a prediction outside the latency model's training data), or
    # could not be looked at while it ran; mostly empty
    remark: str = ""
    # `FILE:LINE` that its values were read from; empty: not imported. A `throughput` or `success_rate` of -1 is one that
    # the file does not have
    imported: str = ""


class RejectionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What the rejection rules did in a run."""

    rejected: int = 0  # particles that were given up and not measured
    by_rule: tuple[tuple[str, int], ...] = ()  # the same for each rule
    audited: int = 0  # rejected, but measured anyway
    false: int = 0  # of these turned out feasible and better than the best before them
    false_rate: float | None = None  # false / audited; `null`: none was audited
    false_rate_interval: tuple[float, float] | None = None  # its ends at 95 % confidence
    hours_saved: float | None = None  # an estimate: rejected x the mean time of a measured particle; `null`: none was


class Deploy(msgspec.Struct, frozen=True, kw_only=True):
    """What was really run: the service's arguments, and what was set in its environment."""

    argv: tuple[str, ...] = ()  # empty: serviceopt started no process
    environment: dict[str, str] = {}  # what was set beyond the submitter's; secrets are `***`
    # of the submitter's environment the variables that results depend on, such as the devices; secrets are left out
    inherited_environment: dict[str, str] = {}
    working_directory: str = ""
    managed: bool = True  # whether we started the service; else somebody did
    simulated: bool = False
    internal: bool = False  # `argv` is serviceopt's own supervisor: no command to deploy
    files: tuple[str, ...] = ()  # paths of files that were edited for it; their content: `/best/files`


class FinishedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the user's as it was while the recommended setting was measured."""

    path: str
    content: str


class FinishedFiles(msgspec.Struct, frozen=True, kw_only=True):
    """What the files of an engine with a configuration file of its own have to hold."""

    files: tuple[FinishedFile, ...]


class BestOfSearch(msgspec.Struct, frozen=True, kw_only=True):
    """What looked best while the search went on: of many measurements the luckiest, so too good on average."""

    particle: int
    value: float  # of what is maximised
    measurements: int = 1  # of the search, behind `value`


class Recommendation(Particle, frozen=True, kw_only=True):
    """The particle to deploy, why, and how. Of a run that is not over the best so far."""

    run: int
    final: bool  # whether the run is over
    objective: str  # in words
    rejections: RejectionRecord = RejectionRecord()
    positions: dict[str, str] = {}  # parameter -> its place in the engine's own configuration file
    # the parameters among `configuration` that only set the client's load: what was measured holds up to there
    load: Configuration = {}
    current_setting: Particle | None = None  # with the setting that was found
    # over the current setting, as a fraction; of the confirmations where there are some; `null` where it cannot be said
    gain: float | None = None
    unit: str = "tokens/s"  # of what is maximised: `tokens/s` or `requests/s`
    proof: Proof | None = None  # how sure it is; `null` where nothing was confirmed
    best_of_search: BestOfSearch | None = (
        None  # `null` where nothing was confirmed, or the search found none that is good
    )
    deploy: Deploy | None = None  # `null` where the result is of an earlier run


class Particles(msgspec.Struct, frozen=True, kw_only=True):
    """Every particle of a run."""

    particles: tuple[Particle, ...]  # in the order of proposal
