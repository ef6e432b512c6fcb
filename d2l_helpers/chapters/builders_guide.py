"""Chapter 6, Builders' guide: what its sections teach and later ones use.

Generated from book/06-builders-guide/*.py by `python -m bookbuild export`; edit the notebooks.
"""




# 6.1 Layers and modules
def count_params(net, trainable=False):
    """Number of entries in the parameters of the module `net`.

    A tensor that occurs in several places counts once. With
    `trainable=True` only those count that have `requires_grad` set.
    """
    return sum(p.numel() for p in net.parameters()
               if p.requires_grad or not trainable)
