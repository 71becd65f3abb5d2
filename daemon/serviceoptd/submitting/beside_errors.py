"""What else is wrong with a configuration that cannot be read whole: contradictions, and what engine and client refuse.

What cannot be read is taken out of the text, each line staying where it is, and the rest goes through the next steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from msgspec.structs import replace

from serviceopt_journal.documents.requests import Submission
from serviceopt_journal.errors import ServiceoptError
from serviceoptd.config.problems import ConfigProblem, ConfigurationErrors
from serviceoptd.config.source import Source, parse
from serviceoptd.submitting.cross_checking import cross_checked
from serviceoptd.submitting.draft import Draft
from serviceoptd.submitting.planning import refusals_of_both

PASSES = 3
"""Times that something is taken out: what was behind one mistake may be another one."""
_HEADER = re.compile(r"\s*\[")
_STAND_IN = ('name = "{}"', 'dtype = "float"', "min = 0", "max = 1")
_NAME = re.compile(r"\s*name\s*=\s*[\"']([A-Za-z_]\w*)[\"']")


def all_together(
    errors: ConfigurationErrors, submission: Submission, read: Callable[[Submission], Draft]
) -> ConfigurationErrors:
    """The errors of a configuration, and what is wrong with the rest of it; `read` makes a draft of a submission.

    What may only follow from one of the errors is left out, and so is everything else where the rest cannot be read.
    """
    told, text = list(errors.problems), submission.configuration_text
    for _ in range(PASSES):
        text = _without(text, submission, errors.problems)
        try:
            draft = read(replace(submission, configuration_text=text))
        except ConfigurationErrors as further:
            errors = further
            continue
        except ServiceoptError:
            break
        told += [problem for problem in _wrong_with(draft) if not _follows(problem, errors_so_far=told)]
        break
    return ConfigurationErrors(told)


def _wrong_with(draft: Draft) -> Iterator[ConfigProblem]:
    """Placeholders, contradictions, and what engine and client refuse."""
    yield from draft.loaded.placeholders
    try:
        checked = cross_checked(draft)
        yield from checked.problems
        if checked.unusable:
            return
        place = str(draft.loaded.path) if draft.loaded.path else ""
        for refused in refusals_of_both(draft):
            for line in refused.message.split("\n"):
                yield ConfigProblem(place, 0, "", line, refused.hint)
    except ServiceoptError:
        return  # it is told when the rest is right


def _follows(problem: ConfigProblem, *, errors_so_far: list[ConfigProblem]) -> bool:
    """Whether a problem may be there only because something cannot be read: it is about the same field or key."""
    keys = {error.key for error in errors_so_far if error.key}
    named = any(re.search(rf"(?<![\w.]){re.escape(key)}(?!\w)", str(problem)) for key in keys)
    return named or bool(_names(errors_so_far) & _names([problem]))


def _names(problems: list[ConfigProblem]) -> set[str]:
    """The names of fields and variables that problems are about."""
    found = (re.findall(r"\$(\w+)|\(field (\w+)\)", str(problem)) for problem in problems)
    return {name for matches in found for match in matches for name in match if name}


def _without(text: str, submission: Submission, problems: tuple[ConfigProblem, ...]) -> str:
    place = submission.configuration_path or "(no configuration file)"
    source = parse(text, place, {})
    lines = text.split("\n")
    for problem in problems:
        if problem.line:
            _take_out(lines, source, problem.line - 1, nameless=problem.key.endswith("].name"))
    return "\n".join(lines)


def _take_out(lines: list[str], source: Source, line: int, *, nameless: bool) -> None:
    """Empties the lines of what stands there: a target field leaves one of its name that means nothing."""
    field = _field_around(lines, line)
    if field is not None:
        begin, end = field
        names = [match[1] for each in lines[begin:end] if (match := _NAME.match(each))]
        stand_in = [text.format(names[0] if names and not nameless else f"_unread_{begin}") for text in _STAND_IN]
        room = end - begin - 1
        if lines[begin].strip() and room >= len(stand_in) - 1:
            lines[begin + 1 : end] = [*_on(room, stand_in)]
        else:
            lines[begin:end] = [""] * (end - begin)
        return
    spans = [span for span in source.positions.values.values() if span.line == line + 1]
    last = max((source.text[: span.end].count("\n") for span in spans), default=line)
    if _HEADER.match(lines[line]):
        last = next((n for n in range(line + 1, len(lines)) if _HEADER.match(lines[n])), len(lines)) - 1
    lines[line : last + 1] = [""] * (last + 1 - line)


def _on(room: int, stand_in: list[str]) -> list[str]:
    """The keys of a stand-in on so many lines; of a whole one `min = 0` is what every field has by itself."""
    keys = stand_in if room >= len(stand_in) else [key for key in stand_in if not key.startswith("min")]
    return [*keys, *[""] * (room - len(keys))]


def _field_around(lines: list[str], line: int) -> tuple[int, int] | None:
    """The lines of the target field in which this one stands, its header's included."""
    begin = next((n for n in range(line, -1, -1) if _HEADER.match(lines[n])), None)
    if begin is None or not re.match(r"\s*\[\[\s*[\w-]+\s*\.\s*target_field\s*\]\]", lines[begin]):
        return None
    end = next((n for n in range(begin + 1, len(lines)) if _HEADER.match(lines[n])), len(lines))
    return begin, end
