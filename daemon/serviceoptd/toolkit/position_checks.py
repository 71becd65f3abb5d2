"""What an engine may not be asked: searching parameters of a service that somebody else runs, or unknown positions."""

from __future__ import annotations

from collections.abc import Sequence

from serviceopt_journal.errors import InvalidConfiguration
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import Space
from serviceoptd.toolkit.arguments import ARGUMENT


def refuse_searched_service(fields: Sequence[Field], engine: str) -> None:
    """With `manage_lifecycle = false` only the load may be searched.

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
    for field in fields:
        position = field.config_position
        if position != "env" and not position.startswith(ARGUMENT):
            raise InvalidConfiguration(
                f'{field.name}: {name} has no configuration file, so config_position = "{position}" means nothing to it',
                hint='write "env" and use $NAME in its arguments, or "argument:--flag"',
            )
