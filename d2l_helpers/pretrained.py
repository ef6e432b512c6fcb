"""Pretrained networks that several sections need and none teaches, and features kept on disk.

Weights are data of the manifest. A ``.pth`` is opened with ``weights_only=True``, an ONNX file with
the package onnx; no pickle is trusted, and both become safetensors in the cache, once.
"""

import hashlib
import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, reduce
from itertools import product
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .data import Dataset, cache_folder, fetch
from .sources import digest
from .wordpiece import WordPiece

#: EfficientNet-Lite0, stage by stage: blocks, kernel, stride, expansion, channels.
STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip


#: Names of BERT's layers, and those that PyTorch gives them.
QKV, RENAMED = ("query", "key", "value"), (
    ("encoder.layer.", "encoder.layers."), ("attention.output.dense", "self_attn.out_proj"),
    ("attention.output.LayerNorm", "norm1"), ("output.LayerNorm", "norm2"),
    ("intermediate.dense", "linear1"), ("output.dense", "linear2"),
    ("embeddings.LayerNorm", "norm"), ("embeddings.word_embeddings", "words"),
    ("embeddings.position_embeddings", "positions"), ("embeddings.token_type_embeddings", "types"),
)  # fmt: skip


def weights(name: str) -> tuple[dict[str, Tensor], Dataset]:
    """Name -> tensor for ``"efficientnet-lite0"`` or ``"minilm"``, and the data set they are of."""
    found = fetch(name)
    (path,) = found.files.values()
    return _kept(f"weights/{name}-{digest(path)[:32]}", lambda: _read(path)), found


def _kept(name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of a file in the cache; made, and written whole, if it is not there or is cut."""
    from filelock import FileLock
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save_file

    path = cache_folder() / f"{name}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        try:
            # Copies, because the tensors of the file are a view of it on the disk.
            return {key: value.clone() for key, value in load_file(path).items()}
        except (FileNotFoundError, SafetensorError):
            tensors = {key: value.contiguous() for key, value in make().items()}
            save_file(tensors, path.with_suffix(".new"))
            os.replace(path.with_suffix(".new"), path)
            return tensors


@cache
def _source(kind: type) -> str:
    """The code of a class as it was written; it does not change, and finding it is slow."""
    return inspect.getsource(kind).strip()


def _content(thing: object) -> str:
    """Text that two things share only if they are equal, for anything that a recipe is made of."""
    from safetensors.torch import save

    if isinstance(thing, Tensor):
        return hashlib.sha256(save({"": thing.detach().cpu().contiguous()})).hexdigest()
    if isinstance(thing, nn.Module):
        code = sorted(_content(kind) for kind in {type(module) for module in thing.modules()})
        return _content([str(thing), code, thing.state_dict()])
    if inspect.isclass(thing):  # with methods that were added to it, and with those it inherits
        own = [c for c in thing.__mro__ if c.__module__.split(".")[0] not in ("torch", "builtins")]
        methods = (f for c in own for f in vars(c).values() if inspect.isfunction(f))
        return "\n".join([*map(_source, own), *map(_content, methods)])
    if inspect.isfunction(thing):
        # A file "<string>" or the like: made by a decorator, from the class itself.
        made = inspect.unwrap(thing).__code__.co_filename.startswith("<")
        return thing.__name__ if made else inspect.getsource(thing).strip()
    if isinstance(thing, Mapping):
        return _content([[key, value] for key, value in thing.items()])
    if isinstance(thing, (list, tuple)):
        return json.dumps([[type(each).__name__, _content(each)] for each in thing])
    if thing is None or isinstance(thing, (str, bool, int, float)):
        return json.dumps(thing)
    raise TypeError(
        f"A recipe holds a {type(thing).__name__}, whose content has no name; give its numbers, "
        "text, tensors, modules, functions or classes."
    )


def kept(
    name: str, recipe: object, compute: Callable[[], Mapping[str, Tensor]]
) -> dict[str, Tensor]:
    """Tensors that are computed once and kept on disk, in a file named by the recipe's content.

    Parameters
    ----------
    name
        First part of the file's name: what it is, such as ``"toy-bert"``.
    recipe
        All that the result hangs on: numbers, text, tensors; modules, which stand for their
        weights and for the code of their classes; functions and classes, for their code; lists,
        tuples and mappings of these. Another recipe is another file.
    compute
        Called without arguments where no whole file of this recipe is there.

    Returns
    -------
    dict
        Name -> tensor on the CPU, as `compute` gave it.

    Raises
    ------
    TypeError
        For a recipe that holds anything else; nothing is computed then.

    Examples
    --------
    >>> kept("square", [3], lambda: {"y": torch.tensor([9])})
    {'y': tensor([9])}
    """
    key = hashlib.sha256(_content([recipe]).encode()).hexdigest()[:32]

    def tensors() -> dict[str, Tensor]:
        # Copies, because a file cannot hold two names of one memory, such as tied weights.
        return {key: value.detach().cpu().clone() for key, value in compute().items()}

    return _kept(f"kept/{name}-{key}", tensors)


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by name; in ONNX, a matrix has the name of the node that multiplies by it."""
    if path.suffix != ".onnx":
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    import onnx
    from onnx.numpy_helper import to_array

    graph = onnx.load(path, load_external_data=False).graph
    tensors = {each.name: torch.from_numpy(to_array(each).copy()) for each in graph.initializer}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in tensors:
            place = node.name.removeprefix("/model/").removesuffix("/MatMul").replace("/", ".")
            tensors[f"{place}.weight"] = tensors.pop(node.input[1]).T
    return {name.removeprefix("model.0.auto_model."): each for name, each in tensors.items()}


class _SameConv(nn.Conv2d):
    """A convolution with the padding of TensorFlow: if it is odd, more at the right and below."""

    def forward(self, x: Tensor) -> Tensor:
        k, s = self.kernel_size[0], self.stride[0]
        lack = [max((-(-n // s) - 1) * s + k - n, 0) for n in (x.shape[3], x.shape[2])]
        return super().forward(F.pad(x, [side for n in lack for side in (n // 2, n - n // 2)]))


def _conv(c: int, out: int, k: int, stride: int = 1, groups: int = 1) -> tuple[nn.Module, ...]:
    return _SameConv(c, out, k, stride, groups=groups, bias=False), nn.BatchNorm2d(out, eps=1e-3)


class _Block(nn.Module):
    """Inverted residual without squeeze and excitation: widen, convolve each channel, narrow."""

    def __init__(self, c: int, out: int, k: int, stride: int, expansion: int):
        super().__init__()
        wide, same = c * expansion, (nn.Identity(), nn.Identity())
        self._expand_conv, self._bn0 = _conv(c, wide, 1) if expansion > 1 else same
        self._depthwise_conv, self._bn1 = _conv(wide, wide, k, stride, groups=wide)
        self._project_conv, self._bn2 = _conv(wide, out, 1)
        self.stride, self.skip = stride, stride == 1 and c == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = F.relu6(self._bn0(self._expand_conv(x)))
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x.add(y) if self.skip else y


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 for RGB pictures of any size, as bytes or as floats from 0 to 1.

    Source: M. Tan, Q. Le, EfficientNet. Layers have the names of the published weights.
    """

    def __init__(self, num_classes: int = 1000):
        super().__init__()
        self._conv_stem, self._bn0 = _conv(3, 32, 3, stride=2)
        self._blocks, c = nn.ModuleList(), 32
        for n, k, stride, expansion, out in STAGES:
            for i in range(n):
                self._blocks.append(_Block(c, out, k, stride if i == 0 else 1, expansion))
                c = out
        self._conv_head, self._bn1 = _conv(c, 1280, 1)
        self._fc = nn.Linear(1280, num_classes)

    def features(self, x: Tensor) -> list[Tensor]:
        """The last map at each of the strides 2, 4, 8, 16, 32: 16, 24, 40, 112, 320 channels."""
        x = x if x.is_floating_point() else x / 255
        x, maps = F.relu6(self._bn0(self._conv_stem((x - 127 / 255) / (128 / 255)))), []
        for block in self._blocks:
            if block.stride == 2:
                maps.append(x)
            x = block(x)
        return [*maps, x]

    def embed(self, x: Tensor) -> Tensor:
        """1280 numbers for each picture: what the classifier sees."""
        top: Tensor = self._bn1(self._conv_head(self.features(x)[-1]))
        return F.relu6(top).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Scores of the classes."""
        scores: Tensor = self._fc(self.embed(x))
        return scores


def efficientnet_lite0() -> EfficientNetLite0:
    """EfficientNet-Lite0 with its weights of ImageNet-1k, for evaluation."""
    net = EfficientNetLite0().eval()
    net.load_state_dict(weights("efficientnet-lite0")[0])
    return net


class MiniLM(nn.Module):
    """The encoder of paraphrase-MiniLM-L3-v2: BERT with 3 layers of width 384."""

    def __init__(self, vocab: Sequence[str], width: int = 384, layers: int = 3, heads: int = 12):
        super().__init__()
        self.tokenize = WordPiece(vocab)
        spelling = torch.tensor(list("\n".join(vocab).encode()), dtype=torch.uint8)
        self.register_buffer("spelling", spelling)  # other words, other features
        self.words, self.types = nn.Embedding(len(vocab), width), nn.Embedding(2, width)
        self.positions, self.norm = nn.Embedding(512, width), nn.LayerNorm(width, eps=1e-12)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, 0.0, "gelu", layer_norm_eps=1e-12, batch_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Vectors of the tokens, ``(n, length, width)``; `mask` is True where there is one."""
        places = self.positions.weight[: ids.shape[1]] + self.types.weight[0]
        embedded = self.norm(self.words(ids) + places)
        hidden: Tensor = self.encoder(embedded, src_key_padding_mask=~mask)
        return hidden

    def encode(self, texts: Sequence[str]) -> Tensor:
        """The mean of the vectors of each text's tokens, ``(n, width)``."""
        rows = [torch.tensor(self.tokenize(text)) for text in texts]
        ids = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-1)
        mask = (ids := ids.to(self.words.weight.device)) >= 0
        hidden: Tensor = self(ids.clamp(min=0), mask)
        return (hidden * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


def minilm() -> MiniLM:
    """MiniLM with its weights and the vocabulary of BERT, for evaluation."""
    (vocab,) = fetch("bert-vocab").files.values()
    net = MiniLM(vocab.read_text(encoding="utf-8").splitlines()).eval()
    given, _ = weights("minilm")
    for i, kind in product(range(len(net.encoder.layers)), ("weight", "bias")):
        three = [f"encoder.layer.{i}.attention.self.{part}.{kind}" for part in QKV]
        joined = torch.cat([given.pop(name) for name in three])
        given[f"encoder.layer.{i}.self_attn.in_proj_{kind}"] = joined
    given = {reduce(lambda old, pair: old.replace(*pair), RENAMED, n): t for n, t in given.items()}
    net.load_state_dict({**given, "spelling": net.spelling})
    return net


def cached_features(
    model: nn.Module, method: str, inputs: Tensor | Sequence[str], batch_size: int = 64
) -> list[Tensor]:
    """What a method of a model gives for all inputs, a row for each; computed once and kept.

    The method takes a batch and gives one tensor or a list of them. The file in the cache is named
    as those of `kept` are, by the model (its weights, its buffers and the code of the classes of
    all its modules), the method and the inputs.
    """
    if model.training:
        raise ValueError("In training mode, features change with the batch; call model.eval().")

    @torch.no_grad()
    def compute() -> dict[str, Tensor]:
        rows = []
        for start in range(0, len(inputs), batch_size):
            part = inputs[start : start + batch_size]
            if isinstance(part, Tensor):
                part = part.to(next(model.parameters()).device)
            found = getattr(model, method)(part)
            rows.append([each.cpu() for each in ([found] if isinstance(found, Tensor) else found)])
        return {str(i): torch.cat(each) for i, each in enumerate(zip(*rows, strict=True))}

    rows = inputs if isinstance(inputs, Tensor) else list(inputs)
    found = kept("features", [model, method, rows], compute)
    return [found[str(i)] for i in range(len(found))]
