"""The manual's spelling of short options, `-e=vllm`, which click reads as the value `=vllm`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click


def spelled_out(command: click.Command, arguments: Sequence[str]) -> list[str]:
    """The arguments of a command with `-x=VALUE` as `-x VALUE`, for its short options that take a value.

    So it is behind flags that share its dash, `-fn=3`. What is itself the value of the option before it, and everything
    behind `--`, stays as it is.

    Raises:
        click.BadOptionUsage: the value is empty and is to name something: most likely a variable of the shell was not set.
    """
    options = {
        name: parameter
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    spelled: list[str] = []
    awaiting: click.Option | None = None  # the option before, whose value comes next
    for index, argument in enumerate(arguments):
        if awaiting:
            _refuse_nothing(awaiting, arguments[index - 1], argument)
            spelled.append(argument)
            awaiting = None
            continue
        if argument == "--":
            return [*spelled, *arguments[index:]]
        name, equals, value = argument.partition("=")
        option = options.get(name) or _last_of_a_cluster(options, name)
        if option is None or not _takes_value(option):
            spelled.append(argument)
        elif equals:
            _refuse_nothing(option, name, value)
            spelled += [argument] if name.startswith("--") else [name, value]
        else:
            spelled.append(argument)
            may_be_left_out = isinstance(option.flag_value, str)  # `--backup`, or `--backup True`
            awaiting = None if may_be_left_out else option
    return spelled


def _takes_value(option: click.Option) -> bool:
    return not option.is_flag and not option.count


def _last_of_a_cluster(options: Mapping[str, click.Option], name: str) -> click.Option | None:
    """The option that takes a value behind flags of one letter: `-n` of `-fn`."""
    if name.startswith("--") or len(name) < 3:  # noqa: PLR2004 - a dash and two letters
        return None
    *flags, last = (options.get(f"-{letter}") for letter in name.removeprefix("-"))
    return last if all(flag is not None and not _takes_value(flag) for flag in flags) else None


def _refuse_nothing(option: click.Option, name: str, value: str) -> None:
    if not value and option.metavar:
        raise click.BadOptionUsage(name, f"Option {name!r} needs a value, and what it is given is empty.")
