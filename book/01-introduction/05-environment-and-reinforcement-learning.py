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
# # 1.5 Kinds of problems III: interacting with an environment, reinforcement learning
#
# A prediction by itself does not change the world.
# As soon as somebody acts on it, the world may answer, and the next data may differ from those of the past.
# What changes when a program not only predicts but acts, and learns from what follows?

# %% [markdown]
# **You will**
#
# - tell offline learning from learning in an environment, and name what an environment may do;
# - state what an agent, a policy and a reward are, and why rewards are harder to learn from than labels;
# - measure that a greedy learner loses against one that explores;
# - plan in a small world by value iteration;
# - learn a reward from comparisons, as it is done for language models.
#
# **Cost**: a few seconds on a CPU; nothing to download, no use for a GPU.
# Read the code for its gist; Chapter 2 explains the tools.

# %%
import torch

import d2l_helpers as d2l

d2l.use_style()

# %% [markdown]
# ## Offline learning
#
# In all of the problems of [Section 1.3](03-supervised-learning.ipynb) and [Section 1.4](04-unsupervised-self-supervised.ipynb) the data were collected first.
# Then the program learned without any further connection to the world.
# This is called *offline learning*.
#
# ![Pipeline of offline learning. An environment is observed by a collection of data, which is stored; then, beyond a dashed line that separates it from the environment, a learning algorithm reads the stored data and gives a model.](img/offline-learning.svg)
#
# **Figure 1.5.1.** Offline learning: beyond the dashed line nothing that the program does can reach the environment.
#
# Often the picture is too simple.
# Once predictions become *actions*, questions arise that a test set does not answer.
#
# - Does the environment *remember* what we did before?
# - Does it want to *help*, like a user who speaks clearly to a recognizer?
# - Does it *oppose* us, like those who write spam and adapt to the filter?
# - Does it *shift*, because seasons and tastes change, or because of our own actions?
#
# The last is the problem of *distribution shift*: the data in use differ from those in training.
# [Section 4.7](../04-linear-classification/07-environment-and-distribution-shift.ipynb) is about it.

# %% [markdown]
# ## Reinforcement learning
#
# *Reinforcement learning* is about an *agent* that acts in an environment again and again.
# At each time step the agent receives an *observation*, chooses an *action*, and transmits it to the environment by an *actuator*: a motor, a bid, a move.
# Then it receives a *reward*, a number.
#
# ![Loop of agent and environment. The agent sends an action to the environment; the environment returns an observation and a reward to the agent.](img/agent-environment.svg)
#
# **Figure 1.5.2.** Agent and environment.
# What the agent does influences what it sees next.
#
# What the agent does is described by its *policy*, a function from observations to actions.
# The aim of reinforcement learning is a good policy: one that earns much reward over time.
#
# The setting is very general.
# Supervised classification fits into it: the observation is the example, the action is the answer, and the reward is *minus* the loss.
# Minus, because rewards are maximized and losses minimized; with the loss itself as its reward, an agent would learn to be wrong.
#
# Four things make it harder than supervised learning.
#
# - *No correct answer.* The reward says how good the action was, not which one would have been better.
# - *Credit assignment.* In chess the reward comes at the end of the game. Which of the forty moves earned it?
# - *Partial observability.* The observation does not show everything. A robot in a corridor may not know in which one.
# - *Exploration against exploitation.* The best action known so far earns reward now; another one might be better, and only trying it tells.

# %% [markdown]
# ## A bandit
#
# The last difficulty shows in a very simple environment, in which there is nothing to observe.
# A row of slot machines, once called one-armed bandits, pays one unit with fixed, unknown probabilities; here 0.2, 0.5 and 0.7.
# At each step we pull one arm.
# This is a *multi-armed bandit*.
#
# Let $Q_a$ be our estimate of the reward of arm $a$: the mean of what it paid so far.
# When arm $a$ is pulled for the $n$-th time and pays $r$, the mean can be updated without storing the past:
#
# $$
# Q_a \leftarrow Q_a + \frac{1}{n}\left(r-Q_a\right). \tag{1.5.1}
# $$
#
# All symbols are numbers.
# The estimate moves towards what was just seen, and less and less as $n$ grows.
#
# Which arm to pull?
# A *greedy* agent takes the arm with the largest $Q_a$.
# An *$\varepsilon$-greedy* agent does so most of the time, and with probability $\varepsilon$ takes any arm at random.

# %%
def bandit(eps, T, generator, probs=(0.2, 0.5, 0.7), step=None):
    """Rewards (T,), arms (T,) and estimates of an epsilon-greedy agent.

    `eps` is a number or a function of the time 1, ..., T. `probs` is a
    tuple, or a function of the time. `step` replaces 1/n in (1.5.1).
    """
    probs_at = probs if callable(probs) else lambda t: probs
    k = len(probs_at(1))
    Q, n = [0.0] * k, [0] * k
    u = torch.rand(T, 3, generator=generator).tolist()
    rewards, arms = [], []
    for t, (explore, which, luck) in enumerate(u, start=1):
        chance = eps(t) if callable(eps) else eps
        best = max(Q)
        ties = [a for a in range(k) if Q[a] == best]
        choices = range(k) if explore < chance else ties
        a = choices[int(which * len(choices))]
        r = float(luck < probs_at(t)[a])
        n[a] += 1
        Q[a] += (r - Q[a]) * (step or 1 / n[a])
        rewards.append(r)
        arms.append(a)
    return torch.tensor(rewards), torch.tensor(arms), torch.tensor(Q)

# %%
# (1.5.1) computes the mean of what each arm has paid
rewards, arms, Q = bandit(0.3, 500, torch.Generator().manual_seed(0))
for a in range(3):
    torch.testing.assert_close(Q[a], rewards[arms == a].mean())
again = bandit(0.3, 500, torch.Generator().manual_seed(0))
assert torch.equal(again[0], rewards)  # it draws from its generator only

# %%
def average(eps, seeds=20, T=1000, **options):
    """Rewards, arms (seeds, T) and estimates (seeds, k) of several runs."""
    runs = [bandit(eps, T, torch.Generator().manual_seed(s), **options)
            for s in range(seeds)]
    return [torch.stack(part) for part in zip(*runs)]

results = {e: average(e, seeds=200) for e in (0.0, 0.01, 0.1, 1.0)}
for eps, (rewards, arms, _) in results.items():
    worst = rewards.mean(dim=1).min()
    print(f"eps = {eps:4}: mean reward {rewards.mean():.2f}, worst run "
          f"{worst:.2f}, best arm {(arms == 2).float().mean():.0%}")

# %%
# check 1.5-C1: exploring pays; the greedy agent stays below
mean = {eps: runs[0].mean().item() for eps, runs in results.items()}
assert abs(mean[1.0] - (0.2 + 0.5 + 0.7) / 3) < 0.02
assert mean[0.1] > 0.60
assert mean[0.0] < mean[0.1] - 0.05

# %%
# check 1.5-C2: with 10 % exploration the best arm is pulled most often
assert (results[0.1][1] == 2).float().mean() > 0.7

# %% [markdown]
# The best arm pays 0.7, and an agent that has to find it can expect to earn less.
# The agent that acts at random earns the mean of the three arms.
# The greedy one is the interesting case.
# All estimates start at 0, and the first payment makes one of them positive; from then on it is the only positive one.
# So the agent stays with the first arm that pays, a good one or a bad one.
# Arm $a$ is this arm with a probability in proportion to its $p_a$, the probability that it pays, so the greedy agent earns $\sum_ap_a^2/\sum_ap_a=0.78/1.4\approx0.56$ on average.

# %%
rewards, arms, _ = results[0.0]  # (200, 1000)
start = rewards.argmax(dim=1)[:, None]  # the first payment, (200, 1)
chosen = arms.gather(1, start)  # (200, 1)
assert ((arms == chosen) | (torch.arange(1000) < start)).all()  # it stays
p = torch.tensor([0.2, 0.5, 0.7])
for a in range(3):
    share = (chosen == a).float().mean().item()
    print(f"arm {a} to the end: {share:.0%} of the greedy runs")
    assert abs(share - p[a] / p.sum()) < 0.1
assert abs(mean[0.0] - (p @ p) / p.sum()) < 0.04
assert not (results[0.1][1][:, 500:] == 0).all(dim=1).any()  # exploring

# %% tags=["hide-input"]
steps = torch.arange(1, 1001)
curves = [runs[0].mean(dim=0).cumsum(0) / steps
          for runs in results.values()]
ax = d2l.plot(steps, curves, [f"$\\varepsilon$ = {e:g}" for e in results],
              xlabel="pulls", ylabel="mean reward so far", ylim=(0.3, 0.75))
ax.axhline(0.7, color="gray", lw=1, ls=":")
ax.text(1000, 0.705, "best arm", ha="right", fontsize=9)
d2l.describe(ax, "Mean reward so far over a thousand pulls, averaged over "
             "200 runs, for four amounts of exploration. The curve for "
             "one tenth rises highest, towards the level of the best arm; "
             "greedy and one hundredth stay below; pure chance is flat at "
             "about 0.47.")

# %% [markdown]
# **Figure 1.5.3.** Reward of agents that explore never, rarely, sometimes and always, averaged over 200 runs.
# A tenth of the pulls spent on exploring pays here.

# %% [markdown]
# How much exploring is best depends on how long one plays.
# The curve for $\varepsilon=0.01$ is still rising after 1000 pulls, and over 10 000 pulls it earns more, since it wastes fewer pulls once it has found the best arm.

# %%
later = {eps: average(eps, T=10_000)[0].mean() for eps in (0.01, 0.1)}
print({eps: f"{reward:.3f}" for eps, reward in later.items()})
assert later[0.01] > later[0.1] + 0.005
assert mean[0.1] > mean[0.01] + 0.015

# %% [markdown]
# ## A small world with states
#
# In a bandit every pull is like the one before.
# In many environments actions have consequences: they change the *state*, which decides what comes next.
# If the agent sees the whole state, and the next state depends only on this one and on the action, the environment is a *Markov decision process*.
#
# Our example is a corridor with five places, numbered 0 to 4.
# From each place the agent goes left or right, and at the left end a step to the left stays where it is.
# Entering place 4 earns a reward of 1 and ends the walk.
#
# A reward that comes later counts less: each step of delay multiplies it by the *discount* $\gamma=0.9$.
# The *value* $V(s)$ of a place $s$ is the discounted reward of the best policy from there.
# It satisfies an equation named after Bellman,
#
# $$
# V(s) = \max_{a}\left[\,r(s,a) + \gamma\,V(s')\,\right], \tag{1.5.2}
# $$
#
# where $a$ is an action, $r(s,a)$ its reward and $s'$ the place to which it leads; the value of place 4, where nothing more happens, is 0.
# *Value iteration* starts from zeros and applies the right side again and again.
# Each round carries the reward one place further to the left.

# %%
def corridor(s, a):
    """Next place and reward of action a (-1 or 1) at place s."""
    new = max(s + a, 0)
    return new, float(new == 4)


def value_iteration(gamma, rounds):
    """Values of places 0 to 3 after each round, (rounds + 1, 4)."""
    V, history = [0.0] * 5, [[0.0] * 4]
    for _ in range(rounds):
        V = [max(r + gamma * V[new] for new, r in
                 (corridor(s, a) for a in (-1, 1))) for s in range(4)] + [0.0]
        history.append(V[:4])
    return torch.tensor(history)

# %%
# check 1.5-C3: the values are powers of the discount
history = value_iteration(0.9, 6)
V = history[-1]
print("values", [f"{v:.3f}" for v in V.tolist()])
torch.testing.assert_close(V, torch.tensor([0.729, 0.81, 0.9, 1.0]))
assert (history > 0).sum(dim=1).tolist() == [0, 1, 2, 3, 4, 4, 4]
assert corridor(0, -1) == (0, 0) and corridor(3, 1) == (4, 1)

# %%
# check 1.5-C4: the greedy policy of these values goes right everywhere
def greedy(V, gamma):
    """Best action at each place for values V (4,)."""
    values = [*V.tolist(), 0.0]
    def worth(s, a):
        new, r = corridor(s, a)
        return r + gamma * values[new]
    return [max((-1, 1), key=lambda a: worth(s, a)) for s in range(4)]

assert greedy(V, 0.9) == [1, 1, 1, 1]

# %%
ax = d2l.plot(range(4), [history[k] for k in (1, 2, 3, 4)],
              [f"round {k}" for k in (1, 2, 3, 4)], xlabel="place",
              ylabel="value", fmts=["o-", "s--", "^-.", "d:"])
ax.set_xticks(range(4))
d2l.describe(ax, "Values of the four places after one to four rounds. After "
             "the first round only place 3 has a value, one. Each further "
             "round gives the next place to the left its value: 0.9, 0.81 "
             "and 0.729.")

# %% [markdown]
# **Figure 1.5.4.** Value iteration carries the news of the reward one place further in each round.
# This is credit assignment: place 0 learns that it lies on the way.

# %% [markdown]
# The agent here knew the corridor and only had to plan.
# In reinforcement learning proper it has to find out where actions lead while it acts; many methods then estimate the same values.

# %% [markdown]
# ## Where does the reward come from?
#
# In games the rules supply it.
# For an answer in plain language nobody can write it down, but people can *compare*: of two answers, which one is better?
# So the reward is learned from comparisons, and the model is then trained to earn it.
# This is *reinforcement learning from human feedback* (Christiano and others, 2017), one of the steps by which a language model that only continues texts ([Section 1.4](04-unsupervised-self-supervised.ipynb)) becomes an assistant (Ouyang and others, 2022).
#
# The usual model of a comparison gives each answer $i$ a hidden score $s_i$, a number, and says that answer $i$ is preferred to answer $j$ with the probability
#
# $$
# P(i\text{ beats }j) = \sigma(s_i-s_j), \qquad \sigma(z)=\frac1{1+e^{-z}}. \tag{1.5.3}
# $$
#
# The next cell simulates 1000 comparisons of five answers and finds the scores under which they are most probable.

# %%
rng = torch.Generator().manual_seed(0)
quality = torch.tensor([0.0, 1.0, 2.0, -1.0, 0.5])  # hidden
i = torch.randint(0, 5, (1000,), generator=rng)
j = (i + torch.randint(1, 5, (1000,), generator=rng)) % 5  # another one
chance = torch.sigmoid(quality[i] - quality[j])
i_wins = torch.rand(1000, generator=rng) < chance
better, worse = torch.where(i_wins, i, j), torch.where(i_wins, j, i)

scores = torch.zeros(5, requires_grad=True)
for _ in range(300):
    lead = scores[better] - scores[worse]  # (1000,)
    loss = -torch.nn.functional.logsigmoid(lead).mean()
    slope, = torch.autograd.grad(loss, scores)
    with torch.no_grad():
        scores -= 2.0 * slope
assert slope.abs().max() < 1e-4  # it has converged

# %%
# the scores order the answers rightly; only their differences count
found = (scores - scores[0]).detach()
print("learned scores:", [f"{v:.1f}" for v in found.tolist()])
assert found.argsort().tolist() == quality.argsort().tolist()
assert (found - quality).abs().max() < 0.35
assert (i != j).all()  # no answer was compared with itself

# %% [markdown]
# A learned reward is a stand-in for what people want, and a model that is trained on it too long can exploit its errors: the score rises while the answers get worse (Gao and others, 2023).
# Where a program can check an answer, in mathematics or in code, the check itself can be the reward, and the *reasoning models* of [Section 1.8](08-success-and-essence.md) are trained in this way (DeepSeek-AI, 2025).
# The credit assignment is that of chess: one reward at the end of thousands of words.

# %% [markdown]
# ## The family in one picture
#
# | State of the environment | What the agent sees | Do its actions change the state? | Name |
# | --- | --- | --- | --- |
# | none | the reward | there is nothing to change | multi-armed bandit |
# | one | state and reward | no | *contextual bandit*: which advertisement for this visitor? |
# | one | state and reward | yes | Markov decision process: chess |
# | one | a part of it, and the reward | yes | partially observable: poker, driving |
#
# Special cases have special, faster methods, so ask first which row a new problem belongs to.

# %% [markdown]
# ## Summary
#
# - Offline learning has no connection to the world; actions make one, and with them come memory, opponents and shift.
# - A policy maps observations to actions. Supervised learning is the special case in which the reward is minus the loss.
# - Rewards do not say what would have been better, come late, and have to be looked for.
# - A greedy agent can stay with a bad choice; in our bandit a little exploration earns more, and the longer the play, the less of it is needed.
# - Values satisfy the Bellman equation, and value iteration hands the reward backwards step by step.
# - Where nobody can write down a reward, it can be learned from comparisons; where an answer can be checked, the check can be the reward.

# %% [markdown]
# ## Exercises
#
# ### Exercise 1.5-1
#
# Let exploration fade: $\varepsilon_t=\min(1,10/t)$.
# Compare with a constant $\varepsilon=0.5$.

# %% [markdown]
# #### Solution 1.5-1

# %% [markdown]
# At first everything is unknown and exploring is worth its price; later little is left to find.
# With $10/t$ the number of random pulls grows only like $10\log T$, while with the constant $\varepsilon$ half of the pulls stay random.

# %%
fading, constant = average(lambda t: min(1, 10 / t)), average(0.5)
print(f"fading {fading[0].mean():.2f}, constant {constant[0].mean():.2f}")
assert fading[0].mean() > constant[0].mean() + 0.05

# %% [markdown]
# ### Exercise 1.5-2
#
# Swap the probabilities of the best and the worst arm at half time.
# Compare the step $1/n$ of (1.5.1) with a constant step 0.1 in the second half.

# %% [markdown]
# #### Solution 1.5-2

# %% [markdown]
# The mean over all pulls is slow to change: after 400 pulls that paid 0.7 on average, it takes about 270 that pay 0.2 until it has fallen to 0.5, the level of the middle arm, since $(400\cdot0.7+267\cdot0.2)/667\approx0.5$.
# A constant step forgets, with a memory of about ten pulls, and so it follows.
# An estimate that is good in a world that stays can be bad in one that shifts.

# %%
def swapped(t):
    return (0.2, 0.5, 0.7) if t <= 500 else (0.7, 0.5, 0.2)

second = {step: average(0.1, probs=swapped, step=step)[0][:, 500:].mean()
          for step in (None, 0.1)}
print(f"step 1/n: {second[None]:.2f}, step 0.1: {second[0.1]:.2f}")
assert second[None] + 0.1 < second[0.1]

# %% [markdown]
# ### Exercise 1.5-3
#
# Compute the values of the corridor for the discount 0.5 by hand, then with the program.
# Does the policy change?

# %% [markdown]
# #### Solution 1.5-3

# %% [markdown]
# The values are powers of the discount: 0.125, 0.25, 0.5 and 1.
# The policy stays, since every place still prefers the neighbour with the larger value.
# If waiting at place 0 earned 0.07 a step, it would change: waiting forever is worth $0.07/(1-\gamma)$, which is 0.7 for $\gamma=0.9$, less than $\gamma^3=0.729$ for walking, and 0.14 for $\gamma=0.5$, more than 0.125.

# %%
V = value_iteration(0.5, 6)[-1]
torch.testing.assert_close(V, torch.tensor([0.125, 0.25, 0.5, 1.0]))
assert greedy(V, 0.5) == [1, 1, 1, 1]


def waiting(s, a):  # as before, and waiting at place 0 earns 0.07
    new = max(s + a, 0)
    return new, float(new == 4) + 0.07 * (new == s)


walk, corridor = corridor, waiting
for gamma, first in ((0.9, 1), (0.5, -1)):  # walk, or wait
    policy = greedy(value_iteration(gamma, 200)[-1], gamma)
    assert policy == [first, 1, 1, 1]
corridor = walk  # the old world again

# %% [markdown]
# ### Exercise 1.5-4
#
# Is it a Markov decision process, a contextual bandit, a bandit, or supervised: a thermostat, a spam filter with labelled mail, the choice of an advertisement for a visitor, chess, which of two headlines is shown to everybody?

# %% [markdown]
# #### Solution 1.5-4

# %% [markdown]
# Two questions decide: is there a label, and does the next observation depend on the action?
# The second can be tried out: write each task as a function from state and action to the next state, try two actions, and compare.
#
# A thermostat heats the room that it measures: its actions change the state.
# The spam filter has labels, and its answers do not change the next mail, at least not today.
# The advertisement depends on the visitor, and the next visitor does not depend on it.
# Chess is a Markov decision process, if the opponent's way of playing is part of the environment.
# The headline has no context.

# %%
def kind(start, actions, follow, labelled=False):
    """Kind of a task, from what two actions lead to."""
    if labelled:
        return "supervised"
    if start is None:  # nothing to observe
        return "bandit"
    one, other = (follow(start, action) for action in actions)
    return "contextual bandit" if one == other else "Markov decision process"


tasks = {
    "thermostat": (18, (0, 1), lambda degrees, heat: degrees + heat - 0.2),
    "spam filter": ("mail 1", (0, 1), lambda mail, verdict: "mail 2", True),
    "advertisement": ("visitor 1", (0, 1), lambda who, shown: "visitor 2"),
    "chess": ((), ("e4", "d4"), lambda moves, move: (*moves, move)),
    "headline": (None, (0, 1), lambda nothing, shown: None)}
found = {task: kind(*facts) for task, facts in tasks.items()}
print(found)
assert list(found.values()) == [
    "Markov decision process", "supervised", "contextual bandit",
    "Markov decision process", "bandit"]

# %% [markdown]
# ## Sources
#
# - R. S. Sutton, A. G. Barto (2018). Reinforcement Learning: An Introduction, 2nd edition. MIT Press, [incompleteideas.net/book](http://incompleteideas.net/book/the-book-2nd.html): agents, bandits, value iteration.
# - P. F. Christiano et al. (2017). Deep reinforcement learning from human preferences. [arXiv:1706.03741](https://arxiv.org/abs/1706.03741); L. Ouyang et al. (2022). Training language models to follow instructions with human feedback. [arXiv:2203.02155](https://arxiv.org/abs/2203.02155).
# - R. A. Bradley, M. E. Terry (1952). Rank analysis of incomplete block designs. [doi:10.1093/biomet/39.3-4.324](https://doi.org/10.1093/biomet/39.3-4.324): scores from comparisons.
# - L. Gao, J. Schulman, J. Hilton (2023). Scaling laws for reward model overoptimization. [arXiv:2210.10760](https://arxiv.org/abs/2210.10760); DeepSeek-AI (2025). DeepSeek-R1. [arXiv:2501.12948](https://arxiv.org/abs/2501.12948).
# - R. Bellman (1957). A Markovian decision process. [doi:10.1512/iumj.1957.6.56038](https://doi.org/10.1512/iumj.1957.6.56038).
# - P. Auer, N. Cesa-Bianchi, P. Fischer (2002). Finite-time analysis of the multiarmed bandit problem. [doi:10.1023/A:1013689704352](https://doi.org/10.1023/A:1013689704352): exploration that fades like $1/t$.
# - A. Zhang, Z. C. Lipton, M. Li, A. J. Smola (2023). Dive into Deep Learning. [arXiv:2106.11342](https://arxiv.org/abs/2106.11342): the questions about the environment.
