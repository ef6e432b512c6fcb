# ---
# jupyter:
#   d2l:
#     data: [cats-dogs, efficientnet-lite0]
#     profiles:
#       gpu:
#         num_shapes: 20000
#         num_epochs: 100
#         scratch_epochs: 60
#         width: 4
#       smoke:
#         num_photos: 28
#         num_shapes: 200
#         num_epochs: 1
#         scratch_epochs: 1
#     rehearsal:
#       num_shapes: 0.01
#       num_epochs: 0.02
#       scratch_epochs: 0.02
#       width: 0.5
#   jupytext:
#     cell_metadata_filter: tags,-all
#     formats: ipynb,py:percent
#     notebook_metadata_filter: kernelspec,jupytext,d2l,-jupytext.text_representation.jupytext_version
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 14.14 Dog breed identification (ImageNet dogs) as a competition
#
# This competition scores probabilities: a hedged wrong answer is cheap, a certain one ruinous.
# We train a small head on the features of a frozen network, correct its confidence, and ask what a score is worth when the frozen network may have seen the test pictures.
# Then we leave classes behind: two encoders learn to put pictures next to their captions, and a combination of words that never occurred in training is found by its name.
#
# **You will**
#
# - store the features of a frozen body, and train heads on them for the price of one pass;
# - submit probabilities, and correct overconfidence with one number;
# - see what a body that knows the test pictures does to every score;
# - train the losses of CLIP and SigLIP, find out when marking repeated captions matters, and name pairs of words that were held out.
#
# **Cost**: less than a minute on a CPU; a download of 34 MB, once.

# %%
import copy
import csv
import itertools
import math
import shutil
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import sklearn.metrics
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import resnet34

import d2l_helpers as d2l
from d2l_helpers.chapters.builders_guide import count_params
from d2l_helpers.chapters.computer_vision import (
    ImageFiles, accuracy, evaluating, hflip, last_linear, per_image, sort_ids,
    split_train_valid, train_ch14)
from d2l_helpers.chapters.convolutional_neural_networks import count_macs
from d2l_helpers.chapters.linear_classification import (
    calibration_error, reliability)
from d2l_helpers.pictures import COLORS, SHAPES, ShapeImages
from d2l_helpers.pretrained import efficientnet_lite0

d2l.use_style()

# %% tags=["parameters"]
num_photos = 350  # of each kind
num_shapes = 2000  # drawn pictures with captions
num_epochs = 20  # on their stored features
scratch_epochs = 6  # of two encoders from scratch
width = 1  # multiplies the channels of the encoder from scratch

# %% [markdown]
# ## Photographs of 120 breeds, or of two kinds
#
# "Dog Breed Identification", a competition of the platform Kaggle in 2017, had 10 222 training and 10 357 test pictures, JPEG files of many sizes, of 120 breeds.
# For every test picture it asked for 120 probabilities, and it scored them by the log loss.
#
# We take the same steps with the cats and dogs of [Section 14.2](02-fine-tuning.ipynb): 400 labelled photographs and 300 for the test, copied under numbers as in [Section 14.13](13-cifar10-competition.ipynb).

# %%
device = d2l.try_device(quiet=True)
found = d2l.fetch("cats-dogs")
real = found.is_real and d2l.fetch("efficientnet-lite0").is_real
names = []
for kind in ("cat", "dog"):
    names += [name for name in sorted(found.files)
              if f"/{kind}/" in name][:num_photos]
order = torch.randperm(len(names), generator=torch.Generator().manual_seed(0))
scratch = tempfile.TemporaryDirectory()  # removed at the end
folder, labels = Path(scratch.name), {}
for number, i in enumerate(order.tolist(), 1):
    shutil.copyfile(found.files[names[i]], folder / f"{number}.jpg")
    labels[str(number)] = Path(names[i]).parent.name
n = len(names) * 4 // 7  # the first n are labelled, the others the test
files = ImageFiles(folder, labels, labels, size=(112, 112))
y = files.y.to(device)
print(f"{n} labelled, {len(files) - n} test pictures; {files.classes}")

# %% tags=["hide-input"]
some = files.tensors(0, 4)[0]  # fewer levels of colour: a smaller file
axes = d2l.show_images(some // 16 * 17, 1, 4, [
    labels[i] for i in files.ids[:4]], scale=0.8)
for ax in axes.flat:
    ax.add_patch(plt.Rectangle((7.5, 7.5), 96, 96, fill=False, color="w"))
d2l.describe(axes, """Four photographs of cats and dogs with their labels; in
    each a frame marks the middle part.""")

# %% [markdown]
# **Figure 14.14.1.** The first photographs, squeezed to 112 by 112 pixels.
# The frame of 96 by 96 is what a network gets in the test.

# %% [markdown]
# Resize and crop are part of the model, so state them.
# Every file is squeezed to 112 by 112 pixels, whatever its shape; the network gets the middle 96 by 96, and a training view may be any other such square, mirrored or not.
# (EfficientNet-Lite0 is usually given 224 by 224 pixels, cut from a picture that keeps its proportions; ours are fewer to save time.)
#
# The 400 labelled photographs are split into 200 for training and 200 for validation, by class and in three ways.

# %%
def middle(X, generator=None):
    """The middle 96 by 96 pixels of X (..., 112, 112)."""
    return X[..., 8:104, 8:104]


def random_view(X, generator=None):
    """Another such square, mirrored with probability 1/2."""
    top, left = torch.randint(17, (2,), generator=generator).tolist()
    return hflip(X[..., top:top + 96, left:left + 96], 0.5, generator)


known = dict(itertools.islice(labels.items(), n))
place = {name: i for i, name in enumerate(files.ids)}
splits = [[torch.tensor([place[name] for name in part]) for part in
           split_train_valid(known, 0.5, seed)] for seed in range(3)]
test = torch.arange(n, len(files))
print([len(part) for part in splits[0]], len(test))

# %%
# check: the parts are disjoint, views are squares of the picture
for train, valid in splits:
    together = torch.cat([train, valid]).sort().values
    assert torch.equal(together, torch.arange(n)) and test[0] == n
assert not torch.equal(splits[0][0], splits[1][0])
rng = torch.Generator().manual_seed(0)
grid = torch.arange(112 * 112).view(1, 112, 112)
views = [random_view(grid, generator=rng) for _ in range(200)]
assert {tuple(view.shape) for view in views} == {(1, 96, 96)}
corners = torch.stack([view.amin() for view in views])
assert (corners // 112).unique().tolist() == list(range(17))
assert (corners % 112).unique().tolist() == list(range(17))
flipped = sum((view[0, 0, 0] > view[0, 0, 1]).item() for view in views)
assert 70 < flipped < 130 and middle(grid)[0, 0, 0] == 8 * 112 + 8

# %% [markdown]
# ## The price of a wrong answer
#
# The *log loss* of probabilities $\mathbf{P}\in[0,1]^{n\times k}$ for $n$ pictures with the classes $y_i\in\{1,\dots,k\}$ is
#
# $$L=-\frac1n\sum_{i=1}^n\log\max(p_{iy_i},\epsilon), \tag{14.14.1}$$
#
# the cross-entropy of [Section 4.1](../04-linear-classification/01-softmax-regression.ipynb) with a floor $\epsilon$, so that an answer of exactly 0 does not cost infinitely much.

# %% tags=["export"]
def log_loss(P, y, eps=1e-15):
    """Log loss of probabilities P (n, k) for classes y (n,), a number.

    Minus the mean logarithm of the probability of the true class, which
    counts as `eps` if it is smaller. Computed in float64 on the CPU.
    Raises ValueError for other shapes, for classes outside 0 .. k - 1, and
    for rows that are no probabilities (sums off 1 by more than 1e-4).
    """
    P, y = P.detach().cpu().double(), y.cpu()
    if P.ndim != 2 or y.shape != P.shape[:1] or not len(y):
        raise ValueError(f"probabilities {tuple(P.shape)} and classes "
                         f"{tuple(y.shape)} must be (n, k) and (n,), n > 0.")
    if y.min() < 0 or y.max() >= P.shape[1]:
        raise ValueError(f"classes must be 0 .. {P.shape[1] - 1}, there are "
                         f"{int(y.min())} .. {int(y.max())}.")
    if not (P.min() >= 0 and (P.sum(1) - 1).abs().max() < 1e-4):
        raise ValueError("each row of P must be probabilities with the "
                         "sum 1; pass logits.softmax(1), not logits.")
    losses = -P[torch.arange(len(y)), y].clamp(min=eps).log()  # (n,)
    return losses.mean().item() + 0.0  # 0, not -0

# %%
uniform = {k: log_loss(torch.full((4, k), 1 / k), torch.arange(4) % k)
           for k in (120, 2)}
sure = torch.eye(2)[torch.zeros(300, dtype=torch.long)]  # class 0 for all
truth = torch.zeros(300, dtype=torch.long)
truth[7] = 1  # once it is wrong
print(f"uniform: {uniform[120]:.4f} for 120 classes, {uniform[2]:.4f} for 2; "
      f"300 certain answers, one of them wrong: {log_loss(sure, truth):.3f}")

# %%
# check 14.14-C4: uniform answers, the price of certainty, the library's loss
assert abs(uniform[120] - 4.7875) < 1e-4 and abs(uniform[2] - 0.6931) < 1e-4
assert abs(log_loss(sure[:1], truth[7:8]) - 34.539) < 1e-3
assert abs(log_loss(sure, truth) - 34.539 / 300) < 1e-4
hedged = torch.tensor([[0.89, 0.11]]).repeat(300, 1)
hedged[7] = torch.tensor([0.0, 1.0])  # right, and certain
assert abs(log_loss(hedged, truth) - log_loss(sure, truth)) < 0.002
assert log_loss(sure[:7], truth[:7]) == 0
assert abs(log_loss(sure, truth, eps=0.01) - math.log(100) / 300) < 1e-6
P = torch.rand(50, 3, generator=rng).double().softmax(1)
t = torch.arange(50) % 3
assert abs(log_loss(P, t) - sklearn.metrics.log_loss(t, P)) < 1e-9

# %% tags=["hide-input"]
def refuses(call, kind=ValueError):
    try:
        call()
    except kind:
        return True
    return False


for bad in ((P, t[:5]), (P[:, 0], t), (P[:0], t[:0]), (P, t + 1), (P, t - 1),
            (P.log(), t), (P / 2, t), (P * float("nan"), t),
            (torch.tensor([[1.5, -0.5]]), truth[:1])):
    assert refuses(lambda: log_loss(*bad))

# %% [markdown]
# One certain error among 300 costs 0.115, as much as giving each of the 299 right answers a probability of only 0.89.
#
# ## Features, once
#
# The features of a picture are what enters the last layer.
# Cut that layer off, and the rest of a frozen network is a fixed function, as long as it is in evaluation mode, where batch normalization uses its running statistics.
# `FeatureExtractor` sees to that even if a training loop calls `train()`.

# %% tags=["export"]
class FeatureExtractor(nn.Module):
    """A frozen copy of `net` without its last linear layer: (n, d).

    Always in evaluation mode and without gradients, also after `train()`.
    `net` is a classifier whose output is that layer's, such as a ResNet of
    torchvision or EfficientNet-Lite0; `num_features` is its d. `net` stays
    as it is. Raises ValueError if it has no linear layer.
    """

    def __init__(self, net):
        super().__init__()
        name = last_linear(net)
        self.num_features = net.get_submodule(name).in_features
        self.net = copy.deepcopy(net).requires_grad_(False)
        self.net.set_submodule(name, nn.Identity())
        self.eval()

    def train(self, mode=True):
        return super().train(False)

    @torch.no_grad()
    def forward(self, X):
        return self.net(X)

# %%
# check 14.14-C1: parameters and features of two bodies
with torch.device("meta"):
    resnet = resnet34()
original = efficientnet_lite0()
body = FeatureExtractor(original).to(
    device, memory_format=torch.channels_last)
assert count_params(resnet) == 21_797_672
deep = FeatureExtractor(resnet.train())
assert deep.num_features == 512 and resnet.training
assert not any(m.training for m in deep.modules())
assert count_params(original) == 4_652_008 and body.num_features == 1280
assert original(some[:1]).shape == (1, 1000)  # it still has its last layer
assert all(p.requires_grad for p in original.parameters())
assert not any(p.requires_grad for p in body.parameters())
assert refuses(lambda: FeatureExtractor(nn.Conv2d(3, 4, 1)))

# %% [markdown]
# These features are the same in every epoch, so compute them once and store them.
# Random views would be new in every epoch; a middle way stores $v$ views of each picture.

# %% tags=["export"]
def cache_features(net, pictures, batch_size=25, augment=None, views=1,
                   seed=0):
    """net(X) of all pictures in evaluation mode, on the CPU: (n, d).

    `pictures` are a tensor (n, 3, h, w), or `ImageFiles`, of which only one
    batch is in memory at a time. With `augment(X, generator=g)`: `views`
    changed versions of each batch, (views, n, d), with changes that `seed`
    fixes. Raises ValueError for no picture, for views < 1, and for more
    than one view without `augment`. To keep features on the disk, see
    `d2l_helpers.pretrained.cached_features`.
    """
    if not len(pictures) or views < 1 or (views > 1 and augment is None):
        raise ValueError(f"{len(pictures)} pictures in {views} views: there "
                         "must be some, and several views need `augment`.")
    device = next(net.parameters()).device
    rng, rows = torch.Generator().manual_seed(seed), []
    with evaluating(net):
        for i in range(0, len(pictures), batch_size):
            X = (pictures[i:i + batch_size]
                 if isinstance(pictures, torch.Tensor)
                 else pictures.tensors(i, i + batch_size)[0])
            changed = [augment(X, generator=rng) if augment else X
                       for _ in range(views)]
            rows.append(torch.stack([net(V.to(device)).cpu()
                                     for V in changed]))
    stored = torch.cat(rows, 1)  # (views, n, d)
    return stored if augment else stored[0]

# %%
Z = cache_features(body, files, augment=middle)[0].to(device)
first = files.tensors(0, 32)[0].to(device)
body.train()  # has no effect
online = body(middle(first))
moving = original.to(device).train()  # the network itself, not frozen
with torch.no_grad():
    in_train_mode = moving.embed(middle(first))
original.eval()
shift = ((in_train_mode - online).norm(dim=1) / online.norm(dim=1)).mean()
print(f"features {tuple(Z.shape)}; in training mode they move by "
      f"{shift:.0%} of their length")

# %%
# check 14.14-C2: stored features are those of evaluation mode
torch.testing.assert_close(Z[:32], online, rtol=1e-5, atol=1e-5)
assert not body.training and not any(m.training for m in body.modules())
assert not body(middle(first / 255).requires_grad_()).requires_grad
assert not online.requires_grad and shift > 0.05
before = [b.clone() for b in body.buffers()]
one = cache_features(body, first[:10], 4, middle)  # another batch size
torch.testing.assert_close(one[0].to(device), online[:10],
                           rtol=1e-4, atol=1e-4)
assert all(torch.equal(a, b) for a, b in zip(before, body.buffers()))
mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(),
                     nn.Linear(3, 3))
pixels = files.tensors(0, 8)[0].float()
twice = [cache_features(mean.train(), pixels, 3, per_image(random_view), 2, s)
         for s in (0, 0, 1)]
assert mean.training and twice[0].shape == (2, 8, 3)
assert torch.equal(twice[0], twice[1])
assert not torch.equal(twice[0], twice[2])
assert not torch.equal(*twice[0])
assert cache_features(mean, pixels).shape == (8, 3)
for bad in ((pixels[:0], 3, middle), (pixels, 3, None, 2),
            (pixels, 3, middle, 0)):
    assert refuses(lambda: cache_features(mean, *bad))

# %% [markdown]
# A widely read textbook (see Sources) describes these steps and does something else: its text takes the input of the output layer, its PyTorch code the 1000 scores that come out of it, and the frozen body stays in training mode throughout, in the prediction as well.
# Exercise 1 measures what each of the two costs on our pictures.
#
# Do the features know cats from dogs?
# We look at nearest neighbours by the cosine, after the mean of the labelled features has been subtracted.

# %%
centred = F.normalize(Z - Z[:n].mean(0), dim=1)
alike = centred[test.to(device)] @ centred[:n].T  # (tests, n)
nearest = alike.topk(5).indices  # (tests, 5)
vote = y[nearest].float().mean(1).round().long()
by_neighbours = (vote == y[n:]).float().mean().item()
print(f"majority of five neighbours: accuracy {by_neighbours:.3f}")

# %% tags=["hide-input"]
shown, titles = [], []
missed = (vote != y[n:]).nonzero()[:1, 0].tolist()
for i in [0, *missed]:
    places = [n + i, *nearest[i, :3].tolist()]
    shown += [middle(files.tensors(j, j + 1)[0][0]) // 16 * 17
              for j in places]
    titles += [f"test: {files.classes[y[n + i]]}"] + [
        files.classes[y[j]] for j in places[1:]]
axes = d2l.show_images(shown, len(shown) // 4, 4, titles, scale=0.8)
d2l.describe(axes, """In each row a test picture and the three labelled
    pictures nearest to it, with their kinds. In the last row most of the
    neighbours are of the other kind than the test picture.""")

# %% [markdown]
# **Figure 14.14.2.** A test picture, and the first one that its five neighbours get wrong, each with the nearest three in feature space.
#
# ## A small head

# %% tags=["export"]
def head(in_features, hidden, out_features):
    """Two linear layers with a ReLU between: (n, in) -> (n, out).

    Raises ValueError for sizes below 1.
    """
    if min(in_features, hidden, out_features) < 1:
        raise ValueError(f"sizes {in_features}, {hidden}, {out_features} "
                         "must be positive.")
    return nn.Sequential(nn.Linear(in_features, hidden), nn.ReLU(),
                         nn.Linear(hidden, out_features))


def train_head(Z, y, hidden=64, epochs=30, lr=1e-3, smoothing=0.0, seed=0,
               num_classes=None):
    """A head trained on features Z (n, d) or (views, n, d), y (n,).

    AdamW in batches of 50, one cycle with the peak `lr`, label smoothing;
    `seed` fixes start and order. All views of a picture are examples. The
    head comes in evaluation mode, on the device of Z. Raises ValueError
    for other shapes.
    """
    if Z.ndim not in (2, 3) or y.shape != Z.shape[-2:-1]:
        raise ValueError(f"features {tuple(Z.shape)} must be (n, d) or "
                         f"(views, n, d), and labels {tuple(y.shape)} (n,).")
    y = y.repeat(len(Z)) if Z.ndim == 3 else y
    Z = Z.reshape(-1, Z.shape[-1])
    torch.manual_seed(seed)
    net = head(Z.shape[1], hidden, num_classes or int(y.max()) + 1)
    net.to(Z.device)
    train_ch14(net, (Z, y), None, nn.CrossEntropyLoss(
        label_smoothing=smoothing), torch.optim.AdamW(
            net.parameters(), lr, fused=True),
        epochs, Z.device, batch_size=50, score=None, seed=seed)
    return net.eval()

# %% [markdown]
# The rate is AdamW's default, $10^{-3}$; what others do, we shall see below.

# %%
def probabilities(net, Z, T=1.0):
    """Softmax of the scores divided by T, (n, k)."""
    with evaluating(net):
        return (net(Z) / T).softmax(1)


train, valid = splits[0]
net = train_head(Z[train], y[train])
for name, rows in (("training", train), ("validation", valid)):
    P = probabilities(net, Z[rows])
    print(f"{name:10s} accuracy {accuracy(P, y[rows]).mean():.3f}, "
          f"log loss {log_loss(P, y[rows]):.3f}")

# %%
# check 14.14-C3: the body stays, the head moves, and storing changes nothing
train, valid = splits[0]
torch.manual_seed(0)
whole = nn.Sequential(body, head(1280, 64, 2).to(device))
before = copy.deepcopy(whole.state_dict())
X = middle(torch.cat([files.tensors(i, i + 1)[0] for i in train[:20]]))
train_ch14(whole, (X, y[train[:20]]), None, F.cross_entropy, torch.optim.SGD(
    whole[1].parameters(), 0.03), 3, device, batch_size=10, score=None)
changed = {key.split(".")[0] for key, value in whole.state_dict().items()
           if not torch.equal(value, before[key])}
assert changed == {"1"} and all(p.grad is None for p in body.parameters())
torch.manual_seed(0)
alone = head(1280, 64, 2)
train_ch14(alone, (Z[train[:20]], y[train[:20]]), None, F.cross_entropy,
           torch.optim.SGD(alone.parameters(), 0.03), 3, device,
           batch_size=10, score=None)
for a, b in zip(alone.parameters(), whole[1].parameters()):
    torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)

# %% tags=["hide-input"]
# check: views belong to their pictures, seeds fix everything, guards
toy = torch.tensor([[1.0, 0], [-1, 0]]).repeat(20, 1)  # (40, 2)
kinds = torch.tensor([0, 1]).repeat(20)
nets = [train_head(torch.stack([toy, 2 * toy]), kinds, 4, 20, 0.05, seed=s)
        for s in (3, 3, 4)]
assert not nets[0].training and accuracy(nets[0](toy), kinds).mean() == 1
assert torch.equal(nets[0](toy), nets[1](toy))
assert not torch.equal(nets[0](toy), nets[2](toy))
one_view = train_head(toy, kinds, 4, 20, 0.05, seed=3)
assert not torch.equal(nets[0](toy), one_view(toy))
for seed in (3, 4):  # with the rate 0 a head stays as it started
    torch.manual_seed(seed)
    start = head(2, 4, 2)
    stayed = train_head(toy, kinds, 4, epochs=1, lr=0.0, seed=seed)
    for a, b in zip(start.parameters(), stayed.parameters()):
        assert torch.equal(a, b.cpu())
many = toy.repeat(3, 1), kinds.repeat(3)  # more than two batches
torch.manual_seed(3)
start = head(2, 64, 2)
train_ch14(start, many, None, nn.CrossEntropyLoss(), torch.optim.AdamW(
    start.parameters(), 1e-3, fused=True), 30, toy.device, batch_size=50,
    score=None, seed=3)
assert torch.equal(start(toy), train_head(*many, seed=3)(toy))
usual = train_head(toy, kinds, seed=3)(toy)
for options in ({"smoothing": 0.1}, {"epochs": 1}):
    other = train_head(toy, kinds, seed=3, **options)(toy)
    assert not torch.equal(other, usual)
assert train_head(toy, kinds, epochs=1, num_classes=5)(toy).shape == (40, 5)
for bad in ((Z[:4], y[:3]), (Z[None, :4], y[:1]), (Z[0], y[:1])):
    assert refuses(lambda: train_head(*bad))
assert refuses(lambda: head(3, 0, 2))

# %% [markdown]
# Thirty epochs on stored features cost little more than the one pass that stored them (Exercise 2), and training on them gives the head that training through the frozen body gives.
#
# ## Confidence is a parameter
#
# A trained head fits its 200 pictures completely, and then lowers the training loss further by enlarging its scores.
# On new pictures that is overconfidence, as in [Section 4.4](../04-linear-classification/04-softmax-regression-scratch.ipynb).
# Temperature scaling (Guo et al., 2017; [Section 4.5](../04-linear-classification/05-softmax-regression-concise.ipynb)) divides the scores $\mathbf{z}\in\mathbb{R}^k$ by one number,
#
# $$\mathbf{p}=\operatorname{softmax}(\mathbf{z}/T), \tag{14.14.2}$$
#
# the $T>0$ that makes the log loss on validation pictures smallest; $\mathbf{p}\in[0,1]^k$ are the new probabilities.
# $T>1$ takes confidence away, $T<1$ adds some, and the order of the classes stays.

# %% tags=["export"]
def temperature_fit(logits, y):
    """The T of least log loss of softmax(logits / T), a number.

    `logits` (n, k) and classes y (n,) of pictures that were not used for
    training. T is 1 or one of 81 steps from 0.1 to 10, so the loss on
    these pictures never rises. Raises ValueError as `log_loss`.
    Source: C. Guo et al. (2017).
    """
    logits = logits.detach().cpu().double()
    return min([1.0, *torch.logspace(-1, 1, 81).tolist()], key=lambda T:
               log_loss((logits / T).softmax(-1), y))

# %%
def judge(Z, seed, rows=test, **options):
    """A head of split `seed`: accuracy, log loss, T, log loss with T."""
    train, valid = splits[seed]
    net = train_head(Z[train], y[train], seed=seed, **options)
    with evaluating(net):
        logits = net(Z)  # of all pictures
    T = temperature_fit(logits[valid], y[valid])
    losses = [log_loss((logits[rows] / t).softmax(1), y[rows])
              for t in (1, T)]
    return {"accuracy": accuracy(logits[rows], y[rows]).mean().item(),
            "log loss": losses[0], "T": T, "with T": losses[1],
            "logits": logits,
            "valid": log_loss(logits[valid].softmax(1), y[valid])}


results, surely = [judge(Z, seed) for seed in range(3)], []
for row in results:
    each = [F.cross_entropy(row["logits"][test] / T, y[test],
                            reduction="none") for T in (1, row["T"])]
    gain = each[0] - each[1]  # (300,), picture by picture
    surely.append((gain.mean() / gain.std() * math.sqrt(len(gain))).item())
    print(" ", ", ".join(f"{key} {row[key]:.3f}" for key in list(row)[:4]),
          f"(gain {surely[-1]:.1f} standard errors)")

# %%
# check 14.14-C5: T keeps the answers; never worse on validation pictures
for seed, row in enumerate(results):
    valid = splits[seed][1]
    hot = row["logits"] / row["T"]
    assert torch.equal(hot.argmax(1), row["logits"].argmax(1))
    assert row["T"] == temperature_fit(row["logits"][valid], y[valid])
    train = splits[seed][0]
    assert accuracy(row["logits"][train], y[train]).mean() == 1 or not real
    assert log_loss(hot[valid].softmax(1), y[valid]) <= log_loss(
        row["logits"][valid].softmax(1), y[valid])
toy = torch.tensor([[2.0, 0.0]]).repeat(10, 1)  # certain to 0.88
share = (torch.arange(10) >= 7).long()  # right 7 times of 10
assert abs(2 / temperature_fit(toy, share) - math.log(7 / 3)) < 0.06
modest = toy / 10  # right as often, but hardly sure
assert abs(0.2 / temperature_fit(modest, share) - math.log(7 / 3)) < 0.06
assert temperature_fit(torch.zeros(4, 2), torch.zeros(4).long()) == 1
assert refuses(lambda: temperature_fit(toy, share[:3]))
measured = real and num_photos == 350
if measured:
    for row in results:
        assert 2 < row["T"] < 3
        assert row["with T"] < row["log loss"] - 0.015
    assert 1 < min(surely) < max(surely) < 3

# %%
# check 14.14-C7: what head and neighbours reach
if measured:
    for row in results:
        assert row["accuracy"] > 0.9 and row["log loss"] < 0.32
    assert 0.89 < by_neighbours < 0.94

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(6.4, 2.9), sharey=True)
errors = {}
for ax, how in zip(axes, ("as trained", "with T")):
    P = torch.cat([(row["logits"][test] / (row["T"] if how == "with T"
                                           else 1)).softmax(1).cpu()
                   for row in results])
    joined = P, y[n:].cpu().repeat(3)
    _, confidence, share = reliability(*joined, bins=10)
    errors[how] = calibration_error(*joined, bins=10)
    ax.plot([0, 1], [0, 1], "k:", lw=1)
    ax.plot(confidence, share, "o-", ms=4)
    ax.set(title=f"{how}, error {errors[how]:.3f}", xlim=(0.45, 1.02),
           ylim=(0.45, 1.03), xlabel="confidence")
axes[0].set_ylabel("accuracy")
d2l.describe(axes, """Accuracy against confidence on the test pictures, for
    three heads together. As trained, most dots lie below the diagonal; with
    the temperature they lie nearer to it.""")
if measured:
    assert errors["with T"] < errors["as trained"] - 0.02

# %% [markdown]
# **Figure 14.14.3.** Reliability on the test pictures, three heads together (so each picture counts three times), and the expected calibration error, before and after scaling.
#
# With all three splits the accuracy is above 0.9, the temperature between 2 and 3, and the log loss falls by some hundredths: the same answers, better priced.
# Each fall is only one to three standard errors of its 300 differences, and the splits share the test pictures, so the three count for less than three independent ones.
#
# Do frozen features make a head overconfident, or does our recipe?
# We change only the rate.

# %%
rates = {3e-4: [], 1e-3: results, 3e-3: []}
for lr, each in rates.items():
    each = rates[lr] = each or [judge(Z, seed, lr=lr) for seed in range(3)]
    print(f"rate {lr}: validation", " ".join(
        f"{row['valid']:.3f}" for row in each), "  test", ", ".join(
        f"{row['log loss']:.3f} (with T = {row['T']:.1f}: {row['with T']:.3f})"
        for row in each))
if measured:
    for small, usual, large in zip(*rates.values()):
        assert small["valid"] + 0.03 < usual["valid"] < large["valid"] - 0.1
        assert small["log loss"] + 0.02 < usual["log loss"]
        assert usual["log loss"] < large["log loss"] - 0.07
        assert 1 < small["T"] < 1.6 and large["T"] > 3.3
        assert abs(small["with T"] - small["log loss"]) < 0.01
        scaled = [row["with T"] for row in (small, usual, large)]
        assert max(scaled) - min(scaled) < 0.02

# %% [markdown]
# The recipe does.
# With a smaller rate, which the validation pictures prefer, thirty epochs leave hardly any overconfidence, and the temperature changes the log loss on the test pictures by less than a hundredth; with a larger one they leave more.
# After scaling, all three rates cost the same to within two hundredths.
# So choosing the rate by the validation log loss, and fitting a temperature to a head that was trained to certainty, lead here to the same price; smoothed labels err on the other side (Exercise 4).
# We keep the rate and the temperature.
# The price is the validation pictures: they must be new to the head and, as we shall see, to the body.
#
# Do stored views help?
# The head of one split, three seeds, is trained on the middle square alone, and on it together with two random views, with the same number of updates.

# %%
train, valid = splits[0]
pictures = torch.cat([files.tensors(i, i + 1)[0] for i in train.tolist()])
views = cache_features(body, pictures, augment=per_image(random_view),
                       views=2).to(device)  # (2, n, 1280)
three = torch.cat([Z[train][None], views])
gains = {"log loss": [], "accuracy": []}
for seed in range(3):
    P = [probabilities(net, Z[test]) for net in (
        train_head(Z[train], y[train], seed=seed),
        train_head(three, y[train], epochs=10, seed=seed))]
    gains["log loss"].append(log_loss(P[1], y[test]) - log_loss(P[0], y[test]))
    gains["accuracy"].append((accuracy(P[1], y[test]).mean() - accuracy(
        P[0], y[test]).mean()).item())
for name, each in gains.items():
    print(f"{name:8s} with views", " ".join(f"{d:+.3f}" for d in each))

# %%
if measured:
    assert max(map(abs, gains["accuracy"])) < 0.02
    assert -0.07 < min(gains["log loss"]) < max(gains["log loss"]) < 0

# %% [markdown]
# The accuracy moves by a few test pictures in either direction, and the log loss, here without a temperature, falls by a few hundredths at most.
# The seeds share pictures and views, so this is weak evidence, and for one split only.
#
# ## The answer
#
# The table has a row for each picture and a column for each class, with the names of the classes in the header.
# Columns in another order than the header's raise no error, and a probability written as 0.0000 costs what certainty costs.
# (Below, we print only the first 70 characters of the table, so the last number is cut.)

# %% tags=["export"]
def write_prob_submission(ids, P, classes, path):
    """A table: id, then a column for each class, sorted by its name.

    `P` (n, k) are probabilities, the i-th row for the i-th of `ids`, the
    j-th column for the j-th of `classes`; rows come in the order of
    `sort_ids`. Ten significant digits, so no small one becomes 0. Raises
    ValueError for other shapes, names that come twice, and rows that are
    no probabilities (sums off 1 by more than 1e-4; they are scaled to 1).
    """
    ids, classes, P = list(ids), list(classes), P.detach().cpu().double()
    if P.shape != (len(ids), len(classes)) or not ids:
        raise ValueError(f"{len(ids)} ids and {len(classes)} classes need "
                         f"probabilities of that shape, not {tuple(P.shape)}.")
    if len(set(ids)) < len(ids) or len(set(classes)) < len(classes):
        raise ValueError("an id or a class comes twice.")
    if not (P.min() >= 0 and (P.sum(1) - 1).abs().max() < 1e-4):
        raise ValueError("each row of P must be probabilities with sum 1.")
    rows = dict(zip(ids, (P / P.sum(1, keepdim=True)).tolist()))
    order = sorted(range(len(classes)), key=lambda j: classes[j])
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", *(classes[j] for j in order)])
        writer.writerows([name, *(f"{rows[name][j]:.10g}" for j in order)]
                         for name in sort_ids(ids))

# %%
def read_answers(path):
    """What the organizers read: ids, classes, probabilities (n, k)."""
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    return ([row[0] for row in rows], header[1:],
            torch.tensor([[float(p) for p in row[1:]] for row in rows]))


best = results[0]
P = (best["logits"][test] / best["T"]).softmax(1)
path = folder / "submission.csv"
write_prob_submission(files.ids[n:], P, files.classes, path)
print(path.read_text(encoding="utf-8")[:70].split())
ids, classes, answered = read_answers(path)
truth = torch.tensor([classes.index(labels[name]) for name in ids])
print(f"score {log_loss(answered, truth):.3f}")

# %%
# check 14.14-C6: rows sum to 1, columns by name, nothing rounded to 0
assert (answered.double().sum(1) - 1).abs().max() < 1e-6
assert classes == sorted(files.classes) and ids == sort_ids(ids)
assert abs(log_loss(answered, truth) - best["with T"]) < 1e-5
small = torch.tensor([[0.7, 0.3 - 1e-9, 1e-9], [0.2, 0.3, 0.5]])
small = small.double()
write_prob_submission(["10", "9"], small, ["pug", "akita", "boxer"], path)
ids, classes, answered = read_answers(path)
assert ids == ["9", "10"] and classes == ["akita", "boxer", "pug"]
torch.testing.assert_close(answered.double(), small.flip(0)[:, [1, 2, 0]],
                           rtol=1e-6, atol=1e-12)
write_prob_submission(["1", "2"], small * 1.00005, "abc", path)
assert (read_answers(path)[2].double().sum(1) - 1).abs().max() < 1e-6
for bad in ((["1"], small, "abc"), (["1", "1"], small, "abc"),
            (["1", "2"], small, "aba"), (["1", "2"], small * 2, "abc"),
            (["1", "2"], small - 0.25, "abc"), ([], small[:0], "abc")):
    assert refuses(lambda: write_prob_submission(*bad, path))

# %% [markdown]
# ## A body that has seen the answers
#
# The 120 breeds are classes of ImageNet, and the photographs are those of Stanford Dogs (Khosla et al., 2011), which were taken from it.
# A body trained on ImageNet has therefore probably seen many of the *test* pictures, with their breeds.
# Our cats and dogs share classes with it, 118 breeds and 5 kinds of cats (the competition's 120 lack the dalmatian and add three wild dogs, such as the dingo); judging by their names, the photographs belong to a collection from animal shelters (Elson et al., 2007), but they were not compared with ImageNet's here.
#
# Does it help that the body is frozen and the split clean?
# We try it in miniature.
# A small body, one hidden layer of 64 on our features, is trained with the labels of all 400 labelled pictures and of half of the test pictures, then frozen.
# A new head on it learns from the 200 training pictures only.

# %%
def scored(logits, T, rows):
    """Accuracy, log loss and log loss with T on some rows."""
    return torch.tensor([accuracy(logits[rows], y[rows]).mean()] + [
        log_loss((logits[rows] / t).softmax(1), y[rows]) for t in (1, T)])


halves = test.chunk(2)
outcome = {"leaky body, pictures it saw": [], "leaky body, new ones": []}
coldest = []  # temperatures
for seed, row in enumerate(results):
    both = {name: [] for name in outcome}
    for leaked, fresh in (halves, halves[::-1]):
        shown = torch.cat([torch.arange(n), leaked])
        inner = train_head(Z[shown], y[shown], seed=seed)[:2]
        leaky = judge(inner(Z).detach(), seed)  # features (all, 64)
        coldest.append(leaky["T"])
        for name, rows in zip(both, (leaked, fresh)):
            both[name].append(scored(leaky["logits"], leaky["T"], rows))
    for name, each in both.items():  # the mean over the two halves
        outcome[name].append(torch.stack(each).mean(0))
outcome["clean body"] = [scored(row["logits"], row["T"], test)
                         for row in results]
print(f"{'':28s}accuracy, log loss, log loss with T")
for name, each in outcome.items():
    print(f"{name:28s}", "   ".join(
        " ".join(f"{value:.3f}" for value in row) for row in each))

# %%
# check: the leak flatters the pictures that leaked, and spoils T
if measured:
    for seen, new, clean in zip(*outcome.values()):
        assert seen[0] > 0.98 and seen[1] < 0.03
        assert abs(new[0] - clean[0]) < 0.03 < seen[0] - clean[0]
        assert abs(new[1] - clean[1]) < 0.12
        assert new[2] > new[1] + 0.15 and new[2] > clean[2] + 0.15
    assert set(coldest) == {min(torch.logspace(-1, 1, 81).tolist())}

# %% [markdown]
# (Each half leaks once, so each picture is once seen and once new; the numbers are means, one triple for each split.)
# With the leaky body the score is nearly perfect on the pictures it has seen, and on new ones about what it is with the clean body.
# Worse, the validation pictures were seen, too: each time they ask for the lowest temperature on offer, 0.1, and this certainty multiplies the log loss on new pictures.
# Freezing the body does not undo what it has learned, and a split made afterwards cannot tell which pictures it has seen.
#
# Our small body learned these very labels in thirty epochs, and little else; how much of a breed score is memory cannot be read off it.
# But every score with such a body on such pictures, training, validation or test, and every temperature fitted there, has to be read with this doubt.
# What helps are pictures taken later, or a body whose training pictures are known not to contain them.

# %% [markdown]
# ## Pictures and their captions
#
# A head knows the classes it was trained on, as numbers.
# A caption says more: "a red ring" shares a word with "a blue ring".
# Our pictures show one of six shapes in one of six colours; six of the 36 pairs are held out, one for each shape and colour, so every word occurs in training and these pairs do not.

# %%
shapes = ShapeImages(int(1.26 * (num_shapes + 300)), classes=6, seed=1)
WORDS = ["a", *COLORS, *SHAPES[:6]]
NAMES = [f"a {color} {shape}" for color in COLORS for shape in SHAPES[:6]]


def tokens(captions):
    """Numbers of words (n, 3)."""
    return torch.tensor([[WORDS.index(word) for word in caption.split()]
                         for caption in captions])


T_all, T_names = tokens(shapes.captions), tokens(NAMES).to(device)
pair = shapes.colors * 6 + shapes.labels  # number of the name, 0 .. 35
out = shapes.colors == shapes.labels  # held out: (0, 0), (1, 1), ...
seen = (~out).nonzero()[:, 0]
rows = {"train": seen[:num_shapes], "seen": seen[num_shapes:][:300],
        "held out": out.nonzero()[:300, 0]}
print({name: len(each) for name, each in rows.items()}, WORDS)

# %%
# check: training has all words and none of the six pairs
k = pair[rows["train"]]
assert not set(k.tolist()) & set(range(0, 36, 7))
assert set(pair[rows["held out"]].tolist()) <= set(range(0, 36, 7))
assert T_all[rows["train"]].unique().tolist() == list(range(len(WORDS)))
assert [NAMES[i] for i in pair.tolist()] == shapes.captions
assert not set(rows["train"].tolist()) & set(rows["seen"].tolist())

# %% tags=["hide-input"]
examples = [*rows["train"][:6].tolist(), *rows["held out"][:2].tolist()]
axes = d2l.show_images(shapes.images[examples], 2, 4,
                       [shapes.captions[i] for i in examples], scale=1.15)
d2l.describe(axes, """Eight drawn pictures of one shape each with captions
    such as a red ring. The last two are held-out pairs.""")

# %% [markdown]
# **Figure 14.14.4.** Pictures of 32 by 32 pixels with their captions; the last two show pairs that training does not.
#
# One encoder turns a picture into a unit vector $\mathbf{f}_i\in\mathbb{R}^d$, another a caption into $\mathbf{g}_j\in\mathbb{R}^d$.
# In a batch of $n$ pairs, the score of picture $i$ and caption $j$ is
#
# $$z_{ij}=e^t\,\langle\mathbf{f}_i,\mathbf{g}_j\rangle+b, \tag{14.14.3}$$
#
# with the scale $e^t$ and the bias $b$ learned.
# CLIP (Radford et al., 2021) asks a softmax to find the caption of each picture among $n$, and the picture of each caption; it needs no $b$, which a softmax ignores.
# SigLIP (Zhai et al., 2023) asks of each of the $n^2$ combinations separately whether it belongs together:
#
# $$L_{\text{CLIP}}=-\frac1{2n}\sum_{i=1}^n\Bigl(\log\frac{e^{z_{ii}}}{\sum_je^{z_{ij}}}+\log\frac{e^{z_{ii}}}{\sum_je^{z_{ji}}}\Bigr),\qquad L_{\text{SigLIP}}=-\frac1n\sum_{i,j=1}^n\log\sigma(y_{ij}z_{ij}), \tag{14.14.4}$$
#
# where $y_{ij}$ is $1$ for $i=j$ and $-1$ otherwise.
# Before CLIP, Zhang et al. (2020) trained on medical pictures and their reports with two such softmaxes.
# SigLIP starts at $t=\log10$ and $b=-10$, so that in the beginning the many wrong combinations cost little; we start CLIP at the same scale.
#
# There is a catch.
# With 30 captions and a batch of 128 nearly every caption comes several times, and its other pictures count as wrong: false negatives.
# Both losses below can be told all combinations that belong together; CLIP's softmax then aims at equal shares for them (as Yang et al., 2022, do with labels).

# %% tags=["export"]
def clip_loss(z, positives=None):
    """CLIP's loss of scores z (n, n), pictures by captions, a scalar.

    The mean of the cross-entropies along rows and columns. `positives`
    (n, n), true where picture and caption belong together, is the diagonal
    if not given; several in a row or column share the target equally, and
    each needs one, or the loss is nan. Raises ValueError for other shapes.
    Source: A. Radford et al. (2021).
    """
    y = pair_targets(z, positives)
    return -sum((y / y.sum(axis, keepdim=True) * z.log_softmax(axis))
                .sum(axis).mean() for axis in (0, 1)) / 2


def siglip_loss(z, positives=None):
    """SigLIP's loss of scores z (n, n), pictures by captions, a scalar.

    -log sigmoid(z) where they belong together, -log sigmoid(-z) elsewhere,
    summed and divided by n. For `positives` see `clip_loss`. Raises
    ValueError for other shapes. Source: X. Zhai et al. (2023).
    """
    y = 2 * pair_targets(z, positives) - 1
    return -F.logsigmoid(y * z).sum() / len(z)


def pair_targets(z, positives=None):
    """`positives` (n, n) as numbers like z; by default the diagonal."""
    if z.ndim != 2 or z.shape[0] != z.shape[1]:
        raise ValueError("scores must be (n, n), a caption for each "
                         f"picture; they are {tuple(z.shape)}.")
    if positives is None:
        return torch.eye(len(z), dtype=z.dtype, device=z.device)
    if positives.shape != z.shape:
        raise ValueError(f"positives {tuple(positives.shape)} must have the "
                         f"shape of the scores, {tuple(z.shape)}.")
    return positives.to(z.dtype)

# %%
# the losses are formula 14.14.4, and targets are shared
rng = torch.Generator().manual_seed(0)
z = 3 * torch.randn(5, 5, generator=rng, dtype=torch.float64)
clip = siglip = 0.0
for i, j in itertools.product(range(5), range(5)):
    siglip -= math.log(1 / (1 + math.exp(-z[i, j] if i == j else z[i, j]))) / 5
    if i == j:
        clip -= (z[i, i] - z[i].exp().sum().log()
                 + z[i, i] - z[:, i].exp().sum().log()) / 10
torch.testing.assert_close(clip_loss(z), clip)
assert abs(siglip_loss(z) - siglip) < 1e-9
assert clip_loss(z) != clip_loss(z.roll(1, 0))
assert abs(clip_loss(z + 7) - clip_loss(z)) < 1e-9  # b is ignored
two = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 1]]).bool()
by_hand = sum(F.cross_entropy(a, p.double() / p.sum(1, keepdim=True))
              for a, p in ((z[:3, :3], two), (z[:3, :3].T, two.T))) / 2
torch.testing.assert_close(clip_loss(z[:3, :3], two), by_hand)
gap = siglip_loss(z[:3, :3], two) - siglip_loss(z[:3, :3])
torch.testing.assert_close(gap, -z[0, 1] / 3)
for bad in ((z[:3], None), (z[0], None), (z, two)):
    assert refuses(lambda: clip_loss(*bad))
    assert refuses(lambda: siglip_loss(*bad))

# %% [markdown]
# The caption's encoder averages vectors of its words and passes the mean through a small network; word order does not count, and here it need not.
# (CLIP's is a Transformer.)
# `forward` encodes pictures only: the captions are the *targets* that our loop hands to the loss, which encodes them.

# %% tags=["export"]
class ContrastiveNet(nn.Module):
    """Unit vectors for pictures and captions, and scores of their pairs.

    `image` is a module that gives (n, dim). Captions are numbers of words
    (n, length), below `num_words`, whose vectors are averaged. The scale
    starts at 10; `bias` is the start of b, or None for no b. Raises
    ValueError for sizes below 1. Source: A. Radford et al. (2021), X. Zhai
    et al. (2023).
    """

    def __init__(self, image, num_words, dim, hidden=64, bias=None):
        super().__init__()
        if min(num_words, dim, hidden) < 1:
            raise ValueError(f"sizes {num_words}, {dim}, {hidden} must be "
                             "positive.")
        self.image = image
        self.text = nn.Sequential(nn.EmbeddingBag(num_words, hidden),
                                  head(hidden, hidden, dim))
        self.t = nn.Parameter(torch.tensor(math.log(10.0)))
        self.b = None if bias is None else nn.Parameter(
            torch.tensor(float(bias)))

    def forward(self, X):
        return F.normalize(self.image(X), dim=1)  # (n, dim)

    def embed_text(self, T):
        return F.normalize(self.text(T), dim=1)  # (m, dim)

    def logits(self, f, g):
        z = self.t.exp() * f @ g.T  # (n, m)
        return z if self.b is None else z + self.b

# %% tags=["hide-input"]
# check: unit vectors, formula 14.14.3, and no b for None
torch.manual_seed(0)
net = ContrastiveNet(nn.Linear(5, 8), len(WORDS), 8, bias=-2)
f, g = net(torch.randn(4, 5)), net.embed_text(T_names.cpu())
torch.testing.assert_close(f.norm(dim=1), torch.ones(4))
torch.testing.assert_close(g.norm(dim=1), torch.ones(36))
torch.testing.assert_close(net.logits(f, g), 10 * f @ g.T - 2)
with torch.no_grad():
    net.t += 1
torch.testing.assert_close(net.logits(f, g), 10 * math.e * f @ g.T - 2)
assert len(list(net.parameters())) == 2 + 1 + 4 + 2  # image, text, t, b
assert ContrastiveNet(nn.Identity(), 3, 2).b is None
for bad in ((0, 2), (3, 0), (3, 2, 0)):
    assert refuses(lambda: ContrastiveNet(nn.Identity(), *bad))

# %% [markdown]
# ### Does it matter whether repeated captions are marked?
#
# Before any training, we compare both losses with and without marking, on a batch with repeated captions.

# %%
torch.manual_seed(0)
net = ContrastiveNet(nn.Linear(5, 8), len(WORDS), 8, bias=-10).double()
T = T_all[rows["train"]][:64]
same = (T[:, None] == T).all(2)  # (64, 64)
X = torch.randn(64, 5, generator=rng, dtype=torch.float64)


def loss_and_slope(loss, positives):
    """The loss, and its gradient for all parameters as one vector."""
    value = loss(net.logits(net(X), net.embed_text(T)), positives)
    slopes = torch.autograd.grad(value, list(net.parameters()))
    return value.item(), torch.cat([g.flatten() for g in slopes])


for loss in (clip_loss, siglip_loss):
    (plain, g), (marked, h) = (loss_and_slope(loss, p) for p in (None, same))
    print(f"{loss.__name__:12s}{plain:7.3f}, marked {marked:7.3f}; gradients "
          f"differ by {(g - h).norm() / g.norm():.3f} of their length")

# %%
# check: equal captions make no difference to CLIP, others do
assert same.sum() > 64  # there are some
a, b = (loss_and_slope(clip_loss, p) for p in (None, same))
assert abs(a[0] - b[0]) < 1e-9 and (a[1] - b[1]).norm() < 1e-9
a, b = (loss_and_slope(siglip_loss, p) for p in (None, same))
assert b[0] > a[0] + 1 and (a[1] - b[1]).norm() > 0.5 * a[1].norm()
near = net.logits(net(X), net.embed_text(T) + 0.1 * torch.randn(
    64, 8, generator=rng))  # captions that are not quite equal
assert abs(clip_loss(near) - clip_loss(near, same)) > 1e-6

# %% [markdown]
# CLIP's loss does not change at all, and neither does its gradient.
# Equal captions have equal vectors, so equal columns of scores.
# In the row of a picture, its caption and the repetitions have the same score, and it does not matter how the target is shared among them.
# The columns of a caption that comes $m$ times are equal, too: unmarked, each aims at another one of the $m$ pictures, marked, all aim at all of them, and the sums agree.
# So for *exact* repetitions marking can change CLIP's training by rounding only; with paraphrases it would not be so.
# SigLIP's loss changes: every combination has its own yes or no.

# %% [markdown]
# ### Training on locked features
#
# We first lock the picture's encoder, as Zhai et al. (2022) did with large ones: its body is the lower part of EfficientNet-Lite0, whose features are stored once, and of the picture's side only a small head on them is trained.

# %%
class TwoLevels(nn.Module):
    """The maps at strides 8 and 16 of EfficientNet-Lite0, as one row."""

    def __init__(self):
        super().__init__()
        self.body = efficientnet_lite0()
        self.body._blocks = self.body._blocks[:11]  # no more is needed

    def forward(self, X):
        maps = self.body.features(X)  # at strides 2, 4, 8, 16
        return torch.cat([level.flatten(1) for level in maps[-2:]], 1)


stored = {name: cache_features(TwoLevels().to(device), shapes.images[each],
                               200).to(device) for name, each in rows.items()}
std, mean = torch.std_mean(stored["train"], dim=0)
locked = {name: (each - mean) / (std + 1e-6) for name, each in stored.items()}
drawn = {name: shapes.images[each].to(device) for name, each in rows.items()}
marks = sorted({e for e in (1, 3, 10) if e < num_epochs} | {num_epochs})
print(f"{tuple(locked['train'].shape)}, marks after epochs {marks}")

# %%
def find_names(net, X):
    """For each picture the nearest of the 36 names."""
    with evaluating(net):
        return (net(X) @ net.embed_text(T_names).T).argmax(1).cpu()


def hits(net, source, part):
    return (find_names(net, source[part]) == pair[rows[part]]).float()


def train_pairs(net, source, loss, epochs, seed, mark=False, size=128):
    """Train on pictures and captions; {epoch: (seen, held out)}."""
    record, steps = {}, itertools.count(1)

    def objective(f, T):
        same = (T[:, None] == T).all(2) if mark else None
        return loss(net.logits(f, net.embed_text(T)), same)

    def after_step(net):
        epoch, rest = divmod(next(steps), math.ceil(num_shapes / size))
        if rest == 0 and epoch in {*marks, epochs}:
            record[epoch] = tuple(hits(net, source, part).mean().item()
                                  for part in ("seen", "held out"))

    train_ch14(net, (source["train"], T_all[rows["train"]]), None, objective,
               torch.optim.AdamW(net.parameters(), 3e-3, fused=True), epochs,
               device, size, score=None, after_step=after_step, seed=seed,
               schedule=lambda step: 1.0)
    return record

# %% [markdown]
# All arms get the same pictures, order and updates: batches of 128, AdamW at the constant rate 3e-3, which was tuned for none of them.
# A constant rate lets one run show what it had reached after fewer epochs.

# %%
def contrast(loss, seed, epochs=num_epochs, bias=None, mark=False, size=128):
    """A net on locked features and its record."""
    torch.manual_seed(seed)
    net = ContrastiveNet(head(locked["train"].shape[1], 64, 32), len(WORDS),
                         32, bias=bias)
    return net, train_pairs(net, locked, loss, epochs, seed, mark, size)


def report(name, records, epochs):
    for e in epochs:
        print(f"{name:30s}{e:3d} epochs: ", "  ".join(
            f"{r[e][0]:.2f}/{r[e][1]:.2f}" for r in records))


arms = {"CLIP": [], "SigLIP": [], "SigLIP, marked": []}
nets = []
for seed in range(3):
    net, record = contrast(clip_loss, seed)
    nets.append(net)
    arms["CLIP"].append(record)
    for name, mark in (("SigLIP", False), ("SigLIP, marked", True)):
        arms[name].append(contrast(siglip_loss, seed, bias=-10, mark=mark)[1])
for name, records in arms.items():
    report(name, records, marks)

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(6.6, 2.9), sharey=True)
for ax, which, title in zip(axes, (0, 1), ("pairs of training", "held out")):
    for (name, records), style in zip(arms.items(), ("o-", "s-", "D--")):
        means = [sum(r[e][which] for r in records) / 3 for e in marks]
        line, = ax.plot(marks, means, style, ms=4, label=name)
        for r in records:
            ax.plot(marks, [r[e][which] for e in marks], style[0], ms=2.5,
                    color=line.get_color(), alpha=0.6)
    ax.axhline(1 / 36, color="#888888", lw=0.8)
    ax.set(xscale="log", xlabel="epochs", title=title, ylim=(0, 0.9))
    ax.minorticks_off()
    ax.set_xticks(marks, labels=marks)
axes[0].set_ylabel("accuracy")
axes[0].legend(loc="lower right", fontsize=8)
d2l.describe(axes, """Accuracy against epochs for three losses, on pairs of
    training and on held-out pairs. CLIP is ahead after one epoch; after
    twenty all three lie together, on held-out pairs a little lower.""")

# %% [markdown]
# **Figure 14.14.5.** Choosing among 36 captions; lines join the means of three seeds (small marks), the gray line is guessing.

# %%
# check 14.14-C8: all losses name seen and held-out pairs; early is not late
full = (num_photos, num_shapes, num_epochs, scratch_epochs, width) == (
    350, 2000, 20, 6, 1)
measured = real and full
if measured:
    for records in arms.values():
        assert all(r[10][0] > 0.65 and r[10][1] > 0.45 for r in records)
    for r, s, m in zip(*arms.values()):
        assert r[1][0] > s[1][0] + 0.03 and s[1][0] > m[1][0] + 0.02
        assert max(r[20][0], s[20][0], m[20][0]) < 0.1 + min(
            r[20][0], s[20][0], m[20][0])
    late = {name: sum(r[20][1] for r in records) / 3
            for name, records in arms.items()}
    assert max(late.values()) - min(late.values()) < 0.06
    for records in arms.values():
        assert all(r[20][1] > r[1][1] + 0.15 for r in records)
        assert 0.03 < sum(r[20][0] - r[20][1] for r in records) / 3 < 0.15

# %% [markdown]
# The captions of the training pairs are known from training, so choosing among them is plain classification; for the held-out pairs it is zero-shot classification: the class is given by words alone.
# A classifier with an output for each of the 30 pairs could never say them.
# They are named far above chance, and less often than the pairs of training, after twenty epochs by about a tenth or less on average over the seeds.
#
# After one epoch, on the pairs of training, CLIP leads, SigLIP follows, and SigLIP with marked repetitions is last, with each seed.
# After twenty, none is clearly ahead: 300 pictures leave a standard error of two to three hundredths.
# So "this loss is better" and "marking hurts" would have been statements about the first epochs.
# (The seeds share the pictures and the six held-out pairs; other pairs may be easier or harder to name.)
#
# Is it marking that holds SigLIP back in the beginning?
# Its start $b=-10$ was made for a few right combinations among many wrong ones, and marking makes about five times as many right.
# The control changes only the start of $b$, to $-\log127$: where the cosine is 0, the probability $\sigma(b)$ is then $1/128$, the share of the right combinations in an unmarked batch.

# %%
few = min(10, num_epochs)
other = {}
for name, mark in (("b = -log 127", False), ("b = -log 127, marked", True)):
    other[name] = [contrast(siglip_loss, seed, few, -math.log(127), mark)[1]
                   for seed in range(3)]
    report(f"SigLIP, {name}", other[name], [e for e in marks if e <= few])

# %%
# check: what marking does to held-out pairs depends on the start of b
if measured:
    for e in (3, 10):
        assert all(m[e][1] > r[e][1] + 0.05 for r, m in zip(*other.values()))
    assert all(s[3][1] > r[3][1] + 0.07 for s, r in zip(
        arms["SigLIP"], other["b = -log 127"]))
    for e in (10, 20):  # from b = -10 marking makes no clear difference
        assert abs(sum(m[e][1] - s[e][1] for s, m in zip(
            arms["SigLIP"], arms["SigLIP, marked"]))) < 0.09

# %% [markdown]
# With this start marking does no clear harm on the pairs of training after one epoch: it lowers the accuracy of two seeds a little and raises that of the third.
# And marking *gains* on the held-out pairs, with each seed, after three epochs and after ten; with the start at $-10$ it makes no clear difference to them after ten.
# And without marking, three epochs from $-10$ do better there than three from $-\log127$.
# So what marking does to SigLIP depends here on the start of $b$ and on the length of the training, and no single answer is a property of the loss.
#
# ### Words, not pairs
#
# How does a network name a pair that it has never met?
# The mean cosines of all 36 kinds of pictures with all 36 names show it.

# %%
both = torch.cat([rows["seen"], rows["held out"]])
with evaluating(nets[0]) as net:
    f = net(torch.cat([locked["seen"], locked["held out"]]))
    cosines = (f @ net.embed_text(T_names).T).cpu()  # (600, 36)
table = torch.stack([cosines[pair[both] == p].mean(0) for p in range(36)])
guess, truth = cosines.argmax(1), pair[both]
for name, where in (("seen", ~out[both]), ("held out", out[both])):
    right = {"colour": guess // 6 == truth // 6,
             "shape": guess % 6 == truth % 6}
    print(f"{name:9s}", ", ".join(
        f"{word} right {hit[where].float().mean():.2f}"
        for word, hit in right.items()))

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(4.9, 4.2))
d2l.heatmap(table, xlabel="caption", ylabel="picture", ax=ax)
middles = torch.arange(6) * 6 + 2.5
ax.set_xticks(middles, labels=COLORS, rotation=30)
ax.set_yticks(middles, labels=COLORS)
for edge in range(6, 36, 6):
    ax.axhline(edge - 0.5, color="w", lw=0.7)
    ax.axvline(edge - 0.5, color="w", lw=0.7)
ax.plot(range(0, 36, 7), range(0, 36, 7), "o", mfc="none", color="r", ms=6)
d2l.describe(ax, """Mean cosines of 36 kinds of pictures with 36 captions, in
    six by six blocks by colour. Blocks on the diagonal are bright, and
    within all blocks the diagonal, the right shape, is brighter than the
    rest. Circles mark six held-out pairs.""")

# %% [markdown]
# **Figure 14.14.6.** Mean cosines for CLIP's loss (first seed), ordered by colour and, within a colour, by shape; circles: held-out pairs.
# The blocks on the diagonal have the right colour, the diagonals inside the blocks the right shape.

# %%
# a classifier for each word, as large as the picture's encoder
words = {"seen": [], "held out": []}
for seed in range(3):
    color, shape = (train_head(locked["train"], target[rows["train"]].to(
        device), epochs=8, seed=seed, num_classes=6)
        for target in (shapes.colors, shapes.labels))
    for part, each in words.items():
        X = locked[part]
        named = (color(X).argmax(1) * 6 + shape(X).argmax(1)).cpu()
        each.append((named == pair[rows[part]]).float().mean().item())
for part, each in words.items():
    print(f"two classifiers, {part:9s}", " ".join(f"{a:.2f}" for a in each))

# %%
if table.isfinite().all():  # every kind of picture occurs
    same_color = torch.eye(6).repeat_interleave(6, 0).repeat_interleave(6, 1)
    same_shape = torch.eye(6).repeat(6, 6)
    means = [table[(same_color == c) & (same_shape == s)].mean()
             for c, s in ((1, 1), (1, 0), (0, 1), (0, 0))]
    assert not measured or (means[0] > max(means[1:3]) + 0.2
                            and min(means[1:3]) > means[3] + 0.1)
if measured:
    for i, each in enumerate(words.values()):
        assert abs(sum(each) - sum(r[20][i] for r in arms["CLIP"])) < 0.12

# %% [markdown]
# A picture is near its own caption, less near to captions with one right word, and far from the others.
# With this seed the colour is right about as often on held-out pairs as on the others, the shape less often.
# Two ordinary classifiers, each of the size of the picture's encoder, one for the colour and one for the shape, name about as many pairs of either kind after as many updates each, within a few hundredths (batches, rate and schedule are those of `train_head`).
# So here the captions find no more than the two labels would have; what is new is that nobody had to say which words are labels.
# With several objects in a picture it matters which colour goes with which shape, and there CLIP was found to do far worse (Lewis et al., 2024).
#
# ### Both encoders from scratch
#
# CLIP locked nothing.
# In this control only the picture's encoder is replaced, by a small convolutional network that starts at random and sees the pixels.

# %%
class SmallCNN(nn.Module):
    """Bytes (n, 3, 32, 32) to (n, 32), by three convolutions."""

    def __init__(self):
        super().__init__()
        layers, c_in = [], 3
        for c, size, stride in ((16, 5, 2), (32, 3, 1), (64, 3, 2)):
            c = int(c * width)
            layers += [nn.Conv2d(c_in, c, size, stride, size // 2,
                                 bias=False), nn.BatchNorm2d(c), nn.ReLU()]
            if size == 5:
                layers.append(nn.MaxPool2d(2))
            c_in = c
        self.net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1),
                                 nn.Flatten(), nn.Linear(c_in, 32))

    def forward(self, X):
        return self.net(X / 127.5 - 1)


unlocked = []
for seed in range(3):
    torch.manual_seed(seed)
    net = ContrastiveNet(SmallCNN(), len(WORDS), 32)
    unlocked.append(train_pairs(net, drawn, clip_loss, scratch_epochs, seed))
report("CLIP from scratch", unlocked, [scratch_epochs])

# %%
if measured:
    for r, s in zip(arms["CLIP"], unlocked):
        assert min(s[6]) > 2 / 36  # above guessing
        assert all(a > b + 0.1 for a, b in zip(r[3], s[6]))

# %% [markdown]
# After six epochs it names fewer pairs of either kind than the locked encoder after three.
# That is no verdict on training both: it has seen 2000 pictures and the locked body over a million, and six epochs are a beginning.
# CLIP itself was trained on 400 million pairs.
#
# ## Where this has gone
#
# CLIP matched the original ResNet-50 on ImageNet without any of its 1.28 million labelled training pictures, by captions such as "a photo of a dog".
# With SigLIP, a batch no longer has to be normalized as a whole; its authors found that a batch of about 32 thousand pairs is enough.
# SigLIP 2 (Tschannen et al., 2025) adds captioning, self-distillation and masked prediction to the loss, for better local features, and gets better at many languages by more diverse data.
# Such encoders are parts of larger models: PaliGemma joins SigLIP's picture encoder to a language model (Beyer et al., 2024), and SDXL reads its prompts through the text encoders of two CLIP models (Podell et al., 2023).
# Bodies without any text, DINOv2 and DINOv3 (Siméoni et al., 2025), are made to be used frozen ([Section 14.2](02-fine-tuning.ipynb)); on their features, as on ours, one can train a probe or lock them and train the text.
# For all of them the question of this section returns: what was in the training pictures?

# %% [markdown]
# ## Summary
#
# - A frozen body in evaluation mode is a fixed function: store its features once, and a head trained on them comes out as if trained through the body.
# - The log loss judges confidence. A temperature fitted on validation pictures keeps the answers; here it repaired what too large a rate had done, and a rate chosen by the validation log loss did as well.
# - Write probabilities with enough digits, and the classes in the order of the header.
# - A body that was trained on the test pictures flatters them although it is frozen; validation pictures that it has seen made the temperature worthless.
# - Marking exact repetitions of captions does not change CLIP's loss. For SigLIP, what marking did depended on the start of the bias and on the epoch.
# - Captions let a class be named by its words: held-out pairs of colour and shape were found less often than trained ones, but far above chance, and about as often as by two classifiers, one for each word.

# %% [markdown]
# ## Exercises
#
# ### Exercise 14.14-1
#
# Give the head the 1000 scores of the source network instead of the features; then take scores and features from a body in training mode, in batches of 32.
# What does each do to accuracy and log loss?

# %% [markdown]
# #### Solution 14.14-1

# %% [markdown]
# With this split and each of three seeds, the scores lower the accuracy by 0.02 to 0.03 and raise the log loss by up to 0.1.
# (In accuracy these are three or four of 150 test pictures, the same 150 for each seed.)
# The training mode lowers the accuracy by about 0.1, and the log loss becomes larger by a third or more.
# Only batch normalization behaves differently here (the network has no dropout): each picture is standardized by the statistics of its batch.
# (One pass stands for all epochs here; with new batches in each epoch the features would also change. Half of the test pictures are used, and the last batches are smaller.)

# %%
train, tried = splits[0][0], test[:len(test) // 2]
last = original._fc.to(device).eval()
unfrozen = copy.deepcopy(original).train()
mixed = torch.zeros_like(Z)
for part in (*train.split(32), *tried.split(32)):
    X = middle(torch.cat([files.tensors(i, i + 1)[0] for i in part.tolist()]))
    with torch.no_grad():
        mixed[part] = unfrozen.embed(X.to(device))
with torch.no_grad():
    inputs = {"features": Z, "scores": last(Z),
              "features, training mode": mixed,
              "scores, training mode": last(mixed)}
costs = {}
for name, each in inputs.items():
    costs[name] = []
    for seed in range(3):
        net = train_head(each[train], y[train], seed=seed)
        P = probabilities(net, each[tried])
        costs[name].append((accuracy(P, y[tried]).mean().item(),
                            log_loss(P, y[tried])))
    print(f"{name:24s}", "  ".join(f"{a:.3f} {b:.3f}"
                                   for a, b in costs[name]))
if measured:
    for a, b, c, d in zip(*costs.values()):
        assert 0 < a[0] - b[0] < 0.045 and 0 < b[1] - a[1] < 0.15
        assert a[0] > c[0] + 0.05 and b[0] > d[0] + 0.05
        assert c[1] > 1.3 * a[1] and d[1] > 1.3 * b[1]

# %% [markdown]
# ### Exercise 14.14-2
#
# From how many epochs on is it cheaper to store $v$ views of each picture than to compute a new view in each epoch?
# What do the features of all 10 222 breed pictures need in memory?

# %% [markdown]
# #### Solution 14.14-2

# %% [markdown]
# With the cost $B$ of the body and $H$ of a training step of the head, each for one picture, $E$ epochs cost $E(B+H)$ with new views and $vB+EH$ with stored ones.
# The head cancels: they break even at $E=v$, whatever it costs.
# With one stored view, thirty epochs cost little more than one.
# The features of the breed pictures, 1280 numbers of 4 bytes each, need 52 MB.

# %%
B = sum(count_macs(original, (1, 3, 96, 96)).values()) - 1280 * 1000
H = 3 * sum(count_macs(head(1280, 64, 2), (1, 1280)).values())
for v in (1, 4):
    cheaper = [E for E in range(1, 50) if v * B + E * H < E * (B + H)]
    assert cheaper[0] == v + 1 and v * B + v * H == v * (B + H)
print(f"body {B / 1e6:.0f} million multiply-accumulates, head {H / 1e6:.2f}; "
      f"thirty epochs, stored, cost {(B + 30 * H) / (B + H):.2f} times one")
assert (B + 30 * H) / (B + H) < 1.2 and 10_222 * 1280 * 4 < 52.4e6

# %% [markdown]
# ### Exercise 14.14-3
#
# Classify by the $k$ nearest neighbours among the training pictures of each split, with $k$ from 1, 5, 15 and 45 chosen on its validation pictures.
# How far is the head ahead?

# %% [markdown]
# #### Solution 14.14-3

# %% [markdown]
# By a few pictures, about two hundredths on average; neighbours need no training at all.
# Their shares of votes are no good probabilities without further thought: a share of 0 would cost $-\log\epsilon$.

# %%
ahead = []
for seed, (train, valid) in enumerate(splits):
    centred = F.normalize(Z - Z[train].mean(0), dim=1)
    order = (centred @ centred[train].T).argsort(1, descending=True)
    kinds = y[train.to(device)][order]  # (all, 200), nearest first

    def right(k, where):
        vote = kinds[where, :k].float().mean(1) > 0.5
        return (vote.long() == y[where]).float().mean().item()

    k_best = max((1, 5, 15, 45), key=lambda k: right(k, valid))
    ahead.append(results[seed]["accuracy"] - right(k_best, test))
    print(f"k = {k_best}: {right(k_best, test):.3f}, head "
          f"{results[seed]['accuracy']:.3f}")
if measured:
    assert 0 < sum(ahead) / 3 < 0.04 and max(map(abs, ahead)) < 0.05

# %% [markdown]
# ### Exercise 14.14-4
#
# Train the heads with label smoothing 0.1, at the same rate.
# What becomes of the log loss, and of the fitted temperature?

# %% [markdown]
# #### Solution 14.14-4

# %% [markdown]
# Smoothed labels ask for a probability of 0.95, so the scores stay small, and the fitted temperature falls below 1: now the head is too modest.
# Before scaling, the log losses of the two recipes differ by one or two hundredths in either direction; after scaling, the plain labels are ahead on average, by as little.

# %%
smooth = [judge(Z, seed, smoothing=0.1) for seed in range(3)]
for plain, row in zip(results, smooth):
    print("  ".join(f"{key} {plain[key]:.3f} -> {row[key]:.3f}"
                    for key in ("accuracy", "log loss", "T", "with T")))
if measured:
    for plain, row in zip(results, smooth):
        assert row["T"] < 0.9 < 2 < plain["T"]
        assert abs(row["log loss"] - plain["log loss"]) < 0.04
    assert 0 < sum(row["with T"] - plain["with T"]
                   for plain, row in zip(results, smooth)) / 3 < 0.03

# %% [markdown]
# ### Exercise 14.14-5
#
# Train both losses for three epochs in batches of 32, 128 and 512, so the number of pictures is equal.
# Then give batches of 512 as many *updates* as batches of 128 had.

# %% [markdown]
# #### Solution 14.14-5

# %% [markdown]
# At equal pictures and the same rate, 512 is behind 128 with each seed and on either kind of pairs, with a quarter of its updates; 32, with four times as many updates, is not clearly ahead on average.
# At equal updates 512 has had four times the pictures; on the pairs of training it is then ahead by a few hundredths with SigLIP's loss and level with CLIP's.
# What large batches add elsewhere, more different wrong captions, is not to be had here: 128 pictures already hold nearly all 30.

# %%
if num_epochs > 3:
    by_size = {}
    for loss, bias in ((clip_loss, None), (siglip_loss, -10)):
        name = loss.__name__
        by_size[name, 128, 3] = [r[3] for r in arms[
            "CLIP" if bias is None else "SigLIP"]]
        for size, epochs in ((32, 3), (512, 3), (512, 12)):
            by_size[name, size, epochs] = [
                contrast(loss, seed, epochs, bias, size=size)[1][epochs]
                for seed in range(3)]
    for (name, size, epochs), each in by_size.items():
        print(f"{name:12s}{size:4d}, {epochs:2d} epochs: ", "  ".join(
            f"{a:.2f}/{b:.2f}" for a, b in each))
    if measured:
        for name, low, high in (("clip_loss", -0.03, 0.03),
                                ("siglip_loss", 0.01, 0.08)):
            some, same, many = (torch.tensor(by_size[name, *key]) for key in (
                (512, 3), (128, 3), (512, 12)))  # (seeds, 2)
            assert (some < same).all()
            assert low < (many - same)[:, 0].mean() < high
            assert (torch.tensor(by_size[name, 32, 3]) - same)[
                :, 0].mean() < 0.02

# %%
scratch.cleanup()
assert not folder.exists()

# %% [markdown]
# ## Sources
#
# - Kaggle, Dog breed identification, 2017, [kaggle.com](https://www.kaggle.com/c/dog-breed-identification): files, score and breeds of the competition.
# - A. Khosla, N. Jayadevaprakash, B. Yao and L. Fei-Fei, Novel dataset for fine-grained image categorization: Stanford Dogs, 2011, [vision.stanford.edu](http://vision.stanford.edu/aditya86/ImageNetDogs/): the photographs, taken from ImageNet.
# - J. Elson, J. R. Douceur, J. Howell and J. Saul, Asirra: a CAPTCHA that exploits interest-aligned manual image categorization, 2007, [microsoft.com](https://www.microsoft.com/en-us/research/publication/asirra-a-captcha-that-exploits-interest-aligned-manual-image-categorization/): cats and dogs from animal shelters.
# - C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, On calibration of modern neural networks, 2017, [arXiv:1706.04599](https://arxiv.org/abs/1706.04599): temperature scaling.
# - A. Radford et al., Learning transferable visual models from natural language supervision, 2021, [arXiv:2103.00020](https://arxiv.org/abs/2103.00020): CLIP.
# - Y. Zhang, H. Jiang, Y. Miura, C. D. Manning and C. P. Langlotz, Contrastive learning of medical visual representations from paired images and text, 2020, [arXiv:2010.00747](https://arxiv.org/abs/2010.00747).
# - X. Zhai, B. Mustafa, A. Kolesnikov and L. Beyer, Sigmoid loss for language image pre-training, 2023, [arXiv:2303.15343](https://arxiv.org/abs/2303.15343): SigLIP.
# - X. Zhai et al., LiT: zero-shot transfer with locked-image text tuning, 2022, [arXiv:2111.07991](https://arxiv.org/abs/2111.07991).
# - J. Yang et al., Unified contrastive learning in image-text-label space, 2022, [arXiv:2204.03610](https://arxiv.org/abs/2204.03610): targets shared among equal labels.
# - M. Lewis et al., Does CLIP bind concepts? Probing compositionality in large image models, 2024, [arXiv:2212.10537](https://arxiv.org/abs/2212.10537).
# - M. Tschannen et al., SigLIP 2: multilingual vision-language encoders with improved semantic understanding, localization, and dense features, 2025, [arXiv:2502.14786](https://arxiv.org/abs/2502.14786).
# - L. Beyer et al., PaliGemma: a versatile 3B VLM for transfer, 2024, [arXiv:2407.07726](https://arxiv.org/abs/2407.07726).
# - D. Podell et al., SDXL: improving latent diffusion models for high-resolution image synthesis, 2023, [arXiv:2307.01952](https://arxiv.org/abs/2307.01952).
# - M. Oquab et al., DINOv2: learning robust visual features without supervision, 2023, [arXiv:2304.07193](https://arxiv.org/abs/2304.07193).
# - O. Siméoni et al., DINOv3, 2025, [arXiv:2508.10104](https://arxiv.org/abs/2508.10104).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the breed competition, with scores as features and a body in training mode.
