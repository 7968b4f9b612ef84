"""Nash-MD: its gradient by torch, and the equilibria it must approach, by numpy.

Writes self_play.json:
gradient: contests with log-probabilities, their reference, P and beta; the mean of beta d - (P - 1/2) and the
gradient of mean(sg(beta d - (P - 1/2)) logp) by logp (autograd).
expectation: a policy over a few completions as logits, a reference, a table P[i][j] of how probably i is preferred
to j, beta and the reference's share in the opponent; the gradient by the logits (autograd) of the exact expectation
sum_i p_i (beta (log p_i - log r_i) - (sum_j q_j P[i][j] - 1/2)), q = p^(1-share) r^share / Z not differentiated.
equilibria: of such games, the p with p proportional to r exp(sum_j q_j P[i][j] / beta): found by damped iteration,
checked against policies drawn at random, none of which does better against q.
Usage: python self_play.py [FILE]
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

GAMES = {
    "rock_paper_scissors": [[0.5, 0.0, 1.0], [1.0, 0.5, 0.0], [0.0, 1.0, 0.5]],
    "uneven_circle": [[0.5, 0.9, 0.3], [0.1, 0.5, 0.8], [0.7, 0.2, 0.5]],
    "circle_and_loser": [[0.5, 0.8, 0.1, 0.9], [0.2, 0.5, 0.7, 0.6], [0.9, 0.3, 0.5, 0.95], [0.1, 0.4, 0.05, 0.5]],
}
REFERENCES = {3: [0.6, 0.3, 0.1], 4: [0.1, 0.2, 0.3, 0.4]}


def gradient():
    torch.manual_seed(3)
    logp = (torch.randn(5, dtype=torch.float64) * 2 - 9).round(decimals=3).requires_grad_()
    reference = (torch.randn(5, dtype=torch.float64) * 2 - 9).round(decimals=3)
    wins = torch.tensor([1.0, 0.0, 0.5, 0.25, 0.8], dtype=torch.float64)
    beta = 0.15
    weight = (beta * (logp - reference) - (wins - 0.5)).detach()
    (weight * logp).mean().backward()
    return {
        "policy": logp.tolist(), "reference": reference.tolist(), "wins": wins.tolist(), "beta": beta,
        "value": weight.mean().item(), "gradient": logp.grad.tolist(),
    }


def mixed(p, r, share):
    weights = p ** (1 - share) * r**share
    return weights / weights.sum()


def expectation(table, beta, share):
    table = torch.tensor(table, dtype=torch.float64)
    reference = torch.tensor(REFERENCES[len(table)], dtype=torch.float64)
    logits = torch.linspace(-0.7, 0.9, len(table), dtype=torch.float64).requires_grad_()
    p = torch.softmax(logits, 0)
    q = mixed(p, reference, share).detach()
    divergence = beta * (p.log() - reference.log())
    (p * (divergence - (table @ q - 0.5))).sum().backward()
    return {
        "table": table.tolist(), "reference": reference.tolist(), "beta": beta, "share": share,
        "logits": logits.tolist(), "gradient": logits.grad.tolist(),
    }


def equilibrium(name, beta, share):
    table = np.array(GAMES[name])
    reference = np.array(REFERENCES[len(table)])
    p = reference.copy()
    for _ in range(20_000):
        wanted = np.log(reference) + table @ mixed(p, reference, share) / beta
        p = np.exp(0.98 * np.log(p) + 0.02 * wanted)
        p /= p.sum()
    q = mixed(p, reference, share)
    worth = lambda x: x @ (table @ q) - beta * (x @ np.log(x / reference))
    residual = np.log(p / reference) - table @ q / beta
    assert np.ptp(residual) < 1e-12, (name, np.ptp(residual))
    others = np.random.default_rng(0).dirichlet(np.ones(len(p)), 1_000)
    assert all(worth(other) <= worth(p) + 1e-12 for other in others if (other > 0).all())
    return {
        "game": name, "table": table.tolist(), "reference": reference.tolist(), "beta": beta, "share": share,
        "policy": p.tolist(),
    }


def main():
    golden = {
        "gradient": gradient(),
        "expectation": [expectation(GAMES["uneven_circle"], 0.2, 0.0), expectation(GAMES["circle_and_loser"], 0.4, 0.3)],
        "equilibria": [equilibrium(name, beta, share) for name in GAMES for beta, share in ((0.3, 0.0), (0.3, 0.125), (0.1, 0.25))],
    }
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
