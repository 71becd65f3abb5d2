"""How sure a recommendation is, in plain sentences."""

from __future__ import annotations

from serviceopt_journal.documents.particles import Recommendation
from serviceopt_journal.proof import Proof, SloProof
from serviceoptctl.render.metrics import labelled
from serviceoptctl.render.units import apart, between, latency, percent, request_rate, speed, times

NO_NOISE = percent(0.0)


def proof(document: Recommendation) -> list[tuple[str, str]]:
    """The proof of a recommendation as `facts`; none where nothing was confirmed."""
    found = document.proof
    if found is None:
        outside = document.simulated and document.confirmations and document.remark
        none = "none: the model has not seen such batches, see the remark" if outside else ""
        return [("SLO proof", none), ("confirmed", _unconfirmed(document))]
    return [
        ("in the search", searched(document)),
        ("confirmed", _estimate(document, found)),
        ("SLO proof", "\n".join([*(_slo(slo) for slo in found.slos), *_threshold(document, found)])),
        ("rivals", _rivals(found)),
    ]


def _unconfirmed(document: Recommendation) -> str:
    if document.imported or document.confirmations or not document.repeats:
        return ""
    return f"no: measured {times(document.repeats)} in the search, and the best of many is mostly luck as well"


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
    text = f"{percent(value, signed=True)} {'over' if value >= 0 else 'against'} the current setting"
    found = document.proof
    if found is not None and found.gain_interval is not None:
        low, high = (percent(end, signed=True) for end in found.gain_interval)
        text += f" ({low} to {high} at {percent(found.confidence)} confidence)" if low != high else ""
    before = document.current_setting
    if before is None or before.feasible:
        return text
    broken = "; ".join(before.violated)
    unlike = f"breaks its SLO: {broken}" if broken else "is not sure to meet every SLO"
    return f"{text}; but the current setting {unlike}"


def _estimate(document: Recommendation, found: Proof) -> str:
    rate = speed if document.unit == "tokens/s" else request_rate
    text = rate(found.estimate)
    if found.interval and (ends := between(*map(rate, found.interval))):
        text += f", {ends} at {percent(found.confidence)} confidence"
    known = found.noise is not None and percent(found.noise) != NO_NOISE
    noise = f", noise of one measurement {percent(found.noise)}" if known else ""
    return labelled(f"{text} (measured again {times(found.measurements)}{noise})", document)


def _threshold(document: Recommendation, found: Proof) -> list[str]:
    """What is required, where it is not reached."""
    if document.feasible or not found.slos:
        return []
    together, required = apart(found.together, found.required)
    if found.together >= found.required:
        return []  # the success rate binds, which is no matter of probability
    count = len(found.finalists)
    shared = f", since {count} finalists share an error of {percent(1 - found.confidence)}" if count > 1 else ""
    every = f"every SLO holds with probability {together}, " if len(found.slos) > 1 else f"{together}, "
    return [f"not sure enough: {every}and {required} is required{shared}"]


def searched(document: Recommendation) -> str:
    """Why the recommendation is lower than what the search had shown as its best; empty where it is not."""
    found, best = document.proof, document.best_of_search
    if found is None or best is None or best.value <= found.estimate:
        return ""
    rate = speed if document.unit == "tokens/s" else request_rate
    if rate(best.value) == rate(found.estimate):
        return ""
    told = f"particle {best.particle} had shown {rate(best.value)}, measured {times(best.measurements)}"
    if best.particle in found.unsure:
        return labelled(f"{told}: measured again, it is not certain to meet every SLO", document)
    if best.particle not in found.finalists:
        chosen = "chosen by speed and by how surely they meet every SLO, one for each setting of the service"
        return labelled(f"{told}, and was not among the finalists: they are {chosen}", document)
    return labelled(f"{told}: the best of many is mostly luck, so the finalists were measured again", document)


def _slo(slo: SloProof) -> str:
    text = f"{slo.slo} holds with probability {percent(slo.probability)}: {latency(slo.estimate)}"
    if slo.requests:
        text += f", {slo.above} of {slo.requests} requests above the limit"
    return text


def _rivals(found: Proof) -> str:
    others = len(found.finalists) - 1
    if others == 0:
        return ""
    text = f"{others} others were measured again" if others > 1 else "1 other was measured again"
    if found.told_apart:
        text += f": this one is the best of those that meet every SLO, at {percent(found.confidence)} confidence"
    else:
        text += " and cannot be distinguished: one of them may be as good" if others > 1 else " and may be as good"
    if found.unsure and not found.binding:
        text += f"; faster, but not certain to meet every SLO: particle {', '.join(map(str, found.unsure))}"
    return text
