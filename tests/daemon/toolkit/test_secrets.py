from __future__ import annotations

import re
import time
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serviceoptd.config.masking import masked_text
from serviceoptd.toolkit.secrets import mask, mask_argv, mask_environment, mask_text

SECRETS = st.text("abcdefghijklmnopqrstuvwxyzXYZ0123456789", min_size=8, max_size=20).map(lambda text: f"s{text}t")


@pytest.mark.parametrize(
    "name",
    [
        "token",
        "HF_TOKEN",
        "api_key",
        "API-KEY",
        "VLLM_API_KEY",
        "PGPASSWORD",
        "passwd",
        "AWS_SECRET_ACCESS_KEY",
        "credentials",
        "Authorization",
    ],
)
def test_values_with_a_secret_name_are_masked(name: str) -> None:
    assert mask(name, "abc") == "***"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_num_batched_tokens", 8192),
        ("MAX_NUM_BATCHED_TOKENS", "8192"),
        ("tokenizer", "auto"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("time_per_output_token", 0.05),
        ("api_key", ""),
    ],
)
def test_counts_of_tokens_and_other_values_are_shown(name: str, value: Any) -> None:
    assert mask(name, value) == value


def test_a_password_of_digits_is_masked_too() -> None:
    assert mask("password", 1234) == "***"
    assert mask("credentials", {"user": "ada", "pin": "1234"}) == {"user": "***", "pin": "***"}


def test_secrets_on_a_command_line_are_masked_in_both_spellings() -> None:
    argv = (
        "vllm",
        "serve",
        "--api-key",
        "abc",
        "--api-key=abc",
        "--hf-token",
        "abc",
        "--max-num-batched-tokens",
        "8192",
    )
    masked = (
        "vllm",
        "serve",
        "--api-key",
        "***",
        "--api-key=***",
        "--hf-token",
        "***",
        "--max-num-batched-tokens",
        "8192",
    )
    assert mask_argv(argv) == masked
    assert mask_argv(("--api-key", "--host", "h")) == ("--api-key", "--host", "h")


def test_secrets_inside_texts_are_masked_and_sentences_are_not() -> None:
    assert mask_text("--api-key abc --port 1") == "--api-key *** --port 1"
    assert mask_text('--header "Authorization: Bearer abc"') == '--header "Authorization: Bearer ***"'
    assert mask_text("https://ada:abc@host/v1") == "https://ada:***@host/v1"
    assert mask_text("the token expired, 8192 tokens left") == "the token expired, 8192 tokens left"
    assert mask_text("--max-num-batched-tokens 8192") == "--max-num-batched-tokens 8192"


def test_an_environment_keeps_its_names() -> None:
    assert mask_environment({"HF_TOKEN": "abc", "PATH": "/bin"}) == {"HF_TOKEN": "***", "PATH": "/bin"}


@given(SECRETS)
def test_a_masked_configuration_is_the_same_toml_without_the_secret(secret: str) -> None:
    text = f'''
# api_key = "{secret}"
port = 8000 # see --api-key {secret}
api_key = "{secret}"
max_num_batched_tokens = 8192
[vllm.environment]
HF_TOKEN = """
{secret}
with "quotes"
"""
[vllm.command]
others = "--api-key {secret} --host h"
argv = ["serve", "--api-key", "{secret}", "--hf-token={secret}"] # {{ }}
inline = {{ password = '{secret}', user = "ada" }}
when = 2024-01-01 07:32:00
limit = nan
'''
    masked = masked_text(text)
    assert secret not in masked
    document = tomllib.loads(masked)
    assert document["vllm"]["command"]["others"] == "--api-key *** --host h"
    assert document["vllm"]["command"]["argv"] == ["serve", "--api-key", "***", "--hf-token=***"]
    assert document["vllm"]["command"]["inline"] == {"password": "***", "user": "ada"}
    assert document["vllm"]["environment"]["HF_TOKEN"] == document["api_key"] == "***"
    assert document["port"] == 8000
    assert document["max_num_batched_tokens"] == 8192
    assert masked_text(masked) == masked


def test_text_that_is_not_toml_is_masked_line_by_line() -> None:
    assert masked_text('api_key = "abc\nport = ') == 'api_key = "***\nport = '


def test_a_configuration_without_secrets_stays_as_it_was_written() -> None:
    text = 'a = "x" # one\n[b]\nc = [1, 2, "--port", "1"]\nd = nan\n'
    assert masked_text(text) == text


_NAME = (
    r"[\w-]*(?:token|secret|passw(?:or)?d|passphrase|api[-_]?key|access[-_]?key|private[-_]?key"
    r"|credential|authorization)s?"
)
_PLAIN = re.compile(
    rf"""(?P<before>(?:--(?P<flag>{_NAME})["']?[\s,]+|(?P<name>{_NAME})["']?\s*[=:]\s*)["']?(?:(?:bearer|basic)\s+)?)"""
    r"""(?P<value>(?!-)[^\s"',}\]&]+)""",
    re.IGNORECASE,
)
_PLAIN_URL = re.compile(r"(?P<before>\w+://[^\s/:@\"']+:)[^\s/@\"']+(?=@)")


def masked_plainly(text: str) -> str:
    """What is to be masked, said as plainly as an expression can: it tries each letter as the start of a name."""

    def replaced(match: re.Match[str]) -> str:
        name, value = match["name"] or match["flag"], match["value"]
        return match.group() if mask(name, value) != "***" else match["before"] + "***"

    return _PLAIN_URL.sub(lambda match: match["before"] + "***", _PLAIN.sub(replaced, text))


PIECES = (
    *(
        "token",
        "api-key",
        "API_KEY",
        "s",
        "--",
        "-",
        "_",
        "x",
        "é",
        "passwd",
        "Authorization",
        "bearer ",
        "basic  ",
        " ",
    ),
    *("  ", "\n", "=", ":", ": ", "'", '"', ",", "}", "]", "&", "@", "/", "://", "u:p", "7", "8_1", "1.5", "abc"),
    *("--hf-token ", "a--token ", "token=", "secrets: ", "https://ada:abc@host"),
)
WRITTEN = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)


@settings(max_examples=2000, deadline=None)
@given(WRITTEN)
def test_what_is_masked_is_what_the_plain_definition_masks(text: str) -> None:
    assert mask_text(text) == masked_plainly(text)


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "-",
        "--",
        "token",
        "token ",
        "token\n",
        "--token ,",
        "token=",
        'token="',
        "a:",
        "a://b:",
        "a://b:c@",
        "7_",
        " ",
        "=",
    ],
)
@pytest.mark.parametrize("before", ["", "token", "--api-key ", "a://b:"])
def test_masking_ten_times_the_text_takes_ten_times_the_time(before: str, piece: str) -> None:
    def seconds(length: int) -> float:
        text = (before + piece * length)[:length]
        started = time.process_time()
        mask_text(text)
        mask("password", text)
        mask("value", [text, text])
        return time.process_time() - started

    assert seconds(200_000) < 30 * seconds(20_000) + 0.1
