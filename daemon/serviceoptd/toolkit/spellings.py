"""The flags of one program in every spelling that its parser takes: short names and unique beginnings. Pure.

Python's argparse takes `--max-num-seq` for `--max-num-seqs`, and of two occurrences the later one counts. So an abbreviation
that is not seen through makes a searched flag mean nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from serviceopt_journal.errors import InvalidConfiguration


class Spellings(Mapping[str, str]):
    """Spelling -> flag in full, for whatever takes `aliases`; a spelling that is not known or not unique is its own."""

    def __init__(self, flags: Iterable[str], aliases: Mapping[str, str] | None = None) -> None:
        self.aliases = dict(aliases or {})
        self.flags = frozenset((*flags, *self.aliases.values()))
        spelled = {flag: flag for flag in self.flags} | self.aliases
        self._by_spelling = dict(sorted(spelled.items()))

    def meanings(self, spelling: str) -> tuple[str, ...]:
        """The flags that this spelling can stand for, in full: one where it is written out, none where it is unknown."""
        head, dot, rest = spelling.partition(".")  # `--compilation-config.level` belongs to `--compilation-config`
        if head.startswith("--"):
            head = "--" + head.removeprefix("--").replace("_", "-").removeprefix("no-")
        if exact := self._by_spelling.get(head):
            return (exact + dot + rest,)
        if len(head.lstrip("-")) == 0:
            return ()
        found = dict.fromkeys(flag for spelled, flag in self._by_spelling.items() if spelled.startswith(head))
        return tuple(flag + dot + rest for flag in found)

    def refuse_ambiguous(self, spelling: str) -> None:
        """Raises InvalidConfiguration for a beginning that several flags share: the program refuses it too."""
        found = self.meanings(spelling)
        if len(found) > 1:
            some = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
            raise InvalidConfiguration(
                f"{spelling} can stand for {some}",
                hint="write the flag in full: an abbreviation works only where it is unique",
            )

    def __getitem__(self, spelling: str) -> str:
        found = self.meanings(spelling)
        if len(found) != 1:
            raise KeyError(spelling)
        return found[0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_spelling)

    def __len__(self) -> int:
        return len(self._by_spelling)
