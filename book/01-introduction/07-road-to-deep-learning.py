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
# We look at the numbers behind it, at what they can and cannot tell, and at the ideas that were not just more of the same.

# %% [markdown]
# **You will**
#
# - compute from six decades of numbers how fast data, memory and computation grew;
# - find out which conclusions survive when such numbers are known to an order of magnitude only;
# - list the ideas that changed what can be computed with them;
# - see in one cell what attention does with a fixed number of parameters.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.
# Read the code for its gist; Chapter 2 explains the tools.

# %%
import math

import matplotlib.pyplot as plt
import torch
from IPython.display import Markdown
from torch import nn

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## Six decades in a table
#
# For each decade the table names the size of a typical data set, the memory of a typical computer, and its speed in floating-point operations per second.
# These are orders of magnitude, nothing more: Iris has 150 rows rather than a hundred, the 8080 appeared in 1974, and the machines are a single processor in one row and a server with 16 graphics cards in another.
#
# The last row is ours, from public figures: language models are trained on about $10^{13}$ tokens, and a single accelerator reaches nearly $10^{15}$ operations per second with numbers of 16 bits.
# The analysis uses the first six.

# %%
decades = [  # powers of ten: items of data, bytes, operations per second
    ("1970", 2, "Iris", 3, 5, "Intel 8080"),
    ("1980", 3, "house prices in Boston", 5, 6, "Intel 80186"),
    ("1990", 4, "character recognition", 7, 7, "Intel 80486"),
    ("2000", 7, "web pages", 8, 9, "Intel Core"),
    ("2010", 10, "advertising", 9, 12, "NVIDIA C2050"),
    ("2020", 12, "social network", 11, 15, "NVIDIA DGX-2"),
    ("2020s", 13, "tokens of text", 11, 15, "one accelerator")]
head = "| decade | data (items) | memory (bytes) | operations per second |\n"
Markdown(head + "| - | - | - | - |\n" + "\n".join(
    f"| {decade} | $10^{{{items}}}$ ({data}) | $10^{{{memory}}}$ "
    f"| $10^{{{speed}}}$ ({machine}) |"
    for decade, items, data, memory, speed, machine in decades))

# %%
years = torch.arange(1970, 2021, 10)  # (6,)
growth = torch.tensor([               # (6, 3): items, bytes, operations/s
    [10.0 ** row[k] for k in (1, 3, 4)] for row in decades[:6]],
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
# check 1.7-C1: the curves of Figure 1.7.1, and their doubling times
drawn = torch.stack([torch.as_tensor(line.get_ydata()) for line in ax.lines])
assert torch.equal(drawn, growth.T)
factor = drawn[:, -1] / drawn[:, 0]  # (3,)
doubling = 50 / factor.log2()        # (3,), years
for name, f, t in zip(names, factor.tolist(), doubling.tolist()):
    print(f"{name:21} x 10^{math.log10(f):.0f}, doubles in {t:.2f} years")
assert factor.tolist() == [1e10, 1e8, 1e10]
size = drawn[:, 0]
for _ in range(50):  # grow year by year at this rate
    size = size * 2 ** (1 / doubling)
torch.testing.assert_close(size, drawn[:, -1])
data, memory, speed = drawn
assert data[0] < memory[0] < speed[0]  # between the others at first
assert (memory < data).tolist() == 4 * [False] + 2 * [True]

# %% [markdown]
# Two readings suggest themselves.
#
# *Memory lags behind data.*
# In the table a computer of 1970 has ten bytes of memory for each item of its data, one of 2020 a tenth of a byte, too little to hold it.
# So methods must be economical with memory, and look at data piece by piece.
#
# *Computation outran data*, so models may spend more operations on each example.
# Over the whole table both grew by the same factor of $10^{10}$; over the last twenty years the factors are $10^6$ and $10^5$.
#
# How much can the table bear?
# Suppose that each of its entries may be wrong by a factor of up to ten in either direction, since the machines and data sets were picked as examples.
# We draw ten thousand tables in this range and count in how many of them each reading holds.

# %%
# check 1.7-C2: one reading survives a factor of ten, the other does not
rng = torch.Generator().manual_seed(0)
noise = 2 * torch.rand(10_000, 6, 3, generator=rng) - 1  # powers of ten
tables = growth.log10() + noise                          # (10000, 6, 3)
since_1970 = tables[:, 5] - tables[:, 0]                 # (10000, 3)
since_2000 = tables[:, 5] - tables[:, 3]
holds = {
    "memory lags behind data": since_1970[:, 1] < since_1970[:, 0],
    "computation outran data since 1970": since_1970[:, 2] > since_1970[:, 0],
    "computation outran data since 2000": since_2000[:, 2] > since_2000[:, 0]}
holds = {claim: h.float().mean().item() for claim, h in holds.items()}
for claim, share in holds.items():
    print(f"{claim}: in {share:.0%} of the tables")
memory, since_start, lately = holds.values()
assert memory > 0.93 and abs(since_start - 0.5) < 0.02
assert 0.75 < lately < 0.87

# %% [markdown]
# That memory lags holds in nearly all of them.
# About computation the table cannot tell: a coin over fifty years, and a hint over the last twenty.
# A single factor of ten among numbers that are good to a factor of ten is no finding.

# %%
per_item = growth[:, 1:] / growth[:, :1]  # (6, 2)
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
# In 1990 a thousand bytes, in 2020 a tenth of a byte; the operations return to where they were.

# %% [markdown]
# These curves invite readings too, and the ten thousand tables judge them in the same way.

# %%
# check 1.7-C3: the curves of Figure 1.7.2, and which readings survive
memory, speed = (torch.as_tensor(line.get_ydata()) for line in ax.lines[:2])
ratio = speed / memory  # operations per second for each byte, (6,)
assert years[memory.argmax()] == 1990 and speed[0] == speed[-1]
assert memory[2] == 1000 and math.isclose(memory[5], 0.1)
assert math.isclose(ratio[5] / ratio[2], 1e4, rel_tol=1e-9)

each = tables[..., 1:] - tables[..., :1]  # (10000, 6, 2)
scarcity = (each[:, 5] - each[:, 2]).diff(dim=1)[:, 0]  # since 1990
holds = {
    "memory scarcer for each operation than in 1990": scarcity > 1,
    "most memory for each item in 1990": each[:, :, 0].argmax(1) == 2,
    "operations for each item as in 1970, within a factor of ten":
        (each[:, 5, 1] - each[:, 0, 1]).abs() < 1}
shares = [h.float().mean().item() for h in holds.values()]
for claim, share in zip(holds, shares):
    print(f"{claim}: in {share:.1%} of the tables")
assert shares[0] > 0.97 and 0.7 < shares[1] < 0.82
assert 0.55 < shares[2] < 0.65

# %% [markdown]
# So one more reading is safe: between 1990 and 2020 memory became scarce compared with operations, in the table by a factor of ten thousand, and in nearly all others by more than ten.
# That 1990 was the best year for memory is likely, and whether the operations for an item returned to their old number cannot be said.
#
# In 1990 a computer could keep its whole data set and compare each new example with all of it, as *nearest neighbours* do.
# A model of fixed size that sees each example once or a few times needs little memory for each, and may spend many operations on it.
# A linear model is of this kind, and so is a deep network.
#
# Behind the numbers stand the web and cheap sensors, storage (Kryder's law) and transistors (Moore's law), and a piece of luck: graphics processors, built for games, turned out to be well suited to products of matrices.

# %% [markdown]
# ## Old ideas, revived
#
# Much of what came into wide use around 2010 had been there for years.
# Warren McCulloch and Walter Pitts described neurons as logical threshold units in 1943; their units were fixed and did not learn.
# Trained units came with Rosenblatt around 1960, and backpropagation was made popular by Rumelhart, Hinton and Williams in 1986.
# Convolutional networks, with a forerunner in Fukushima's neocognitron of 1980, were trained on handwritten digits by 1989 (LeCun and others) and read cheques in the 1990s ([Section 1.8](08-success-and-essence.md)); Q-learning (Watkins and Dayan, 1992) and long short-term memory (Hochreiter and Schmidhuber, 1997) followed.
# Outside such special uses, other methods were mostly preferred.
#
# The work also became easier.
# In 2014 a logistic regression with gradients derived by hand was still given to new doctoral students as homework, the authors of *Dive into Deep Learning* recall.
# Here it is today, on points in the plane.

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
# More data and faster machines were not all that changed.
#
# **Capacity control by noise.**
# A network with more parameters than examples can memorize.
# *Dropout* (Hinton and others, 2012; Srivastava and others, 2014) injects noise everywhere in the network during training, and turns fixed quantities into random variables; how noise on the inputs regularizes, Bishop had derived in 1995 ([Section 5.6](../05-multilayer-perceptrons/06-dropout.ipynb)).
#
# **Attention.**
# How can a system's memory and complexity grow without more learnable parameters?
# Bahdanau, Cho and Bengio (2014) let a translator look back at every word of the source, with weights that it computes: in effect a *learnable pointer*.
# A layer of this kind connects every position with every other, and has a fixed number of parameters, whatever the length of the text.
# A dense layer that connects all positions needs a weight for each pair of numbers, and serves one length only.

# %%
# check 1.7-C4: one attention layer for 10 positions and for 200
def parameters(layer):
    return sum(p.numel() for p in layer.parameters())


torch.manual_seed(0)
attention = nn.MultiheadAttention(64, 4, batch_first=True)
dense = nn.Linear(10 * 64, 10 * 64)  # all positions of 10, flattened
texts = [torch.randn(2, length, 64) for length in (10, 200)]
with torch.no_grad():
    outputs = [attention(text, text, text)[0] for text in texts]
    dense(texts[0].flatten(1))
    try:
        dense(texts[1].flatten(1))
        refused = False
    except RuntimeError:
        refused = True
print(f"attention {parameters(attention):,}, dense {parameters(dense):,}")
assert refused and parameters(attention) == 16_640
assert parameters(dense) == 640 * 640 + 640

# %%
# check 1.7-C5: one output for each position
for text, output in zip(texts, outputs):
    assert output.shape == text.shape
    assert (output - text).abs().max() > 0.1  # it is not the input

# %% [markdown]
# For 200 positions the dense layer would need 164 million weights.
# *Transformers* (Vaswani and others, 2017) are built of such layers, and most language models of today are Transformers.
# Over the sizes that were tried, their losses fall so regularly with size that one speaks of *scaling laws*.
#
# **Many steps instead of one.**
# *Memory networks* (Weston and others, 2014; trained end to end by Sukhbaatar and others, 2015) and the *neural programmer-interpreter* (Reed and de Freitas, 2015) change an internal state again and again before they answer.
# The *reasoning models* of today do something similar in words: they write down intermediate steps before the answer, and are trained by rewards for right answers ([Section 1.5](05-environment-and-reinforcement-learning.ipynb)).
#
# **Learning to draw.**
# To model a density used to mean: choose a family of distributions, then find a way to draw from it.
# *Generative adversarial networks* (Goodfellow and others, 2014) turned this around.
# Take any differentiable program that turns noise into pictures, and adjust it until a second network cannot tell its pictures from real ones; the second network is in effect a statistical test of two samples.
# *Diffusion models* (Sohl-Dickstein and others, 2015), which learn to remove noise in small steps, have since produced better pictures (Dhariwal and Nichol, 2021).
#
# **Computing together.**
# With a thousand devices that handle 32 pictures each, a batch has about 32 000 pictures, and making training converge with such batches took research of its own (Goyal and others, 2017, up to 8192 pictures; Akiba and others, 2017, 1024 devices).
# In reinforcement learning, simulators supply experience as fast as hardware allows.
#
# **Tools.**
# Three generations of frameworks followed each other: Caffe, Torch and Theano; TensorFlow and its peers; and those in which one writes an ordinary program, with Chainer among the first, and PyTorch and JAX today.

# %% tags=["hide-input"]
ideas = {
    1943: "threshold units", 1958: "perceptron", 1986: "backpropagation",
    1989: "convolutional networks", 1992: "Q-learning", 1997: "LSTM",
    2012: "ImageNet on GPUs, dropout", 2014: "attention, GANs",
    2015: "residual networks, diffusion", 2017: "Transformers",
    2020: "scaling laws", 2022: "assistants", 2024: "reasoning models"}
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
marks = [(m.get_marker(), m.get_color()) for m in ax.lines[1::2]]
assert marks == 6 * [("o", "#B84F00")] + 7 * [("s", "#0072B2")]
d2l.describe(ax, "Ideas at their years. Six before 2000, as orange discs: "
             "threshold units, perceptron, backpropagation, convolutional "
             "networks, Q-learning, LSTM. Seven since 2012, as blue "
             "squares: ImageNet on GPUs with dropout, attention with GANs, "
             "residual networks with diffusion, Transformers, scaling "
             "laws, assistants, reasoning models.")

# %% [markdown]
# **Figure 1.7.3.** Ideas from before 2000 (discs) and from the years since 2012 (squares).
# The gap between them is partly of our making, since every such list is a choice: a neural language model (Bengio and others, 2003) and deep belief networks (Hinton and others, 2006) fall into it.

# %% [markdown]
# ## Summary
#
# - From 1970 to 2020 data and computation grew by about $10^{10}$, memory by about $10^8$.
# - That memory lags behind data and operations holds in nearly all tables whose entries are off by up to a factor of ten; that computation outran data does not.
# - With memory scarce, models of fixed size that look at data piece by piece have an advantage over methods that keep all examples.
# - Old ideas waited for data and hardware; attention, dropout and adversarial training were new.
# - An attention layer connects all positions of a text of any length with the same parameters.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.7-1
#
# In which year of the table was the memory for each data item largest?
# Which methods were fashionable then?

# %% [markdown]
# #### Solution 1.7-1

# %% [markdown]
# In 1990, with a thousand bytes for each item.
# Nearest neighbours keep the whole data set, and so do the kernel methods that spread from 1992 on (support vector machines, Boser, Guyon and Vapnik).
# They keep their support vectors; the matrix of all pairs of $10^4$ examples, 400 MB, would not have fitted into the 10 MB of the table.

# %%
assert years[per_item[:, 0].argmax()] == 1990

# %% [markdown]
# ### Exercise 1.7-2
#
# Predict the operations per second of 2030, once with the growth of the last 50 years and once with that of the last 20.
# How far apart are the two answers?

# %% [markdown]
# #### Solution 1.7-2

# %% [markdown]
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
# `nn.Linear(64, 64)`, applied to each position, and the recurrent `nn.GRU(64, 64)` take texts of any length too: what do they lack?

# %% [markdown]
# #### Solution 1.7-3

# %% [markdown]
# Change the last input and look at the first output.
# That of attention moves, by weights that are computed from the inputs; only the matrices that compute them are learned.
# The linear layer treats each position by itself, and the recurrent one reads from left to right, so their first outputs do not see the last input.

# %%
text = texts[1]
changed = text.clone()
changed[:, -1] += 1
torch.manual_seed(1)
linear, gru = nn.Linear(64, 64), nn.GRU(64, 64, batch_first=True)
layers = {"attention": lambda x: attention(x, x, x)[0],
          "linear": linear, "GRU": lambda x: gru(x)[0]}
with torch.no_grad():
    moved = {name: (layer(changed) - layer(text))[:, 0].abs().max().item()
             for name, layer in layers.items()}
assert moved["attention"] > 1e-5 and moved["linear"] == moved["GRU"] == 0

# %% [markdown]
# ### Exercise 1.7-4
#
# How many computers with the memory of 2020 do you need in order to hold $10^{12}$ items of 1 KB each?

# %% [markdown]
# #### Solution 1.7-4

# %% [markdown]
# The items take $10^{12}\cdot10^3=10^{15}$ bytes, and one computer holds $10^{11}$, so $10^4$ are needed.
# Data on this scale are usually read from disks, piece by piece.

# %%
assert 1e12 * 1e3 / growth[5, 1].item() == 1e4

# %% [markdown]
# ## Sources
#
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the table up to 2020, and the choice of ideas.
# - W. S. McCulloch, W. Pitts (1943). A logical calculus of the ideas immanent in nervous activity. [doi:10.1007/BF02478259](https://doi.org/10.1007/BF02478259).
# - D. E. Rumelhart, G. E. Hinton, R. J. Williams (1986). Learning representations by back-propagating errors. [doi:10.1038/323533a0](https://doi.org/10.1038/323533a0).
# - S. Hochreiter, J. Schmidhuber (1997). Long short-term memory. [doi:10.1162/neco.1997.9.8.1735](https://doi.org/10.1162/neco.1997.9.8.1735); Y. LeCun et al. (1998), [doi:10.1109/5.726791](https://doi.org/10.1109/5.726791); C. Watkins, P. Dayan (1992). Q-learning. [doi:10.1007/BF00992698](https://doi.org/10.1007/BF00992698).
# - K. Fukushima (1980). Neocognitron. [doi:10.1007/BF00344251](https://doi.org/10.1007/BF00344251); Y. LeCun et al. (1989). Backpropagation applied to handwritten zip code recognition. [doi:10.1162/neco.1989.1.4.541](https://doi.org/10.1162/neco.1989.1.4.541); B. E. Boser, I. M. Guyon, V. N. Vapnik (1992). A training algorithm for optimal margin classifiers. [doi:10.1145/130385.130401](https://doi.org/10.1145/130385.130401).
# - G. E. Hinton et al. (2012). Improving neural networks by preventing co-adaptation of feature detectors. [arXiv:1207.0580](https://arxiv.org/abs/1207.0580); N. Srivastava et al. (2014). Dropout. [jmlr.org/papers/v15/srivastava14a.html](https://jmlr.org/papers/v15/srivastava14a.html); C. M. Bishop (1995), [doi:10.1162/neco.1995.7.1.108](https://doi.org/10.1162/neco.1995.7.1.108).
# - D. Bahdanau, K. Cho, Y. Bengio (2014). [arXiv:1409.0473](https://arxiv.org/abs/1409.0473); A. Vaswani et al. (2017), [arXiv:1706.03762](https://arxiv.org/abs/1706.03762); J. Kaplan et al. (2020), [arXiv:2001.08361](https://arxiv.org/abs/2001.08361).
# - Y. Bengio et al. (2003). A neural probabilistic language model. [jmlr.org/papers/v3/bengio03a.html](https://www.jmlr.org/papers/v3/bengio03a.html); G. E. Hinton, S. Osindero, Y. W. Teh (2006). A fast learning algorithm for deep belief nets. [doi:10.1162/neco.2006.18.7.1527](https://doi.org/10.1162/neco.2006.18.7.1527).
# - J. Weston, S. Chopra, A. Bordes (2014). Memory networks. [arXiv:1410.3916](https://arxiv.org/abs/1410.3916); S. Sukhbaatar et al. (2015). End-to-end memory networks. [arXiv:1503.08895](https://arxiv.org/abs/1503.08895); S. Reed, N. de Freitas (2015). Neural programmer-interpreters. [arXiv:1511.06279](https://arxiv.org/abs/1511.06279); I. Goodfellow et al. (2014). Generative adversarial networks. [arXiv:1406.2661](https://arxiv.org/abs/1406.2661); J. Sohl-Dickstein et al. (2015). Deep unsupervised learning using nonequilibrium thermodynamics. [arXiv:1503.03585](https://arxiv.org/abs/1503.03585); P. Dhariwal, A. Nichol (2021), Diffusion models beat GANs on image synthesis, [arXiv:2105.05233](https://arxiv.org/abs/2105.05233).
# - P. Goyal et al. (2017). Accurate, large minibatch SGD. [arXiv:1706.02677](https://arxiv.org/abs/1706.02677); T. Akiba, S. Suzuki, K. Fukuda (2017). Extremely large minibatch SGD. [arXiv:1711.04325](https://arxiv.org/abs/1711.04325): large batches.
# - A. Grattafiori et al. (2024). The Llama 3 herd of models. [arXiv:2407.21783](https://arxiv.org/abs/2407.21783): about $1.5\cdot10^{13}$ tokens; NVIDIA, H100 data sheet, [nvidia.com](https://www.nvidia.com/en-us/data-center/h100/): nearly $10^{15}$ operations per second in 16 bits.
