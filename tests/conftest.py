"""Examples are the same each time; a loaded machine is no failure; BLAS on one thread, as matrices here are small."""

import torch
from hypothesis import settings
from threadpoolctl import threadpool_limits

settings.register_profile("lmd", deadline=None, derandomize=True)
settings.load_profile("lmd")
torch.set_num_threads(1)
threadpool_limits(1)
