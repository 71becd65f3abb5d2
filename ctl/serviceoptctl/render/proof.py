"""How sure a recommendation is, in plain sentences."""

from __future__ import annotations

from serviceopt_journal.documents.particles import Recommendation
from serviceopt_journal.proof import Proof, SloProof
from serviceoptctl.render.metrics import labelled
from serviceoptctl.render.units import latency, percent, request_rate, speed


def proof(document: Recommendation) -> list[tuple[str, str]]:
    """The proof of a recommendation as `facts`; none where nothing was confirmed."""
    found = document.proof
    if found is None:
        outside = document.simulated and document.confirmations and document.remark
        return [("SLO proof", "none: the model has not seen such batches, see the remark")] if outside else []
    return [
        ("confirmed", _estimate(document, found)),
        ("SLO proof", "\n".join(_slo(slo) for slo in found.slos)),
        ("rivals", _rivals(found)),
    ]


def shortfall(document: Recommendation) -> str:
    """Why the recommendation is not called feasible."""
    found = document.proof
    if found is None:
        return "No measured configuration meets every SLO; this one comes closest."
    return f"No configuration is certain to meet every SLO; this one comes closest. What limits it: {found.binding}."


def gain(document: Recommendation) -> str:
    """Over the current setting; empty where that cannot be said."""
    value = document.gain
    if value is None:
        return ""
    text = f"{percent(value, signed=True)} over the current setting"
    found = document.proof
    if found is None or found.gain_interval is None:
        return text
    low, high = (percent(end, signed=True) for end in found.gain_interval)
    return f"{text} ({low} to {high} at {percent(found.confidence)} confidence)"


def _estimate(document: Recommendation, found: Proof) -> str:
    rate = speed if document.unit == "tokens/s" else request_rate
    text = rate(found.estimate)
    if found.interval:
        low, high = found.interval
        text += f", between {rate(low)} and {rate(high)} at {percent(found.confidence)} confidence"
    times = "once" if found.measurements == 1 else f"{found.measurements} times"
    noise = f", noise of one measurement {percent(found.noise)}" if found.noise is not None else ""
    return labelled(f"{text} (measured again {times}{noise})", document)


def _slo(slo: SloProof) -> str:
    text = f"{slo.slo} holds with probability {percent(slo.probability)}: {latency(slo.estimate)}"
    if slo.requests:
        text += f", {slo.above} of {slo.requests} requests above the limit"
    return text


def _rivals(found: Proof) -> str:
    others = len(found.finalists) - 1
    if others == 0:
        return ""
    text = f"{others} other{'s' if others > 1 else ''} measured again: "
    if found.told_apart:
        text += f"this one is the best of those that meet every SLO, at {percent(found.confidence)} confidence"
    else:
        text += "cannot be distinguished: one of them may be as good"
    if found.unsure and not found.binding:
        text += f"; faster, but not certain to meet every SLO: particle {', '.join(map(str, found.unsure))}"
    return text
