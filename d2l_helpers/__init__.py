"""What a notebook of the book imports: device, plotting, data and processes, and nothing else.

``import d2l_helpers as d2l`` costs nothing until a name is used: each name is looked up in its
module on first access, so a notebook that draws nothing never loads Matplotlib.
"""

from __future__ import annotations  # an old Python has to reach the doctor

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batches import BatchLoader as BatchLoader
    from .data import DataError as DataError
    from .data import Dataset as Dataset
    from .data import fetch as fetch
    from .device import to_device as to_device
    from .device import try_device as try_device
    from .plotting import describe as describe
    from .plotting import heatmap as heatmap
    from .plotting import plot as plot
    from .plotting import show_images as show_images
    from .plotting import sliders as sliders
    from .plotting import use_style as use_style
    from .processes import torchrun as torchrun
    from .processes import write_script as write_script

__version__ = "0.1.0"

# Name -> module that defines it. `bookbuild` reads this table to know which module a notebook
# reaches.
_HOME = {
    "try_device": "device",
    "to_device": "device",
    "use_style": "plotting",
    "plot": "plotting",
    "show_images": "plotting",
    "heatmap": "plotting",
    "describe": "plotting",
    "sliders": "plotting",
    "fetch": "data",
    "Dataset": "data",
    "DataError": "data",
    "BatchLoader": "batches",
    "write_script": "processes",
    "torchrun": "processes",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(
        f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}"
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
