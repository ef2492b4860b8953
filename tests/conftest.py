"""Settings that hold for every test: seeded property tests, and one thread per worker."""

from __future__ import annotations

import torch
from hypothesis import settings

# The same examples in every run, and no deadline: a busy machine is not a failure.
settings.register_profile("saltation", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("saltation")

torch.set_num_threads(1)
