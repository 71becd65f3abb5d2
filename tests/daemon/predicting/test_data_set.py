"""The lengths of a data set in a file are those of the requests that its client would send."""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from serviceoptd.predicting.data_set import records
from serviceoptd.predicting.data_set.lengths import DataSet, data_set, fingerprint
from serviceoptd.predicting.data_set.records import NoDataSet
from serviceoptd.predicting.prediction import Predictor
from serviceoptd.predicting.section import DataSetOptions, SimulatedSection
from tokenizer_files import TEMPLATE, a_word_tokenizer, words
from trained_models import a_model_file


def read(directory: Path, name: str, kind: Any, **options: Any) -> DataSet:
    if not (directory / "tok").exists():
        a_word_tokenizer(directory / "tok")
    return data_set(DataSetOptions(path=name, kind=kind, **{"tokenizer": "tok", **options}), directory)


def refused(directory: Path, name: str, kind: Any, **options: Any) -> str:
    with pytest.raises(NoDataSet) as error:
        read(directory, name, kind, **options)
    assert "`input_tokens` and `output_tokens` in [simulated]" in error.value.hint
    return error.value.message


def jsonl(path: Path, *lines: Any) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def talks(path: Path, pairs: Iterable[tuple[int, int]], more: list[Any] | None = None) -> None:
    found = [{"conversations": [{"value": words(prompt)}, {"value": words(answer)}]} for prompt, answer in pairs]
    path.write_text(json.dumps([*(more or []), *found]))


def test_custom_prompts_are_counted_with_the_models_tokenizer(tmp_path: Path) -> None:
    jsonl(tmp_path / "d.jsonl", {"prompt": words(7), "output_tokens": 11}, {"prompt": words(900), "output_tokens": 2.0})
    assert read(tmp_path, "d.jsonl", "custom", output_tokens=256).pairs == ((7, 256), (900, 256))
    found = read(tmp_path, "d.jsonl", "custom")
    assert found.pairs == ((7, 11), (900, 2))
    assert (found.whole, found.estimated) == (True, False)
    assert "2 requests of d.jsonl are simulated: prompts of 454 (P50 7, P99 900) tokens" in found.summary()


def test_sharegpt_keeps_what_the_client_keeps(tmp_path: Path) -> None:
    pairs = [(3, 50), (4, 50), (50, 3), (1024, 4), (1025, 4), (1024, 1024), (1024, 1025)]
    single = [{"conversations": [{"value": words(50)}]}, {"id": "no conversation"}]
    talks(tmp_path / "s.json", pairs, single)
    assert read(tmp_path, "s.json", "sharegpt").pairs == ((4, 50), (1024, 4), (1024, 1024))
    # a fixed number of output tokens may be as small as it likes
    assert read(tmp_path, "s.json", "sharegpt", output_tokens=2).pairs == (
        (4, 2),
        (50, 2),
        (1024, 2),
        (1024, 2),
        (1024, 2),
    )


def test_burstgpt_keeps_the_answered_rows_of_gpt_4_and_needs_no_tokenizer(tmp_path: Path) -> None:
    rows = ["5,ChatGPT,472,18,490,log", "45,GPT-4,417,276,693,log", "118,GPT-4,700,0,700,log", "119,GPT-4,34,9,43,log"]
    header = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type"
    (tmp_path / "b.csv").write_text("\n".join([header, *rows]) + "\n")
    found = read(tmp_path, "b.csv", "burstgpt", tokenizer=None)
    assert found.pairs == ((417, 276), (34, 9))
    assert not found.estimated
    assert set(fingerprint(DataSetOptions(path="b.csv", kind="burstgpt"), tmp_path)) == {"data_set"}


@pytest.mark.parametrize(
    ("name", "kind", "content", "said"),
    [
        ("absent.jsonl", "custom", None, "no such file"),
        ("d.json", "custom", b"{}", "names that end in .jsonl"),
        ("d.jsonl", "custom", b'{"prompt": "a"', "d.jsonl:1: is not JSON"),
        ("d.jsonl", "custom", b'{"question": "a"}', "d.jsonl:1: has no text `prompt`"),
        ("d.jsonl", "custom", b'"a"', "d.jsonl:1: has no text `prompt`"),
        ("d.jsonl", "custom", b'{"prompt": "a"}', "d.jsonl:1: `output_tokens` is not a number"),
        ("d.jsonl", "custom", b'{"prompt": "a", "output_tokens": Infinity}', "`output_tokens` is not a number"),
        ("d.jsonl", "custom", b'{"prompt": "a", "output_tokens": 0}', "`output_tokens` is below 1"),
        ("d.jsonl", "custom", b'{"prompt": "\xff"}', "d.jsonl:1: is not UTF-8"),
        ("d.jsonl", "custom", b'{"prompt": ' + b"[" * 200_000, "d.jsonl:1: is not JSON"),
        ("d.jsonl", "custom", b"", "would send none"),
        ("s.json", "sharegpt", b"[" * 200_000, "element 1 is not JSON"),
        ("s.json", "sharegpt", b"{}", "holds no JSON array"),
        ("s.json", "sharegpt", b'[{"conversations": []}] ', "would send none"),
        ("s.json", "sharegpt", b'[{"conversations": []} 5]', "does not end after element 1"),
        ("s.json", "sharegpt", b'[{"conversations": [{"value": "a"}, {}]}]', "has no text `value`"),
        ("s.json", "sharegpt", b'[{"conversations": []},', "element 2 is not JSON"),
        ("s.json", "sharegpt", b"\xff\xfe[", "is not UTF-8"),
        ("b.csv", "burstgpt", b"a,b\n1,2\n", "is not a header of BurstGPT"),
        ("b.csv", "burstgpt", b"T,Model,Request tokens,Response tokens\n1,GPT-4,x,5\n", "b.csv:2: 'x' is not a number"),
        ("b.csv", "burstgpt", b"a," + b"x" * 200_000, "field larger than field limit"),
    ],
)  # fmt: skip
def test_a_file_that_the_client_could_not_use_is_refused_with_its_place(
    tmp_path: Path, name: str, kind: str, content: bytes | None, said: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert said in refused(tmp_path, name, kind)


def test_a_fifo_and_a_directory_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "d.jsonl")  # opening it would wait for a writer for ever
    (tmp_path / "e.jsonl").mkdir()
    for name in ("d.jsonl", "e.jsonl"):
        assert "and not a file" in refused(tmp_path, name, "custom")
        assert fingerprint(DataSetOptions(path=name, kind="custom"), tmp_path)["data_set"] == "absent"


def test_of_a_large_file_the_beginning_is_read_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    talks(tmp_path / "s.json", [(10, 10)] * 100)
    jsonl(tmp_path / "d.jsonl", *[{"prompt": words(9), "output_tokens": 5}] * 100)
    monkeypatch.setattr(records, "MOST_BYTES", 2000)
    for name, kind in (("s.json", "sharegpt"), ("d.jsonl", "custom")):
        found = read(tmp_path, name, kind)
        assert 5 < len(found.pairs) < 100
        assert not found.whole
        assert "its first" in found.summary()


def test_no_more_than_so_many_records_are_counted(tmp_path: Path) -> None:
    jsonl(tmp_path / "d.jsonl", *[{"prompt": "word", "output_tokens": 5}] * (records.MOST_RECORDS + 9))
    found = read(tmp_path, "d.jsonl", "custom")
    assert len(found.pairs) == records.MOST_RECORDS
    assert not found.whole


def test_what_was_left_out_is_said_also_where_the_client_drops_records(tmp_path: Path) -> None:
    for count, whole in ((records.MOST_RECORDS // 2, True), (records.MOST_RECORDS // 2 + 1, False)):
        talks(tmp_path / "s.json", [(10, 10), (1, 10)] * count)
        found = read(tmp_path, "s.json", "sharegpt")
        assert (len(found.pairs), found.whole) == (records.MOST_RECORDS // 2, whole)


def test_a_template_of_ais_bench_makes_prompts_of_the_columns_and_a_record_may_limit_its_answer(tmp_path: Path) -> None:
    first = {"question": words(7), "option": 5, "max_tokens": 9}
    jsonl(tmp_path / "q.jsonl", first, {"question": words(3), "max_out_len": "4"}, {"question": words(2)})
    found = read(tmp_path, "q.jsonl", "ais_bench", output_tokens=64, template="Question : {question} {option} Answer :")
    assert found.pairs == ((12, 9), (8, 4), (7, 64))
    assert "`max_tokens` is not a number" in refused(tmp_path, "q.jsonl", "ais_bench")


def test_a_records_own_limit_counts_only_where_the_reader_asks_for_it(tmp_path: Path) -> None:
    jsonl(tmp_path / "q.jsonl", {"question": words(7), "max_tokens": 9})
    assert read(tmp_path, "q.jsonl", "ais_bench", output_tokens=64).pairs == ((7, 9),)
    assert read(tmp_path, "q.jsonl", "ais_bench", output_tokens=64, own_output=False).pairs == ((7, 64),)


def test_ais_bench_takes_a_table_too_whose_cells_may_hold_blank_lines(tmp_path: Path) -> None:
    (tmp_path / "q.csv").write_text('question,answer\n"word\n\n word",x\nword,y\n')
    assert read(tmp_path, "q.csv", "ais_bench", output_tokens=5).pairs == ((2, 5), (1, 5))


def test_spec_bench_sends_the_first_turn_of_one_category(tmp_path: Path) -> None:
    jsonl(tmp_path / "s.jsonl", *({"category": one, "turns": [words(n), words(99)]} for n, one in enumerate("abab", 5)))
    assert read(tmp_path, "s.jsonl", "spec_bench", output_tokens=256).pairs == tuple((n, 256) for n in (5, 6, 7, 8))
    assert read(tmp_path, "s.jsonl", "spec_bench", output_tokens=9, category="b").pairs == ((6, 9), (8, 9))
    assert "would send none" in refused(tmp_path, "s.jsonl", "spec_bench", output_tokens=9, category="c")
    jsonl(tmp_path / "bad.jsonl", {"turns": []})
    assert "bad.jsonl:1: `turns` does not begin with a text" in refused(
        tmp_path, "bad.jsonl", "spec_bench", output_tokens=9
    )


def test_speed_bench_sends_the_first_message(tmp_path: Path) -> None:
    jsonl(
        tmp_path / "s.jsonl", {"category": "a", "messages": [{"role": "user", "content": words(5)}, {"content": "x"}]}
    )
    assert read(tmp_path, "s.jsonl", "speed_bench", output_tokens=4096).pairs == ((5, 4096),)
    jsonl(tmp_path / "s.jsonl", {"messages": ["x"]})
    assert "does not begin with a text" in refused(tmp_path, "s.jsonl", "speed_bench", output_tokens=4096)


def a_trace(**more: Any) -> dict[str, Any]:
    return {"timestamp": 500, "input_length": 40, "output_length": 3, "hash_ids": [1, 2, 3]} | more


def test_a_timed_trace_tells_lengths_and_times_of_its_own(tmp_path: Path) -> None:
    second = a_trace(timestamp=250, input_length=99, output_length=4)
    jsonl(tmp_path / "t.jsonl", a_trace(), second, a_trace(timestamp=2000))
    found = read(tmp_path, "t.jsonl", "timed_trace", second=0.001)
    assert found.pairs == ((40, 3), (48, 4), (40, 3))  # three hashes of 16 tokens each
    assert found.times == (0.5, 0.5, 2.0)  # sent one after the other
    found = read(tmp_path, "t.jsonl", "timed_trace", hashed=512)
    assert (found.pairs[1], found.times, found.estimated) == ((99, 4), (), False)
    other = {"at": 1, "in": 5, "out": 6, "ids": [1]}
    jsonl(tmp_path / "o.jsonl", other)
    assert read(tmp_path, "o.jsonl", "timed_trace", labels=["at", "in", "out", "ids"]).pairs == ((5, 6),)
    assert "o.jsonl:1: has no `timestamp`" in refused(tmp_path, "o.jsonl", "timed_trace")
    jsonl(tmp_path / "o.jsonl", a_trace(hash_ids=[]))
    assert "has no `hash_ids`" in refused(tmp_path, "o.jsonl", "timed_trace")
    jsonl(tmp_path / "o.jsonl", a_trace(timestamp="nan"))
    assert "is not a number of seconds" in refused(tmp_path, "o.jsonl", "timed_trace", second=1.0)


def a_talk(*turns: int, begins: str = "human") -> dict[str, Any]:
    said = [begins, "gpt" if begins == "human" else "human"]
    return {"conversations": [{"from": said[n % 2], "value": words(turn)} for n, turn in enumerate(turns)]}


def test_every_turn_of_ais_benchs_sharegpt_is_a_request_with_all_that_was_said(tmp_path: Path) -> None:
    talks = [a_talk(5, 7, 9, 11), a_talk(3, 4), a_talk(5, 7, 9), a_talk(5, 7, begins="gpt"), {"conversations": []}]
    (tmp_path / "s.json").write_text(json.dumps(talks))
    found = read(tmp_path, "s.json", "ais_bench_sharegpt", output_tokens=100)
    assert found.pairs == ((5, 100), (5 + 100 + 9, 100), (3, 100))  # the model's own answers have 100 tokens
    assert found.turns == (2, 1)
    assert "3 requests in 2 conversations of s.json are simulated" in found.summary()
    found = read(tmp_path, "s.json", "ais_bench_sharegpt", output_tokens=100, turns="every_with_gt")
    assert found.pairs == ((5, 100), (5 + 7 + 9, 100), (3, 100))
    found = read(tmp_path, "s.json", "ais_bench_sharegpt", output_tokens=100, turns="last")
    assert (found.pairs, found.turns) == (((5 + 7 + 9, 100), (3, 100)), ())


def test_ais_benchs_mtbench_asks_its_questions_one_after_the_other(tmp_path: Path) -> None:
    jsonl(
        tmp_path / "m.jsonl", {"prompt": [words(5), words(6)], "reference": [words(2), words(3)]}, {"prompt": ["word"]}
    )
    found = read(tmp_path, "m.jsonl", "ais_bench_mtbench", output_tokens=8, turns="every_with_gt")
    assert found.pairs == ((5, 8), (13, 8), (1, 8))
    jsonl(tmp_path / "m.jsonl", {"prompt": [words(5), words(6)], "reference": ["word"]})
    assert "has not as many texts" in refused(tmp_path, "m.jsonl", "ais_bench_mtbench", output_tokens=8)


def test_guidellm_finds_its_columns_by_their_names_in_any_file(tmp_path: Path) -> None:
    row = {"ID": 1, "Question": words(5), "system": words(3), "completion_tokens_count": 9}
    jsonl(tmp_path / "g.jsonl", row, row | {"Question": words(6), "completion_tokens_count": 10})
    (tmp_path / "g.json").write_text(json.dumps([row]))
    (tmp_path / "g.csv").write_text("prompts,output_tokens_count\nword word,7\n")
    assert read(tmp_path, "g.jsonl", "guidellm").pairs == ((8, 9), (9, 10))
    assert read(tmp_path, "g.json", "guidellm").pairs == ((8, 9),)
    assert read(tmp_path, "g.csv", "guidellm").pairs == ((2, 7),)
    chosen = {"text_column": "system", "output_tokens_count_column": "ID"}
    assert read(tmp_path, "g.json", "guidellm", columns=chosen).pairs == ((3, 1),)
    jsonl(tmp_path / "t.jsonl", {"prompt_0": words(5), "prompt_1": words(6), "output_tokens_count": 9})
    assert read(tmp_path, "t.jsonl", "guidellm", output_tokens=2).pairs == ((5, 9), (5 + 6 + 9, 2))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "word"}, "g.jsonl:1: tells no number of output tokens"),
        ({"prompt": "word", "image": "a.png", "output_tokens_count": 1}, "has the column `image`"),
        ({"messages": [], "output_tokens_count": 1}, "has the column `messages`"),
        ({"output_tokens_count": 1}, "has no column of prompts"),
        ({"prompt": None, "output_tokens_count": 1}, "g.jsonl:1: has no prompt"),
        ({"prompt": "word", "output_tokens_count": "many"}, "g.jsonl:1: `output_tokens_count` is not a number"),
    ],
)
def test_rows_of_guidellm_that_cannot_be_counted_are_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    jsonl(tmp_path / "g.jsonl", row)
    assert said in refused(tmp_path, "g.jsonl", "guidellm")


CHAT = 4  # tokens that the template adds to one message


def test_the_chat_template_is_counted_where_the_client_or_the_service_puts_it(tmp_path: Path) -> None:
    a_word_tokenizer(tmp_path / "tok", TEMPLATE)
    jsonl(tmp_path / "d.jsonl", {"prompt": words(7), "output_tokens": 1})
    for around, tokens in (({}, 7), ({"chat": True}, 11), ({"client_template": True}, 11)):
        found = read(tmp_path, "d.jsonl", "custom", **around)
        assert found.pairs == ((tokens, 1),)
        assert ("with the chat template" in found.summary()) is bool(around)
    assert read(tmp_path, "d.jsonl", "custom", chat=True, client_template=True).pairs == ((7 + 2 * CHAT, 1),)
    talks(tmp_path / "s.json", [(1022, 50), (4, 50)])  # what the client leaves out does not depend on it
    assert read(tmp_path, "s.json", "sharegpt", chat=True).pairs == ((1022 + CHAT, 50), (4 + CHAT, 50))
    messages = [{"role": "HUMAN", "prompt": "word {question}"}, {"role": "BOT", "prompt": "word"}]
    jsonl(tmp_path / "q.jsonl", {"question": words(5)})
    found = read(tmp_path, "q.jsonl", "ais_bench", output_tokens=1, chat=True, messages=messages)
    assert found.pairs == ((6 + 3 + 1 + 3 + 1, 1),)


@pytest.mark.parametrize(
    ("configuration", "tokens", "said"),
    [
        ({}, 7, "without those of the chat template: "),
        ({"chat_template": TEMPLATE}, 11, "with the chat template"),
        (
            {"chat_template": [{"name": "tool", "template": "x"}, {"name": "default", "template": TEMPLATE}]},
            11,
            "with the",
        ),
        (
            {"chat_template": "{{ bos_token }} {{ messages[0]['content'] }}", "bos_token": {"content": "s t"}},
            9,
            "with the",
        ),
        ({"chat_template": "{{ raise_exception('no system role') }}"}, 7, "cannot be used: no system role"),
        ({"chat_template": "{{ messages.__class__.__mro__ }}"}, 7, "cannot be used: "),
        ({"chat_template": "{% for"}, 7, "cannot be used: "),
    ],
)
def test_a_chat_template_is_taken_from_the_tokenizers_configuration_or_said_to_be_missing(
    tmp_path: Path, configuration: dict[str, Any], tokens: int, said: str
) -> None:
    a_word_tokenizer(tmp_path / "tok")
    (tmp_path / "tok" / "tokenizer_config.json").write_text(json.dumps(configuration))
    jsonl(tmp_path / "d.jsonl", {"prompt": words(7), "output_tokens": 1})
    found = read(tmp_path, "d.jsonl", "custom", chat=True)
    assert found.pairs == ((tokens, 1),)
    assert said in found.summary()


def test_another_chat_template_has_another_fingerprint(tmp_path: Path) -> None:
    options = DataSetOptions(path="d.jsonl", kind="custom", tokenizer="tok", chat=True)
    jsonl(tmp_path / "d.jsonl", {"prompt": words(3), "output_tokens": 5})
    prints = []
    for template in ("", TEMPLATE, TEMPLATE + " x"):
        a_word_tokenizer(tmp_path / "tok", template)
        prints.append(
            (fingerprint(options, tmp_path)["tokenizer"], read(tmp_path, "d.jsonl", "custom", chat=True).pairs)
        )
    assert len({print_ for print_, _ in prints}) == 3
    assert [pairs for _, pairs in prints] == [((3, 5),), ((7, 5),), ((8, 5),)]


def test_a_line_that_is_too_long_is_refused(tmp_path: Path) -> None:
    jsonl(tmp_path / "d.jsonl", {"prompt": "a" * records.LONGEST_LINE})
    assert "d.jsonl:1: the line is longer than 4 MiB" in refused(tmp_path, "d.jsonl", "custom")


def test_without_a_tokenizer_the_tokens_are_estimated_and_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jsonl(tmp_path / "d.jsonl", {"prompt": "x" * 41, "output_tokens": 5})
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "tokenizer.json").write_text("{}")
    for tokenizer, why in (
        (None, "no tokenizer's directory"),
        ("nowhere", "no such file"),
        ("damaged", "is not a token"),
    ):
        found = read(tmp_path, "d.jsonl", "custom", tokenizer=tokenizer)
        assert found.pairs == ((11, 5),)
        assert found.estimated
        assert "ESTIMATED at 4 bytes per token, because" in found.summary()
        assert why in found.summary()

    installed = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "tokenizers":
            raise ImportError(name)
        return installed(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    jsonl(tmp_path / "e.jsonl", {"prompt": "x" * 41, "output_tokens": 5})
    assert "pip install 'serviceopt[tokenizers]'" in read(tmp_path, "e.jsonl", "custom").summary()


def test_half_of_a_surrogate_pair_is_a_token_like_others(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"prompt": "word \\ud800 word", "output_tokens": 1}\n')
    assert read(tmp_path, "d.jsonl", "custom").pairs == ((3, 1),)


def test_a_changed_file_is_read_again_and_has_another_fingerprint(tmp_path: Path) -> None:
    options = DataSetOptions(path="d.jsonl", kind="custom", tokenizer="tok")
    jsonl(tmp_path / "d.jsonl", {"prompt": words(3), "output_tokens": 5})
    assert read(tmp_path, "d.jsonl", "custom").pairs == ((3, 5),)
    before = fingerprint(options, tmp_path)
    jsonl(tmp_path / "d.jsonl", {"prompt": words(4), "output_tokens": 5})
    assert read(tmp_path, "d.jsonl", "custom").pairs == ((4, 5),)
    after = fingerprint(options, tmp_path)
    assert before["data_set"] != after["data_set"]
    assert before["tokenizer"] == after["tokenizer"]
    (tmp_path / "tok" / "tokenizer.json").unlink()
    assert fingerprint(options, tmp_path)["tokenizer"] != after["tokenizer"]


def simulated(directory: Path, prompts: int, **data: Any) -> tuple[int, int]:
    options = SimulatedSection(
        model="latency_model.json", data_set=DataSetOptions(kind="custom", tokenizer="tok", **data)
    )
    given = {"max_num_seqs": 8, "max_num_batched_tokens": 512, "max_model_len": 2048, "kv_blocks": 4000}
    predictor = Predictor.of(options, directory)
    found = predictor.predict(
        predictor.limits({}, (), given), concurrency=4, request_rate=None, num_prompts=prompts, seed=3
    ).metrics
    return found.input_tokens, found.output_tokens


def test_each_record_is_sent_once_before_any_is_sent_again(tmp_path: Path) -> None:
    a_model_file(tmp_path)
    a_word_tokenizer(tmp_path / "tok")
    jsonl(tmp_path / "d.jsonl", *({"prompt": words(10**place), "output_tokens": 1} for place in range(3)))
    assert simulated(tmp_path, 3, path="d.jsonl") == (111, 3)
    assert simulated(tmp_path, 3, path="d.jsonl", shuffled=False, output_tokens=5) == (111, 15)
    assert simulated(tmp_path, 2, path="d.jsonl", shuffled=False) == (11, 2)
    tokens, _ = simulated(tmp_path, 4, path="d.jsonl")
    assert tokens - 111 in (1, 10, 100)


def test_without_a_usable_file_the_lengths_are_drawn(tmp_path: Path) -> None:
    a_model_file(tmp_path)
    assert simulated(tmp_path, 3, path="nowhere.jsonl") == (3 * 1024, 3 * 256)
