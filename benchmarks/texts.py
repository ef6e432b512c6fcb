"""One text through the models of chapter 16, over the sum of the weights of its words.

python -m benchmarks.texts [--quick]
"""

import argparse
import sys
from collections.abc import Callable

import torch
from torch import nn

from d2l_helpers.chapters.nlp_applications import BiRNN, TextCNN
from d2l_helpers.pretrained import MiniLM

from .common import medians

WORDS, LENGTH, BATCH = 10_000, 24, 64


class BagOfWords(nn.Module):
    """One weight for each word of a vocabulary, and a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.weights, self.bias = (
            nn.EmbeddingBag(WORDS, 1, mode="sum"),
            nn.Parameter(torch.zeros(1)),
        )

    def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        score: torch.Tensor = self.weights(batch[0]) + self.bias
        return score


class WithHead(nn.Module):
    """An encoder of 30 522 pieces, the mean of its vectors, and a linear head."""

    def __init__(self, width: int, layers: int):
        super().__init__()
        self.encoder = MiniLM(["x"], width, layers)
        self.encoder.words = nn.Embedding(30_522, width)
        self.head = nn.Linear(width, 2)

    def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.encoder(batch[0], batch[0] >= 0).mean(dim=1))
        return scores


MODELS: dict[str, Callable[[], nn.Module]] = {
    "bag of words": BagOfWords,
    "LSTM": lambda: BiRNN(WORDS, 100, 64),
    "textCNN": lambda: TextCNN(WORDS, 100, (3, 4, 5), (100, 100, 100)),
    "MiniLM": lambda: WithHead(384, 3),
    "BERT base": lambda: WithHead(768, 12),
}


def sizes(net: nn.Module) -> tuple[int, int]:
    """Numbers of parameters: all, and those outside the tables of embeddings."""
    tables = (nn.Embedding, nn.EmbeddingBag)
    inside = sum(m.weight.numel() for m in net.modules() if isinstance(m, tables))
    total = sum(p.numel() for p in net.parameters())
    return total, total - inside


@torch.no_grad()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    ids = torch.randint(0, WORDS, (BATCH, LENGTH), generator=torch.Generator().manual_seed(0))
    batch = ids, torch.full((BATCH,), LENGTH)
    nets = {name: make().eval() for name, make in MODELS.items()}
    times = medians(3 if quick else 9, **{n: lambda net=net: net(batch) for n, net in nets.items()})
    print(f"{BATCH} texts of {LENGTH} tokens, one thread; parameters, those outside tables, time")
    for name, net in nets.items():
        total, outside = sizes(net)
        ratio = times[name] / times["bag of words"]
        print(f"  {name:12} {total:>11,} {outside:>11,} {ratio:9.0f} times the bag of words")
    return 0


if __name__ == "__main__":
    sys.exit(main())
