"""Chapter 9, Recurrent neural networks: what its sections teach and later ones use.

Generated from book/09-recurrent-neural-networks/*.py by `python -m bookbuild export`; edit the notebooks.
"""

import d2l_helpers as d2l
import re
import time
import torch
from collections import Counter
from d2l_helpers.chapters.linear_classification import Classifier
from d2l_helpers.chapters.linear_regression import DataModule
from d2l_helpers.chapters.linear_regression import Module
from d2l_helpers.chapters.linear_regression import Trainer
from d2l_helpers.chapters.linear_regression import add_to_class
from d2l_helpers.chapters.modern_cnns import fit_quietly
from functools import partial
from torch import nn
from torch.nn import functional as F


# 9.1 Working with sequences
class SineSeries(DataModule):
    """A noisy sine, cut into windows of `tau` values and the next one.

    The series is x_t = sin(0.01 t) + noise for t = 1, ..., T. Row i of
    `features` (T - tau, tau) holds tau values in the order of time, row i
    of `labels` (T - tau, 1) the one after them. The first `num_train` rows
    are for training, the others for validation.
    """

    def __init__(self, batch_size=16, T=1000, num_train=600, tau=4,
                 noise=0.2, generator=None):
        super().__init__()
        self.save_hyperparameters()
        self.time = torch.arange(1.0, T + 1)
        self.x = (torch.sin(0.01 * self.time)
                  + noise * torch.randn(T, generator=generator))
        self.features = self.x.unfold(0, tau, 1)[:-1]  # (T - tau, tau)
        self.labels = self.x[tau:, None]  # (T - tau, 1)

    def get_dataloader(self, train):
        n = self.num_train
        rows = slice(0, n) if train else slice(n, None)
        return self.get_tensorloader((self.features, self.labels), train,
                                     rows)


# 9.1 Working with sequences
def fit_ar_lstsq(x, tau):
    """Least-squares autoregression of order `tau` on the series x (T,).

    Returns the weights w (tau,), the oldest value's first, and the bias b,
    a scalar tensor: the forecast of x_t is
    w_1 x_{t - tau} + ... + w_tau x_{t - 1} + b.
    """
    windows = x.unfold(0, tau, 1)[:-1]  # (T - tau, tau)
    A = torch.cat((windows, torch.ones_like(windows[:, :1])), dim=1)
    solution = torch.linalg.lstsq(A, x[tau:, None]).solution[:, 0]
    return solution[:-1], solution[-1]


# 9.1 Working with sequences
def rollout(w, b, history, steps):
    """Feed forecasts back: `steps` values after `history`, (steps,).

    `w` (tau,) and `b` are those of `fit_ar_lstsq`; `history` holds at least
    tau values, of which the last tau are used.
    """
    tau = len(w)
    values = list(history[-tau:])
    for _ in range(steps):
        values.append(torch.stack(values[-tau:]) @ w + b)
    return torch.stack(values[tau:])


# 9.2 Converting raw text into sequence data
def read_text(name):
    """The text of a data set of one file, such as "time-machine"."""
    path, = d2l.fetch(name).files.values()
    return path.read_text(encoding="utf-8")


# 9.2 Converting raw text into sequence data
class TextData(DataModule):
    """A text as a sequence of indices.

    `name` is a data set of one file. `preprocess` keeps the letters a to z,
    in lower case, and puts one space for each run of other characters.
    """

    def __init__(self, name="time-machine"):
        super().__init__()
        self.save_hyperparameters()

    def preprocess(self, text):
        return re.sub("[^A-Za-z]+", " ", text).lower()


# 9.2 Converting raw text into sequence data
@add_to_class(TextData)
def tokenize(self, text):
    """A list of characters; a subclass may choose other tokens."""
    return list(text)


# 9.2 Converting raw text into sequence data
class Vocab:
    """Maps tokens to the indices 0, 1, ... and back.

    `tokens` is a list of tokens, or a list of such lists. Tokens that occur
    fewer than `min_freq` times are left out; "<unk>" and those of
    `reserved_tokens` are always in. Indices follow the sorted order of the
    tokens. `token_freqs` lists (token, count), the most frequent first.
    """

    def __init__(self, tokens=(), min_freq=0, reserved_tokens=()):
        if tokens and isinstance(tokens[0], (list, tuple)):
            tokens = [token for line in tokens for token in line]
        self.token_freqs = Counter(tokens).most_common()
        self.idx_to_token = sorted({
            "<unk>", *reserved_tokens,
            *(t for t, n in self.token_freqs if n >= min_freq)})
        self.token_to_idx = {t: i for i, t in enumerate(self.idx_to_token)}

    def __len__(self):
        return len(self.idx_to_token)

    @property
    def unk(self):
        """The index of the unknown token."""
        return self.token_to_idx["<unk>"]


# 9.2 Converting raw text into sequence data
@add_to_class(Vocab)
def __getitem__(self, tokens):
    """The index of a token, or a list of the same form of indices."""
    if isinstance(tokens, (list, tuple)):
        return [self[token] for token in tokens]
    return self.token_to_idx.get(tokens, self.unk)


@add_to_class(Vocab)
def to_tokens(self, indices):
    """The token of an index, or the list of those of several."""
    if isinstance(indices, torch.Tensor):
        indices = indices.tolist()
    if isinstance(indices, (list, tuple)):
        return [self.to_tokens(index) for index in indices]
    return self.idx_to_token[indices]


# 9.2 Converting raw text into sequence data
@add_to_class(TextData)
def build(self, raw_text, vocab=None):
    """The corpus (T,), indices as a tensor, and its vocabulary.

    With `vocab` tokens that it lacks become "<unk>".
    """
    tokens = self.tokenize(self.preprocess(raw_text))
    if vocab is None:
        vocab = Vocab(tokens)
    return torch.tensor(vocab[tokens], dtype=torch.int64), vocab


# 9.2 Converting raw text into sequence data
def ngrams(tokens, n):
    """All runs of n neighbours in a list of tokens, as tuples."""
    return list(zip(*(tokens[i:] for i in range(n))))


# 9.2 Converting raw text into sequence data
def zipf_exponent(freqs, lo, hi):
    """Minus the slope of log frequency against log rank.

    `freqs` are counts in falling order, the first of rank 1; the line is
    fitted by least squares to the ranks from `lo` to `hi`, both included.
    """
    ranks = torch.arange(lo, hi + 1, dtype=torch.float64)
    x = ranks.log()
    y = torch.tensor(freqs[lo - 1:hi], dtype=torch.float64).log()
    x = x - x.mean()
    return -(x @ y / (x @ x)).item()


# 9.3 Language models
def perplexity(log_probs):
    """exp of minus the mean of the log-probabilities, any shape; a float."""
    log_probs = torch.as_tensor(log_probs, dtype=torch.float64)
    return torch.exp(-log_probs.mean()).item()


# 9.3 Language models
def smooth_counts(n, total, eps, vocab_size):
    """Probabilities of the orders 1 to K, each smoothed by the one below.

    `n` and `total` (K, N) are the counts of N runs of 1 to K tokens and of
    their contexts. Returns (K, N) in float64.
    """
    p = [torch.full(n[0].shape, 1 / vocab_size, dtype=torch.float64)]
    for n_k, total_k in zip(n, total):
        p.append((n_k + eps * p[-1]) / (total_k + eps))
    return torch.stack(p[1:])


# 9.3 Language models
def look_up(table, codes):
    """Counts of `codes` in a table of (sorted codes, counts), else 0."""
    known, counts = table
    place = torch.searchsorted(known, codes).clamp(max=len(known) - 1)
    return torch.where(known[place] == codes, counts[place], 0)


# 9.3 Language models
class NgramLM:
    """Counts of up to `order` neighbours, each order smoothed by the lower.

    `vocab_size` is the number of tokens m, `eps` > 0 the weight of the lower
    order in counts: the model of order k adds eps times the probability of
    order k - 1 to each count; order 0 is uniform, 1/m.
    """

    def __init__(self, order, vocab_size, eps):
        if vocab_size**order > 2**63:
            raise ValueError(f"{vocab_size}^{order} runs do not fit into 64 "
                             "bits; choose a lower order.")
        self.order, self.vocab_size, self.eps = order, vocab_size, eps

    def fit(self, tokens):
        """Count the runs of a sequence of indices (T,); returns self.

        A run counts as a context if a token follows it.
        """
        self.counts, self.contexts = [], []
        codes = torch.zeros_like(tokens)
        for k in range(self.order):  # append one token to each run
            codes = codes[:len(tokens) - k] * self.vocab_size + tokens[k:]
            self.counts.append(codes.unique(return_counts=True))
            self.contexts.append(
                (codes // self.vocab_size).unique(return_counts=True))
        return self

    def perplexity(self, tokens):
        """That of the tokens which `log_probs` scores, as a float."""
        return perplexity(self.log_probs(tokens))


# 9.3 Language models
@add_to_class(NgramLM)
def tallies(self, runs):
    """Counts of the ends of runs (N, K), and of their contexts.

    Row k - 1 of both results (K, N) belongs to the last k tokens of the
    run: how often they occur, and how often those before the last do.
    """
    n, total, codes = [], [], torch.zeros_like(runs[:, 0])
    for k in range(runs.shape[1]):  # prepend one token to each run
        codes = codes + runs[:, -1 - k] * self.vocab_size**k
        n.append(look_up(self.counts[k], codes))
        total.append(look_up(self.contexts[k], codes // self.vocab_size))
    return torch.stack(n), torch.stack(total)


@add_to_class(NgramLM)
def log_probs_by_order(self, tokens):
    """log P of tokens order - 1, ..., T - 1 for each order: (order, N)."""
    n, total = self.tallies(tokens.unfold(0, self.order, 1))
    return smooth_counts(n, total, self.eps, self.vocab_size).log()


@add_to_class(NgramLM)
def log_probs(self, tokens):
    """log P of tokens order - 1, ..., T - 1 given those before, in
    float64; the first tokens, without a full context, have none."""
    return self.log_probs_by_order(tokens)[-1]


# 9.3 Language models
@add_to_class(NgramLM)
def distribution(self, context):
    """P of each token behind a list of indices: (vocab_size,), float64.

    Of the context the last order - 1 tokens are used, or fewer if it is
    shorter.
    """
    context = list(context)
    context = context[max(0, len(context) - self.order + 1):]
    runs = torch.tensor([[*context, x] for x in range(self.vocab_size)])
    return smooth_counts(*self.tallies(runs), self.eps, self.vocab_size)[-1]


@add_to_class(NgramLM)
def prob(self, context, token):
    """P(token | context) for indices."""
    return self.distribution(context)[token].item()


@add_to_class(NgramLM)
def lower(self, order):
    """The model of a lower order in this one; it shares the counts."""
    model = NgramLM(order, self.vocab_size, self.eps)
    model.counts, model.contexts = self.counts, self.contexts
    return model


# 9.3 Language models
class TimeMachine(TextData):
    """Windows of characters, and the same windows one character later.

    `X` and `Y` (num_windows, num_steps) are views of the corpus: window i
    begins at character i. Of the windows from `start` on the first
    `num_train` are for training, the next `num_val` for validation. `name`
    may be another text.
    """

    def __init__(self, batch_size, num_steps=32, num_train=10000,
                 num_val=5000, start=0, name="time-machine",
                 generator=None):
        super().__init__(name)
        self.save_hyperparameters()
        self.corpus, self.vocab = self.build(read_text(name))
        need = start + num_train + num_val
        self.X = self.corpus[:-1].unfold(0, num_steps, 1)
        self.Y = self.corpus[1:].unfold(0, num_steps, 1)
        if need > len(self.X):
            raise ValueError(f"{need} windows wanted, but the text has "
                             f"{len(self.X)}; ask for fewer.")

    def get_dataloader(self, train):
        first = self.start if train else self.start + self.num_train
        rows = slice(first, first + (self.num_train if train
                                     else self.num_val))
        return self.get_tensorloader((self.X, self.Y), train, rows)


# 9.4 Recurrent neural networks
def rnn_step(X, H, W_xh, W_hh, b_h, phi=torch.tanh):
    """One step: the new state (n, h) from inputs X (n, d) and state H."""
    return phi(X @ W_xh + H @ W_hh + b_h)


# 9.4 Recurrent neural networks
def rnn_forward(Xs, H, params, phi=torch.tanh):
    """The states (T, n, h) after each of the inputs Xs (T, n, d).

    `H` (n, h) is the state before the first step and `params` the triple
    (W_xh, W_hh, b_h).
    """
    states = []
    for X in Xs:
        H = rnn_step(X, H, *params, phi=phi)
        states.append(H)
    return torch.stack(states)


# 9.4 Recurrent neural networks
def influence(f, Xs):
    """How much output t depends on input s: a matrix (T, T).

    `f` maps inputs Xs (T, n, d) to outputs (T, n, q). Row t, column s is
    the norm of the gradient of the sum of output t with respect to input s.
    A value above the diagonal proves that an output sees a later input.
    Zeros speak against it, except for outputs of constant sum, like those
    of a softmax, activations of slope zero, and detached values.
    """
    Xs = Xs.detach().requires_grad_()
    rows = [torch.autograd.grad(out.sum(), Xs, retain_graph=True)[0]
            for out in f(Xs)]
    return torch.stack(rows).flatten(2).norm(dim=2)


# 9.5 Recurrent neural network implementation from scratch
class RNNScratch(Module):
    """A recurrent layer of tanh units, from tensors.

    Weights are normal with standard deviation `sigma`, biases zero.
    """

    def __init__(self, num_inputs, num_hiddens, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.W_xh = nn.Parameter(sigma * torch.randn(num_inputs,
                                                     num_hiddens))
        self.W_hh = nn.Parameter(sigma * torch.randn(num_hiddens,
                                                     num_hiddens))
        self.b_h = nn.Parameter(torch.zeros(num_hiddens))

    def forward(self, inputs, state=None):
        """Outputs (T, n, h) and the last state (n, h) for inputs (T, n, d).

        Without `state` the first one is zero.
        """
        if state is None:
            state = inputs.new_zeros(inputs.shape[1], self.num_hiddens)
        outputs = rnn_forward(inputs, state,
                              (self.W_xh, self.W_hh, self.b_h))
        return outputs, outputs[-1]


# 9.5 Recurrent neural network implementation from scratch
class RNNLMScratch(Classifier):
    """A language model: scores of the next token at each step.

    `rnn` maps inputs (T, n, vocab_size) and a state to outputs (T, n, h)
    and a new state, and has `num_hiddens`; `sigma` scales the weights of
    the output layer.
    """

    def __init__(self, rnn, vocab_size, lr=0.01, sigma=0.01):
        super().__init__()
        self.save_hyperparameters(ignore=["rnn"])
        self.rnn = rnn
        self.init_params()

    def init_params(self):
        shape = self.rnn.num_hiddens, self.vocab_size
        self.W_hq = nn.Parameter(self.sigma * torch.randn(shape))
        self.b_q = nn.Parameter(torch.zeros(self.vocab_size))

    def one_hot(self, X):
        """Indices (n, T) as rows (T, n, vocab_size) of zeros and a one."""
        return F.one_hot(X.T, self.vocab_size).float()

    def output_layer(self, H):
        """Scores (n, T, vocab_size) from states H (T, n, h)."""
        return (H @ self.W_hq + self.b_q).transpose(0, 1)

    def forward(self, X, state=None):
        """Scores (n, T, vocab_size) for indices X (n, T)."""
        outputs, _ = self.rnn(self.one_hot(X), state)
        return self.output_layer(outputs)


# 9.5 Recurrent neural network implementation from scratch
def clip_gradients(params, max_norm):
    """Scale all gradients together so that their norm is at most max_norm.

    Returns the norm before, a scalar tensor. Parameters without a gradient
    are left out. Gradients change in place, and nothing waits for the
    device.
    """
    grads = [p.grad for p in params if p.grad is not None]
    norm = torch.stack([g.norm() for g in grads]).norm()
    factor = (max_norm / norm).clamp(max=1.0)
    for grad in grads:
        grad *= factor
    return norm


# 9.5 Recurrent neural network implementation from scratch
class ClippingTrainer(Trainer):
    """The Trainer, able to clip; `norms` (steps,) holds gradient norms.

    One norm for each step with gradient_clip_val > 0, before clipping, on
    the device of the training; those of an epoch are added at its end.
    """

    def reset(self):
        super().reset()
        self.norms, self.recent = torch.empty(0, device=self.device), []

    def clip_gradients(self, max_norm, model):
        self.recent.append(clip_gradients(model.parameters(), max_norm))

    def close_epoch(self):
        super().close_epoch()
        if self.recent:
            self.norms = torch.cat((self.norms, torch.stack(self.recent)))
            self.recent = []


# 9.5 Recurrent neural network implementation from scratch
def fit_clipped(model, data, epochs, clip=1.0, optimizer=None, seed=0,
                num_gpus=0):
    """Train with clipped gradients, without a picture.

    As `fit_quietly` of Section 8.1, with the norm of the gradient limited
    to `clip` (0: not at all). Returns the history of losses; the perplexity
    is exp of such a loss.
    """
    return fit_quietly(model, data, epochs, optimizer, seed, num_gpus,
                       partial(ClippingTrainer, gradient_clip_val=clip))


# 9.5 Recurrent neural network implementation from scratch
def continue_text(model, prefix, num_preds, vocab, temperature=0.0,
                  generator=None):
    """`prefix` and `num_preds` more characters, as a string.

    `temperature=0` takes the most probable character each time; otherwise
    one is drawn from the softmax of the scores divided by `temperature`,
    with random numbers of `generator`, a generator of the CPU. `prefix` has
    at least one character.
    """
    device = next(model.parameters()).device
    state, text = None, list(prefix)
    fed = torch.tensor([vocab[text]], device=device)  # (1, T)
    with torch.no_grad():
        for _ in range(num_preds):
            outputs, state = model.rnn(model.one_hot(fed), state)
            scores = model.output_layer(outputs[-1:])[0, -1].cpu()
            if temperature == 0:
                index = scores.argmax()
            else:
                p = torch.softmax(scores / temperature, dim=0)
                index = torch.multinomial(p, 1, generator=generator)[0]
            text.append(vocab.to_tokens(index.item()))
            fed = index.reshape(1, 1).to(device)
    return "".join(text)


# 9.6 Concise implementation of recurrent neural networks
class RNN(Module):
    """`nn.RNN` with one layer of tanh units; state (1, n, h)."""

    def __init__(self, num_inputs, num_hiddens):
        super().__init__()
        self.save_hyperparameters()
        self.rnn = nn.RNN(num_inputs, num_hiddens)

    def forward(self, inputs, state=None):
        """Outputs (T, n, h) and the last state for inputs (T, n, d)."""
        return self.rnn(inputs, state)


# 9.6 Concise implementation of recurrent neural networks
class RNNLM(RNNLMScratch):
    """The language model with a library's layers.

    The output layer starts as `nn.Linear` does; `sigma` is not used.
    """

    def init_params(self):
        self.linear = nn.Linear(self.rnn.num_hiddens, self.vocab_size)

    def output_layer(self, H):
        return self.linear(H).transpose(0, 1)


# 9.6 Concise implementation of recurrent neural networks
def time_step(model, batch):
    """Seconds of one training step without the update."""
    X, Y = batch
    begin = time.perf_counter()
    model.zero_grad()
    model.loss(model(X), Y).backward()
    if X.device.type != "cpu":  # work is only queued until here
        torch.accelerator.synchronize()
    return time.perf_counter() - begin


# 9.7 Backpropagation through time
def state_grad_norms(rnn, Xs, H, readout=None):
    """Norms of the gradient of the last state's loss at each state.

    `rnn(X, H)` is one step, from X (n, d) and H (n, h) to the next state.
    The loss is the sum of the last state, or `readout` of it. Returns
    (T + 1,): place t is the norm of the gradient with respect to H_t.
    """
    states = [H.detach().requires_grad_()]
    for X in Xs:
        states.append(rnn(X, states[-1]))
    loss = (readout or torch.sum)(states[-1])
    grads = torch.autograd.grad(loss, states)
    return torch.stack([grad.norm() for grad in grads])


# 9.7 Backpropagation through time
def linear_scan(a, b):
    """All states of h_t = a_t h_{t-1} + b_t, h_0 = 0, in ceil(log2(T)) rounds.

    `a` and `b` have shape (T, ...), elementwise; so does the result.
    """
    distance = 1
    while distance < len(a):
        early_a, early_b = a[:-distance], b[:-distance]
        b = torch.cat((b[:distance],
                       a[distance:] * early_b + b[distance:]))
        a = torch.cat((a[:distance], a[distance:] * early_a))
        distance *= 2
    return b
