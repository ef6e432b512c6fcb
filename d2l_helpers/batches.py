"""Batches of data that lie in memory."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor


class BatchLoader:
    """Minibatches as slices of tensors that already lie in memory or on the device.

    Decoding happens once, before; an epoch then costs one permutation and one ``index_select`` a
    batch. Without shuffling, a batch is a view of the data: do not change it in place.

    Parameters
    ----------
    tensors
        Equal first dimension ``n``; for example images ``(n, 1, 28, 28)`` and labels ``(n,)``.
    batch_size
        Examples a batch; the last batch may be smaller.
    shuffle
        A new order each epoch, drawn from `generator`.
    generator
        CPU generator that fixes the order; PyTorch's global one without it.
    drop_last
        Leave out a smaller last batch.
    transform
        Called with the tensors of a batch; returns what the loop receives. Converting bytes to
        floats here keeps the stored set four times smaller.

    Raises
    ------
    ValueError
        If no tuple or list of tensors is given, their lengths differ, they lie on different
        devices, or `batch_size` is not positive.

    Examples
    --------
    >>> loader = BatchLoader([torch.arange(5)], batch_size=2)
    >>> [batch[0].tolist() for batch in loader], len(loader)
    ([[0, 1], [2, 3], [4]], 3)
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        batch_size: int,
        shuffle: bool = False,
        generator: torch.Generator | None = None,
        drop_last: bool = False,
        transform: Callable[..., Any] | None = None,
    ):
        if isinstance(tensors, Tensor) or not tensors:
            raise ValueError(
                "BatchLoader needs a tuple or list of at least one tensor, such as (X,)."
            )
        sizes = [len(tensor) for tensor in tensors]
        if len(set(sizes)) > 1:
            raise ValueError(
                f"BatchLoader got tensors of different lengths {sizes}; "
                "the first dimension must agree."
            )
        devices = sorted({str(tensor.device) for tensor in tensors})
        if len(devices) > 1:
            raise ValueError(
                f"BatchLoader got tensors on {' and '.join(devices)}; move them to one device."
            )
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1.")
        self.tensors, self.num_examples = tuple(tensors), sizes[0]
        self.batch_size, self.shuffle, self.generator = batch_size, shuffle, generator
        self.drop_last, self.transform = drop_last, transform

    def __len__(self) -> int:
        """Number of batches an epoch."""
        full, rest = divmod(self.num_examples, self.batch_size)
        return full + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[Any]:
        for batch in self._shuffled() if self.shuffle else self._in_order():
            yield self.transform(*batch) if self.transform else batch

    def _in_order(self) -> Iterator[tuple[Tensor, ...]]:
        for start in range(0, len(self) * self.batch_size, self.batch_size):
            yield tuple(tensor[start : start + self.batch_size] for tensor in self.tensors)

    def _shuffled(self) -> Iterator[tuple[Tensor, ...]]:
        device = self.tensors[0].device
        order = torch.randperm(self.num_examples, generator=self.generator).to(device)
        for index in order.split(self.batch_size)[: len(self)]:  # type: ignore[no-untyped-call]
            yield tuple(tensor.index_select(0, index) for tensor in self.tensors)
