"""Models of a service: what it would do, without one, on a clock that does not run.

Pure: a trained model, a scheduler and a load go in, the client's figures come out. May import `domain` and `search`.
Read first: `virtual_benchmark.py`, then `virtual_clock/`, `schedulers/` and `step_times/` in this order.
"""
