"""The predecessor's results as history: what is taken over, what is refused, and what never happens with it."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.service.daemons import SMALL, a_loop, finished, submitted
from memory_journal import MemoryJournal
from predecessor_results import RESULTS
from serviceopt_journal import events as e
from serviceopt_journal.documents.requests import Import, ImportedResults, Submission
from serviceopt_journal.errors import Conflict, InvalidConfiguration
from serviceoptd.domain import documents, table
from serviceoptd.domain.evolve import fold
from serviceoptd.domain.state import RunState, State
from serviceoptd.submitting.importing.importing import import_results, prepare_import
from serviceoptd.submitting.importing.predecessor_table import Row, read
from serviceoptd.submitting.preparing import prepare
from serviceoptd.submitting.submission import submit

ONE_SECOND = 'engine = "vllm"\nttft_slo = 1.0\n'


def imported(directory: Path, journal: MemoryJournal, **wanted: Any) -> tuple[RunState, ImportedResults]:
    """The run that a file becomes, and the answer."""
    context, _ = a_loop(directory, journal)
    request = Import(**{"file": "/srv/data_storage_1.csv", "content": RESULTS, **wanted})
    answer = asyncio.run(import_results(context, prepare_import(request), uid=0))
    return context.ledger.state.runs[answer.run], answer


def written(rows: Iterable[Mapping[str, Any]], columns: Iterable[str]) -> str:
    """These rows as a file."""
    listed = list(rows)
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, list(columns))
    writer.writeheader()
    writer.writerows(listed)
    return stream.getvalue()


def test_a_result_file_becomes_a_run_that_is_over_and_marked_as_imported(tmp_path: Path) -> None:
    run, answer = imported(tmp_path, MemoryJournal(), configuration_text=ONE_SECOND)
    assert (run.over, run.outcome) == (True, "completed")
    assert run.reason == "imported from /srv/data_storage_1.csv"
    assert run.name == "data_storage_1"
    assert {p.origin for p in run.particles.values()} == {"imported"}
    counts = {key: getattr(answer, key) for key in ("run", "rows", "measured", "failed", "predicted", "recommended")}
    assert counts == {"run": 1, "rows": 4, "measured": 2, "failed": 1, "predicted": 1, "recommended": 1}
    assert answer.feasible is True
    assert documents.run_summary(run).imported == "/srv/data_storage_1.csv"
    assert documents.run_summary(run).engine == "vllm"
    assert documents.particle_document(run, run.particles[2]).imported == "/srv/data_storage_1.csv:3"


def test_its_rows_are_those_of_the_file_and_called_imported(tmp_path: Path) -> None:
    run, _ = imported(tmp_path, MemoryJournal(), configuration_text=ONE_SECOND)
    rows = table.rows(run)
    assert [row["source"] for row in rows] == ["imported"] * 4
    assert [row["real_evaluation"] for row in rows] == [True, True, True, False]
    assert [row["generate_speed"] for row in rows] == [1500.5, 2500.5, None, 9000]
    assert [row["time_to_first_token"] for row in rows] == [0.8, 2.2, None, 0.1]
    assert [row["MAX_NUM_SEQS"] for row in rows] == [64, 256, 512, 128]
    assert [row["duration"] for row in rows] == [612.3, 601.0, 30.0, 0.0]
    assert [row["num_prompts"] for row in rows] == [3000] * 4
    assert [row["backup"] for row in rows] == ["", "/tmp/backup/2", "", ""]
    assert rows[2]["error"] == "Service start failed, see log"
    assert rows[1]["violated"] == "mean TTFT 2.2 s > 1 s"
    assert rows[0]["fitness"] < rows[1]["fitness"] < rows[2]["fitness"]


def test_what_was_only_predicted_is_never_recommended(tmp_path: Path) -> None:
    run, answer = imported(tmp_path, MemoryJournal())
    assert answer.recommended == 2
    only_predicted = "\n".join(line for line in RESULTS.splitlines() if "True" not in line)
    run, answer = imported(tmp_path, MemoryJournal(), content=only_predicted)
    assert (run.outcome, answer.recommended) == ("failed", None)
    assert documents.recommendation(run) is None


def test_without_a_configuration_the_fastest_is_the_best_and_it_is_said(tmp_path: Path) -> None:
    run, answer = imported(tmp_path, MemoryJournal())
    assert run.settings.engine == "unknown"
    assert answer.recommended == 2
    assert any("no latency limit" in warning for warning in answer.warnings)


def test_an_objective_that_the_file_cannot_answer_is_named(tmp_path: Path) -> None:
    _, answer = imported(tmp_path, MemoryJournal(), configuration_text='engine = "vllm"\nttft_slo = "p99:1"\n')
    assert answer.feasible is False
    assert any("needs p99 TTFT, which the file does not contain" in warning for warning in answer.warnings)


def test_fields_that_file_and_configuration_do_not_share_are_named(tmp_path: Path) -> None:
    content = RESULTS.replace("MAX_NUM_SEQS", "BLOCK_SIZE")
    _, answer = imported(tmp_path, MemoryJournal(), content=content, configuration_text=ONE_SECOND)
    assert any(warning.startswith("BLOCK_SIZE: in the file") for warning in answer.warnings)
    assert any(warning.startswith("MAX_NUM_SEQS: target fields of the") for warning in answer.warnings)


def test_the_file_is_kept_byte_for_byte_under_the_hash_that_its_events_hold(tmp_path: Path) -> None:
    journal = MemoryJournal()
    content = "\ufeff" + RESULTS.replace("\n", "\r\n")
    imported(tmp_path, journal, content=content)
    (sha256,) = {r.event.source_sha256 for r in journal.records if isinstance(r.event, e.ResultImported)}
    context, _ = a_loop(tmp_path, journal)
    with context.artefacts.open(sha256) as kept:
        assert kept.read() == content.encode()


@pytest.mark.parametrize("unknown", ["", "-", "nan", "inf"])
def test_the_best_of_a_file_that_does_not_tell_its_load_is_shown_all_the_same(tmp_path: Path, unknown: str) -> None:
    content = f"generate_speed,success_rate,MAX_NUM_SEQS,CONCURRENCY,error\n1000,1,64,32,\n2000,1,128,{unknown},\n"
    run, answer = imported(tmp_path, MemoryJournal(), content=content)
    assert answer.recommended == 2
    shown = documents.recommendation(run)
    assert shown is not None
    assert (shown.configuration, shown.load) == ({"MAX_NUM_SEQS": 128}, {})
    assert [row["CONCURRENCY"] for row in table.rows(run)] == [32, None]


def test_replay_gives_the_same_run(tmp_path: Path) -> None:
    journal = MemoryJournal()
    run, _ = imported(tmp_path, journal, configuration_text=ONE_SECOND)
    state = State()
    for record in journal.records:
        state = fold(state, record)
    assert state.runs[1] == run


def test_the_same_content_is_imported_once_unless_it_is_forced(tmp_path: Path) -> None:
    journal = MemoryJournal()
    imported(tmp_path, journal)
    before = len(journal.records)
    with pytest.raises(Conflict, match="was imported already: run 1"):
        imported(tmp_path, journal, file="/another/name.csv")
    assert len(journal.records) == before
    run, _ = imported(tmp_path, journal, force=True)
    assert run.number == 2


def test_imported_values_are_never_reused_and_never_continued(tmp_path: Path) -> None:
    async def story() -> None:
        context, loop = a_loop(tmp_path, MemoryJournal())
        first = await finished(context, loop, await submitted(context, SMALL))
        content = written(table.rows(first), table.columns(first)).replace("False", "True")
        context, loop = a_loop(tmp_path, MemoryJournal())
        history = Import(file="x.csv", content=content, configuration_text=SMALL)
        await import_results(context, prepare_import(history), uid=0)
        again = Submission(
            configuration_text=SMALL + "[search]\nreuse_measurements = true\n", working_directory=str(tmp_path),
            load_breakpoint=True,
        )  # fmt: skip
        accepted = await submit(context, prepare(again, context, tool_prefix=None), uid=0, through="standalone")
        assert (accepted.run, accepted.continued) == (2, False)
        run = await finished(context, loop, 2)
        shared = {run.space.key(p.configuration) for p in run.particles.values()}
        assert shared & {first.space.key(p.configuration) for p in first.particles.values()}
        assert not any(p.matched is not None and p.matched[0] == 1 for p in run.particles.values())

    asyncio.run(story())


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "x.csv:1: is empty"),
        ("a,b\n1,2\n", "x.csv:1: no column generate_speed"),
        ("generate_speed,error\n1,\n", "x.csv:1: no column of a parameter"),
        ("generate_speed,A,error\n", "x.csv:1: has no row below its header"),
        ("generate_speed,A,A,error\n1,2,3,\n", "x.csv:1: more than one column A"),
        ("generate_speed,a b,error\n1,2,\n", "x.csv:1: 'a b' cannot be a parameter"),
        ("generate_speed,A,error\n1,2,\n3,4\n", "x.csv:3: 2 cells, where the header has 3 columns"),
        ('generate_speed,A,error\n1,2,"a\nb"\n1,2,3,4\n', "x.csv:4: 4 cells, where the header has 3 columns"),
        ('generate_speed,A,error\n1,2,"open\n', "x.csv:2: is not CSV"),
        ("generate_speed,A,error\nfast,2,\n", "x.csv:2: generate_speed 'fast' is not a number"),
        ("generate_speed,A,error\n-1,2,\n", "x.csv:2: generate_speed -1 is below 0"),
        ("generate_speed,success_rate,A\n1,95,2\n", "x.csv:2: success_rate 95 is not between 0 and 1"),
        ("generate_speed,A,real_evaluation\n1,2,perhaps\n", "x.csv:2: real_evaluation 'perhaps' is neither"),
        ("generate_speed,A,num_prompts\n1,2,3.5\n", "x.csv:2: num_prompts 3.5 is not a number of requests"),
    ],
)
def test_a_bad_file_is_told_with_its_line_and_nothing_is_written(tmp_path: Path, content: str, said: str) -> None:
    journal = MemoryJournal()
    with pytest.raises(InvalidConfiguration) as refused:
        imported(tmp_path, journal, file="x.csv", content=content)
    assert said in str(refused.value)
    assert "`serviceoptctl docs migration`" in refused.value.hint
    assert journal.records == []
    assert list(tmp_path.iterdir()) == []


def test_every_problem_of_a_file_is_told_at_once() -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        read("generate_speed,success_rate,A\nx,3,1\n-1,1,1\n", "x.csv")
    assert len(str(refused.value).splitlines()) == 3


def test_missing_and_additional_columns_are_tolerated_with_a_warning() -> None:
    found = read("case_id,generate_speed,A,error,early_exit\n7,12.5,3,,yes\n", "x.csv")
    (row,) = found.rows
    assert found.parameters == ("A",)
    assert row.configuration == {"A": 3}
    assert row.metrics is not None
    assert (row.metrics.throughput, row.metrics.success_rate, row.metrics.ttft) == (-1.0, -1.0, {})
    missing, extra = found.warnings
    assert "no column time_to_first_token, time_per_output_token, success_rate, throughput, backup" in missing
    assert "early_exit left out" in extra


def test_what_a_file_does_not_tell_is_empty_in_our_table_and_no_objective_is_met(tmp_path: Path) -> None:
    run, answer = imported(tmp_path, MemoryJournal(), content="generate_speed,A,error\n12.5,3,\n")
    (row,) = table.rows(run)
    assert (row["throughput"], row["success_rate"], row["time_to_first_token"]) == (None, None, None)
    assert answer.feasible is False
    assert "success_rate was not measured" in row["violated"]


def test_infinite_and_empty_cells_are_unknown_and_a_row_without_a_speed_failed() -> None:
    found = read("generate_speed,time_to_first_token,A,error,fitness\n1,inf,,,inf\ninf,nan,2,,\n", "x.csv")
    first, second = found.rows
    assert first.metrics is not None
    assert (first.metrics.ttft, first.fitness, first.configuration) == ({}, None, {})
    assert second.metrics is None
    assert second.error == "the imported file has no generate_speed for it"


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (("True", "False"), [True, False]),
        (("1", "20"), [1, 20]),
        (("1", "0.5"), [1.0, 0.5]),
        (("", "7"), [None, 7]),
        (("64.0", ""), [64, None]),
        (("64.0", "0.5"), [64.0, 0.5]),
        (("inf", "10.5"), [None, 10.5]),
        (('"1,024"', "512"), [1024, 512]),
        (("2 048", "16'384"), [2048, 16384]),
        (('"1,2,4"', '"1,2"'), ["1,2,4", "1,2"]),
        (("<NA>", "-"), []),
        (("auto", "7"), ["auto", "7"]),
        (("1e300", "7"), ["1e300", "7"]),
    ],
)
def test_a_parameters_cells_have_one_type(cells: tuple[str, ...], values: list[Any]) -> None:
    lines = "".join(f"1,{cell},x\n" for cell in cells)
    found = read(f"generate_speed,A,B\n{lines}", "x.csv")
    read_back = [row.configuration.get("A") for row in found.rows if values]
    assert ("A" in found.parameters) == bool(values)
    assert read_back == values
    assert [type(value) for value in read_back] == [type(value) for value in values]


def test_the_predecessors_other_name_of_the_concurrency_is_known() -> None:
    assert read("generate_speed,MAXCONCURRENCY,error\n1,8,\n", "x.csv").parameters == ("CONCURRENCY",)


COLUMNS = (
    "generate_speed", "time_to_first_token", "time_per_output_token", "success_rate", "throughput", "A", "B", "C", "D",
    "error", "duration", "real_evaluation", "num_prompts",
)  # fmt: skip
AMOUNTS = st.floats(0, 1e9, allow_nan=False)
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "generate_speed": AMOUNTS, "time_to_first_token": AMOUNTS, "time_per_output_token": AMOUNTS,
            "success_rate": st.floats(0, 1), "throughput": AMOUNTS, "A": st.integers(-(10**12), 10**12),
            "B": st.floats(-1e12, 1e12), "C": st.booleans(), "D": st.sampled_from(["auto", "fp8", "a,b", 'a"b']),
            "error": st.sampled_from(["", "out of memory", "two\nlines", "内存不足"]), "duration": AMOUNTS,
            "real_evaluation": st.booleans(), "num_prompts": st.integers(1, 10_000),
        }
    ),
    min_size=1,
    max_size=8,
)  # fmt: skip


@given(ROWS)
@settings(deadline=None)
def test_what_the_predecessor_wrote_is_read_back(rows: list[dict[str, Any]]) -> None:
    found = read(written(rows, COLUMNS), "x.csv")
    assert found.warnings == ("x.csv: no column backup, fitness: treated as unknown",)
    for row, source in zip(found.rows, rows, strict=True):
        assert row.configuration == {name: source[name] for name in ("A", "B", "C", "D")}
        assert row.metrics is not None
        assert row.metrics.generate_speed == source["generate_speed"]
        assert row.metrics.ttft == {"mean": source["time_to_first_token"]}
        assert row.metrics.success_rate == source["success_rate"]
        assert row.metrics.completed + row.metrics.failed == source["num_prompts"]
        assert (row.error, row.measured, row.seconds) == (
            source["error"],
            source["real_evaluation"],
            source["duration"],
        )


@given(st.text() | st.text(alphabet='generate_speed,A\n"0123456789.-infTrue\r\ufeff'))
@settings(deadline=None)
def test_whatever_stands_in_a_file_it_is_read_or_refused_in_words(text: str) -> None:
    rows: tuple[Row, ...] = ()
    refusal = ""
    try:
        rows = read(text, "x.csv").rows
    except InvalidConfiguration as refused:
        refusal = str(refused)
    assert bool(rows) != refusal.startswith("x.csv:")


OLDER = """generate_speed,time_to_first_token,time_per_output_token,success_rate,throughput,ttft_max,ttft_min,ttft_p99,\
tpot_max,tpot_p99,prefill_batch_size,prefill_batch_size_min,prefill_batch_size_p99,decoder_batch_size,\
decoder_batch_size_max,decoder_batch_size_p90,max_batch_size,max_prefill_batch_size,CONCURRENCY,error,backup,duration,\
real_evaluation,fitness,llm_model,num_prompts
2200.5,1.31,0.051,0.999,9.1,3.93,0.2,2.489,0.459,0.153,10.0,2.0,16.0,120.0,180.0,150.0,200,50,128,,,412.5,True,3.2,q,3000
1810.5,0.18,0.127,0.999,7.3,0.54,0.1,0.342,1.143,0.381,4.3,0.9,6.9,51.6,77.4,64.5,86,21,64,,,412.5,True,3.2,q,3000
"""


def test_the_statistics_of_older_releases_are_no_parameters() -> None:
    table_ = read(OLDER, "x.csv")
    assert table_.parameters == ("max_batch_size", "max_prefill_batch_size", "CONCURRENCY")
    first = table_.rows[0]
    assert first.configuration == {"max_batch_size": 200, "max_prefill_batch_size": 50, "CONCURRENCY": 128}
    assert first.metrics is not None
    assert first.metrics.ttft == {"mean": 1.31, "max": 3.93, "p99": 2.489}
    assert first.metrics.tpot == {"mean": 0.051, "max": 0.459, "p99": 0.153}
    left_out = next(warning for warning in table_.warnings if "statistics that are not used" in warning)
    assert "prefill_batch_size, decoder_batch_size, ttft_min" in left_out


def test_a_limit_on_a_percentile_is_judged_by_the_percentile_of_the_file(tmp_path: Path) -> None:
    limited = 'ttft_slo = "p99:1"\n'
    run, answer = imported(tmp_path, MemoryJournal(), content=OLDER, configuration_text=limited)
    assert [row["feasible"] for row in table.rows(run)] == [False, True]
    assert not [warning for warning in answer.warnings if "does not tell" in warning]


@pytest.mark.parametrize("names", ["ttft_p90,e2el_p99,itl_median", "time_to_first_token_p90,tpot_p75,e2e_latency_p99"])
def test_other_spellings_of_statistics_are_no_parameters_either(names: str) -> None:
    table_ = read(f"generate_speed,{names},max_batch_size,p_rate_max,error\n10,1,2,3,4,5,\n", "x.csv")
    assert table_.parameters == ("max_batch_size", "p_rate_max")


@pytest.mark.parametrize("unknown", ["", "None", "nan", "NaN", "null", "N/A"])
def test_an_unknown_cell_stays_unknown(unknown: str, tmp_path: Path) -> None:
    content = (
        "generate_speed,time_to_first_token,success_rate,throughput,A,MODE,error,backup,duration,fitness,num_prompts\n"
        f"10,{unknown},{unknown},{unknown},{unknown},{unknown},{unknown},{unknown},{unknown},{unknown},{unknown}\n"
        "20,0.5,1.0,2.0,8,fast,,,30.0,1.5,100\n"
    )
    run, _ = imported(tmp_path, MemoryJournal(), content=content)
    first, second = table.rows(run)
    unknown_here = ("time_to_first_token", "success_rate", "throughput", "A", "MODE", "duration", "num_prompts")
    assert [first[name] for name in unknown_here] == [None] * len(unknown_here)
    assert (first["error"], first["backup"]) == ("", "")
    assert (second["A"], second["MODE"], second["duration"]) == (8, "fast", 30.0)


TIDY = [{"MAX_NUM_SEQS": 1024, "REQUESTRATE": 12.5}, {"MAX_NUM_SEQS": 512}]
COLUMNS_OF_TIDY = "generate_speed,time_to_first_token,MAX_NUM_SEQS,REQUESTRATE,error,backup"
AS_SPREADSHEETS_WRITE_IT = {
    "plain": f"{COLUMNS_OF_TIDY}\n1500.5,0.8,1024,12.5,,\n2000,1.1,512,,,\n",
    "thousands": f'{COLUMNS_OF_TIDY}\n"1,500.5",0.8,"1,024",12.5,,\n"2,000",1.1,512,,,\n',
    "semicolons": f"{COLUMNS_OF_TIDY.replace(',', ';')}\n1500.5;0.8;1024;12.5;;\n2000;1.1;512;;;\n",
    "decimal commas": f"{COLUMNS_OF_TIDY.replace(',', ';')}\n1.500,5;0,8;1.024;12,5;;\n2000;1,1;512;;;\n",
    "quoted decimal commas": f'{COLUMNS_OF_TIDY}\n"1500,5","0,8",1024,"12,5",,\n2000,"1,1",512,,,\n',
    "tabs": f"{COLUMNS_OF_TIDY.replace(',', chr(9))}\n1500.5\t0.8\t1024\t12.5\t\t\n2000\t1.1\t512\tNaN\t\t\n",
    "a mark and line ends of Windows": f"\ufeff{COLUMNS_OF_TIDY}\r\n1500.5,0.8,1024,12.5,,\r\n2000,1.1,512,-,,\r\n",
    "blanks": f"{COLUMNS_OF_TIDY.replace(',', ', ')}\n 1500.5 ,0.8, 1024,12.5 , ,\n\n,,,,,\n2000,1.1,512, , ,,,\n",
    "numbered rows": f"Unnamed: 0,{COLUMNS_OF_TIDY}\n0,1500.5,0.8,1024.0,12.5,,\n1,2000,1.1,512.0,inf,,\n",
}


@pytest.mark.parametrize("content", AS_SPREADSHEETS_WRITE_IT.values(), ids=AS_SPREADSHEETS_WRITE_IT)
def test_what_a_spreadsheet_made_of_a_table_is_read_as_the_table(content: str) -> None:
    found = read(content, "x.csv")
    assert found.parameters == ("MAX_NUM_SEQS", "REQUESTRATE")
    assert [row.configuration for row in found.rows] == TIDY
    told = [row.metrics for row in found.rows if row.metrics is not None]
    assert [(metrics.generate_speed, metrics.ttft) for metrics in told] == [
        (1500.5, {"mean": 0.8}), (2000, {"mean": 1.1})
    ]  # fmt: skip
    assert [row.error for row in found.rows] == ["", ""]
