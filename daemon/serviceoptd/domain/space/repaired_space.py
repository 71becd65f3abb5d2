"""A search space whose parameters limit each other: every configuration that comes out of it is repaired. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space.space import COUNTED_AT_MOST, Key, Space

Repair = Callable[[Configuration, Sequence[Field]], Configuration]


@dataclass(frozen=True)
class RepairedSpace(Space):
    """The space with `repaired` applied to what is decoded, repaired or listed.

    So no configuration is proposed that the engine would refuse, and none twice under two names.
    `decode(encode(configuration)) == configuration` for what comes out of it, where `repaired` moves values to the
    nearest legal one, or gives those without effect one value.
    """

    repaired: Repair

    @classmethod
    def over(cls, space: Space, repaired: Repair) -> RepairedSpace:
        """The space of the same fields with `repaired` applied."""
        return cls(space.fields, repaired)

    def decode(self, position: Sequence[float]) -> Configuration:
        """The repaired configuration at a position. Raises as `Space.decode` does."""
        return self.repaired(super().decode(position), self.fields)

    def repair(self, configuration: Mapping[str, object]) -> Configuration:
        """The repaired configuration nearest to any mapping."""
        return self.repaired(super().repair(configuration), self.fields)

    def configurations(self) -> Iterator[Configuration]:
        """Every repaired configuration once, lazily. Only for spaces without a searched float."""
        seen: set[Key] = set()
        for found in super().configurations():
            configuration = self.repaired(found, self.fields)
            if (key := self.key(configuration)) not in seen:
                seen.add(key)
                yield configuration

    @cached_property
    def _cardinality(self) -> int | None:
        # several become one, so they have to be gone through
        unrepaired = Space(self.fields).cardinality()
        if unrepaired is None or unrepaired > COUNTED_AT_MOST:
            return None
        return sum(1 for _ in self.configurations())
