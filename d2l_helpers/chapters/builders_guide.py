"""Chapter 6, Builders' guide: what its sections teach and later ones use.

Generated from book/06-builders-guide/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import torch


# 6.1 Layers and modules
def count_params(net, trainable=False):
    """Number of entries in the parameters of the module `net`.

    A tensor that occurs in several places counts once. With
    `trainable=True` only those count that have `requires_grad` set.
    """
    return sum(p.numel() for p in net.parameters()
               if p.requires_grad or not trainable)


# 6.7 GPUs
def cpu():
    """The processor as a device."""
    return torch.device("cpu")


def num_gpus():
    """Number of accelerators that this PyTorch can use."""
    if not torch.accelerator.is_available():
        return 0
    return torch.accelerator.device_count()


def gpu(i=0):
    """Accelerator number i as a device, whether it exists or not."""
    kind = (torch.accelerator.current_accelerator().type
            if num_gpus() else "cuda")
    return torch.device(f"{kind}:{i}")


def try_gpu(i=0):
    """Accelerator number i if it exists, else the processor."""
    return gpu(i) if num_gpus() > i else cpu()


def try_all_gpus():
    """All accelerators, or a list with the processor: never empty."""
    return [gpu(i) for i in range(num_gpus())] or [cpu()]
