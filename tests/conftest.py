"""For every test: no deadline on a busy machine, and nothing of the developer's own installation."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

settings.register_profile("serviceopt", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("serviceopt")

for name in [name for name in os.environ if name.startswith(("SERVICEOPT_", "MODEL_EVAL_STATE", "MODELEVALSTATE"))]:
    if name != "SERVICEOPT_REAL_ENGINES":
        del os.environ[name]
