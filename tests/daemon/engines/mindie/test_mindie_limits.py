"""What MindIE's parameters may be together, as properties over its default space."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.repaired_space import RepairedSpace
from serviceoptd.domain.space.space import Space
from serviceoptd.engines.mindie.engine import MindieEngine
from serviceoptd.engines.mindie.limits import contradictions, repaired

FIELDS = tuple(msgspec.convert(MindieEngine.defaults["target_field"], list[Field], strict=False))
SPACE = RepairedSpace.over(Space.of(FIELDS), repaired)
SMALL = msgspec.structs.replace(FIELDS[0], min=1.0, max=20.0)
SMALL_SPACE = RepairedSpace.over(Space.of((SMALL, *FIELDS[1:])), repaired)
POSITIONS = st.lists(st.floats(0, 1), min_size=len(SPACE.dimensions), max_size=len(SPACE.dimensions))


def legal(configuration: Configuration) -> bool:
    """As the table of ScheduleConfig in MindIE's manual has it."""
    batch = configuration["max_batch_size"]
    assert isinstance(batch, int)
    return (
        1 <= configuration["max_prefill_batch_size"] <= batch  # type: ignore[operator]
        and 0 <= configuration["max_preempt_count"] <= batch  # type: ignore[operator]
    )


@given(POSITIONS, st.sampled_from([SPACE, SMALL_SPACE]))
def test_every_proposal_is_one_that_the_server_takes(position: list[float], space: Space) -> None:
    configuration = space.decode(position)
    assert legal(configuration)
    if not configuration["support_select_batch"]:
        assert configuration["prefill_time_ms_per_req"] == configuration["decode_time_ms_per_req"] == 0


@given(POSITIONS, st.sampled_from([SPACE, SMALL_SPACE]))
def test_a_proposal_is_found_again_at_its_own_position(position: list[float], space: Space) -> None:
    configuration = space.decode(position)
    assert space.decode(space.encode(configuration)) == configuration
    assert space.repair(configuration) == configuration
    assert repaired(configuration, space.fields) == configuration


def test_settings_that_differ_in_nothing_that_counts_are_one() -> None:
    fields = (
        Field(name="wait", config_position=FIELDS[2].config_position, dtype="range", min=10, max=1000, dtype_param=10),
        msgspec.structs.replace(FIELDS[4], name="select"),
    )
    space = RepairedSpace.over(Space.of(fields), repaired)
    assert space.cardinality() == 100 + 1
    found = list(space.configurations())
    assert len(found) == 101
    assert [one for one in found if not one["select"]] == [{"wait": 10, "select": False}]  # its min: 0 is not in it
    assert all(space.decode(space.encode(one)) == one for one in found)


def test_what_somebody_fixed_is_left_where_it_has_no_effect() -> None:
    fixed = msgspec.structs.replace(FIELDS[2], constant=150)
    assert repaired({"prefill_time_ms_per_req": 150, "support_select_batch": False}, (fixed, FIELDS[4])) == {
        "prefill_time_ms_per_req": 150,
        "support_select_batch": False,
    }


def test_a_fixed_prefill_batch_is_lowered_to_the_batch_that_it_is_a_part_of() -> None:
    fixed = Field(name="max_prefill_batch_size", config_position=FIELDS[1].config_position, dtype="int", constant=50)
    configuration: Configuration = {"max_prefill_batch_size": 50, "max_batch_size": 20}
    assert repaired(configuration, (fixed, FIELDS[0]))["max_prefill_batch_size"] == 20


def test_the_names_of_the_fields_do_not_matter() -> None:
    renamed = [msgspec.structs.replace(FIELDS[0], name="B"), msgspec.structs.replace(FIELDS[1], name="P", dtype="int")]
    assert repaired({"B": 5, "P": 0}, renamed) == {"B": 5, "P": 1}


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ({"maxBatchSize": 5, "maxPrefillBatchSize": 6}, "maxPrefillBatchSize (6) must not be above maxBatchSize (5)"),
        ({"maxBatchSize": 5, "maxPreemptCount": 6}, "maxPreemptCount (6) must not be above maxBatchSize (5)"),
        ({"maxPrefillTokens": 8}, "maxPrefillTokens (8) must not be below maxInputTokenLen (9)"),
        ({"maxBatchSize": "x", "maxPrefillBatchSize": 6}, None),
        ({"maxBatchSize": 5, "maxPrefillBatchSize": 0}, None),
    ],
)
def test_a_file_that_contradicts_itself_is_told_in_words(schedule: dict[str, object], said: str | None) -> None:
    document = {"BackendConfig": {"ScheduleConfig": schedule, "ModelDeployConfig": {"maxInputTokenLen": 9}}}
    assert list(contradictions(document)) == ([said] if said else [])
