"""Does the client ask the service that the engine starts? Seen from what both would really do, whatever decided it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serviceopt_journal.errors import InvalidConfiguration
from serviceopt_journal.foreign_text import whole_number
from serviceoptd.benchmarks.interface import Addressing, MeasurementPlan
from serviceoptd.engines.interface import ServicePlan
from serviceoptd.submitting.draft import Draft
from serviceoptd.toolkit.asked_address import asked_in, same_server
from serviceoptd.toolkit.interface import Refusals


def refuse_another_server(service: ServicePlan, plan: MeasurementPlan, draft: Draft) -> None:
    """What the client would ask must be what the service would listen on, where both are known.

    Raises:
        InvalidConfiguration: another server would be measured.
    """
    settings, client = draft.settings, draft.benchmark
    ours = service.listens_on or _written(settings.engine_options)
    if ours is None or plan.command is None:
        return
    if isinstance(client, Addressing):
        asked = client.asks(plan)
    else:
        asked = asked_in(plan.command.argv, getattr(client, "aliases", None), plan.command.environment)
    refusals = Refusals()
    for each in asked:
        managed_tls = each.tls and service.command is not None
        if managed_tls or not same_server(each, *ours):
            speaks = " and speaks TLS, which the service does not" if managed_tls else ""
            message = (
                f"{settings.benchmark}: {each.words} is not the service's {ours[0]}:{ours[1]}{speaks}: "
                "another server would be measured"
            )
            refusals.add(InvalidConfiguration(message, hint=f"leave it out, or make it http://{ours[0]}:{ours[1]}"))
    refusals.tell()


def _written(options: Mapping[str, Any]) -> tuple[str, int] | None:
    """Host and port in the engine's own table, of a service that somebody else runs."""
    table = options.get("command") or options.get("service")
    if not isinstance(table, Mapping) or "port" not in table:
        return None
    port = whole_number(str(table["port"]).strip())
    return None if port is None else (str(table.get("host") or "127.0.0.1"), port)
