"""Profiling data in: what is read, and what a bad file is told."""

from __future__ import annotations

import csv
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from profiling_files import (
    BATCH_COLUMNS,
    batch_rows,
    write_csv,
    write_profile_database,
    write_recording,
    write_requests,
)
from serviceoptd.profiling.data.reading import read_profile
from serviceoptd.simulation.step_times.profile_data import ProfileRejected
from synthetic_batches import synthetic_run

PREFILL, DECODE = "Prefill", "Decode"
OF_MINDIE = [
    (PREFILL, [{"rid": 101, "iter": 0}, {"rid": 102, "iter": 0}], 40.0),
    (DECODE, [{"rid": 101, "iter": 1}, {"rid": 102, "iter": 1}], 20.0),
    (DECODE, [{"rid": 101, "iter": 2}], 18.0),
]
COMPOSED = [(2, 300, 100 * 101 // 2 + 200 * 201 // 2, 0, 0), (0, 0, 0, 2, 101 + 201), (0, 0, 0, 1, 102)]


@pytest.fixture
def mindie(tmp_path: Path) -> Path:
    write_requests(tmp_path, {"101": 100, "102": 200})
    write_profile_database(tmp_path, OF_MINDIE)
    return tmp_path


def refused(directory: Path, framework: str = "mindie") -> str:
    with pytest.raises(ProfileRejected) as caught:
        read_profile(directory, framework=framework)
    return caught.value.message


def test_the_batches_of_a_profiler_database_are_composed_of_its_requests(mindie: Path) -> None:
    (run,) = read_profile(mindie, framework="mindie").runs
    assert list(map(tuple, run.composition.astype(int).tolist())) == COMPOSED
    assert run.seconds.tolist() == pytest.approx([0.040, 0.020, 0.018])
    assert (run.framework, run.left_out) == ("mindie", 0)


def test_of_several_ranks_the_slowest_decides(tmp_path: Path) -> None:
    write_requests(tmp_path, {"101": 100, "102": 200})
    write_profile_database(tmp_path, OF_MINDIE, ranks=(1.0, 1.5, 0.5))
    (run,) = read_profile(tmp_path, framework="mindie").runs
    assert run.seconds.tolist() == pytest.approx([0.060, 0.030, 0.027])


@pytest.mark.parametrize(("title", "factor"), [("during_time(ms)", 1), ("during_time(microsecond)", 1000)])
def test_the_csv_files_are_read_where_there_is_no_database(tmp_path: Path, title: str, factor: float) -> None:
    write_requests(tmp_path, {"101": 100, "102": 200})
    rows = batch_rows(OF_MINDIE, "BatchSchedule") + batch_rows(OF_MINDIE, "modelExec")
    write_csv(tmp_path / "batch.csv", (*BATCH_COLUMNS[:-1], title), [(*row[:-1], row[-1] * factor) for row in rows])
    (run,) = read_profile(tmp_path, framework="mindie").runs
    assert list(map(tuple, run.composition.astype(int).tolist())) == COMPOSED
    assert run.seconds.tolist() == pytest.approx([0.040, 0.020, 0.018])


@pytest.mark.parametrize("title", ["forward_time", "forward_time(ms)", "forward_time(us)", "forward_time (us)"])
def test_the_manuals_names_of_columns_are_read_as_well_as_the_exporters(tmp_path: Path, title: str) -> None:
    header = ("batch_type", "batch_size", title, "batch_end_time(ms)", "need_blocks", "res_list")
    factor = 1000 if title.endswith("(us)") else 1
    rows = [(kind, len(each), taken * factor, 1001, 3, str(each)) for kind, each, taken in OF_MINDIE]
    write_csv(tmp_path / "batch.csv", header, [*rows, (DECODE, 1, "", 1002, 3, str(OF_MINDIE[2][1]))])
    write_csv(
        tmp_path / "request.csv",
        ("http_rid", "request_recv_token_size", "request_reply_token_size", "request_execution_time(ms)"),
        [("101", 100, 8, 1.0), ("102", 200, 8, 1.0)],
    )
    (run,) = read_profile(tmp_path, framework="mindie").runs
    assert list(map(tuple, run.composition.astype(int).tolist())) == COMPOSED
    assert run.seconds.tolist() == pytest.approx([0.040, 0.020, 0.018])


TITLES = {
    "capitals": ("Batch_Type", "Forward_Time(ms)", "RES_LIST", "HTTP_RID", "Request_Recv_Token_Size"),
    "blanks": ("batch type", "forward time (ms)", "res list", "http rid", "request recv token size"),
    "dashes": ("batch-type", "forward-time[ms]", "res-list", "http-rid", "recv-token-size"),
    "the unit at the end": ("batch_type", "forward_time_ms", "res_list", "rid", "recv_token_size"),
    "wide brackets": ("batch_type", "forward_time（ms）", "res_list", "request_id", "recv_token_size"),
    "a mark": ("\ufeffbatch_type", "forward_time", "res_list", "\ufeffhttp_rid", "recv_token_size"),
    "seconds": ("batch_type", "forward_time(s)", "res_list", "http_rid", "recv_token_size"),
    "microseconds": ("batch_type", "forward_time_us", "res_list", "http_rid", "recv_token_size"),
}


@pytest.mark.parametrize("separator", [",", ";", "\t"], ids=["commas", "semicolons", "tabs"])
@pytest.mark.parametrize("titles", TITLES.values(), ids=TITLES)
def test_the_spelling_of_a_column_does_not_matter(tmp_path: Path, titles: tuple[str, ...], separator: str) -> None:
    kind, time, requests, rid, length = titles
    factor = {"s)": 0.001, "us": 1000.0}.get(time[-2:] if "(ms)" not in time else "", 1.0)
    tables = {
        "batch.csv": [(kind, time, requests), *((name, taken * factor, str(each)) for name, each, taken in OF_MINDIE)],
        "request.csv": [(rid, length), ("101", 100), ("102", 200)],
    }
    for file, rows in tables.items():
        with (tmp_path / file).open("w", newline="", encoding="utf-8") as written:
            csv.writer(written, delimiter=separator).writerows(rows)
    (run,) = read_profile(tmp_path, framework="mindie").runs
    assert list(map(tuple, run.composition.astype(int).tolist())) == COMPOSED
    assert run.seconds.tolist() == pytest.approx([0.040, 0.020, 0.018])


def test_the_unit_of_the_forward_passes_is_that_of_their_title(tmp_path: Path) -> None:
    write_requests(tmp_path, {"101": 100, "102": 200})
    database = write_profile_database(tmp_path, OF_MINDIE)
    with closing(sqlite3.connect(database)) as connection, connection:
        for column in ("start", "end"):
            connection.execute(f'UPDATE batch_exec SET "{column}" = "{column}" / 1000.0')  # noqa: S608
            connection.execute(f'ALTER TABLE batch_exec RENAME COLUMN "{column}" TO "{column}(ms)"')
    (run,) = read_profile(tmp_path, framework="mindie").runs
    assert run.seconds.tolist() == pytest.approx([0.040, 0.020, 0.018])


def test_the_requests_of_a_batch_may_be_written_as_json(tmp_path: Path) -> None:
    write_requests(tmp_path, {"a": 500})
    row = (PREFILL, 9.0, '[{"rid": "a", "iter_size": 0, "type": null}]')
    write_csv(tmp_path / "batch.csv", ("batch_type", "forward_time", "res_list"), [row])
    (run,) = read_profile(tmp_path, framework="vllm").runs
    assert run.composition.tolist() == [[1, 500, 500 * 501 / 2, 0, 0]]


def test_a_forward_time_that_is_no_number_is_told_with_its_line(tmp_path: Path) -> None:
    write_requests(tmp_path, {"101": 100, "102": 200})
    rows = [(kind, taken, str(each)) for kind, each, taken in OF_MINDIE]
    write_csv(tmp_path / "batch.csv", ("batch_type", "forward_time", "res_list"), [*rows, (DECODE, "soon", "[]")])
    assert f"{tmp_path}/batch.csv:5: forward_time is 'soon', not a number" in refused(tmp_path)


def test_chunks_of_prompts_and_mixed_batches_of_vllm_are_exact_where_the_profile_has_them(tmp_path: Path) -> None:
    write_requests(tmp_path, {"a": 500, "b": 30})
    chunk = {"rid": "a", "iter": 1, "type": 0, "num_scheduled_tokens": 200, "num_prompt_tokens": 500}
    decoding = {"rid": "b", "iter": 3, "type": 1, "num_scheduled_tokens": 1, "num_prompt_tokens": 30}
    both = [chunk | {"num_computed_tokens": 256}, decoding | {"num_computed_tokens": 32}]
    write_profile_database(tmp_path, [("Prefill,Decode", both, 9.0)], scheduled="batchFrameworkProcessing")
    (run,) = read_profile(tmp_path, framework="vllm").runs
    assert run.composition.tolist() == [[1, 200, 200 * 256 + 200 * 201 / 2, 1, 33]]


def test_a_profile_of_older_vllm_counts_iterations(tmp_path: Path) -> None:
    write_requests(tmp_path, {"a": 500, "b": 30})
    both = [{"rid": "a", "iter_size": 0}, {"rid": "b", "iter_size": 4}]
    write_profile_database(tmp_path, [(PREFILL, both, 9.0)], scheduled="batchFrameworkProcessing")
    (run,) = read_profile(tmp_path, framework="vllm").runs
    assert run.composition.tolist() == [[1, 500, 500 * 501 / 2, 1, 34]]
    assert re.search(r"row 1: is a batch of vLLM", refused(tmp_path, "mindie"))


def test_a_batch_with_a_request_of_unknown_length_is_left_out_and_counted(mindie: Path) -> None:
    write_requests(mindie, {"101": 100, "102": ""})
    (run,) = read_profile(mindie, framework="mindie").runs
    assert run.composition.tolist() == [[0, 0, 0, 1, 102]]
    assert run.left_out == 2


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = synthetic_run((16, 512), 60, seed=1)
    write_recording(tmp_path / "seqs16" / "run1.csv", written)
    (run,) = read_profile(tmp_path, framework="vllm").runs
    assert np.array_equal(run.composition, written.composition)
    assert run.seconds == pytest.approx(written.seconds)
    assert (run.name, run.configuration) == ("seqs16/run1.csv", "seqs16")


def test_a_step_after_idleness_takes_its_own_time_and_any_other_the_time_since_the_one_before(tmp_path: Path) -> None:
    header = (
        "n_prefill,prefill_tokens,attn_prefill,n_decode,decode_ctx,n_seqs,n_new,sched_ms,exec_ms,update_ms,period_ms"
    )
    steps = ("1,10,55,0,0,1,1,1,20,1,50000", "0,0,0,1,11,1,0,1,20,1,23.5", "0,0,0,1,12,1,0,1,20,1,-1")
    (tmp_path / "run.csv").write_text("\n".join((header, *steps)) + "\n")
    (run,) = read_profile(tmp_path, framework="vllm").runs
    assert run.seconds.tolist() == pytest.approx([0.022, 0.0235, 0.022])


def test_directories_below_the_input_are_configurations_and_other_files_are_left_alone(tmp_path: Path) -> None:
    for name in ("a/1.csv", "a/2.csv", "b/1.csv"):
        write_recording(tmp_path / name, synthetic_run((16, 512), 60, seed=1))
    write_csv(tmp_path / "b" / "notes.csv", ("when", "what"), [("now", "this")])
    write_requests(tmp_path / "c", {"101": 100, "102": 200})
    write_profile_database(tmp_path / "c", OF_MINDIE)
    runs = read_profile(tmp_path, framework="mindie").runs
    assert [(run.configuration, run.framework) for run in runs] == [
        ("c", "mindie"), ("a", "vllm"), ("a", "vllm"), ("b", "vllm"),
    ]  # fmt: skip


def test_a_directory_without_data_is_refused(tmp_path: Path) -> None:
    assert "has no profiling data" in refused(tmp_path)
    assert "is not a directory" in refused(tmp_path / "missing")


def edited(path: Path, line: int, old: str, new: str) -> None:
    lines = path.read_text().splitlines(keepends=True)
    assert old in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(old, new)
    path.write_text("".join(lines))


@pytest.mark.parametrize(
    ("line", "old", "new", "said"),
    [
        (1, "decode_ctx", "contexts", ":1: lacks the column decode_ctx"),
        (3, "0.2", "soon", ":3: sched_ms is 'soon', not a number"),
        (4, ",", ";", ":4: has 1 values, too few"),
        (5, "0.2", "nan", ":5: sched_ms is 'nan', not a number"),
    ],
)
def test_a_bad_line_of_a_recording_is_named(tmp_path: Path, line: int, old: str, new: str, said: str) -> None:
    path = write_recording(tmp_path / "run.csv", synthetic_run((16, 512), 60, seed=1))
    edited(path, line, old, new)
    assert f"{path}{said}" in refused(tmp_path)


def test_a_column_that_the_requests_lack_is_named(mindie: Path) -> None:
    edited(mindie / "request.csv", 1, "recv_token_size", "tokens")
    assert f"{mindie}/request.csv:1: lacks the column recv_token_size" in refused(mindie)


def test_the_names_of_the_manual_are_taken_for_those_of_the_files(mindie: Path) -> None:
    edited(mindie / "request.csv", 1, "recv_token_size", "request_recv_token_size")
    assert len(read_profile(mindie, framework="mindie").seconds) == 3


def test_a_length_that_is_no_number_is_named_with_its_line(mindie: Path) -> None:
    edited(mindie / "request.csv", 3, "200", "many")
    assert f"{mindie}/request.csv:3: recv_token_size is 'many', not a number" in refused(mindie)


def test_a_missing_file_is_named(mindie: Path) -> None:
    (mindie / "request.csv").unlink()
    assert "has no request.csv, nor a table `request` in profiler.db" in refused(mindie)


def test_a_damaged_database_is_refused(mindie: Path) -> None:
    (mindie / "profiler.db").write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 20)
    assert "profiler.db: cannot be read as a database" in refused(mindie)


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        ("[{'rid': 101, 'iter'", "not a list of requests"),
        ([{"iter": 0}], "has a request without rid"),
        ([{"rid": 101}], "has a request without its iteration"),
    ],
)
def test_a_bad_row_of_the_database_is_named(tmp_path: Path, requests: list[dict[str, int]], said: str) -> None:
    write_requests(tmp_path, {"101": 100})
    write_profile_database(tmp_path, [OF_MINDIE[2], (DECODE, requests, 3.0)])
    assert re.search(rf"profiler\.db: table batch, row 2: .*{said}", refused(tmp_path))


def test_a_forward_pass_that_ends_before_it_begins_is_refused(tmp_path: Path) -> None:
    write_requests(tmp_path, {"101": 100, "102": 200})
    write_profile_database(tmp_path, OF_MINDIE, ranks=(-1.0,))
    assert "table batch_exec, row 1: is a forward pass of -0.04 s" in refused(tmp_path)
