"""The manual's spelling of short options, `-e=vllm`, which click reads as the value `=vllm`."""

from __future__ import annotations

from collections.abc import Sequence

import click


def spelled_out(command: click.Command, arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with `-x=VALUE` as `-x VALUE`, for its short options that take a value.

    What is itself the value of the option before it, and everything behind `--`, stays as it is.
    """
    options = {
        name: parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    spelled: list[str] = []
    awaited = False  # the value of the option before
    for index, argument in enumerate(arguments):
        if argument == "--" and not awaited:
            return [*spelled, *arguments[index:]]
        name, equals, value = argument.partition("=")
        option = options.get(name)
        takes_value = option is not None and not option.is_flag and not option.count
        short = takes_value and not name.startswith("--")
        spelled += [name, value] if equals and short and not awaited else [argument]
        may_be_left_out = option is not None and isinstance(option.flag_value, str)  # `--backup`, or `--backup True`
        awaited = not awaited and takes_value and not equals and not may_be_left_out
    return spelled
