"""Losses of value learning over tokens, with their gradients, by plain torch in float64; and a maze's values.

Writes value.json. Two trajectories: three and two chosen tokens, the first goes on after its last token (one place
more is read), the second ends. For N = 5 chosen tokens and N + M = 6 places there are random estimates of the model and of
the slowly following copy; `cases` hold a method with its constants, what is aimed at, the loss and its
gradients by the model's q[0], q[1], v and logits.

    g is the discount at the last token of an action (ENDS) and 1 within one. With a support above 0, a ranges over
    tokens whose probability by logits is at least that share of the likeliest's (discrete BCQ, Fujimoto et al. 2019).

    mc          y = return
    dqn         y = r + g max_a copy.q0(s', a)
    double-dqn  y = r + g copy.q0(s', argmax_a q0(s', a))
    cql         the same, with c > 0
    ilql        y = r + g copy.v(s') for q0 and q1; m = min(copy.q0, copy.q1)(s, a);
                v: |t - [v > m]| (v - m)^2 / 2   (Snell et al. 2023; optax.l2_loss halves the square)
    bc          cross entropy of the logits alone

Usage: python value.py [FILE]
"""

import json
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

torch.manual_seed(5)
N, M, V = 5, 1, 7
ENDS = torch.tensor([False, True, True, False, True])
NEXT = [1, 2, N, 4, N + M]  # the third goes on at the place read after it, the fifth was the last


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64).round(decimals=3)


def estimates():
    return {"q": [draw(N + M, V), draw(N + M, V)], "v": draw(N + M), "logits": draw(N + M, V)}


MODEL, COPY = estimates(), estimates()
TOKENS = torch.tensor([3, 0, 6, 2, 2])
REWARDS, RETURNS = draw(N), draw(N)
WEIGHTS = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=torch.float64)


def look(worth):
    return torch.cat([worth, torch.zeros(1, dtype=torch.float64)])[torch.tensor(NEXT)]


def case(method, gamma=0.9, expectile=0.8, conservatism=0.0, imitation=0.5, support=0.0):
    q = [one.clone().requires_grad_() for one in MODEL["q"]]
    v = MODEL["v"].clone().requires_grad_()
    logits = MODEL["logits"].clone().requires_grad_()
    chosen = [one[:N].gather(1, TOKENS[:, None])[:, 0] for one in q]
    with torch.no_grad():
        copied = torch.stack([one[:N].gather(1, TOKENS[:, None])[:, 0] for one in COPY["q"]])
        g = torch.where(ENDS, gamma, 1.0)
        likely = F.softmax(MODEL["logits"], 1)
        out = likely < support * likely.max(1, keepdim=True).values
        if method in ("bc", "mc"):
            y = RETURNS
        elif method == "dqn":
            y = REWARDS + g * look(COPY["q"][0].masked_fill(out, -torch.inf).max(1).values)
        elif method in ("double-dqn", "cql"):
            best = q[0].masked_fill(out, -torch.inf).argmax(1, keepdim=True)
            y = REWARDS + g * look(COPY["q"][0].gather(1, best)[:, 0])
        else:
            y = REWARDS + g * look(COPY["v"])
        m = copied.min(0).values

    def mean(losses):
        return (WEIGHTS * losses).sum()

    loss = (1.0 if method == "bc" else imitation) * mean(
        F.cross_entropy(logits[:N], TOKENS, reduction="none")
    )
    if method != "bc":
        for one, at in list(zip(q, chosen))[: 2 if method == "ilql" else 1]:
            loss = loss + mean(0.5 * (at - y) ** 2)
            loss = loss + conservatism * mean(F.cross_entropy(one[:N], TOKENS, reduction="none"))
    if method == "ilql":
        side = torch.where(v[:N] > m, 1 - expectile, expectile)
        loss = loss + mean(side * 0.5 * (v[:N] - m) ** 2)
    loss.backward()

    def gradient(tensor):
        return (torch.zeros_like(tensor) if tensor.grad is None else tensor.grad)[:N].flatten().tolist()

    return {
        "learning": {
            "method": method,
            "gamma": gamma,
            "expectile": expectile,
            "conservatism": conservatism,
            "imitation": imitation,
            "support": support,
        },
        "aims_q": y.tolist(),
        "aims_v": m.tolist() if method == "ilql" else None,
        "loss": loss.item(),
        "gradient": {
            "q0": gradient(q[0]),
            "q1": gradient(q[1]),
            "v": gradient(v),
            "logits": gradient(logits),
        },
    }


def plain(numbers):
    return {
        "q": [one.tolist() for one in numbers["q"]],
        "v": numbers["v"].tolist(),
        "logits": numbers["logits"].tolist(),
    }


def main():
    made = {
        "vocabulary": V,
        "model": plain(MODEL),
        "copy": plain(COPY),
        "tokens": TOKENS.tolist(),
        "rewards": REWARDS.tolist(),
        "returns": RETURNS.tolist(),
        "weights": WEIGHTS.tolist(),
        "next": NEXT,
        "ends": ENDS.tolist(),
        "cases": [
            case("bc"),
            case("mc", imitation=0.0),
            case("mc", conservatism=0.3),
            case("dqn", imitation=0.0),
            case("double-dqn", gamma=0.99),
            case("cql", conservatism=0.7),
            case("dqn", support=0.5),
            case("double-dqn", support=0.3),
            case("ilql", conservatism=0.25),
            case("ilql", expectile=0.95, imitation=0.0),
        ],
    }
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "value.json"
    path.write_text(json.dumps(made) + "\n")


main()
