"""An epoch through the book's Trainer over bare steps on the same tensors; what drawing costs.

python -m benchmarks.training [--quick]
"""

import argparse
import io
import os
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import DataModule, Module, ProgressBoard, Trainer

from .common import goal, medians


def lenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.Sigmoid(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Sigmoid(), nn.AvgPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.Sigmoid(), nn.Linear(120, 84), nn.Sigmoid(), nn.Linear(84, 10),
    )  # fmt: skip


def softmax_regression() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def mlp() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 10))


class Data(DataModule):
    """Random bytes as images; validation is left out, as in the bare loop."""

    def __init__(self, n: int, batch_size: int = 256):
        super().__init__()
        self.save_hyperparameters()
        generator = torch.Generator().manual_seed(0)
        self.X = torch.randint(0, 256, (n, 1, 28, 28), dtype=torch.uint8, generator=generator)
        self.y = torch.randint(0, 10, (n,), generator=generator)

    def train_dataloader(self) -> d2l.BatchLoader:
        return d2l.BatchLoader(
            (self.X, self.y),
            self.batch_size,
            shuffle=True,
            transform=lambda X, y: (X.float().div_(255), y),
        )

    def val_dataloader(self) -> None:
        return None


class Net(Module):
    def __init__(self, net: nn.Module, lr: float = 0.1):
        super().__init__()
        self.net, self.lr = net, lr
        self.board.display = False

    def loss(self, y_hat: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(y_hat, y)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def bare_epoch(net: nn.Module, data: Data) -> None:
    """The limit: steps on batches that were gathered and converted before the clock starts."""
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for X, y in data.batches:
        optimizer.zero_grad()
        F.cross_entropy(net(X), y).backward()
        optimizer.step()


def draw_costs() -> tuple[float, float, float]:
    """Seconds of the 10th and of the 300th drawing of a board, and their ratio."""
    import matplotlib

    matplotlib.use("agg")
    board = ProgressBoard(xlabel="epoch")
    board.display = True
    times = []
    for i in range(300):
        board.draw(i, i**0.5, "train_loss")
        begin = time.perf_counter()
        board.render()
        board.fig.savefig(io.BytesIO(), format="png", dpi=200)  # what Jupyter stores
        times.append(time.perf_counter() - begin)
    early, late = sorted(times[5:25])[10], sorted(times[280:])[10]
    return early, late, late / early


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    repeats = 5 if parser.parse_args().quick else 9
    os.environ["D2L_HEADLESS"] = "1"
    torch.set_num_threads(1)
    good = True
    for name, make, n, limit in (
        ("softmax regression", softmax_regression, 20000, 1.35),
        ("MLP", mlp, 20000, 1.25),
        ("LeNet", lenet, 10000, 1.10),
    ):
        data = Data(n)
        data.batches = list(data.train_dataloader())
        torch.manual_seed(0)
        model, net = Net(make()), make()
        t = medians(
            repeats,
            trainer=lambda m=model, d=data: Trainer(max_epochs=1).fit(m, d),
            bare=lambda e=net, d=data: bare_epoch(e, d),
        )
        print(
            f"{name}: trainer {t['trainer']:.3f} s, bare steps on tensors in memory {t['bare']:.3f} s an epoch of {n}"
        )
        good &= goal(
            f"{name}, an epoch through Trainer over bare steps", t["trainer"] / t["bare"], limit
        )
    early, late, ratio = draw_costs()
    print(
        f"drawing: {early * 1e3:.1f} ms early, {late * 1e3:.1f} ms after 300 points; at most one a second in a live notebook"
    )
    good &= goal("the 300th drawing over the 10th", ratio, 1.3)
    good &= goal("drawing once a second, share of the time in percent", late * 100, 5, " %")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
