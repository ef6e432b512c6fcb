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
# # 2.2 Data preprocessing
#
# Data come as tables with words, gaps and typing errors; a network wants a tensor of floats with a fixed number of columns.
# Getting from one to the other looks like clerical work.
# It is also where a model can be handed the answers by accident, and then it looks excellent until it is used.
# This section shows the work and the accident.
#
# **You will**
#
# - read a table with pandas, count and draw its gaps, and look for faults before modelling;
# - turn words and gaps into numbers, and say what each way of doing so assumes about the data;
# - convert a table to a `float32` tensor and avoid three traps of types and shapes;
# - write a preprocessor that learns from the training rows only, and measure what happens otherwise.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from torch import nn

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## Reading the dataset
#
# A *CSV* file, for comma-separated values, is a table as text: one line for each row, the first line with the names of the columns.
# Ours lists four houses with their number of rooms, the type of their roof, and their price.
# Some entries are not available, `NA`.
# We write the file to a temporary folder and let pandas, the usual Python library for tables, read it:

# %%
text = """NumRooms,RoofType,Price
NA,NA,127500
2,NA,106000
4,Slate,178100
NA,NA,140000
"""
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "houses.csv"
    path.write_text(text)
    houses = pd.read_csv(path)
houses

# %% [markdown]
# The result is a `DataFrame`, a table whose columns each have a name and a type.
# pandas shows a gap as `NaN`.
# It has guessed the types: the room numbers have become floats, because the integers of NumPy have no value for "missing", while floats have `nan`.
# The first thing to ask of any table is where the gaps are.

# %%
# check 2.2-C1: four rows, three columns, and where the gaps are
missing = houses.isna().sum()
print(missing.to_dict())
assert houses.shape == (4, 3)
assert missing.tolist() == [2, 3, 0]

# %% tags=["hide-input"]
def show_cells(ax, frame, colored):
    """A table as a picture; cells where `colored` is true stand out."""
    ax.imshow(colored.to_numpy(dtype=float), cmap="coolwarm", vmin=-1,
              vmax=2, alpha=0.55, aspect="auto")
    for (i, j), value in np.ndenumerate(frame.astype(object).to_numpy()):
        words = "NA" if pd.isna(value) else str(value)
        ax.text(j, i, words.removesuffix(".0"), ha="center", va="center")
    ax.set_xticks(range(frame.shape[1]), labels=list(frame), fontsize=9)
    ax.set_yticks(range(len(frame)))
    ax.set(ylabel="house")
    ax.grid(False)
    for edge in range(1, len(frame)):
        ax.axhline(edge - 0.5, color="white", lw=2)
    for edge in range(1, frame.shape[1]):
        ax.axvline(edge - 0.5, color="white", lw=2)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)



_, ax = plt.subplots(figsize=(3.6, 2.3))
show_cells(ax, houses, houses.isna())
d2l.describe(ax, """The table as read: five of the twelve cells are gaps,
    two in NumRooms and three in RoofType.""")

# %% [markdown]
# **Figure 2.2.1.** The table as read, with its five gaps in orange.

# %% [markdown]
# One more guess deserves attention.
# `read_csv` takes a whole list of strings for missing: the empty string, `NA`, `None`, `null`, `nan` and others.
# In some tables such a string is a value: `NA` is the country code of Namibia, and `None` may mean that a house has no garage.
# In such a case say yourself what counts as missing:

# %%
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "sales.csv"
    path.write_text("Country,Garage\nNA,None\nDE,\n")
    guessed = pd.read_csv(path)
    told = pd.read_csv(path, keep_default_na=False, na_values=[""])
print("gaps by default:", guessed.isna().sum().to_dict())
print("gaps as told:   ", told.isna().sum().to_dict())
assert told["Country"].tolist() == ["NA", "DE"]
assert told["Garage"].isna().tolist() == [False, True]

# %% [markdown]
# ## Handling missing values
#
# First separate the *inputs*, from which we predict, from the *target*, which we want to predict.
# Columns can be selected by position, `houses.iloc[:, 0:2]`, or by name.
# Names survive when someone inserts a column, so prefer them.

# %%
inputs, target = houses[["NumRooms", "RoofType"]], houses["Price"]
assert inputs.equals(houses.iloc[:, 0:2])

# %% [markdown]
# What to do about the gaps?
# *Deletion* drops every row that has one.
# Little is left here, since a row is lost for a gap in any of its columns:

# %%
# check 2.2-C6: deletion leaves one house of four
complete = houses.dropna()
print("rows left:", len(complete), "of", len(houses))
assert len(complete) == 1 and complete["RoofType"].tolist() == ["Slate"]

# %% [markdown]
# Deletion has a second weakness.
# A house with an unknown number of rooms will also turn up when the model is in use, and then it needs a prediction, not a deletion.
# *Imputation* instead fills the gap with a plausible value.
#
# For a *categorical* column, whose values are names without an order, "missing" can be one more category.
# `get_dummies` replaces the column by one column for each category, which is true in the rows that have it; this is called *one-hot encoding*, because exactly one of the columns is true.
# With `dummy_na=True` there is a column for the gaps too:

# %%
# check 2.2-C2: one column for the rooms, one for slate, one for the gaps
inputs = pd.get_dummies(inputs, dummy_na=True)
assert list(inputs.columns) == ["NumRooms", "RoofType_Slate", "RoofType_nan"]
inputs

# %% [markdown]
# For a *numerical* column the common choice is the mean of the known values, here $(2+4)/2=3$:

# %%
# check 2.2-C3: the gaps hold the mean of 2 and 4
inputs = inputs.fillna(inputs.mean())
print("NumRooms:", inputs["NumRooms"].tolist())
assert inputs["NumRooms"].tolist() == [3, 2, 4, 3]

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.2, 2.3))
after = inputs.astype({"RoofType_Slate": int, "RoofType_nan": int})
after["Price"] = target
was_gap = after.isna().assign(NumRooms=houses["NumRooms"].isna(),
                              RoofType_nan=houses["RoofType"].isna())
show_cells(ax, after, was_gap)
d2l.describe(ax, """The encoded table, without gaps. The two filled room
    numbers, both 3, and the three ones in the column RoofType_nan are
    marked.""")

# %% [markdown]
# **Figure 2.2.2.** The same cells after encoding and imputation, still in orange.
# A gap among the roofs has become information, a 1 in `RoofType_nan`; a gap among the rooms has become a 3 that nobody ever counted.

# %% [markdown]
# The mean is not the only choice.
# It follows extreme values, while the *median*, the value in the middle of the sorted ones, does not.
# The prices show the difference:

# %%
# check 2.2-C7: mean and median of the four prices
print("mean", target.mean(), " median", target.median())
assert target.mean() == 137_900 and target.median() == 133_750

# %% [markdown]
# ## Conversion to the tensor format
#
# Now all entries are numbers or truth values, and the table can become a tensor.
# There are three traps on the way.
#
# *The first*: `get_dummies` returns booleans.
# For a table of floats and booleans pandas chooses the type `object`, a mere pointer to something in Python, and PyTorch refuses it.
# (NumPy by itself would have chosen floats.)
# So ask for floats:

# %%
# check 2.2-C4: the inputs and targets as tensors
try:
    torch.tensor(inputs.to_numpy())
    refused = False
except TypeError:
    refused = True
print("pandas chooses:", inputs.to_numpy().dtype, " NumPy would choose:",
      np.result_type(bool, np.float64))
X = torch.tensor(inputs.to_numpy(dtype=float))
y = torch.tensor(target.to_numpy(dtype=float))
print(X)
assert refused and inputs.to_numpy().dtype == object
assert X.tolist() == [[3, 0, 1], [2, 0, 1], [4, 1, 0], [3, 0, 1]]
assert y.tolist() == [127_500, 106_000, 178_100, 140_000]

# %% [markdown]
# *The second*: Python's `float` has 64 bits, and so does this tensor.
# The parameters of a network have 32 bits, and a layer does not mix the two.
# `nn.Linear(3, 1)` is such a layer with three inputs and one output; [Section 3.5](../03-linear-regression/05-linear-regression-concise.ipynb) explains it.

# %%
# check 2.2-C5: a layer wants float32
layer = nn.Linear(3, 1)
try:
    layer(X)
    message = ""
except RuntimeError as error:
    message = str(error)
print(X.dtype, "gives:", message)
assert X.dtype == torch.float64 and "dtype" in message

X = torch.tensor(inputs.to_numpy(dtype="float32"))
assert X.dtype == torch.float32 and layer(X).shape == (4, 1)

# %% [markdown]
# *The third*: the layer returns predictions of shape $(4,1)$, one column, while the prices in `y` have shape $(4,)$.
# Their difference has shape $(4,4)$ by the broadcasting rule of [Section 2.1](01-data-manipulation.ipynb).
# Give the targets a column too:

# %%
y = torch.tensor(target.to_numpy(dtype="float32")).reshape(-1, 1)  # (4, 1)
assert (layer(X) - y).shape == (4, 1)

# %% [markdown]
# ## Look before you model
#
# Four rows can be read.
# With 200 rows one looks at statistics and at pictures; here the pictures say more.
# We simulate a table of areas and prices in which three offices made three different mistakes.

# %%
rng = torch.Generator().manual_seed(5)
n = 200
area = 40 + 180 * torch.rand(n, generator=rng)  # square metres
noise = 0.15 * torch.randn(n, generator=rng)
price = 1500 * area * noise.exp()  # euros
area[20:32] *= 10.764  # one office measured in square feet
area[60:70] = 999  # another wrote 999 for "unknown"
price[100:103] *= 10  # a third typed a zero too many
sales = pd.DataFrame({"Area": area.numpy(), "Price": price.numpy()})
assert (sales.min() > 0).all()  # no value is impossible
per = price / area
usual = per[103:].median()
assert 8 < usual / per[20:32].median() < 14 and (area == 999).sum() == 10
assert (per[100:103] > 5 * usual).all()
print("gaps:", sales.isna().sum().sum(),
      " mean area:", round(sales["Area"].mean()))

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.4, 3.2))
ax.plot(sales["Area"], sales["Price"], "o", ms=3.5, alpha=0.7)
ax.set(xscale="log", yscale="log", xlabel="area as entered",
       ylabel="price as entered (euros)", xlim=(30, 4000),
       ylim=(3e4, 4e6))
for words, point, at in (("999?", (980, 300_000), (620, 800_000)),
                         ("square feet?", (1300, 150_000), (1100, 55_000)),
                         ("a zero too many?", (107, 1.8e6), (190, 2.2e6))):
    ax.annotate(words, point, at, color="#B84F00",
                arrowprops={"arrowstyle": "->", "color": "#B84F00"})
d2l.describe(ax, """Price against area on logarithmic axes. Most points
    form a rising band. A second band lies parallel to it, shifted right by
    a factor of eleven; some points stand in a vertical line at area 999;
    three points lie ten times above the band.""")

# %% [markdown]
# **Figure 2.2.3.** Three faults that a picture shows at once: a shifted parallel band, a vertical line, and points one decade too high.
# On logarithmic axes a factor is a shift.

# %% [markdown]
# No value is missing in this table, and no statistic is impossible.
# The gaps are there all the same: 999 is a gap in disguise, and should become `nan` before any mean is taken.
#
# An *outlier* is a value far from the others.
# It can be a mistake, a faulty sensor or a true rarity such as a castle, and the value alone does not tell which; someone has to ask where it came from.
#
# Data also come in several tables that must be joined, customers here and orders there.
# A *left join* keeps the rows of the first table and looks up each key in the second.
# Two things go wrong quietly: a key without a partner leaves gaps, and a key that occurs twice in the second table doubles rows of the first.
# `validate` turns the doubling into an error:

# %%
sold = pd.DataFrame({"District": ["north", "south", "east"],
                     "Price": [200, 150, 170]})
districts = pd.DataFrame({"District": ["north", "south", "south"],
                          "Schools": [4, 2, 3]})
joined = sold.merge(districts, on="District", how="left")
print("rows:", len(sold), "became", len(joined),
      " gaps:", int(joined["Schools"].isna().sum()))
try:
    sold.merge(districts, on="District", how="left", validate="many_to_one")
    noticed = False
except pd.errors.MergeError:
    noticed = True
assert len(joined) == 4 and joined["Schools"].isna().sum() == 1 and noticed

# %% [markdown]
# Other kinds of data become tensors in other ways: images are arrays of pixels already ([Section 4.2](../04-linear-classification/02-image-classification-dataset.ipynb)), text is cut into pieces that are numbered (chapter 9), and a date becomes numbers that mean something, such as the age of a house at its sale or the day of the week.
# The rest of this section applies to all of them.

# %% [markdown]
# ## What a filled gap claims
#
# Filling gaps with the mean claims that the unknown values are ordinary.
# Two things are wrong with that, and the first can be computed.
#
# If a share $m$ of the values is missing, and the others have mean $\bar x$ and standard deviation $s$ (with division by the number of values), then the filled column has
#
# $$
# \bar x_{\text{filled}} = \bar x, \qquad s_{\text{filled}} = \sqrt{1-m}\; s. \tag{2.2.1}
# $$
#
# All of these are numbers, $0\le m<1$.
# The filled entries add nothing to the sum of squared deviations, but they count in the number of values by which it is divided.
# With half of the values missing, the column keeps 71% of the spread.
#
# The second is worse: values are often not missing by chance.
# In the following simulated survey, the number of rooms tends to be unknown for small houses.

# %%
rng = torch.Generator().manual_seed(6)
n = 600
rooms = torch.randint(1, 10, (n,), generator=rng).double()
price = 60 + 25 * rooms + 25 * torch.randn(n, generator=rng)  # in 1000
share = torch.where(rooms <= 3, 0.7, 0.1)  # chance of a gap
hidden = torch.rand(n, generator=rng) < share
survey = pd.DataFrame({"NumRooms": rooms.numpy(), "Price": price.numpy()})
survey.loc[hidden.numpy(), "NumRooms"] = np.nan
known, gap = survey["NumRooms"].notna(), survey["NumRooms"].isna()
print(f"missing: {gap.mean():.0%}; mean price "
      f"{survey.loc[known, 'Price'].mean():.0f} where known, "
      f"{survey.loc[gap, 'Price'].mean():.0f} where missing")

# %%
# check: (2.2.1), and the missing houses are not ordinary
filled = survey["NumRooms"].fillna(survey["NumRooms"].mean())
spread = filled.std(ddof=0) / survey["NumRooms"].std(ddof=0)
assert abs(spread - np.sqrt(1 - gap.mean())) < 1e-12
gap_price = survey.loc[gap, "Price"].mean()
assert survey.loc[known, "Price"].mean() > gap_price + 40
low = survey.loc[survey["NumRooms"] == 6, "Price"].quantile(0.1)
assert (survey.loc[gap, "Price"] < low).mean() > 0.7

# %% tags=["hide-input"]
_, ax = plt.subplots(figsize=(5.4, 3.0))
ax.plot(filled[known], survey.loc[known, "Price"], "o", ms=3, alpha=0.5,
        label="rooms known")
ax.plot(filled[gap], survey.loc[gap, "Price"], "x", ms=4, alpha=0.7,
        label="filled with the mean")
ax.set(xlabel="number of rooms", ylabel="price (1000 euros)")
ax.legend()
d2l.describe(ax, """Price against rooms. Known houses rise in vertical
    stripes from 1 to 9 rooms. The filled houses stand in one vertical line
    near 6 rooms, most of them far below the other houses of that size.""")

# %% [markdown]
# **Figure 2.2.4.** Houses with a filled gap stand at the mean number of rooms, and most are cheaper than nine tenths of the known houses of six rooms.
# In this survey, that a value is missing says something about the house.

# %% [markdown]
# The remedy costs one column.
# An *indicator* is 1 where the value was missing and 0 elsewhere.
# With it, a model can give the filled houses a level of their own.
# A good default for tables is to put the mean into the gap, and to say that there was one.
#
# To see the effect we fit the best linear function of the columns to 400 houses, and measure the error on the other 200.
# How `lstsq` finds it is the subject of [Section 3.1](../03-linear-regression/01-linear-regression.ipynb); here it is only a measuring device.

# %%
def design(frame, mean, indicator):
    """Columns 1, rooms and perhaps the indicator, and the prices."""
    columns = [np.ones(len(frame)), frame["NumRooms"].fillna(mean)]
    columns += [frame["NumRooms"].isna()] if indicator else []
    A = np.stack(columns, axis=1).astype(float)  # (rows, 2 or 3)
    return torch.tensor(A), torch.tensor(frame[["Price"]].to_numpy())


def errors_of(train, val):
    """Validation errors without and with the indicator."""
    mean = train["NumRooms"].mean()  # of the training rows
    for indicator in (False, True):
        w = torch.linalg.lstsq(*design(train, mean, indicator)).solution
        A, y = design(val, mean, indicator)
        yield (A @ w - y).square().mean().sqrt().item()

# %% [markdown]
# As a control, we scatter the same number of gaps over the rows by chance.

# %%
anywhere = hidden[torch.randperm(n, generator=rng)]
by_chance = survey.assign(NumRooms=rooms.where(~anywhere, np.nan).numpy())
errors = {}
for name, frame in (("as surveyed", survey), ("by chance", by_chance)):
    without, with_it = errors_of(frame[:400], frame[400:])
    errors[name] = without, with_it
    print(f"gaps {name:11}: error in 1000 euros {without:.0f} without, "
          f"{with_it:.0f} with the indicator")

# %%
# check: the indicator helps where gaps mean something, not at random ones
ratios = {name: after / before for name, (before, after) in errors.items()}
assert ratios["as surveyed"] < 0.85 and abs(ratios["by chance"] - 1) < 0.02
parts = [torch.tensor([*errors_of(survey[:400], survey[k:k + 100])])
         for k in (400, 500)]  # nothing is learned from the 200 rows
torch.testing.assert_close((sum(e**2 for e in parts) / 2).sqrt(),
                           torch.tensor(errors["as surveyed"]))

# %% [markdown]
# The indicator helps in the survey, where a gap says something about the price; with gaps by chance it changes the error by less than 2 %.

# %% [markdown]
# ## Leakage
#
# We judge a model on *validation* rows that were kept out of its training, because there it has to predict what it has not seen.
# *Leakage* is any path by which information from the validation rows reaches the training all the same.
# Preprocessing is a path that is easily overlooked, because it happens before the model.
#
# Here is a drastic example.
# A column holds the street of each house.
# With a thousand streets, one-hot encoding would need a thousand columns, so each street is replaced by a number: the mean price of its houses.
# This is called *target encoding*.
# Suppose that the prices have nothing to do with the streets; each is an independent random number.
# An honest evaluation must then find that the street predicts nothing.
#
# If each street has $k$ houses, and the mean includes the house itself, the encoded street $e$ and the price $y$ have the correlation
#
# $$
# \rho(e, y) = \frac{\operatorname{Cov}(e, y)}{\sigma_e\,\sigma_y} = \frac{\sigma_y^2/k}{(\sigma_y/\sqrt k)\,\sigma_y} = \frac{1}{\sqrt k}. \tag{2.2.2}
# $$
#
# The numbers $\sigma_e$ and $\sigma_y$ are standard deviations; $e$ is a mean of $k$ independent prices, one of which is $y$ itself.
# With two houses in a street, pure noise seems to predict with a correlation of $1/\sqrt2\approx0.71$.

# %%
rng = torch.Generator().manual_seed(7)
n = 2000
noise = pd.DataFrame({"Street": torch.arange(n) // 2,  # two houses each
                      "Price": torch.randn(n, generator=rng).numpy()})
order = torch.randperm(n, generator=rng).numpy()
train, val = noise.loc[order[:1000]], noise.loc[order[1000:]].copy()


def street_means(rows):
    return rows.groupby("Street")["Price"].mean()


val["leaky"] = val["Street"].map(street_means(noise))  # all rows
val["honest"] = val["Street"].map(street_means(train))  # training only
val["honest"] = val["honest"].fillna(train["Price"].mean())  # unseen
correlation = val.corr()["Price"]
for way in ("leaky", "honest"):
    print(f"{way:7} correlation on validation rows "
          f"{abs(correlation[way]):.1f}")

# %%
# check: noise predicts noise only through the leak
assert abs(correlation["leaky"] - np.sqrt(1 / 2)) < 0.06
assert abs(correlation["honest"]) < 0.12
codes = [*street_means(train), train["Price"].mean()]  # nothing else
assert val["honest"].isin(codes).all()
groups = noise.groupby("Street")["Price"]
left_out = groups.transform("sum") - noise["Price"]  # the other house
around = pd.DataFrame({"code": left_out, "price": noise["Price"]})
around -= around.groupby(noise["Street"]).transform("mean")
assert around.corr().loc["code", "price"] < -0.999  # within a street

# %% tags=["hide-input"]
_, axes = plt.subplots(1, 2, figsize=(6.4, 2.8), sharey=True)
titles = {"leaky": "means of all rows", "honest": "means of training rows"}
for ax, (way, title) in zip(axes, titles.items()):
    ax.plot(val[way], val["Price"], "o", ms=2.5, alpha=0.5)
    ax.set(title=title, xlabel="encoded street", xlim=(-3.5, 3.5))
axes[0].set_ylabel("price of validation houses")
d2l.describe(axes, """Price against the encoded street for validation
    houses. Left, means of all rows: a cloud that clearly rises. Right,
    means of the training rows: a round cloud without direction, and a
    vertical line of unseen streets.""")

# %% [markdown]
# **Figure 2.2.5.** The same random prices, encoded with a leak and without.
# The rising cloud on the left contains no knowledge about streets; each point contains half of its own answer.

# %% [markdown]
# The leak is obvious once it is drawn, and yet one line decides it: whether `groupby` sees all rows or the training rows.
# (A good target encoder goes one step further, lest the model learn to trust the column too much: by *cross-fitting* it encodes each part of the training rows with the means of the other parts, as [`TargetEncoder`](https://scikit-learn.org/stable/modules/generated/sklearn.preprocessing.TargetEncoder.html) of scikit-learn does.
# To leave only the row itself out of its mean would be a new leak: within one street, the code of a house then falls exactly as its own price rises.)
# The mean that fills a gap, the list of categories, and the scale of a column are statistics as well.
# They contain no target, and often leak so little that nothing can be measured.
# One habit prevents all of these leaks at once, and it costs nothing:
#
# ![Flow diagram. A table is split into training rows and validation rows. fit takes the training rows only and stores means and categories. transform applies the stored statistics to the training rows, giving X train, and to the validation rows, giving X validation. No arrow leads from the validation rows to fit.](img/fit-and-transform.svg)
#
# **Figure 2.2.6.** Split first.
# `fit` computes statistics and sees training rows only; `transform` uses them on any rows, now and later when the model is in use.

# %% [markdown]
# Split with thought, too.
# If the model will predict next year's sales, validate it on the latest sales, not on a random selection.
# And if the same house is listed twice, keep both rows on the same side.

# %% [markdown]
# ## A preprocessor with fit and transform
#
# The following class puts the section together.
# Every column gets an indicator of its gaps.
# For a numerical column the class stores the mean and emits the filled column.
# For a categorical column it stores the categories that it has seen, and emits one column for each and one for everything else.
# The last one answers a question that `get_dummies` by itself cannot: what to do with a category that appears for the first time when the model is in use.
# Called on new rows, `get_dummies` would return other columns, and the network would receive a tensor of another width.
# For the same reason the class stores the names and the order of the columns: new rows may hold them in another order, or have more.
#
# The class asks pandas which columns are numbers, and takes the rest for categories.
# To ask for text instead would be a trap: its type is called `object` in pandas 2 and `str` in pandas 3.
#
# The names of the new columns need care as well.
# If the category "Slate" made a column `Roof_Slate`, a roof called "other" would make a column `Roof_other`, the very name of the column for everything else.
# In a dictionary the second column replaces the first without a word, and the rows of that category are left with zeros everywhere.
# So a category gets an equals sign, `Roof=other`, and should two names collide all the same, the class refuses the table.

# %%
class Preprocessor:
    """Turns a table into a tensor, with statistics of fitted rows only.

    A category that occurs fewer than `min_count` times in the fitted
    rows counts as "other", like one that does not occur there at all.
    """

    def __init__(self, min_count=1):
        self.min_count = min_count

    def fit(self, df):
        """Store the names, means and categories of the rows of `df`."""
        self.names = list(df)
        numeric = df.select_dtypes("number")
        self.means = numeric.mean().fillna(0.0)  # 0 for an empty column
        self.categories = {}
        for name in df.columns.drop(numeric.columns):
            counts = df[name].value_counts()
            self.categories[name] = sorted(
                counts.index[counts >= self.min_count], key=str)
        return self

    def encode(self, df):
        """The encoded rows; `df` has at least the columns of `fit`."""
        columns = [(f"{name}_missing", df[name].isna()) for name in self.names]
        columns += [(name, df[name].fillna(mean))
                    for name, mean in self.means.items()]
        for name, known in self.categories.items():
            columns += [(f"{name}={category}", df[name].isin([category]))
                        for category in known]
            other = df[name].notna() & ~df[name].isin(known)
            columns += [(f"{name}_other", other)]
        if len(dict(columns)) < len(columns):
            raise ValueError(f"rename one of {[n for n, _ in columns]}: "
                             "two have the same name")
        return pd.DataFrame(dict(columns), index=df.index).astype("float32")

    def transform(self, df):
        """float32 tensor of shape (rows, encoded columns)."""
        return torch.tensor(self.encode(df).to_numpy())

# %% [markdown]
# We fit it on the four houses and apply it to two new ones.
# The first new house has a roof that was never seen and no room number.

# %%
inputs = houses[["NumRooms", "RoofType"]]
preprocessor = Preprocessor().fit(inputs)
new = pd.DataFrame({"NumRooms": [np.nan, 5], "RoofType": ["Tile", "Slate"]})
preprocessor.encode(new)

# %%
# check 2.2-C8: unseen category, same columns, no gaps
X_train, X_new = preprocessor.transform(inputs), preprocessor.transform(new)
assert list(preprocessor.encode(new)) == list(preprocessor.encode(inputs))
assert X_train.shape == (4, 5) and X_new.shape == (2, 5)
assert X_new.dtype == torch.float32 and not X_new.isnan().any()
assert X_new[0].tolist() == [1, 0, 3, 0, 1]  # gap, no gap, mean, other
turned = new[["RoofType", "NumRooms"]].assign(Street="new")
assert torch.equal(preprocessor.transform(turned), X_new)
assert pd.get_dummies(new).shape[1] != pd.get_dummies(inputs).shape[1]

# %% [markdown]
# Now the names that could collide: categories called "other" and "missing", and a column in which numbers and words are mixed.
# Each row must have exactly one 1, in a column of its own category.

# %%
odd = pd.DataFrame({"Roof": ["other", "missing", None, 3, "Slate"]})
encoded = Preprocessor().fit(odd).encode(odd)
print(encoded.idxmax(axis=1).tolist())
assert encoded.idxmax(axis=1).tolist() == [
    "Roof=other", "Roof=missing", "Roof_missing", "Roof=3", "Roof=Slate"]
assert (encoded.sum(axis=1) == 1).all()
try:
    clash = odd.assign(Roof_missing=1.0)
    Preprocessor().fit(clash).transform(clash)
    refusal = ""
except ValueError as error:
    refusal = str(error)
assert "Roof_missing" in refusal and "rename" in refusal
empty = pd.DataFrame({"Area": [np.nan, np.nan]})  # no mean, filled with 0
assert Preprocessor().fit(empty).transform(empty).tolist() == [[1, 0]] * 2

# %% [markdown]
# A remark on the column "other".
# In the training rows it is 0 everywhere, so a model cannot learn what it means.
# With `min_count=2` or more, rare categories fall into "other" already in training, and the model meets the case that it will have to handle.
# It also keeps the number of columns small.
#
# The class promises that validation rows do not influence it.
# That can be tested: change them wildly, and nothing that was learned may move.

# %%
rng = torch.Generator().manual_seed(8)
n = 300
which = torch.randint(0, 20, (n,), generator=rng).tolist()
roofs = ["Slate"] * 10 + ["Tile"] * 6 + [None] * 3 + ["Thatch"]  # rare
table = pd.DataFrame({
    "NumRooms": torch.randint(1, 10, (n,), generator=rng).double().numpy(),
    "RoofType": [roofs[k] for k in which]})
table.loc[::7, "NumRooms"] = np.nan
order = torch.randperm(n, generator=rng).numpy()
train, val = table.loc[order[:200]], table.loc[order[200:]]

preprocessor = Preprocessor(min_count=20).fit(train)
X_train, X_val = preprocessor.transform(train), preprocessor.transform(val)
print("training", tuple(X_train.shape), " validation", tuple(X_val.shape))
print("categories kept:", preprocessor.categories)
other = list(preprocessor.encode(train)).index("RoofType_other")
assert X_train[:, other].sum() > 0  # the thatched roofs

# %%
# check 2.2-C9: other validation rows, the same statistics
changed = val.assign(NumRooms=1e6, RoofType="Gold")
for rows in (val, changed):
    again = Preprocessor(min_count=20).fit(train)
    again.transform(rows)
    assert again.means.equals(preprocessor.means)
    assert again.categories == preprocessor.categories
    assert torch.equal(again.transform(train), X_train)
everything = Preprocessor(min_count=20).fit(pd.concat([train, changed]))
assert everything.means["NumRooms"] > 1000  # what fitting on all would do

# %% [markdown]
# One kind of column should not go in: an identifier, a number or name that is different in every row.
# As a category it makes one column for each row (Exercise 2.2-4).
# As a number it pretends to have an order and a size, and may not even survive the conversion: a `float32` has 24 significant bits, so neighbouring identifiers above $2^{24}$ can become equal.

# %%
identifiers = pd.Series([16_777_216, 16_777_217])
print("different:", identifiers.nunique(), " different as float32:",
      identifiers.astype("float32").nunique())
assert identifiers.astype("float32").nunique() == 1

# %% [markdown]
# Libraries offer the same pair of methods, for instance `SimpleImputer` and `OneHotEncoder` of scikit-learn.
# [Section 5.7](../05-multilayer-perceptrons/07-kaggle-house-prices.ipynb) builds a larger version for a competition with 79 columns.

# %% [markdown]
# ## Summary
#
# - Count and draw the gaps first, and plot the columns; some gaps are disguised as 999 or as an ordinary word.
# - Deletion loses rows and is of no use at prediction time. Imputation by the mean keeps them, shrinks the spread by the factor $\sqrt{1-m}$, and needs an indicator column where missing values are not ordinary ones.
# - One-hot encoding makes a column for each category; keep one for gaps and one for categories that are new or rare.
# - On the way to a tensor ask for `float32`, and give the targets shape $(n,1)$.
# - Every statistic is fitted on training rows and only applied to others. A target encoding of all rows finds a correlation of $1/\sqrt k$ in pure noise.

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 2.2-1
#
# Write a function that deletes the column with the most missing values, and apply it to the table of houses.
# Which column goes, and what would be lost if the roofs decided the price?

# %% [markdown]
# #### Solution 2.2-1

# %% [markdown]
# `RoofType` has three gaps and goes.
# A column with many gaps is not useless: the one roof that is known may be the reason for the highest price.
# It is better to look at what the column says where it is known, and whether its gaps say something, before deleting it.

# %%
def drop_emptiest(df):
    return df.drop(columns=df.isna().sum().idxmax())


print(list(drop_emptiest(houses)))
assert houses.isna().sum().idxmax() == "RoofType"
assert houses.isna().sum().max() == 3
assert list(drop_emptiest(houses)) == ["NumRooms", "Price"]

# %% [markdown]
# ### Exercise 2.2-2
#
# Fill the room numbers with the median instead of the mean.
# What changes for our four houses, and what if a hotel with 40 rooms is added?

# %% [markdown]
# #### Solution 2.2-2

# %% [markdown]
# For two known values mean and median are the same, 3.
# With 40 rooms among the known values the median is 4, and the mean $46/3\approx15$ describes neither houses nor hotels.

# %%
rooms = houses["NumRooms"]
assert rooms.mean() == rooms.median() == 3
with_hotel = pd.concat([rooms, pd.Series([40.0])])
print("mean", round(with_hotel.mean(), 2), " median", with_hotel.median())
assert with_hotel.median() == 4 and with_hotel.mean() > 15

# %% [markdown]
# ### Exercise 2.2-3
#
# Write a function that adds an indicator column `<name>_missing` for every column of a table.
# Compare the sums of the new columns with the numbers of missing values.
# Which of the three indicators of the houses table are of no use to a model?

# %% [markdown]
# #### Solution 2.2-3

# %% [markdown]
# The sums are 2, 3 and 0, the counts of check C1.
# The last column is constant; it does no harm, but it says nothing.
# And after one-hot encoding the indicator of `RoofType` is the same column as `RoofType_nan`.

# %%
def add_indicators(df):
    indicators = df.isna().astype(int).add_suffix("_missing")
    return pd.concat([df, indicators], axis=1)


extended = add_indicators(houses)
sums = extended.filter(like="_missing").sum()
print(sums.to_dict())
assert sums.tolist() == houses.isna().sum().tolist() == [2, 3, 0]
dummies = pd.get_dummies(houses["RoofType"], dummy_na=True)
assert (dummies.iloc[:, -1] == extended["RoofType_missing"]).all()

# %% [markdown]
# ### Exercise 2.2-4
#
# A table of 1000 houses has an identifier column with 1000 different names.
# How many columns does one-hot encoding make of it, and why are they useless?
# What does `Preprocessor` make of it, with `min_count=1` and with `min_count=2`?

# %% [markdown]
# #### Solution 2.2-4

# %% [markdown]
# It makes 1000 columns with a single 1 each.
# A linear model can then store the price of every training house in the weight of its column, which fits perfectly and predicts nothing: a new house has a new identifier, and all these columns are 0.
# With `min_count=1` the preprocessor keeps them all, and adds two.
# With `min_count=2` no identifier is frequent enough, and only the columns for "other" and for gaps remain.

# %%
ids = pd.DataFrame({"Id": [f"house{k}" for k in range(1000)]})
encoded = pd.get_dummies(ids)
print("columns:", encoded.shape[1])
assert encoded.shape[1] == 1000 and (encoded.sum() == 1).all()
assert Preprocessor(1).fit(ids).transform(ids).shape == (1000, 1002)
assert Preprocessor(2).fit(ids).transform(ids).shape == (1000, 2)
next_house = pd.DataFrame({"Id": ["house1000"]})
assert Preprocessor(1).fit(ids).transform(next_house)[0, :-1].sum() == 0

# %% [markdown]
# ### Exercise 2.2-5
#
# To *standardize* a column is to subtract its mean and divide by its standard deviation, so that columns in rooms and in euros become comparable.
# Extend `Preprocessor` so that the numerical columns are standardized with the statistics of the training rows.
# Which mean and standard deviation do the training rows have afterwards, and which the validation rows?

# %% [markdown]
# #### Solution 2.2-5

# %% [markdown]
# The training rows have mean 0 and standard deviation 1 up to rounding.
# The validation rows come close but do not reach it, and that is right: they are other rows.
# Exactly 0 and 1 in the validation rows would be the sign of a leak.
# We divide by the standard deviation of the *filled* column, because this is the column that the model gets, and replace a deviation of 0 by 1.

# %%
class Standardizer(Preprocessor):
    def fit(self, df):
        super().fit(df)
        filled = df[self.means.index].fillna(self.means)
        self.scales = filled.std(ddof=0).replace(0.0, 1.0)
        return self

    def encode(self, df):
        table = super().encode(df)
        for name, scale in self.scales.items():
            table[name] = (table[name] - self.means[name]) / scale
        return table


scaler = Standardizer(min_count=20).fit(train)
rooms_train = scaler.encode(train)["NumRooms"]
rooms_val = scaler.encode(val)["NumRooms"]
assert abs(rooms_train.mean()) < 1e-5
assert abs(rooms_train.std(ddof=0) - 1) < 1e-5
assert abs(rooms_val.mean()) > 1e-3
assert abs(rooms_val.std(ddof=0) - 1) > 1e-3
same = Standardizer().fit(pd.DataFrame({"NumRooms": [2.0, 2.0]}))
assert same.encode(pd.DataFrame({"NumRooms": [3.0]}))["NumRooms"][0] == 1

# %% [markdown]
# ## Sources
#
# - W. McKinney, Data structures for statistical computing in Python, 2010, [doi:10.25080/Majora-92bf1922-00a](https://doi.org/10.25080/Majora-92bf1922-00a): pandas.
# - H. Wickham, Tidy data, 2014, [doi:10.18637/jss.v059.i10](https://doi.org/10.18637/jss.v059.i10): one row for each observation, one column for each variable.
# - D. B. Rubin, Inference and missing data, 1976, [doi:10.1093/biomet/63.3.581](https://doi.org/10.1093/biomet/63.3.581): values that are missing by chance or not.
# - M. Le Morvan et al., What's a good imputation to predict with missing values?, 2021, [arXiv:2106.00311](https://arxiv.org/abs/2106.00311).
# - D. Micci-Barreca, A preprocessing scheme for high-cardinality categorical attributes in classification and prediction problems, 2001, [doi:10.1145/507533.507538](https://doi.org/10.1145/507533.507538): target encoding.
# - S. Kaufman, S. Rosset, C. Perlich and O. Stitelman, Leakage in data mining, 2012, [doi:10.1145/2382577.2382579](https://doi.org/10.1145/2382577.2382579).
# - A. Zhang, Z. C. Lipton, M. Li and A. J. Smola, *Dive into Deep Learning*, [d2l.ai](https://d2l.ai): the table of houses and the order of topics.
