"""Chapter 0, Front matter: what its sections teach and later ones use.

Generated from book/00-front-matter/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import numpy as np
import random
import torch


# 0.3 Setting up and checking your environment
def set_seed(seed):
    """Seed Python, NumPy and PyTorch; returns a new generator too.

    `seed` is an integer from 0 to 2**32 - 1. The generator, on the CPU,
    starts from the same seed and is independent of the global ones.
    """
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)
