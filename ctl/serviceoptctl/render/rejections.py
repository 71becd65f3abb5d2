"""What the rejection rules did, how often they were wrong, and what they saved."""

from __future__ import annotations

from serviceopt_journal.documents.particles import RejectionRecord
from serviceoptctl.render.units import between, duration, percent


def rejections(record: RejectionRecord) -> str:
    """`12 (memory 8, declared 4), about 2 h 00 min saved (estimate); 3 audited, 0 % wrong (95 %: ...)`, or nothing."""
    if not record.rejected and not record.audited:
        return ""
    rules = ", ".join(f"{rule} {count}" for rule, count in record.by_rule)
    text = f"{record.rejected} ({rules})" if rules else str(record.rejected)
    if record.hours_saved:
        text += f", about {duration(record.hours_saved * 3600)} saved (estimate)"
    if not record.audited or record.false_rate_interval is None:
        return text + "; none audited"
    low, high = record.false_rate_interval
    ends = between(percent(low), percent(high))
    wrong = f"{percent(record.false_rate)} wrong" + (f" (95 %: {percent(low)} to {percent(high)})" if ends else "")
    return f"{text}; {record.audited} audited, {wrong}"
