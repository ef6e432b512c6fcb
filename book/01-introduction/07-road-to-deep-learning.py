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
# # 1.7 The road to deep learning
#
# If the ideas are old, why did networks return around 2010?
# "Because of more data and more computing power" is the usual answer.
# It is half of the truth.
# We look at the numbers for both, and at the ideas that were not just more of the same.

# %% [markdown]
# **You will**
#
# - compute from six decades of numbers how fast data, memory and computation grew, and in which order;
# - correct a popular reading of these numbers;
# - list the ideas that changed what can be computed with them;
# - see in one cell what attention has and what it does not need.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.
# Read the code for its gist; Chapter 2 explains the tools.

# %%
import math

import matplotlib.pyplot as plt
import torch
from torch import nn

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## Six decades in a table
#
# For each decade the table names the size of a typical data set, the memory of a typical computer, and its speed in floating-point operations per second.
# These are orders of magnitude, nothing more: Iris has 150 rows rather than a hundred, and the 8080 appeared in 1974.
#
# | decade | data set | memory | operations per second |
# | --- | --- | --- | --- |
# | 1970 | $10^2$ (Iris) | 1 KB | 100 KF (Intel 8080) |
# | 1980 | $10^3$ (house prices in Boston) | 100 KB | 1 MF (Intel 80186) |
# | 1990 | $10^4$ (optical character recognition) | 10 MB | 10 MF (Intel 80486) |
# | 2000 | $10^7$ (web pages) | 100 MB | 1 GF (Intel Core) |
# | 2010 | $10^{10}$ (advertising) | 1 GB | 1 TF (NVIDIA C2050) |
# | 2020 | $10^{12}$ (social network) | 100 GB | 1 PF (NVIDIA DGX-2) |
# | 2020s | $10^{13}$ (tokens of text) | 100 GB | 1 PF (one accelerator, 16 bits) |
#
# The last row is ours, from public figures: language models are trained on about $10^{13}$ tokens, and a single accelerator reaches nearly $10^{15}$ operations per second with numbers of 16 bits.
# The analysis uses the first six.

# %%
years = torch.arange(1970, 2021, 10)  # (6,)
growth = torch.tensor([               # (6, 3): items, bytes, operations/s
    [1e2, 1e3, 1e5], [1e3, 1e5, 1e6], [1e4, 1e7, 1e7],
    [1e7, 1e8, 1e9], [1e10, 1e9, 1e12], [1e12, 1e11, 1e15]],
    dtype=torch.float64)
names = ["data (items)", "memory (bytes)", "operations per second"]

# %%
ax = d2l.plot(years, growth.T, names, xlabel="year", ylabel="size",
              yscale="log", fmts=["o-", "s--", "^-."])
d2l.describe(ax, "Three rising lines on a logarithmic axis from 1970 to "
             "2020. Data and operations per second rise by ten powers of "
             "ten, memory by eight. Data overtake memory after 2000.")

# %% [markdown]
# **Figure 1.7.1.** Six decades on a logarithmic axis, where exponential growth is a straight line.
# Memory starts between the others and falls behind the data after 2000.

# %% [markdown]
# A quantity that grows by the factor $F$ in $T$ years doubles every
#
# $$
# T_2 = \frac{T}{\log_2 F} \tag{1.7.1}
# $$
#
# years, where $T_2$, $T$ and $F$ are numbers: $\log_2F$ is how often it doubled.

# %%
# check 1.7-C1: growth and doubling times over fifty years
factor = growth[-1] / growth[0]  # (3,)
doubling = 50 / factor.log2()    # (3,), years
for name, f, t in zip(names, factor.tolist(), doubling.tolist()):
    print(f"{name:21} x 10^{math.log10(f):.0f}, doubles in {t:.2f} years")
assert factor.tolist() == [1e10, 1e8, 1e10]
expected = torch.tensor([1.51, 1.88, 1.51]).double()
assert (doubling - expected).abs().max() < 5e-3

# %% [markdown]
# Two readings follow, and one of them is usually told wrong.
#
# *Memory lags behind data.*
# Fifty years ago a computer could hold its data set many times over; today it cannot.
# So methods must be economical with memory, and look at data piece by piece.
#
# *Computation outran data*, it is often said, and so models may spend more operations on each example.
# Over the whole table this is false: both grew by the same factor of $10^{10}$.
# It is true of the end only.

# %%
# check 1.7-C2: computation outran data in the last two decades only
late, early = growth[5] / growth[3], growth[3] / growth[0]
print("2000 to 2020: data x", f"{late[0]:.0e}", " operations x",
      f"{late[2]:.0e}")
print("1970 to 2000: data x", f"{early[0]:.0e}", " operations x",
      f"{early[2]:.0e}")
assert late[0] == 1e5 and late[2] == 1e6
assert early[0] > early[2]

# %%
# check 1.7-C3: bytes and operations per second for each item
per_item = growth[:, 1:] / growth[:, :1]  # (6, 2)
torch.testing.assert_close(
    per_item[:, 0], torch.tensor([10, 100, 1000, 10, 0.1, 0.1]).double())
torch.testing.assert_close(
    per_item[:, 1], torch.tensor([1e3, 1e3, 1e3, 1e2, 1e2, 1e3]).double())

# %%
ax = d2l.plot(years, per_item.T, ["bytes of memory", "operations per second"],
              xlabel="year", ylabel="for each data item", yscale="log",
              fmts=["s--", "^-."])
ax.axhline(1, color="gray", lw=1, ls=":")
d2l.describe(ax, "Memory and operations per second for each item, on a "
             "logarithmic axis. Memory rises until 1990 and then falls by "
             "four powers of ten. Operations fall by one power of ten "
             "around 2000 and return to the old level in 2020.")

# %% [markdown]
# **Figure 1.7.2.** What a computer had for each item of its data.
# In 1990 a thousand bytes, today a tenth of a byte; the operations have hardly changed.

# %% [markdown]
# So the balance shifted from memory to operations, by a factor of ten thousand between 1990 and 2020.
# In 1990 the best use of a computer was to keep the whole data set and to compute with all pairs of examples, as kernel methods do.
# Today it is a model of fixed size that sees each example once or a few times and spends many operations on it.
# That is what a deep network is.
#
# Behind the numbers stand the web and cheap sensors, storage (Kryder's law) and transistors (Moore's law), and a piece of luck: graphics processors, built for games, turned out to be right for products of matrices.

# %% [markdown]
# ## Old ideas, revived
#
# Much of what was switched on around 2010 had been waiting.
# Warren McCulloch and Walter Pitts described neurons as logical threshold units in 1943.
# (They are sometimes credited with the multilayer perceptron; but their units were fixed and learned nothing. Trained layers came with Rosenblatt around 1960, and backpropagation was made popular by Rumelhart, Hinton and Williams in 1986.)
# Convolutional networks (LeCun and others, 1998), long short-term memory (Hochreiter and Schmidhuber, 1997) and Q-learning (Watkins and Dayan, 1992) had been invented and were hardly used.
#
# How much easier the work became is hard to overstate.
# Around 2014, training a classifier with gradients computed by hand was an exercise for a week of a semester.
# Here it is today: logistic regression on points in the plane.

# %%
rng = torch.Generator().manual_seed(1)
X = torch.randn(200, 2, generator=rng)
y = (X @ torch.tensor([[2.0], [-1.0]]) + 0.5 > 0).float()  # (200, 1)
torch.manual_seed(0)
model = nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
for _ in range(200):
    loss = nn.functional.binary_cross_entropy_with_logits(model(X), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
accuracy = ((model(X) > 0) == (y > 0.5)).float().mean()
print(f"accuracy {accuracy:.2f}")
assert accuracy > 0.97

# %% [markdown]
# ## New ideas
#
# Size alone would not have sufficed.
#
# **Capacity control by noise.**
# A network with more parameters than examples can memorize.
# *Dropout* (Srivastava and others, 2014) injects noise everywhere in the network during training, so that quantities that were fixed become random variables; that noise regularizes had been shown by Bishop in 1995 ([Section 5.6](../05-multilayer-perceptrons/06-dropout.ipynb)).
#
# **Attention.**
# How can a system's memory and complexity grow without more learnable parameters?
# Bahdanau, Cho and Bengio (2014) let a translator look back at every word of the source, with weights that it computes: in effect a *learnable pointer*.
# A layer of this kind has a fixed number of parameters, whatever the length of the text.

# %%
# check 1.7-C4: as many parameters for 10 positions as for 200
torch.manual_seed(0)
attention = nn.MultiheadAttention(64, 4, batch_first=True)
count = sum(p.numel() for p in attention.parameters())
texts = [torch.randn(2, length, 64) for length in (10, 200)]
with torch.no_grad():
    outputs = [attention(text, text, text)[0] for text in texts]
print("parameters:", count)
assert count == 4 * 64 * 64 + 4 * 64 == 16_640

# %%
# check 1.7-C5: one output for each position
for text, output in zip(texts, outputs):
    assert output.shape == text.shape

# %% [markdown]
# *Transformers* (Vaswani and others, 2017) are built of such layers, and language models are built of Transformers.
# Their losses fall with size in such a regular way that one speaks of *scaling laws*.
#
# **Many steps instead of one.**
# *Memory networks* (Sukhbaatar and others, 2015) and the *neural programmer-interpreter* (Reed and de Freitas, 2015) change an internal state again and again before they answer, as one reasons in steps.
#
# **Learning to draw.**
# To model a density used to mean: choose a family of distributions, then find a way to draw from it.
# *Generative adversarial networks* (Goodfellow and others, 2014) turned this around.
# Take any differentiable program that turns noise into pictures, and adjust it until a second network cannot tell its pictures from real ones; the second network is in effect a statistical test of two samples.
# *Diffusion models*, which learn to remove noise in small steps, have taken over since.
#
# **Computing together.**
# With a thousand devices that handle 32 pictures each, a batch has about 32 000 pictures, and making training converge with so large a batch was a piece of research of its own.
# In reinforcement learning, simulators supply experience as fast as hardware allows.
#
# **Tools.**
# Three generations of frameworks followed each other: Caffe, Torch and Theano; TensorFlow and its peers; and those in which one simply writes a program, begun by Chainer, with PyTorch and JAX today.

# %%
ideas = {
    1943: "threshold units", 1958: "perceptron", 1986: "backpropagation",
    1992: "Q-learning", 1997: "LSTM", 1998: "convolutional networks",
    2012: "ImageNet on GPUs", 2014: "dropout, attention, GANs",
    2015: "residual networks", 2017: "Transformers",
    2020: "scaling laws, diffusion", 2022: "assistants"}
_, ax = plt.subplots(figsize=(5.4, 3.6))
for row, (year, words) in enumerate(ideas.items()):
    revived = year < 2000
    color = "#B84F00" if revived else "#0072B2"
    ax.plot([1940, year], [-row, -row], color="#dddddd", lw=1, zorder=1)
    ax.plot(year, -row, "o" if revived else "s", color=color)
    ax.text(year - 2, -row + 0.1, words, ha="right", va="bottom",
            fontsize=8.5, color=color) if year > 1975 else ax.text(
        year + 2, -row, words, va="center", fontsize=8.5, color=color)
ax.set(xlim=(1938, 2026), xlabel="year")
ax.set_yticks([])
ax.spines["left"].set_visible(False)
d2l.describe(ax, "Twelve ideas at their years. Six before 2000, as orange "
             "discs: threshold units, perceptron, backpropagation, "
             "Q-learning, LSTM, convolutional networks. Six since 2012, as "
             "blue squares: ImageNet on GPUs, dropout with attention and "
             "GANs, residual networks, Transformers, scaling laws with "
             "diffusion, assistants.")

# %% [markdown]
# **Figure 1.7.3.** Half of the ideas (discs) were there before 2000, and the others (squares) came within ten years.

# %% [markdown]
# ## Summary
#
# - Since 1970 data and computation have grown by the same factor of $10^{10}$, memory by $10^8$.
# - Computation outran data in the last two decades, not over the whole time.
# - The balance shifted from bytes to operations, and with it from kernel methods to networks of fixed size.
# - Old ideas waited for data and hardware; attention, dropout and adversarial training were new.
# - An attention layer serves any length with the same parameters.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.7-1
#
# In which year of the table was the memory for each data item largest?
# Which methods were fashionable then?

# %% [markdown]
# #### Solution 1.7-1
#
# In 1990, with a thousand bytes for each item: the time of kernel methods and nearest neighbours, which keep the whole data set.

# %%
assert years[per_item[:, 0].argmax()] == 1990

# %% [markdown]
# ### Exercise 1.7-2
#
# Predict the operations per second of 2030, once with the growth of the last 50 years and once with that of the last 20.
# How far apart are the two answers?

# %% [markdown]
# #### Solution 1.7-2
#
# Ten more years at the long rate give a factor of $10^{10\cdot10/50}=100$, at the recent one $10^{6\cdot10/20}=1000$.
# The answers differ by a factor of ten, and neither is a law of nature.

# %%
predictions = []
for start, span in ((0, 50), (3, 20)):
    rate = (growth[5, 2] / growth[start, 2]) ** (10 / span)
    predictions.append((growth[5, 2] * rate).item())
print(f"by the rate of 50 years {predictions[0]:.0e}, "
      f"of 20 years {predictions[1]:.0e}")
assert math.isclose(predictions[0], 1e17, rel_tol=1e-9)
assert math.isclose(predictions[1], 1e18, rel_tol=1e-9)

# %% [markdown]
# ### Exercise 1.7-3
#
# Show that an output of attention depends on all positions, although the parameters do not grow with their number.

# %% [markdown]
# #### Solution 1.7-3
#
# Change the last input and look at the first output.
# The dependence comes from weights that are computed from the inputs; only the matrices that compute them are learned.

# %%
text = texts[1]
changed = text.clone()
changed[:, -1] += 1
with torch.no_grad():
    other = attention(changed, changed, changed)[0]
difference = (other[:, 0] - outputs[1][:, 0]).abs().max()
assert difference > 1e-5

# %% [markdown]
# ### Exercise 1.7-4
#
# How many computers with the memory of 2020 do you need in order to hold $10^{12}$ items of 1 KB each?

# %% [markdown]
# #### Solution 1.7-4
#
# The items take $10^{12}\cdot10^3=10^{15}$ bytes, and one computer holds $10^{11}$, so that $10^4$ are needed.
# This is why data on this scale are read from disks and seen once.

# %%
assert 1e12 * 1e3 / growth[5, 1].item() == 1e4

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the table up to 2020, and the choice of ideas.
# - W. S. McCulloch, W. Pitts (1943). A logical calculus of the ideas immanent in nervous activity. [doi:10.1007/BF02478259](https://doi.org/10.1007/BF02478259).
# - D. E. Rumelhart, G. E. Hinton, R. J. Williams (1986). Learning representations by back-propagating errors. [doi:10.1038/323533a0](https://doi.org/10.1038/323533a0).
# - S. Hochreiter, J. Schmidhuber (1997). Long short-term memory. [doi:10.1162/neco.1997.9.8.1735](https://doi.org/10.1162/neco.1997.9.8.1735); Y. LeCun et al. (1998), [doi:10.1109/5.726791](https://doi.org/10.1109/5.726791); C. Watkins, P. Dayan (1992), [doi:10.1007/BF00992698](https://doi.org/10.1007/BF00992698).
# - N. Srivastava et al. (2014). Dropout. [jmlr.org/papers/v15/srivastava14a.html](https://jmlr.org/papers/v15/srivastava14a.html); C. M. Bishop (1995), [doi:10.1162/neco.1995.7.1.108](https://doi.org/10.1162/neco.1995.7.1.108).
# - D. Bahdanau, K. Cho, Y. Bengio (2014). [arXiv:1409.0473](https://arxiv.org/abs/1409.0473); A. Vaswani et al. (2017), [arXiv:1706.03762](https://arxiv.org/abs/1706.03762); J. Kaplan et al. (2020), [arXiv:2001.08361](https://arxiv.org/abs/2001.08361).
# - S. Sukhbaatar et al. (2015). [arXiv:1503.08895](https://arxiv.org/abs/1503.08895); S. Reed, N. de Freitas (2015), [arXiv:1511.06279](https://arxiv.org/abs/1511.06279); I. Goodfellow et al. (2014), [arXiv:1406.2661](https://arxiv.org/abs/1406.2661); J. Ho, A. Jain, P. Abbeel (2020), [arXiv:2006.11239](https://arxiv.org/abs/2006.11239).
# - P. Goyal et al. (2017). Accurate, large minibatch SGD. [arXiv:1706.02677](https://arxiv.org/abs/1706.02677): large batches.
# - A. Grattafiori et al. (2024). The Llama 3 herd of models. [arXiv:2407.21783](https://arxiv.org/abs/2407.21783): about $1.5\cdot10^{13}$ tokens; NVIDIA, H100 data sheet, [nvidia.com](https://www.nvidia.com/en-us/data-center/h100/): nearly $10^{15}$ operations per second in 16 bits.
