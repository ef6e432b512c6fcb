# ---
# jupyter:
#   d2l:
#     data: []
#     profiles:
#       gpu: {}
#       smoke: {}
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
# # 3.4 Linear regression from scratch
#
# What does a deep learning library do between the line that says "fit" and the trained model?
# Nothing that you could not write yourself: this section builds model, loss, optimizer and training loop from tensors and automatic differentiation alone.
# Because the data come from known parameters, we can do more than watch the loss fall: we compute the remaining error on paper first, and then train.
#
# **You will**
#
# - write the four parts of every training program, with no optimizer and no layer from a library;
# - predict the error that is left after a given number of steps, and the value at which the loss must stop falling;
# - recognize three faults that raise no error: a shape that broadcasts, a gradient that is not reset, a tensor that nobody registered.
#
# **Cost**: half a minute on a CPU, no download, no use of a GPU.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn

import d2l_helpers as d2l
from d2l_helpers.chapters.linear_regression import (
    HyperParameters, Module, SyntheticRegressionData, Trainer, add_to_class)

d2l.use_style()

# %% tags=["parameters"]
max_epochs = 3   # of the first training
many_epochs = 10  # enough for the error to vanish in the noise

# %% [markdown]
# ## 3.4.1 The model
#
# A program for training has four parts: a model that predicts, a loss that judges, an optimizer that improves, and a loop that calls them in turn.
# We write them in this order.
#
# The model has two parameters, the weights $\mathbf{w}$ and the bias $b$, and they need values to start from.
# We draw the weights from a normal distribution with mean 0 and standard deviation 0.01 and set the bias to 0.
# The number 0.01 is a habit and not a law.
# The squared loss of a linear model is convex, so every start leads to the same minimum, and zeros would serve as well; Exercise 3.4-1 tries them, and 1000 too.
# For networks with hidden layers it is different: there, equal values would stay equal for ever (Section 5.4).
#
# The argument `requires_grad=True` tells autograd to record what is computed from these tensors.

# %% tags=["export"]
class LinearRegressionScratch(Module):
    """Linear regression on plain tensors `w` (d, 1) and `b` (1,)."""

    def __init__(self, num_inputs, lr, sigma=0.01):
        super().__init__()
        self.save_hyperparameters()
        self.w = torch.normal(0.0, sigma, (num_inputs, 1),
                              requires_grad=True)
        self.b = torch.zeros(1, requires_grad=True)

    def forward(self, X):
        """Predictions (n, 1) for features X of shape (n, d)."""
        return X @ self.w + self.b  # the one number b goes to every row

# %%
torch.manual_seed(0)
model = LinearRegressionScratch(num_inputs=2, lr=0.03)
X = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])  # (3, 2)
y_hat = model(X)
print("w", tuple(model.w.shape), "b", tuple(model.b.shape),
      "predictions", tuple(y_hat.shape))
assert y_hat.shape == (3, 1)

# %% [markdown]
# One thing looks right and is not.
# `Module` is a subclass of PyTorch's `nn.Module`, which keeps a list of the parameters of a model.
# It enters a tensor into the list only if it is wrapped in `nn.Parameter`.
# Our plain tensors are attributes like any other, so the list is empty: the model cannot be saved, moved to a GPU or given to one of PyTorch's optimizers.
# For this section it does not matter, because our optimizer receives the two tensors by hand.

# %%
# check 3.4-C8: plain tensors are not registered, nn.Parameter is
assert list(model.parameters()) == [] and model.state_dict() == {}

class Registered(LinearRegressionScratch):
    def __init__(self, num_inputs, lr, sigma=0.01):
        super().__init__(num_inputs, lr, sigma)
        self.w, self.b = nn.Parameter(self.w), nn.Parameter(self.b)

registered = Registered(num_inputs=2, lr=0.03)
assert len(list(registered.parameters())) == 2
print("plain:", list(model.state_dict()),
      "registered:", list(registered.state_dict()))

# %% [markdown]
# ## 3.4.2 The loss
#
# For a minibatch $\mathcal{B}$ the loss is the mean over its examples of half the squared error from [Section 3.1](01-linear-regression.ipynb):
#
# $$L_{\mathcal{B}}(\mathbf{w},b)=\frac1{|\mathcal{B}|}\sum_{i\in\mathcal{B}}\frac12\left(\hat y^{(i)}-y^{(i)}\right)^2. \tag{3.4.1}$$
#
# Here $|\mathcal{B}|$ is the number of examples in the batch, $\hat y^{(i)}=\mathbf{w}^\top\mathbf{x}^{(i)}+b$ the prediction for the features $\mathbf{x}^{(i)}\in\mathbb{R}^d$, and $y^{(i)}$ the label, both numbers.
# In code, predictions and labels are columns of the same shape, and the method insists on it.
# We shall see in a moment why.

# %% tags=["export"]
@add_to_class(LinearRegressionScratch)
def loss(self, y_hat, y):
    """Half the mean squared error of two tensors of one shape (n, 1)."""
    if y_hat.shape != y.shape:
        raise ValueError(f"predictions have shape {tuple(y_hat.shape)}, "
                         f"labels {tuple(y.shape)}; reshape one of them")
    return ((y_hat - y) ** 2 / 2).mean()

# %%
y = torch.tensor([[1.0], [1.0], [1.0]])
assert model.loss(y + 2, y) == 2.0  # every error is 2: half of 4
try:
    model.loss(y_hat, y[:, 0])
except ValueError as error:
    print("ValueError:", error)

# %% [markdown]
# ### A fault that raises no error
#
# Suppose that the labels come as a vector of shape $(n,)$ while the predictions have shape $(n,1)$.
# Without our test nothing would complain, for the two can be *broadcast*: the column is repeated to the right, the vector downwards, and their difference is an $n\times n$ matrix that compares every prediction with every label.
# Its mean can be split, with $\bar y$ the mean of all labels and $\operatorname{Var}(y)$ their variance around it:
#
# $$\frac1{n^2}\sum_{i=1}^n\sum_{j=1}^n\frac12\left(\hat y^{(i)}-y^{(j)}\right)^2=\frac1n\sum_{i=1}^n\frac12\left(\hat y^{(i)}-\bar y\right)^2+\frac12\operatorname{Var}(y). \tag{3.4.2}$$
#
# All symbols are numbers.
# The second term is constant and the first asks every prediction to be $\bar y$.
# So the program trains, the loss falls, and the model learns to ignore its inputs.

# %%
generator = torch.Generator().manual_seed(1)
X = torch.randn(1000, 2, generator=generator)
w_true, b_true = torch.tensor([2.0, -3.4]), 4.2
y_vector = X @ w_true + b_true  # (1000,), no noise; should be (1000, 1)

faulty = LinearRegressionScratch(num_inputs=2, lr=0.1)
for step in range(300):
    wrong = ((faulty(X) - y_vector) ** 2 / 2).mean()  # (1000, 1000)
    wrong.backward()
    with torch.no_grad():
        for param in (faulty.w, faulty.b):
            param -= 0.1 * param.grad
            param.grad = None
print("weights:", [round(v, 4) + 0.0 for v in faulty.w[:, 0].tolist()])
print(f"bias {faulty.b.item():.3f}, mean label {y_vector.mean():.3f}, "
      f"loss {wrong.item():.3f}")

# %%
# check 3.4-C7: the broadcast loss trains to the constant mean label
assert faulty.w.abs().max() < 1e-4
assert abs(faulty.b - y_vector.mean()) < 1e-3
assert abs(wrong - y_vector.var(unbiased=False) / 2) < 1e-3

# %% [markdown]
# Weights of zero and a loss that stops at half the variance of the labels are the signature of this fault.
# It is worth remembering: it is among the most frequent in regression code, and only the shapes show it.

# %% [markdown]
# ## 3.4.3 The optimizer
#
# Minibatch stochastic gradient descent subtracts from each parameter its gradient times the learning rate.
# The class has two methods.
# `step` makes the update; it does so under `torch.no_grad()`, because the update is not part of the function whose gradient we want.
# `zero_grad` throws the old gradients away, because `backward` *adds* to what is in `param.grad`.

# %% tags=["export"]
class SGD(HyperParameters):
    """Minibatch stochastic gradient descent with a fixed step size.

    `params` is a sequence of tensors that require gradients, `lr` the
    learning rate.
    """

    def __init__(self, params, lr):
        self.params = list(params)
        self.save_hyperparameters(ignore=["params"])

    def step(self):
        with torch.no_grad():
            for param in self.params:
                if param.grad is not None:
                    param -= self.lr * param.grad

    def zero_grad(self):
        for param in self.params:
            param.grad = None

# %% tags=["export"]
@add_to_class(LinearRegressionScratch)
def configure_optimizers(self):
    return SGD([self.w, self.b], self.lr)

# %% [markdown]
# By hand: for the loss $\frac12(2w-6)^2$ at $w=1$ the gradient is $2\cdot(2-6)=-8$, and with a learning rate of 0.1 the step leads to $w=1.8$.
# PyTorch's own optimizer must give the same.

# %%
# check 3.4-C6: one step of our SGD is one step of torch.optim.SGD
ours = torch.tensor([1.0], requires_grad=True)
((2 * ours - 6) ** 2 / 2).sum().backward()
SGD([ours], lr=0.1).step()
torch.testing.assert_close(ours.detach(), torch.tensor([1.8]))

start = torch.randn(5, 1, generator=torch.Generator().manual_seed(2))
results = []
for optimizer in (SGD, torch.optim.SGD):
    param = start.clone().requires_grad_()
    (param ** 4).sum().backward()
    optimizer([param], lr=0.03).step()
    results.append(param.detach())
torch.testing.assert_close(*results, rtol=0, atol=1e-7)

# %% [markdown]
# The loss (3.4.1) is a mean and not a sum.
# Its gradient therefore has the same size for 32 examples as for 1000, on average, and a learning rate that suits one batch size is not absurd for another.
#
# ## 3.4.4 Training
#
# Now the loop.
# After the parameters have their first values, it repeats two lines for each minibatch:
#
# $$\mathbf{g}\leftarrow\partial_{(\mathbf{w},b)}\frac1{|\mathcal{B}|}\sum_{i\in\mathcal{B}}l(\mathbf{x}^{(i)},y^{(i)},\mathbf{w},b),\qquad(\mathbf{w},b)\leftarrow(\mathbf{w},b)-\eta\,\mathbf{g}. \tag{3.4.3}$$
#
# Here $l$ is the loss of one example, $\mathbf{g}$ holds its mean gradient with respect to all $d+1$ parameters, and $\eta>0$ is the learning rate.
#
# The `Trainer` of [Section 3.2](02-object-oriented-design.ipynb) left one method open, `fit_epoch`, one pass over the data.
# Before a batch is used it goes through `prepare_batch`, which moves it to the device of the model; on a CPU it changes nothing.

# %% tags=["export"]
@add_to_class(Trainer)
def prepare_batch(self, batch):
    """Move the tensors of a batch to the device of the model."""
    return d2l.to_device(batch, self.device)

# %% tags=["export"]
@add_to_class(Trainer)
def fit_epoch(self):
    """One pass over the training batches, then over the validation."""
    self.model.train()
    for batch in self.train_dataloader:
        batch = self.prepare_batch(batch)
        self.num_examples = len(batch[-1])
        loss = self.model.training_step(batch)
        self.optim.zero_grad()
        loss.backward()
        if self.gradient_clip_val > 0:
            self.clip_gradients(self.gradient_clip_val, self.model)
        self.optim.step()
        self.train_batch_idx += 1
    if self.val_dataloader is not None:
        self.model.eval()
        with torch.no_grad():
            self.validate_epoch()

# %% tags=["export"]
@add_to_class(Trainer)
def validate_epoch(self):
    """One pass over the validation batches; the caller sets the mode."""
    for batch in self.val_dataloader:
        batch = self.prepare_batch(batch)
        self.num_examples = len(batch[-1])
        self.model.validation_step(batch)
        self.val_batch_idx += 1

# %% [markdown]
# Read it once more, for the order matters.
#
# `training_step` computes predictions and loss, and autograd records how.
# Then `zero_grad` clears the gradients of the previous batch, `backward` computes those of this one, and `step` uses them.
# `zero_grad` may stand before the forward pass, too; it only has to lie between two calls of `backward`.
# Clipping, which limits the length of the gradient, is switched off here; Section 9.5 needs it.
#
# After the training batches the model is switched to evaluation mode, which will matter for layers that behave differently in training (Section 5.6), and the validation batches are read without recording anything.
#
# A common belief says that `backward` must not run under `no_grad`.
# It may: the graph was recorded in the forward pass, and walking back through it records nothing new.
# Only the update needs `no_grad`, and only the forward pass must be outside it.

# %%
w = torch.tensor([3.0], requires_grad=True)
square = (w**2).sum()  # recorded here
with torch.no_grad():
    square.backward()  # walks back through the record
print("gradient:", w.grad.item())
assert w.grad == 6

# %% [markdown]
# ### Predict first
#
# The data have $\mathbf{w}=[2,-3.4]^\top$ and $b=4.2$, with 1000 training and 1000 validation examples and noise of standard deviation $\sigma=0.01$.
# We train for 3 epochs with batches of 32 and $\eta=0.03$: 32 batches an epoch, 96 steps in all.
# How far from the truth will the parameters be?
#
# Write $\mathbf{e}_t\in\mathbb{R}^3$ for the errors of $w_1$, $w_2$ and $b$ after $t$ steps.
# Section 3.1 showed that a full-batch step multiplies the error by $\mathbf{I}-\eta\mathbf{H}$, with $\mathbf{H}=\frac1n\mathbf{X}^\top\mathbf{X}\in\mathbb{R}^{3\times3}$ and a column of ones in $\mathbf{X}$ for the bias.
# Our features are independent and have mean 0 and variance 1, so $\mathbf{H}\approx\mathbf{I}$, for a batch up to some scatter, and
#
# $$\mathbf{e}_t\approx(1-\eta)^t\,\mathbf{e}_0. \tag{3.4.4}$$
#
# With $\eta=0.03$ the factor after 96 steps is $0.97^{96}\approx0.054$.
# The start is nearly zero, so $-\mathbf{e}_0$ is the truth itself and the errors left, truth minus estimate, should be about 0.054 times $(2,-3.4,4.2)$:

# %%
factor = 0.97**96
truth = torch.tensor([2.0, -3.4, 4.2])
print(f"factor {factor:.4f}, expected errors:",
      [round(v, 3) for v in (factor * truth).tolist()])

# %% [markdown]
# The loss can be predicted as well.
# For such features the expected loss is $\frac12\|\mathbf{e}_t\|^2+\frac12\sigma^2$: the error that is left and the noise that nobody can predict, so
#
# $$L_t\approx\frac12\|\mathbf{e}_0\|^2(1-\eta)^{2t}+\frac{\sigma^2}2. \tag{3.4.5}$$
#
# The loss shrinks by the *square* of the factor, $0.97^2\approx0.94$ a step, until it meets the *noise floor* $\sigma^2/2$; $L_t$ and $\sigma$ are numbers.
# On a logarithmic axis the first part is a straight line.
#
# Now we train.
# The class `Traced` differs from the model only in that it remembers the parameters before each step.

# %%
class Traced(LinearRegressionScratch):
    """Keeps a copy of (w, b) from before every step in `path`."""

    def training_step(self, batch):
        now = torch.cat((self.w[:, 0], self.b)).detach().clone()
        self.path = [*getattr(self, "path", []), now]
        return super().training_step(batch)


def make_data(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return SyntheticRegressionData(w_true, b_true, generator=generator)


def errors(model):
    """Truth minus estimate for w1, w2 and b, shape (3,)."""
    return truth - torch.cat((model.w[:, 0], model.b)).detach()

# %%
torch.manual_seed(0)
data = make_data()
model = Traced(num_inputs=2, lr=0.03)
model.board.yscale = "log"
trainer = Trainer(max_epochs=max_epochs)
trainer.fit(model, data)

# %% [markdown]
# **Figure 3.4.1.** What the training board shows: two points an epoch for the training loss, one for the validation loss.

# %%
left = errors(model)
for name, expected, got in zip(("w1", "w2", "b"), factor * truth, left):
    print(f"{name:2}  error expected {expected:7.3f}, found {got:7.3f}")

# %%
# check 3.4-C1: the errors after 96 steps lie where they should
assert 0 < left[0] < 0.25
assert -0.4 < left[1] < 0
assert 0.1 < left[2] < 0.35

# %%
# check 3.4-C2: each error is about 0.97^96 = 0.054 of the true value
assert ((left / truth > 0.01) & (left / truth < 0.12)).all()

# %%
# check 3.4-C5: 3 epochs of 32 batches, and a validation loss that falls
assert trainer.train_batch_idx == 96 and trainer.val_batch_idx == 96
val_loss = trainer.history["val_loss"]
assert len(val_loss) == 3
assert val_loss[0] > val_loss[1] > val_loss[2]

# %% [markdown]
# Results like these are often printed with the remark that SGD is noisy and has found the parameters "approximately".
# But the errors are no noise.
# They have the sign and the size of the formula: the run was stopped before it had arrived.
# The path of the parameters shows it.

# %%
path = torch.stack(model.path)  # (96, 3)
steps = torch.arange(96)
ideal = (1 - 0.97**steps)[:, None] * truth  # (96, 3), from zero
fig, axes = plt.subplots(1, 2, figsize=(7.4, 2.9))
for i, name in enumerate(("$w_1$", "$w_2$", "$b$")):
    axes[0].plot(steps, path[:, i], color=f"C{i}", label=name)
    axes[0].plot(steps, ideal[:, i], ":", color="black", lw=1.2)
    axes[0].axhline(truth[i], color=f"C{i}", lw=0.8, ls="--")
axes[0].set(xlabel="step $t$", ylabel="parameter", xlim=(0, 96))
axes[0].legend(loc="center right")

A = torch.cat((data.X, torch.ones(2000, 1)), dim=1)[:1000]  # (1000, 3)
residual = A @ path.mT - data.y[:1000]  # (1000, 96)
measured = (residual**2 / 2).mean(dim=0)  # training loss at each step
predicted = (truth**2).sum() / 2 * 0.97 ** (2 * steps) + 0.01**2 / 2
d2l.plot(steps, [measured, predicted], ["training loss", "predicted"],
         xlabel="step $t$", yscale="log", fmts=("-", "k:"), ax=axes[1])
d2l.describe(axes, """Left: the three parameters rise from zero towards
    dashed lines at their true values and follow the dotted predicted
    curves closely. Right: on a logarithmic axis the training loss falls
    along the straight dotted line of the prediction.""")

# %% [markdown]
# **Figure 3.4.2.** Left the parameters (coloured), their true values (dashed) and formula (3.4.4) (dotted); right the loss on all training data and formula (3.4.5).
# Nothing was fitted to the curves.

# %%
gap = (measured / predicted).log().abs().max()
assert gap < math.log(1.6)  # the fall itself is by a factor of 300

# %% [markdown]
# ### Train on
#
# If the error is unfinished business, more epochs must remove it.
# After 10 epochs formula (3.4.4) leaves $0.97^{320}\approx6\cdot10^{-5}$ of the start, far below what the noise in the data allows us to see.
# The loss must then stand on the floor $\sigma^2/2=5\cdot10^{-5}$.

# %%
torch.manual_seed(0)
model = LinearRegressionScratch(num_inputs=2, lr=0.03)
model.board.display = False
trainer = Trainer(max_epochs=many_epochs)
trainer.fit(model, data)
print(f"largest error {errors(model).abs().max().item():.5f}")
print(f"validation loss {trainer.history['val_loss'][-1]:.2e}, "
      f"noise floor {0.01**2 / 2:.0e}")

# %%
# check 3.4-C3: ten epochs reach the truth and the noise floor
assert errors(model).abs().max() < 0.005
assert 4e-5 < trainer.history["val_loss"][-1] < 7e-5

# %% [markdown]
# A loss that has reached its noise floor is finished, whatever it says on the axis, and a loss that lies *below* the floor on the training data has begun to memorize (Section 3.6).
# In practice the floor is unknown; with synthetic data it is a target to aim at.

# %% [markdown]
# ### The learning rate
#
# Formula (3.4.4) also says what to expect of other learning rates.
# Small ones need more steps, in proportion.
# Near $\eta=1$ a full-batch step would remove the whole error at once; with minibatches, $\mathbf{H}$ differs from batch to batch, so the error shrinks by a varying factor instead.
# Beyond $\eta=2$, $|1-\eta|>1$ and the error grows at each step.

# %%
def train(lr, epochs=3, seed=0, cls=LinearRegressionScratch, data=data):
    """Fit a model without drawing; returns the model and its trainer."""
    torch.manual_seed(seed)
    model = cls(num_inputs=2, lr=lr)
    model.board.display = False
    trainer = Trainer(max_epochs=epochs)
    trainer.fit(model, data)
    return model, trainer


rates = [0.003, 0.03, 0.3, 1.0, 2.5]
runs = [train(lr, cls=Traced) for lr in rates]

# %%
curves = []
for model, _ in runs:
    residual = A @ torch.stack(model.path).mT - data.y[:1000]
    curves.append((residual.double() ** 2 / 2).mean(dim=0))  # (96,)
ax = d2l.plot(steps, curves, [rf"$\eta={lr}$" for lr in rates],
              xlabel="step $t$", ylabel="training loss", yscale="log",
              ylim=(1e-5, 1e8), fmts=("-", "--", "-.", ":", "-"))
ax.axhline(5e-5, color="black", lw=0.8)
ax.text(94, 6e-5, "noise floor", ha="right", va="bottom", fontsize=9)
ax.legend(loc="upper right")
d2l.describe(ax, """Training loss against the step on a log scale for five
    learning rates. 0.003 hardly falls, 0.03 falls along a straight line,
    0.3 and 1.0 drop quickly to the noise floor, 2.5 explodes.""")

# %% [markdown]
# **Figure 3.4.3.** From too slow to divergent: 0.003 has hardly begun after three epochs, 0.3 reaches the noise floor within one, 1.0 in a few steps, and 2.5 explodes.

# %% [markdown]
# The fastest of them is not the best in the end.
# At $\eta=1$ each batch drags the parameters to its own solution, noise included, so the loss hovers a few per cent above the floor that smaller rates reach.

# %%
end = [curve[50:].mean() for curve in curves]  # after it has settled
print(f"mean loss of the last steps: {end[2]:.2e} with 0.3, "
      f"{end[3]:.2e} with 1.0")
assert end[3] > 1.02 * end[2]

# %%
# check 3.4-C4: learning rate 2.5 diverges, 1 does not
diverged, bounded = errors(runs[4][0]), errors(runs[3][0])
assert not diverged.abs().max() <= 1e6  # also true if it is not a number
assert bounded.abs().max() < 1

# %% [markdown]
# ### A gradient that is not reset
#
# What if `zero_grad` is forgotten?
# Then `backward` adds each new gradient to all the earlier ones, and the step uses their sum.
# No error is raised, and the loss even falls at first.

# %%
class ForgetfulSGD(SGD):
    def zero_grad(self):
        pass


class Forgetful(Traced):
    def configure_optimizers(self):
        return ForgetfulSGD([self.w, self.b], self.lr)


forgetful, _ = train(0.03, cls=Forgetful)
careful, _ = train(0.03, cls=Traced)
paths = [torch.stack(m.path)[:, 2] for m in (careful, forgetful)]
ax = d2l.plot(steps, paths, ["with zero_grad", "without"],
              xlabel="step $t$", ylabel="bias $b$")
ax.axhline(4.2, color="black", lw=0.8)
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
d2l.describe(ax, """The bias with zero_grad rises smoothly towards 4.2.
    Without it, the bias swings around 4.2 again and again and does not
    come to rest.""")

# %% [markdown]
# **Figure 3.4.4.** Without the reset the parameters have inertia and no friction: they swing around the truth (black line) like a pendulum.

# %%
# check 3.4-C9: without zero_grad the result is another one
assert (errors(forgetful) - errors(careful)).abs().max() > 0.5
assert paths[1].max() > 6 and paths[0].max() < 4.2

# %% [markdown]
# The sum of all gradients so far plays the part of a velocity; Section 12.6 adds the friction that is missing here and makes a good method of it, momentum.

# %% [markdown]
# ### When parameters can be recovered
#
# We found the true parameters because no column of the features is a combination of the others.
# If two features always move together, infinitely many weights predict equally well, and no amount of data tells which of them made the labels:

# %%
X = data.X.clone()
X[:, 1] = X[:, 0]  # the second feature repeats the first
copied = make_data()
copied.X = X
copied.y = X @ w_true[:, None] + b_true
twin, twin_trainer = train(0.03, epochs=many_epochs, data=copied)
print("weights:", [round(v, 2) for v in twin.w[:, 0].tolist()],
      f"their sum {twin.w.sum().item():.3f}")
assert twin_trainer.history["val_loss"][-1] < 1e-4
assert abs(twin.w.sum() - (2 - 3.4)) < 0.01
assert (twin.w[:, 0] - w_true).abs().min() > 1

# %% [markdown]
# The predictions are right and both weights are wrong; only their sum is determined.
# For prediction that is harmless, and in deep networks it is the rule: many parameter values give the same function.

# %% [markdown]
# ## Summary
#
# - Training is four parts, model, loss, optimizer and loop, and each fits into a dozen lines.
# - With independent, standardized features the error shrinks by $1-\eta$ a step, the loss by its square, down to the noise floor $\sigma^2/2$; what is left after 96 steps at $\eta=0.03$ is unfinished training, not noise.
# - Labels of shape $(n,)$ against predictions of shape $(n,1)$ train to the mean label; weights of zero and a loss of half the variance give it away.
# - `backward` adds; without `zero_grad` the parameters swing instead of settling.
# - A plain tensor in a module is not one of its parameters.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 3.4-1
#
# Start the weights at exactly zero, then with a standard deviation of 1000.
# What does formula (3.4.4) say about the error after 96 steps, and what do you find?

# %% [markdown]
# #### Solution 3.4-1
#
# The formula is linear in $\mathbf{e}_0$: whatever the start, about 0.054 of the initial error is left.
# Zeros are as good as small random numbers.
# With a standard deviation of 1000 the training works just as well *relative* to its start, but 5 % of thousands is far from the truth, so it needs more steps.

# %%
for sigma in (0.0, 1000.0):
    torch.manual_seed(1)
    model = LinearRegressionScratch(num_inputs=2, lr=0.03, sigma=sigma)
    model.board.display = False
    before = errors(model).norm()
    Trainer(max_epochs=3).fit(model, data)
    ratio = errors(model).norm() / before
    print(f"sigma {sigma:6.0f}: error {before:8.2f} -> "
          f"{errors(model).norm():7.3f}, ratio {ratio:.3f}")
    assert 0.02 < ratio < 0.12

# %% [markdown]
# ### Exercise 3.4-2
#
# How many epochs does it take until all errors are below 0.01, with $\eta=0.03$ and 32 batches an epoch?
# Compute it, then measure it.

# %% [markdown]
# #### Solution 3.4-2
#
# The largest true value is 4.2, and after $k$ epochs $4.2\cdot0.97^{32k}$ of it is left.
# This is below 0.01 for $k>\frac{\ln420}{32\cdot(-\ln0.97)}\approx6.2$, so after 7 epochs.

# %%
predicted = math.ceil(math.log(4.2 / 0.01) / (-32 * math.log(0.97)))
measured = next(k for k in range(1, 15)
                if errors(train(0.03, k)[0]).abs().max() < 0.01)
print(f"predicted {predicted} epochs, measured {measured}")
assert predicted == 7 and 6 <= measured <= 8

# %% [markdown]
# ### Exercise 3.4-3
#
# A typing error sets the label of the fifth training example to 10 000.
# Train for 10 epochs with the squared loss, with the absolute loss $|\hat y-y|$, and with the *Huber loss*, which is quadratic for errors below 1 and linear beyond.
# Which bias do you find each time, and why?

# %% [markdown]
# #### Solution 3.4-3
#
# The squared loss weights each example by its error.
# The exact least-squares solution balances an excess of nearly 10 000 in one example against 999 others and moves the bias by about $10\,000/1000=10$.
# In SGD it comes in jolts: the batch with the outlier moves the bias by $0.03\cdot10\,000/32\approx9$ at once, the other batches pull it back.
# The gradients of the other two losses are bounded: an error of 10 000 pulls no harder than an error of 1, and 999 honest examples outvote it.
#
# Near the optimum the absolute loss has a price.
# Its gradient does not shrink with the error, so with a fixed learning rate it jitters, while the Huber loss settles.

# %%
class AbsoluteLoss(LinearRegressionScratch):
    def loss(self, y_hat, y):
        return (y_hat - y).abs().mean()


class HuberLoss(LinearRegressionScratch):
    def loss(self, y_hat, y):
        r = (y_hat - y).abs()
        return torch.where(r < 1, r**2 / 2, r - 0.5).mean()


spoilt = make_data()
spoilt.y[4] = 10_000
exact = torch.linalg.lstsq(A, spoilt.y[:1000]).solution[2]
print(f"least squares, exact: b off by {abs(exact.item() - b_true):.2f}")
off = {}
for cls in (LinearRegressionScratch, AbsoluteLoss, HuberLoss):
    model, _ = train(0.03, many_epochs, cls=cls, data=spoilt)
    off[cls] = abs(model.b.item() - b_true)
    print(f"{cls.__name__:24} b off by {off[cls]:.4f}")
assert 9 < abs(exact - b_true) < 11 and off[LinearRegressionScratch] > 3
assert off[AbsoluteLoss] < 0.1 and off[HuberLoss] < 0.1

# %% [markdown]
# ### Exercise 3.4-4
#
# Ohm measured current and voltage and looked for the law behind them.
# Simulate 200 pairs for a resistor of 47 ohms: currents from 0 to 0.1 amperes, voltages with noise of standard deviation 0.05 volts.
# Estimate the resistance by training, without a bias.
# What must be done with the currents first, and why?

# %% [markdown]
# #### Solution 3.4-4
#
# The model is $u=Ri$, one weight and no bias, with voltage $u$ and current $i$.
# The curvature of the loss is the mean of $i^2$, about 0.003, so at $\eta=0.03$ each step would remove only a ten-thousandth of the error.
# Measured in units of 0.1 amperes the currents are of the order of 1, and the same learning rate needs a few hundred steps.
# The weight is then the voltage at 0.1 amperes, a tenth of the resistance.

# %%
generator = torch.Generator().manual_seed(3)
current = 0.1 * torch.rand(200, 1, generator=generator)
voltage = 47 * current + 0.05 * torch.randn(200, 1, generator=generator)
scaled = current / 0.1  # (200, 1), in units of 0.1 A
weight = torch.zeros(1, 1, requires_grad=True)
optimizer = SGD([weight], lr=0.3)
for step in range(200):
    loss_value = ((scaled @ weight - voltage) ** 2 / 2).mean()
    optimizer.zero_grad()
    loss_value.backward()
    optimizer.step()
resistance = weight.item() / 0.1
print(f"resistance: {resistance:.2f} ohms")
assert abs(resistance - 47) < 0.02 * 47

# %% [markdown]
# ### Exercise 3.4-5
#
# An epoch of 1000 examples has 31 batches of 32 and one of 8.
# Someone reports the plain mean of the 32 batch losses as the training loss.
# How much more does an example of the last batch count than the others?
# What does `Trainer.history` do?

# %% [markdown]
# #### Solution 3.4-5
#
# Each batch mean gets the weight $\frac1{32}$, whatever its size.
# An example in a full batch then counts $\frac1{32}\cdot\frac1{32}$, one in the last batch $\frac1{32}\cdot\frac18$: four times as much.
# `history` weights each batch mean by the number of its examples, and so gives the mean over examples.

# %%
losses = torch.zeros(1000)
losses[-8:] = 1.0  # only the last batch has a loss
batch_means = torch.stack([part.mean() for part in losses.split(32)])
plain, true_mean = batch_means.mean(), losses.mean()
per_example = (plain / 8) / ((1 - 1 / 32) / (31 * 32))
print(f"plain mean {plain:.5f}, mean over examples {true_mean:.5f}, "
      f"weight of an example of the last batch: {per_example:.0f} times")
torch.testing.assert_close(per_example, torch.tensor(4.0))

trainer = Trainer(max_epochs=1)
trainer.reset()
for part in losses.split(32):
    trainer.num_examples = len(part)
    trainer.record("train_loss", part.mean())
trainer.close_epoch()
assert abs(trainer.history["train_loss"][0] - true_mean) < 1e-7

# %% [markdown]
# ## Sources
#
# - H. Robbins, S. Monro (1951). A stochastic approximation method. Annals of Mathematical Statistics 22(3). [doi:10.1214/aoms/1177729586](https://doi.org/10.1214/aoms/1177729586): the origin of stochastic gradient descent.
# - L. Bottou, F. E. Curtis, J. Nocedal (2018). Optimization methods for large-scale machine learning. SIAM Review 60(2). [doi:10.1137/16M1080173](https://doi.org/10.1137/16M1080173): convergence with a fixed learning rate.
# - P. J. Huber (1964). Robust estimation of a location parameter. Annals of Mathematical Statistics 35(1). [doi:10.1214/aoms/1177703732](https://doi.org/10.1214/aoms/1177703732): the loss of Exercise 3.4-3.
# - PyTorch documentation, [Autograd mechanics](https://docs.pytorch.org/docs/stable/notes/autograd.html): what is recorded, and what `no_grad` switches off.
