"""Reading data: our batches from memory, a bare loop over slices, and torchvision's dataset with DataLoader.

python -m benchmarks.loader [--quick]
"""

import argparse
import resource
import sys

import torch
import torch.nn.functional as F

import d2l_helpers as d2l

from .common import goal, medians


def to_float(X: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return X.float().div_(255), y


def ours(images: torch.Tensor, labels: torch.Tensor, batch_size: int) -> None:
    for _ in d2l.BatchLoader((images, labels), batch_size, shuffle=True, transform=to_float):
        pass


def bare(images: torch.Tensor, labels: torch.Tensor, batch_size: int) -> None:
    """The limit: the same bytes gathered in a random order and converted, nothing around it."""
    order = torch.randperm(len(images))
    for start in range(0, len(images), batch_size):
        index = order[start : start + batch_size]
        images.index_select(0, index).float().div_(255), labels.index_select(0, index)


def torchvision_loader(
    images: torch.Tensor, labels: torch.Tensor, batch_size: int, workers: int, size: int
) -> torch.utils.data.DataLoader:
    """What a tutorial does: a data set of PIL images, ToTensor for each, DataLoader."""
    from torchvision import transforms
    from torchvision.datasets import FashionMNIST

    class InMemory(FashionMNIST):
        def __init__(self) -> None:
            self.data, self.targets = images[:, 0], labels
            steps = (
                [transforms.ToTensor()]
                if size == 28
                else [transforms.Resize((size, size)), transforms.ToTensor()]
            )
            self.transform, self.target_transform = transforms.Compose(steps), None

    return torch.utils.data.DataLoader(InMemory(), batch_size, shuffle=True, num_workers=workers)


def drain(loader: torch.utils.data.DataLoader) -> None:
    for _ in loader:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer sizes")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    full = torch.randint(0, 256, (60000, 1, 28, 28), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 10, (60000,), generator=generator)
    good = True
    print(
        "28x28, seconds an epoch over the limit (bare loop), and how many times faster than torchvision's data set"
    )
    print(
        f"{'n':>6} {'batch':>6} {'ours/limit':>11} {'us/sample':>10} {'x DataLoader(0)':>16} {'x DataLoader(2)':>16}"
    )
    per_sample = {}
    for n in (1000, 60000) if quick else (1000, 5000, 20000, 60000):
        for batch in (256,) if quick else (32, 256, 1024, 4096):
            X, y = full[:n], labels[:n]
            repeats = 15 if n <= 5000 else 7
            t = medians(
                repeats,
                ours=lambda X=X, y=y, b=batch: ours(X, y, b),
                bare=lambda X=X, y=y, b=batch: bare(X, y, b),
            )
            row = f"{n:>6} {batch:>6} {t['ours'] / t['bare']:>11.2f} {t['ours'] / n * 1e6:>10.3f}"
            if n == 5000 or (quick and n == 1000):
                zero = torchvision_loader(X, y, batch, 0, 28)
                two = torchvision_loader(X, y, batch, 2, 28)
                slow = medians(3, zero=lambda z=zero: drain(z), two=lambda z=two: drain(z))
                row += f" {slow['zero'] / t['ours']:>16.1f} {slow['two'] / t['ours']:>16.1f}"
            print(row, flush=True)
            if batch == 256:
                per_sample[n] = t["ours"] / n
                good &= goal(
                    f"28x28, n={n}, batch {batch}, ours over limit", t["ours"] / t["bare"], 1.5
                )
    good &= goal(
        "cost of a sample, largest over smallest n",
        max(per_sample.values()) / min(per_sample.values()),
        1.5,
    )

    n = 2000 if quick else 10000
    print(f"resized to 96x96, {n} samples, resized once as bytes and kept")
    small, y = full[:n], labels[:n]
    large = F.interpolate(small, size=(96, 96), mode="bilinear", antialias=True)
    t = medians(5, ours=lambda: ours(large, y, 256), bare=lambda: bare(large, y, 256))
    slow = medians(1, zero=lambda: drain(torchvision_loader(small, y, 256, 0, 96)))
    print(f"  times faster than Resize + DataLoader(0): {slow['zero'] / t['ours']:.1f}")
    good &= goal("96x96 kept resized, ours over limit", t["ours"] / t["bare"], 2.5)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        1 if sys.platform == "darwin" else 1024
    )
    print(f"  peak memory of this process: {peak:.0f} MB")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
