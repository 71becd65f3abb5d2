"""What operators usually set: where a search begins when it is told no current setting.

After the defaults of vLLM (its documentation, "Engine Arguments") and of MindIE (its manual, ScheduleConfig); vLLM's
sequences and batched tokens have no default that holds for every device, and stand here with middling values.
"""

from __future__ import annotations

from collections.abc import Mapping

from serviceopt_journal.events import Value
from serviceoptd.domain.space.space import Space
from serviceoptd.search.encoding import letters

USUAL: Mapping[str, Value] = {
    "gpumemoryutilization": 0.9,
    "enablechunkedprefill": True,
    "maxnumbatchedtokens": 8192,
    "blocksize": 16,
    "numschedulersteps": 1,
    "schedulerdelayfactor": 0.0,
    "policy": "fcfs",
    "maxnumseqs": 128,
    "maxbatchsize": 200,
    "maxprefillbatchsize": 50,
    "prefilltimemsperreq": 150,
    "decodetimemsperreq": 50,
    "supportselectbatch": False,
    "maxqueuedeloymircroseconds": 5000,
    "maxpreemptcount": 0,
}


def usual_coordinates(space: Space) -> dict[int, float]:
    """Dimension -> coordinate of its usual value, where one is known that the space allows."""
    wishes = {field.name: USUAL[letters(field.name)] for field in space.dimensions if letters(field.name) in USUAL}
    repaired = space.repair(wishes)
    position = space.encode(repaired)
    return {
        index: position[index]
        for index, field in enumerate(space.dimensions)
        if field.name in wishes and repaired[field.name] == wishes[field.name]
    }
