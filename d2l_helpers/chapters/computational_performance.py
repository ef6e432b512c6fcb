"""Chapter 13, Computational performance: what its sections teach and later ones use.

Generated from book/13-computational-performance/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import matplotlib.pyplot as plt


# 13.2 Asynchronous computation
def gantt(rows, ax=None, groups=None, xlabel="time"):
    """Draw what happened when: one bar per row, one line per lane.

    rows: (lane, start, end, label), lanes from the top in order of their
    first bar; groups: one name per row, which decides the colour and
    stands in a legend (without it, a colour per lane). Returns the axes.
    """
    rows = list(rows)
    lanes = list(dict.fromkeys(row[0] for row in rows))
    names = [row[0] for row in rows] if groups is None else list(groups)
    if len(names) != len(rows):
        raise ValueError(f"gantt got {len(names)} groups for {len(rows)} "
                         "rows; give one group per row, or none.")
    if ax is None:
        _, ax = plt.subplots(figsize=(7, 0.9 + 0.45 * len(lanes)))
    for name in dict.fromkeys(names):
        own = [r for r, n in zip(rows, names, strict=True) if n == name]
        bars = ax.barh([lanes.index(r[0]) for r in own],
                       [r[2] - r[1] for r in own], left=[r[1] for r in own],
                       height=0.8, edgecolor="white", linewidth=0.6,
                       label=str(name))
        for bar, (lane, start, end, label) in zip(bars, own, strict=True):
            if end < start:
                raise ValueError(f"{label!r} in lane {lane!r} ends at {end}, "
                                 f"before its start at {start}.")
            red, green, blue, _ = bar.get_facecolor()
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.4
            ax.text((start + end) / 2, lanes.index(lane), str(label),
                    ha="center", va="center", fontsize=8,
                    color="white" if dark else "black")
    ax.set(xlabel=xlabel, ylim=(len(lanes) - 0.5, -0.5))
    ax.set_yticks(range(len(lanes)), [str(lane) for lane in lanes])
    ax.grid(visible=False, axis="y")
    if groups is not None:
        ax.legend(ncols=len(set(names)), loc="lower left",
                  bbox_to_anchor=(0, 1))
    return ax
