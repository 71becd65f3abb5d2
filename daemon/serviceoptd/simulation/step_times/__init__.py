"""The latency model: how long a step of the engine takes, learnt from profiles, with its range of validity.

Pure; XGBoost is imported while training only. Imports `schedulers` and `virtual_clock`, never a file.
Read first: `latency_model.py` (the model), then `training.py` (how it is learnt) and `model_card.py` (how good it is).
"""
