"""Chapter 13, Computational performance: what its sections teach and later ones use.

Generated from book/13-computational-performance/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import torch


# 13.1 Compilers and interpreters
class Recorder:
    """A backend of torch.compile that keeps every graph and runs it as is."""

    def __init__(self):
        self.graphs = []

    def __call__(self, gm, example_inputs):
        self.graphs.append(gm)
        return gm.forward


def capture(fn, *args):
    """The graphs, a list of GraphModules, that fn(*args) is compiled into.

    Forgets whatever was compiled before, so that everything is traced anew.
    """
    torch.compiler.reset()
    recorder = Recorder()
    torch.compile(fn, backend=recorder)(*args)
    return recorder.graphs
