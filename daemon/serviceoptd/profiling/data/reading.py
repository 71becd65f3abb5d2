"""Finds all profiling data below a directory: the predecessor's parsed profiles and our own recordings."""

from __future__ import annotations

from pathlib import Path

from serviceoptd.profiling.data.predecessor_profile import is_profile, read_predecessor_profile
from serviceoptd.profiling.data.recorded_load import read_load
from serviceoptd.profiling.data.recorded_steps import is_recording, read_recording
from serviceoptd.simulation.step_times.profile_data import Profile, ProfileRejected, Progress, RecordedLoad, Run


def read_profile(directory: Path, *, framework: str, progress: Progress = lambda _what, _share: None) -> Profile:
    """Everything below `directory` that can be learnt from, sorted by name.

    A directory with `profiler.db` or `batch.csv` is one profile, and one configuration. A recording is one run; all
    recordings in one directory below the input are of one configuration, those in the input itself are each their own.
    Beside `configuration.json` each has what the client measured, too.

    Raises:
        ProfileRejected: there is nothing to learn from, or something is wrong with one of the files; names the place.
    """
    if not directory.is_dir():
        raise ProfileRejected(directory, "is not a directory")
    folders = [directory, *sorted(path for path in directory.rglob("*") if path.is_dir())]
    profiles = [folder for folder in folders if is_profile(folder)]
    recordings = [path for path in sorted(directory.rglob("*.csv")) if path.is_file() and is_recording(path)]
    if not profiles and not recordings:
        raise ProfileRejected(
            directory,
            "has no profiling data",
            hint="a parsed profile has profiler.db (or batch.csv) and request.csv; a recording is a CSV file of steps",
        )
    runs: list[Run] = []
    loads: list[RecordedLoad] = []
    for path in (*profiles, *recordings):
        name = str(path.relative_to(directory)) if path != directory else path.resolve().name
        progress(f"reading {name}", len(runs) / (len(profiles) + len(recordings)))
        if path in profiles:
            runs.append(read_predecessor_profile(path, name=name, framework=framework))
        else:
            configuration = name if path.parent == directory else str(path.parent.relative_to(directory))
            runs.append(read_recording(path, name=name, configuration=configuration))
            if (load := read_load(path, run=name)) is not None:
                loads.append(load)
    return Profile(tuple(runs), tuple(loads))
