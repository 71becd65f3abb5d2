"""A search space whose parameters limit each other: every configuration that comes out of it keeps the rules. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from serviceopt_journal.events import Configuration
from serviceoptd.domain.settings import Field
from serviceoptd.domain.space import COUNTED_AT_MOST, Key, Space

Rules = Callable[[Configuration, Sequence[Field]], Configuration]


@dataclass(frozen=True)
class RuledSpace(Space):
    """The space with `rules` applied to what is decoded, repaired or listed, so that no two names mean one setting.

    `decode(encode(configuration)) == configuration` for what comes out of it, where the rules only move values to the
    nearest legal one or give one value to those without effect.
    """

    rules: Rules

    @classmethod
    def over(cls, space: Space, rules: Rules) -> RuledSpace:
        """This space, ruled."""
        return cls(space.fields, rules)

    def decode(self, position: Sequence[float]) -> Configuration:
        """The ruled configuration at a position. Raises as `Space.decode` does."""
        return self.rules(super().decode(position), self.fields)

    def repair(self, configuration: Mapping[str, object]) -> Configuration:
        """The ruled configuration nearest to any mapping."""
        return self.rules(super().repair(configuration), self.fields)

    def configurations(self) -> Iterator[Configuration]:
        """Every ruled configuration once, lazily. Only for spaces without a searched float."""
        seen: set[Key] = set()
        for unruled in super().configurations():
            ruled = self.rules(unruled, self.fields)
            if (key := self.key(ruled)) not in seen:
                seen.add(key)
                yield ruled

    @cached_property
    def _cardinality(self) -> int | None:
        # the rules map several configurations to one, so they have to be gone through
        unruled = Space(self.fields).cardinality()
        if unruled is None or unruled > COUNTED_AT_MOST:
            return None
        return sum(1 for _ in self.configurations())
