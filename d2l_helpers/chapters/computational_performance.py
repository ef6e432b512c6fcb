"""Chapter 13, Computational performance: what its sections teach and later ones use.

Generated from book/13-computational-performance/*.py by `python -m bookbuild export`; edit the notebooks.
"""




# 13.4 Hardware
def training_memory(params, optimizer="adam", precision="float32",
                    activations=0):
    """Bytes that training holds, kind by kind.

    `params` is their number; `optimizer` "sgd", "momentum" or "adam".
    `precision`: "float32", also under autocast; "mixed" for weights and
    gradients of 16 bits with a float32 master copy; "bfloat16" for all in
    16 bits. `activations` are bytes, from a count, and are passed through.
    """
    slots = {"sgd": 0, "momentum": 1, "adam": 2}
    widths = {"float32": (4, 4, 0, 4), "mixed": (2, 2, 4, 4),
              "bfloat16": (2, 2, 0, 2)}  # weight, gradient, master, slot
    if optimizer not in slots or precision not in widths:
        raise ValueError(f"unknown optimizer {optimizer!r} or precision "
                         f"{precision!r}; there are {', '.join(slots)} and "
                         f"{', '.join(widths)}.")
    weight, gradient, master, slot = widths[precision]
    return {"weights": weight * params, "gradients": gradient * params,
            "master": master * params,
            "state": slot * slots[optimizer] * params,
            "activations": activations}
