"""What an engine may not be asked: searching a service that somebody else runs, unknown positions, not to answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_text import whole_number
from serviceopt_journal.metric_table import METRIC, TPOT, TTFT
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import Space
from serviceoptd.toolkit.arguments import ARGUMENT, flag_of, value_of
from serviceoptd.toolkit.interface import Refusals

GENERATES_TEXT = (
    "serviceopt tunes services that generate text: their output tokens, "
    f"{METRIC[TTFT].title} and {METRIC[TPOT].title} are measured"
)
"""What to do about an option that serves embeddings or the like."""


def refuse_searched_service(fields: Sequence[Field], engine: str) -> None:
    """Refuses to search anything but the load with `manage_lifecycle = false`.

    Raises:
        InvalidConfiguration: a field that needs the service restarted is a dimension of the search.
    """
    searched = [field.name for field in Space.of(fields).dimensions if not field.load]
    if searched:
        raise InvalidConfiguration(
            f"{', '.join(searched)}: cannot be searched, because the service is not restarted (manage_lifecycle = false)",
            hint=f"remove them from [[{engine}.target_field]] or fix them with `constant`; CONCURRENCY and REQUESTRATE "
            "can be searched",
        )


def refuse_dotted_positions(fields: Sequence[Field], name: str) -> None:
    """Dotted positions belong to engines with a JSON configuration.

    Raises:
        InvalidConfiguration: a field has one.
    """
    refusals = Refusals()
    for field in fields:
        position = field.config_position
        if position != "env" and not position.startswith(ARGUMENT):
            message = (
                f'{field.name}: {name} has no configuration file, so config_position = "{position}" means nothing to it'
            )
            hint = 'write "env" and use $NAME in its arguments, or "argument:--flag"'
            refusals.add(InvalidConfiguration(message, hint=hint))
    refusals.tell()


def refuse_pooling(words: Sequence[str], asks: Mapping[str, Sequence[str]], aliases: Mapping[str, str] | None) -> None:
    """Options with which the service generates no tokens, so that nothing of it can be measured here.

    Args:
        words: the service's arguments.
        asks: flag -> the values that ask for it; none: the flag by itself does.
        aliases: as `flag_of` takes them.
        way_out: what else could be done; empty: the `command` engine.

    Raises:
        InvalidConfiguration: one of them is given.
    """
    refusals = Refusals()
    for flag, values in asks.items():
        given = [word for word in words if flag_of(word, aliases) == flag and not word.startswith("--no-")]
        value = value_of(flag, words, aliases) or ""
        if given and (not values or value in values):
            refused = (
                f"{f'{flag} {value}'.strip()}: embeddings, classification and reranking are not supported, for they "
                "generate no tokens"
            )
            refusals.add(InvalidConfiguration(refused, hint=GENERATES_TEXT))
    refusals.tell()


def refuse_unanswerable(
    words: Sequence[str],
    reasons: Mapping[str, str],
    engine: str,
    aliases: Mapping[str, str] | None = None,
    way_out: str = "",
) -> None:
    """Options with which the service can never answer its readiness check: every launch would take its whole time limit.

    Args:
        words: the service's arguments.
        reasons: flag -> why. `--flag 0` for one that counts only with this value, `--flag >0` with a greater one.
        engine: the engine's name.
        aliases: as `flag_of` takes them.

    Raises:
        InvalidConfiguration: one of them is given.
    """
    way_out = way_out or (
        "a service that shows its readiness otherwise can be described to the `command` engine "
        f"(`serviceoptctl docs engines#command`), instead of [{engine}]"
    )
    refusals = Refusals()
    for told, why in reasons.items():
        flag, _, wanted = told.partition(" ")
        given = [word for word in words if flag_of(word, aliases) == flag and not word.startswith("--no-")]
        value = value_of(flag, words, aliases) or ""
        counts = not wanted or value == wanted or (wanted == ">0" and bool(whole_number(value)))
        if given and counts:
            refused = InvalidConfiguration(
                f"{given[-1]}{f' {value}' if wanted else ''}: {why}, so GET http://host:port/health is never answered",
                hint=f"leave it out while the service is tuned; {way_out}",
            )
            refusals.add(refused)
    refusals.tell()
