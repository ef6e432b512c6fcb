"""Chapter 4, Linear neural networks for classification: what its sections teach and later ones use.

Generated from book/04-linear-classification/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import gzip
import hashlib
import heapq
import math
import os
import struct
import torch
import torch.nn.functional as F
import zlib
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import Module
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.data import manifest
from functools import cached_property
from pathlib import Path
from statistics import NormalDist
from torch import nn
from torch.utils.data import TensorDataset


# 4.1 Softmax regression
def one_hot(y, q):
    """Integer labels of shape (...) as indicator vectors (..., q)."""
    if ((y < 0) | (y >= q)).any():
        raise ValueError(f"labels lie between {y.min().item()} and "
                         f"{y.max().item()}; they must be 0 to {q - 1}.")
    return (y.unsqueeze(-1) == torch.arange(q, device=y.device)).float()


# 4.1 Softmax regression
def softmax(o):
    """Probabilities from scores (..., q), along the last axis.

    The formula as it stands; it overflows for scores beyond about 88,
    which Section 4.5 repairs.
    """
    weights = torch.exp(o)
    return weights / weights.sum(dim=-1, keepdim=True)


# 4.1 Softmax regression
def cross_entropy_from_logits(o, y):
    """Loss (...) of scores (..., q) for labels y (..., q).

    Each label is one-hot or any other distribution over q classes.
    """
    if o.shape != y.shape:
        raise ValueError(f"scores {tuple(o.shape)} and labels "
                         f"{tuple(y.shape)} must have the same shape; "
                         "encode integer labels with one_hot.")
    return torch.logsumexp(o, dim=-1) - (y * o).sum(dim=-1)


# 4.1 Softmax regression
def entropy(p):
    """Entropy in nats of distributions p (..., q), shape (...)."""
    return torch.special.entr(p).sum(dim=-1)  # entr(p) = -p log p; 0 at 0


# 4.1 Softmax regression
def huffman_lengths(p):
    """Word lengths in bits of a Huffman code for probabilities p (k,).

    Returns a list of k integers. Equal weights merge in order of age.
    """
    heap = [(float(w), i, [i]) for i, w in enumerate(p)]
    heapq.heapify(heap)
    lengths, born = [0] * len(heap), len(heap)
    while len(heap) > 1:
        w1, _, symbols1 = heapq.heappop(heap)
        w2, _, symbols2 = heapq.heappop(heap)
        for symbol in symbols1 + symbols2:
            lengths[symbol] += 1
        heapq.heappush(heap, (w1 + w2, born, symbols1 + symbols2))
        born += 1
    return lengths


# 4.1 Softmax regression
def expected_code_length(p, lengths):
    """Mean number of bits for a draw from p (k,), given word lengths."""
    return sum(float(w) * length for w, length in zip(p, lengths))


# 4.1 Softmax regression
def kl(p, q):
    """Divergence D(p || q) in nats, (..., k) -> (...); may be inf."""
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=-1)


# 4.2 The image classification dataset
FASHION_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                 "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
FASHION_CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat",
                   "sandal", "shirt", "sneaker", "bag", "ankle boot")


def fashion_mnist_files(root="data"):
    """Where Fashion-MNIST is: its source and a dict name -> path.

    The source is "real" if the bytes are those of the original files,
    "standin" for pictures made by code, "local" for other files in `root`.
    """
    for folder in (Path(root), Path(root, "FashionMNIST", "raw")):
        found = {name: path for name in FASHION_FILES
                 for path in (folder / f"{name}.gz", folder / name)
                 if path.is_file()}
        if len(found) == 4 and os.environ.get("D2L_DATA") != "standin":
            known = manifest()["fashion-mnist"]["files"]
            same = all(hashlib.sha256(read_bytes(path)).hexdigest()
                       == known[name]["sha256"]
                       for name, path in found.items())
            return ("real" if same else "local"), found
    try:
        data = d2l.fetch("fashion-mnist")
    except d2l.DataError as error:
        raise FileNotFoundError(
            f"Fashion-MNIST is neither in {str(root)!r} nor to be fetched. "
            f"Put the files {', '.join(FASHION_FILES)} (or .gz) there: "
            "torchvision.datasets.FashionMNIST(root, download=True) gets "
            "them, and so does the Debian and Ubuntu package "
            "dataset-fashion-mnist.") from error
    return data.source, data.files


# 4.2 The image classification dataset
def read_bytes(path):
    """Content of a file as a bytearray, unpacked if it is gzip."""
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    try:
        with (gzip.open if zipped else open)(path, "rb") as file:
            return bytearray(file.read())
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is a damaged gzip file ({error}); "
                         "fetch it again.") from error


def read_idx(path):
    """Read an IDX file of unsigned bytes, plain or gzip, as a tensor.

    Its shape is that of the header: (n, rows, columns) for images, (n,)
    for labels. A `ValueError` names what is wrong with a damaged file.
    """
    raw = read_bytes(path)
    if len(raw) < 4:
        raise ValueError(f"{path} has {len(raw)} bytes, too few for the "
                         "header of an IDX file.")
    magic, = struct.unpack_from(">I", raw)
    ndim = magic % 256
    if magic // 256 != 8 or ndim == 0:
        raise ValueError(
            f"{path} starts with the number {magic}, so it is no IDX file "
            "of bytes; images start with 2051, labels with 2049.")
    start = 4 + 4 * ndim
    if len(raw) < start:
        raise ValueError(f"{path} has {len(raw)} bytes, but its header of "
                         f"{ndim} dimensions needs {start}.")
    shape = struct.unpack_from(f">{ndim}I", raw, 4)
    if len(raw) != start + math.prod(shape):
        raise ValueError(
            f"{path} has {len(raw)} bytes, but its header promises the "
            f"shape {shape}, which needs {start + math.prod(shape)}; "
            "fetch it again.")
    return torch.frombuffer(raw, dtype=torch.uint8)[start:].reshape(shape)


# 4.2 The image classification dataset
def scale_bytes(X):
    """Bytes 0 to 255 as floats in [0, 1], of the same shape."""
    return X.float().div_(255)  # `float` copies, `div_` needs no second copy


# 4.2 The image classification dataset
def image_part(images, labels, size, resize, name):
    """The first `size` pictures as bytes (n, 1, h, w), and labels (n,)."""
    n = len(images) if size is None else size
    if len(images) != len(labels) or not 0 < n <= len(images):
        raise ValueError(f"{name} is {size}, but after holdout there are "
                         f"{len(images)} images and {len(labels)} labels.")
    X = images[:n].unsqueeze(1)  # (n, 1, rows, columns)
    if tuple(X.shape[2:]) != tuple(resize):
        X = F.interpolate(X, size=tuple(resize), mode="bilinear",
                          antialias=True)  # (n, 1, h, w), still bytes
    return X, labels[:n].long()


# 4.2 The image classification dataset
class FashionMNIST(DataModule):
    """Fashion-MNIST: bytes in memory, served as floats in [0, 1].

    `train_images` and `val_images` hold bytes (n, 1, h, w), `y_train` and
    `y_val` labels (n,); `source` says whether the data are "real".
    """

    def __init__(self, batch_size=64, resize=(28, 28), root="data",
                 train_size=None, val_size=None, holdout=0, num_workers=0):
        super().__init__()
        self.save_hyperparameters()
        self.source, files = fashion_mnist_files(root)
        X, y, X_val, y_val = (read_idx(files[name])
                              for name in FASHION_FILES)
        if holdout:
            k = max(len(X) - holdout, 0)
            X, y, X_val, y_val = X[:k], y[:k], X[k:], y[k:]
        self.train_images, self.y_train = image_part(
            X, y, train_size, resize, "train_size")
        self.val_images, self.y_val = image_part(
            X_val, y_val, val_size, resize, "val_size")

    @cached_property
    def X_train(self):
        return scale_bytes(self.train_images)  # (n, 1, h, w)

    @cached_property
    def X_val(self):
        return scale_bytes(self.val_images)

    @property
    def train(self):
        return TensorDataset(self.X_train, self.y_train)

    @property
    def val(self):
        return TensorDataset(self.X_val, self.y_val)


# 4.2 The image classification dataset
@add_to_class(FashionMNIST)
def get_dataloader(self, train):
    """Batches (X, y): floats (n, 1, h, w), labels; shuffled if `train`."""
    part = ((self.train_images, self.y_train) if train
            else (self.val_images, self.y_val))
    return d2l.BatchLoader(part, self.batch_size, shuffle=train,
                           generator=getattr(self, "generator", None),
                           transform=lambda X, y: (scale_bytes(X), y))


# 4.2 The image classification dataset
@add_to_class(FashionMNIST)
def text_labels(self, indices):
    """Names of the classes with these numbers."""
    return [FASHION_CLASSES[int(i)] for i in indices]


# 4.2 The image classification dataset
@add_to_class(FashionMNIST)
def visualize(self, batch, nrows=1, ncols=8, labels=()):
    """Draw the first pictures of a batch; returns the axes.

    Above each stands its label, or the text given in `labels`.
    """
    X, y = (tensor[:nrows * ncols] for tensor in batch)
    titles = list(labels) or self.text_labels(y)
    return d2l.show_images(X, nrows, ncols, titles=titles, scale=1.1)


# 4.3 The base classification model
class Classifier(Module):
    """A model whose output holds one score per class, (n, ..., q)."""

    def validation_step(self, batch):
        Y_hat = self(*batch[:-1])
        self.plot("loss", self.loss(Y_hat, batch[-1]), train=False)
        self.plot("acc", self.accuracy(Y_hat, batch[-1]), train=False)


# 4.3 The base classification model
@add_to_class(Classifier)
def configure_optimizers(self):
    """Stochastic gradient descent, unless a subclass says otherwise."""
    return torch.optim.SGD(self.parameters(), lr=self.lr)


# 4.3 The base classification model
@add_to_class(Classifier)
def accuracy(self, Y_hat, Y, averaged=True):
    """Share of scores Y_hat (n, ..., q) whose argmax is the label.

    Labels Y have shape (n, ...). With `averaged=False` one float, 0 or 1,
    per label: a vector of length Y.numel().
    """
    if Y.shape != Y_hat.shape[:-1]:
        raise ValueError(f"scores of shape {tuple(Y_hat.shape)} need labels "
                         f"of shape {tuple(Y_hat.shape[:-1])}, "
                         f"got {tuple(Y.shape)}.")
    Y_hat = Y_hat.reshape(-1, Y_hat.shape[-1])  # (N, q)
    predictions = Y_hat.argmax(dim=-1).to(Y.dtype)  # (N,)
    hits = (predictions == Y.reshape(-1)).float()  # (N,)
    return hits.mean() if averaged else hits


# 4.3 The base classification model
def predict(model, loader):
    """Outputs (n, ..., q) and labels (n, ...) of all batches, on the CPU.

    The model runs in evaluation mode and without gradients, on the device
    of its parameters; afterwards its mode is what it was.
    """
    device = next((p.device for p in model.parameters()), "cpu")
    was_training, outputs, labels = model.training, [], []
    model.eval()
    with torch.no_grad():
        for batch in loader:
            *X, Y = d2l.to_device(batch, device)
            outputs.append(model(*X).cpu())
            labels.append(Y.cpu())
    model.train(was_training)
    return torch.cat(outputs), torch.cat(labels)


# 4.3 The base classification model
def confusion_matrix(y_hat, y, q):
    """Counts (q, q): entry [i, j] is how often i was answered by j.

    Predicted classes y_hat (n,) and true classes y (n,) are integers.
    """
    if y_hat.shape != y.shape:
        raise ValueError(f"{tuple(y_hat.shape)} predictions and "
                         f"{tuple(y.shape)} labels; pass classes (n,), "
                         "for scores take argmax(dim=-1) first.")
    Y, Y_hat = one_hot(y, q).double(), one_hot(y_hat, q).double()  # (n, q)
    return (Y.mT @ Y_hat).long()


# 4.3 The base classification model
def bayes_decision(probs, cost):
    """Answers (n,) of least expected cost.

    `probs` (n, q) holds class probabilities, `cost` (q, answers) what it
    costs to give an answer when a class is true: cost[true, answer].
    """
    risk = probs.double() @ cost.to(probs.device).double()  # (n, answers)
    return risk.argmin(dim=-1)


# 4.4 Softmax regression from scratch
class SoftmaxRegressionScratch(Classifier):
    """Softmax regression; the outputs are probabilities (n, q)."""

    def __init__(self, num_inputs, num_outputs, lr, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        W = torch.normal(0.0, sigma, (num_inputs, num_outputs))
        self.W = nn.Parameter(W)  # (d, q)
        self.b = nn.Parameter(torch.zeros(num_outputs))  # (q,)

    def forward(self, X):
        X = X.flatten(1)  # (n, ...) -> (n, d)
        return softmax(X @ self.W + self.b)  # (n, q)


# 4.4 Softmax regression from scratch
def cross_entropy(y_hat, y):
    """Mean of -log(probability of the true class), a scalar.

    Probabilities y_hat have shape (n, q), integer labels y shape (n,).
    """
    if y.shape != y_hat.shape[:1]:
        raise ValueError(f"probabilities {tuple(y_hat.shape)} need labels "
                         f"of shape ({len(y_hat)},), got {tuple(y.shape)}.")
    rows = torch.arange(len(y_hat), device=y_hat.device)  # (n,)
    return -torch.log(y_hat[rows, y]).mean()


# 4.4 Softmax regression from scratch
@add_to_class(SoftmaxRegressionScratch)
def loss(self, y_hat, y):
    return cross_entropy(y_hat, y)


# 4.4 Softmax regression from scratch
def reliability(Y_hat, Y, bins=15):
    """Counts, mean confidences and accuracies of the bins in use.

    Probabilities Y_hat (n, q), labels Y (n,); the bins cut [0, 1] into
    equal parts by the largest probability of each row.
    """
    confidence, answer = Y_hat.max(dim=1)  # (n,), (n,)
    hits = (answer == Y).double()
    index = (confidence * bins).long().clamp(max=bins - 1)  # (n,)
    count = torch.bincount(index, minlength=bins)  # (bins,)
    conf = torch.bincount(index, confidence.double(), minlength=bins)
    acc = torch.bincount(index, hits, minlength=bins)
    used = count > 0
    count = count[used]
    return count, conf[used] / count, acc[used] / count


# 4.4 Softmax regression from scratch
def calibration_error(Y_hat, Y, bins=15):
    """Expected calibration error of probabilities Y_hat (n, q)."""
    count, conf, acc = reliability(Y_hat, Y, bins)
    return (count / count.sum() * (acc - conf).abs()).sum().item()


# 4.5 Concise implementation of softmax regression
class SoftmaxRegression(Classifier):
    """Linear scores (n, num_outputs) of examples (n, ...), no softmax."""

    def __init__(self, num_outputs, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Flatten(), nn.LazyLinear(num_outputs))


# 4.5 Concise implementation of softmax regression
@add_to_class(Classifier)
def loss(self, Y_hat, Y, averaged=True):
    """Cross-entropy of logits Y_hat (n, ..., q) for labels Y (n, ...).

    The mean over all labels, or with `averaged=False` one loss per label:
    a vector of length Y.numel(). Logits are scores, not probabilities.
    """
    if Y.shape != Y_hat.shape[:-1]:
        raise ValueError(f"scores of shape {tuple(Y_hat.shape)} need labels "
                         f"of shape {tuple(Y_hat.shape[:-1])}, "
                         f"got {tuple(Y.shape)}.")
    Y_hat = Y_hat.reshape(-1, Y_hat.shape[-1])  # (N, q)
    return F.cross_entropy(Y_hat, Y.reshape(-1),
                           reduction="mean" if averaged else "none")


# 4.6 Generalization in classification
def binomial_tail(k, n, p):
    """P(B >= k) for B ~ Binomial(n, p), as a number."""
    j = torch.arange(min(max(k, 0), n + 1), n + 1, dtype=torch.float64)
    log_choose = (math.lgamma(n + 1) - torch.lgamma(j + 1)
                  - torch.lgamma(n - j + 1))
    p = torch.tensor(p, dtype=torch.float64)
    log_p = log_choose + torch.xlogy(j, p) + torch.xlogy(n - j, 1 - p)
    return log_p.exp().sum().item()


# 4.6 Generalization in classification
def required_n(t, delta, sides=2, method="hoeffding"):
    """Test examples for a precision t with confidence 1 - delta.

    `method` is "hoeffding" (guaranteed) or "normal" (approximate, for the
    worst error rate 0.5); `sides` is 1 or 2.
    """
    if not (0 < t < 1 and 0 < delta < 1 and sides in (1, 2)):
        raise ValueError(f"got t={t}, delta={delta}, sides={sides}; t and "
                         "delta lie between 0 and 1, sides is 1 or 2.")
    if method == "hoeffding":
        n = math.log(sides / delta) / (2 * t**2)
    elif method == "normal":
        n = 0.25 * (NormalDist().inv_cdf(1 - delta / sides) / t) ** 2
    else:
        raise ValueError(f"unknown method {method!r}; use 'hoeffding' or "
                         "'normal'.")
    return math.ceil(n * (1 - 1e-12))  # an integer n stays what it is


# 4.6 Generalization in classification
def error_interval(errors, n, level=0.95, method="exact"):
    """Two-sided confidence interval (low, high) for an error rate.

    `errors` wrong answers were seen on `n` independent test examples that
    had no influence on the model. `method` is "normal", "hoeffding" or
    "exact" (Clopper and Pearson).
    """
    if not (0 <= errors <= n and n > 0 and 0 < level < 1):
        raise ValueError(f"got {errors} errors on {n} examples at level "
                         f"{level}; 0 <= errors <= n and 0 < level < 1.")
    rate, delta = errors / n, 1 - level
    if method == "exact":
        def highest(k):  # largest p with P(k or fewer errors) > delta/2
            low, high = 0.0, 1.0
            for _ in range(40):
                p = (low + high) / 2
                keep = binomial_tail(n - k, n, 1 - p) > delta / 2
                low, high = (p, high) if keep else (low, p)
            return high

        return (1 - highest(n - errors) if errors > 0 else 0.0,
                highest(errors) if errors < n else 1.0)
    if method == "normal":
        z = NormalDist().inv_cdf(1 - delta / 2)
        half = z * math.sqrt(rate * (1 - rate) / n)
    elif method == "hoeffding":
        half = math.sqrt(math.log(2 / delta) / (2 * n))
    else:
        raise ValueError(f"unknown method {method!r}; use 'normal', "
                         "'hoeffding' or 'exact'.")
    return max(rate - half, 0.0), min(rate + half, 1.0)


# 4.7 Environment and distribution shift
def fit_logits(X, y, q, beta=None, ridge=0.0, steps=100):
    """Softmax regression on X (n, d), y (n,) with weights beta (n,).

    Minimizes the mean of beta * cross-entropy + ridge * |W|^2 over
    W (d, q), b (q,) and returns them.
    """
    W = torch.zeros(X.shape[1], q, dtype=X.dtype, device=X.device,
                    requires_grad=True)
    b = torch.zeros(q, dtype=X.dtype, device=X.device, requires_grad=True)
    beta = torch.ones_like(X[:, 0]) if beta is None else beta  # (n,)
    optimizer = torch.optim.LBFGS([W, b], max_iter=steps,
                                  line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        losses = F.cross_entropy(X @ W + b, y, reduction="none")  # (n,)
        loss = (beta * losses).mean() + ridge * (W**2).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return W.detach(), b.detach()


# 4.7 Environment and distribution shift
def importance_weights(X_src, X_tgt, features):
    """Weights (n,) of source inputs X_src for a target like X_tgt.

    `features` maps inputs to (rows, k), of which the logarithm of the
    ratio of densities is modelled as an affine function.
    """
    n, m = len(X_src), len(X_tgt)
    Phi = features(torch.cat([X_src, X_tgt]))  # (n + m, k)
    z = (torch.arange(n + m, device=Phi.device) >= n).long()
    W, b = fit_logits(Phi, z, 2)
    o = Phi[:n] @ W + b  # (n, 2): score of source, score of target
    return n / m * torch.exp(o[:, 1] - o[:, 0])


# 4.7 Environment and distribution shift
def weighted_fit(X, y, beta):
    """Weighted least squares: w (d,) and b for X (n, d), y (n,)."""
    ones = torch.ones_like(X[:, :1])
    root = beta.sqrt()  # the squared loss turns it into beta
    A = torch.cat([X, ones], dim=1) * root[:, None]  # (n, d + 1)
    solution = torch.linalg.lstsq(A, (y * root)[:, None]).solution[:, 0]
    return solution[:-1], solution[-1]


# 4.7 Environment and distribution shift
def shift_detector(X_a, X_b):
    """Held-out accuracy and AUC of a linear classifier a against b.

    Samples X_a (n, ...) and X_b (m, ...) are flattened to vectors; one
    half of all rows trains the classifier, the other half tests it.
    """
    X = torch.cat([X_a, X_b]).flatten(start_dim=1)  # (n + m, d)
    z = (torch.arange(len(X)) >= len(X_a)).long().to(X.device)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(X), generator=generator).to(X.device)
    fit, test = order[::2], order[1::2]
    W, b = fit_logits(X[fit], z[fit], 2, ridge=1e-3)
    o = X[test] @ W + b
    score = o[:, 1] - o[:, 0]
    accuracy = ((score > 0) == (z[test] == 1)).double().mean().item()
    a, b = score[z[test] == 0], score[z[test] == 1].unsqueeze(1)
    auc = ((b > a).double() + 0.5 * (b == a)).mean().item()
    return accuracy, auc


# 4.7 Environment and distribution shift
def estimate_label_shift(conf_counts, pred_target):
    """Class shares (q,) of a target from its predicted classes (m,).

    `conf_counts` (q, q) counts held-out source examples: true class in
    the row, predicted class in the column.
    """
    counts = conf_counts.double()
    if (counts.sum(dim=1) == 0).any():
        raise ValueError("a class has no examples in conf_counts; the "
                         "estimate needs some of every class.")
    C = (counts / counts.sum(dim=1, keepdim=True)).mT  # columns sum to 1
    mu = torch.bincount(pred_target, minlength=len(C)).double()
    p = torch.linalg.solve(C, mu / mu.sum()).clamp(min=0)
    return p / p.sum()


# 4.7 Environment and distribution shift
def adjust_logits(o, p_hat, q_hat):
    """Scores o (..., q) of a model trained at class shares q_hat (q,),
    for use at class shares p_hat (q,)."""
    return o + torch.log(p_hat / q_hat).to(o)
