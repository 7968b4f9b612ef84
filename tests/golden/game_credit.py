"""Advantages of the tokens of games by numpy, straight from the definition: sums over all later tokens.

Writes game_credit.json. For the chosen tokens of a game with rewards r, values v, flags of the last token of each action, and the
value of what was read after the last token (0 where the game was over): with g_t and l_t gamma and lam at the last token of
an action and 1 within one, and d_t = r_t + g_t v_{t+1} - v_t,

    A_t = sum_{k >= t} (prod_{t <= j < k} g_j l_j) d_k        (Schulman et al. 2016, eq. 16, with a factor for each step)

`surrogate` holds, for tokens that one policy met several times with several advantages, the loss of PPO and its gradient
by the log-probability of each different token, by torch in float64: the mean over all of -min(r A, clip(r) A) with
r = exp(log p - old), and a critic's mean of (V - R)^2 / 2 with its gradient by V.

Usage: python game_credit.py [FILE]
"""

import json
import sys
from pathlib import Path

import numpy
import torch

coins = numpy.random.default_rng(11)
torch.manual_seed(11)


def advantages(game, gamma, lam):
    ends = numpy.array(game["ends"])
    gammas, lams = numpy.where(ends, gamma, 1.0), numpy.where(ends, lam, 1.0)
    values = numpy.array(game["values"] + [game["after"]])
    deltas = numpy.array(game["rewards"]) + gammas * values[1:] - values[:-1]
    count = len(ends)
    return [
        float(sum(numpy.prod((gammas * lams)[t:k]) * deltas[k] for k in range(t, count)))
        for t in range(count)
    ]


def game(lengths, over):
    ends = [place == length - 1 for length in lengths for place in range(length)]
    draw = lambda: [float(x) for x in coins.normal(size=len(ends)).astype(numpy.float32)]
    rewards = [reward if end else 0.0 for reward, end in zip(draw(), ends)]
    after = 0.0 if over else float(numpy.float32(coins.normal()))
    return {"rewards": rewards, "values": draw(), "ends": ends, "after": after}


def case(lengths, over, gamma, lam):
    one = game(lengths, over)
    return {"gamma": gamma, "lam": lam, **one, "advantages": advantages(one, gamma, lam)}


def surrogate():
    # Three different texts of two tokens, met 3, 2 and 1 times.
    met, epsilon = [0, 0, 0, 1, 1, 2], 0.2
    draw = lambda *shape: torch.randn(*shape, dtype=torch.float64).round(decimals=3)
    old, values = draw(3, 2) * 0.2 - 1.0, draw(3, 2).requires_grad_()
    log_probs = (old + draw(3, 2) * 0.3).requires_grad_()
    advantages, returns = draw(len(met), 2), draw(len(met), 2)
    ratio = (log_probs[met] - old[met]).exp()
    held = ratio.clamp(1 - epsilon, 1 + epsilon)
    loss = -torch.minimum(ratio * advantages, held * advantages).mean()
    loss.backward()
    missed = ((values[met] - returns) ** 2 / 2).mean()
    missed.backward()
    numbers = {"old": old, "log_probs": log_probs, "values": values, "advantages": advantages,
               "returns": returns, "gradient": log_probs.grad, "value_gradient": values.grad}
    return {"met": met, "epsilon": epsilon, "loss": loss.item(),
            **{name: tensor.tolist() for name, tensor in numbers.items()}}


golden = {
    "cases": [
        case([1, 1, 1, 1], True, 0.9, 0.8),
        case([3, 2, 4], True, 0.99, 0.95),
        case([3, 2, 4], False, 0.99, 0.95),
        case([2, 5, 1, 3], False, 1.0, 0.5),
        case([6, 6, 6], True, 0.7, 0.0),
        case([6, 6, 6], False, 0.7, 1.0),
    ],
    "surrogate": surrogate(),
}
default = Path(__file__).with_name("game_credit.json")
path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
path.write_text(json.dumps(golden, indent=1) + "\n")
