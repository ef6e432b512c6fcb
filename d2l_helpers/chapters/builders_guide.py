"""Chapter 6, Builders' guide: what its sections teach and later ones use.

Generated from book/06-builders-guide/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import os
import pickle
import torch


# 6.1 Layers and modules
def count_params(net, trainable=False):
    """Number of entries in the parameters of the module `net`.

    A tensor that occurs in several places counts once. With
    `trainable=True` only those count that have `requires_grad` set.
    """
    return sum(p.numel() for p in net.parameters()
               if p.requires_grad or not trainable)


# 6.2 Parameter management
def grad_norms(net):
    """Name -> norm of the gradient, for parameters that have one."""
    return {name: torch.linalg.vector_norm(p.grad).item()
            for name, p in net.named_parameters() if p.grad is not None}


# 6.4 Lazy initialization
def apply_init(model, inputs, init=None):
    """Give lazy layers their shapes, then initialize; returns the model.

    `model` is any `nn.Module`; `inputs` is a list or tuple of the arguments
    of its `forward`, or one tensor. The dry run is in evaluation mode and
    without gradients; afterwards each part is in the mode that it had.
    `init(module)` is then called for every module inside the model,
    children first.
    """
    if isinstance(inputs, torch.Tensor):
        inputs = [inputs]
    modes = {module: module.training for module in model.modules()}
    try:
        with torch.no_grad():
            model.eval()(*inputs)
    finally:
        for module, training in modes.items():
            module.training = training
    return model if init is None else model.apply(init)


# 6.6 File I/O
def save_checkpoint(path, model, optimizer, epoch, **extra):
    """Write the state of a training run to one file.

    Stores the state of `model` and `optimizer` (or None), the number of
    the `epoch`, the states of the random generators of the CPU and of
    CUDA devices, and `extra`: tensors, numbers, strings, or lists and
    dictionaries of them, such as scheduler=scheduler.state_dict(). The
    file is complete or absent: an older one at `path` stays until the
    new one is on the disk. Raises TypeError for anything that
    load_checkpoint would refuse.
    """
    rng = {"cpu": torch.get_rng_state(),
           "cuda": torch.cuda.get_rng_state_all()}
    state = dict(model=model.state_dict(),
                 optimizer=optimizer and optimizer.state_dict(),
                 epoch=epoch, rng=rng, **extra)
    partial = f"{os.fspath(path)}.partial"
    with open(partial, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    try:  # what cannot be loaded safely should not be stored
        torch.load(partial, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        raise TypeError(
            "a checkpoint holds tensors, numbers, strings, lists and "
            f"dictionaries; one of {sorted(extra)} holds something else"
        ) from error
    os.replace(partial, path)


# 6.6 File I/O
def load_checkpoint(path, model, optimizer=None, map_location="cpu"):
    """Restore what save_checkpoint has written; return the whole state.

    Copies the parameters into `model`. With an `optimizer` the run is to
    go on: its state and the random generators are restored as well.
    Tensors are read to `map_location` and end where the model is.
    """
    state = torch.load(path, map_location=map_location, weights_only=True)
    model.load_state_dict(state["model"])
    if optimizer is not None:
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"]["cpu"].cpu())
        present = torch.cuda.device_count()
        for i, rng in enumerate(state["rng"]["cuda"][:present]):
            torch.cuda.set_rng_state(rng.cpu(), i)
    return state


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
