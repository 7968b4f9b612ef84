"""Ten updates of each method of value learning by plain torch in float64, from transformer/{gpt2,llama} with heads.

Writes value_steps.json: three trajectories and, for each method, loss and gradient norm of every update, and what the
last policy and its heads think of every chosen token. A head is Linear(D, 2 D), ReLU, Linear(2 D, F) on the final hidden
states, without a bias but for the last level, and its weights are, in row i and column j (inputs by outputs)

    inner  sin(p + 0.7 i + 1.3 j) / 4      outer  sin(p + 1.1 i + 2.4 j) / 5      p = 1 for Q0, 2 for Q1, 3 for V

The losses are those of value.py, computed here from the model: y and m of a copy that begins as the model and moves a tenth
of the way to it after each update; a look at what follows ranges over tokens of at least `support` of the likeliest's
probability. Each update takes all trajectories, clips the gradient at a global norm of 1, steps AdamW.
No aim of V may come so near V, and no two best tokens so near each other, that float32 could choose otherwise.
Usage: python value_steps.py [FILE]
"""

import copy
from pathlib import Path

import torch
from critic import optimizer, step
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForCausalLM
from written import write

STEPS, RATE, FOLLOW, LEVEL = 10, 3e-4, 0.1, -0.5
# Read first, then chosen and read between, which of these were chosen, what was read where the game went on.
TRAJECTORIES = [
    {"prompt": [5, 9], "completion": [7, 12, 40, 2, 9], "chosen": [1, 1, 0, 0, 1], "rewards": [0.0, -1.0, 0.0, 0.0, -0.5],
     "returns": [-1.4, -1.4, 0.0, 0.0, -0.5], "after": [11, 4, 30, 8]},
    {"prompt": [11, 4, 30], "completion": [33, 6, 2, 14], "chosen": [0, 1, 1, 0], "rewards": [0.0, 0.0, 0.75, 0.0],
     "returns": [0.0, 0.75, 0.75, 0.0], "after": []},
    {"prompt": [8], "completion": [25, 19, 54], "chosen": [1, 0, 1], "rewards": [-0.25, 0.0, 1.0],
     "returns": [0.65, 0.0, 1.0], "after": []},
]
USUAL = {"gamma": 0.9, "expectile": 0.8, "conservatism": 0.0, "imitation": 0.5, "support": 0.0, "imitated_from": None}
CASES = [USUAL | case for case in (
    {"method": "bc"}, {"method": "bc", "imitated_from": 0.0}, {"method": "mc"}, {"method": "dqn"},
    {"method": "double-dqn", "support": 0.2}, {"method": "cql", "conservatism": 0.3},
    {"method": "ilql", "conservatism": 0.2, "imitated_from": 0.7},
)]


class Head(nn.Module):
    def __init__(self, width, output, phase):
        super().__init__()
        self.inner = nn.Linear(width, 2 * width, dtype=torch.float64)
        self.outer = nn.Linear(2 * width, output, dtype=torch.float64)

        def waves(rows, columns, first, second):
            i, j = torch.arange(rows, dtype=torch.float64)[:, None], torch.arange(columns, dtype=torch.float64)[None]
            return torch.sin(phase + first * i + second * j).T

        with torch.no_grad():
            self.inner.weight.copy_(waves(width, 2 * width, 0.7, 1.3) / 4)
            self.outer.weight.copy_(waves(2 * width, output, 1.1, 2.4) / 5)
            self.inner.bias.zero_()
            self.outer.bias.fill_(LEVEL)

    def forward(self, hidden):
        return self.outer(torch.relu(self.inner(hidden)))


class Valued(nn.Module):
    def __init__(self, folder):
        super().__init__()
        self.policy = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
        width, vocabulary = self.policy.config.hidden_size, self.policy.config.vocab_size
        self.q = nn.ModuleList([Head(width, vocabulary, phase) for phase in (1, 2)])
        self.v = Head(width, 1, 3)

    def forward(self, places):
        """What is thought of the last token of each sequence. [P, V] twice, [P], [P, V]"""
        found = []
        for sequence in places:
            said = self.policy(torch.tensor([sequence]), output_hidden_states=True)
            found.append((said.hidden_states[-1][0, -1], said.logits[0, -1]))
        hidden, logits = torch.stack([h for h, _ in found]), torch.stack([l for _, l in found])
        return [q(hidden) for q in self.q], self.v(hidden)[:, 0], logits


def places():
    """The read before each chosen token and, at the end of the list, where trajectories go on; and what follows each."""
    read, tokens, rewards, returns, ends, follows, after = [], [], [], [], [], [], []
    for one in TRAJECTORIES:
        chosen = [place for place, own in enumerate(one["chosen"]) if own]
        for number, place in enumerate(chosen):
            read.append(one["prompt"] + one["completion"][:place])
            tokens.append(one["completion"][place])
            rewards.append(one["rewards"][place])
            returns.append(one["returns"][place])
            ends.append(place + 1 == len(one["chosen"]) or not one["chosen"][place + 1])
            last = number + 1 == len(chosen)
            follows.append(("after", len(after)) if last and one["after"] else None if last else len(tokens))
        after += [one["after"]] if one["after"] else []
    count = len(tokens)
    follows = [count + where[1] if isinstance(where, tuple) else count + len(after) if where is None else where
               for where in follows]
    double = {"rewards": rewards, "returns": returns}
    numbers = {key: torch.tensor(value, dtype=torch.float64) for key, value in double.items()}
    return numbers | {"read": read + after, "tokens": torch.tensor(tokens), "ends": torch.tensor(ends),
                      "next": torch.tensor(follows)}


def looked_at(worth, logits, support, look):
    """Worth, without tokens that are not looked at where something follows."""
    likely = F.softmax(logits, 1)
    shares = likely / likely.max(1, keepdim=True).values
    assert support == 0 or (shares[look] - support).abs().min() > 2e-5, "a token is too near the bound of the support"
    return worth.masked_fill(shares < support, -torch.inf)


def loss_of(case, model, behind, at):
    count, tokens = len(at["tokens"]), at["tokens"]
    q, v, logits = model(at["read"])
    method, weights = case["method"], torch.full((count,), 1.0 / count, dtype=torch.float64)
    look = at["next"][at["next"] < len(at["read"])]

    def chosen(worth):
        return worth[:count].gather(1, tokens[:, None])[:, 0]

    with torch.no_grad():
        copied, copied_v, _ = behind(at["read"])
        m = torch.min(chosen(copied[0]), chosen(copied[1]))
        if method == "dqn":
            later = looked_at(copied[0], logits, case["support"], look).max(1).values
        elif method in ("double-dqn", "cql"):
            worth = looked_at(q[0], logits, case["support"], look)
            two = worth.topk(2, 1).values[look]
            assert (two[:, 0] - two[:, 1]).min() > 1e-5, "two tokens are too near each other"
            later = copied[0].gather(1, worth.argmax(1, keepdim=True))[:, 0]
        else:
            later = copied_v
        later = torch.cat([later, torch.zeros(1, dtype=torch.float64)])[at["next"]]
        y = at["rewards"] + torch.where(at["ends"], case["gamma"], 1.0) * later
        if method == "mc":
            y = at["returns"]
    least = case["imitated_from"]
    imitated = weights if least is None else weights * (at["returns"] >= least)
    surprise = F.cross_entropy(logits[:count], tokens, reduction="none")
    loss = (1.0 if method == "bc" else case["imitation"]) * (imitated * surprise).sum()
    heads = {"bc": 0, "ilql": 2}.get(method, 1)
    for one in q[:heads]:
        loss = loss + (weights * 0.5 * (chosen(one) - y).square()).sum()
        loss = loss + case["conservatism"] * (weights * F.cross_entropy(one[:count], tokens, reduction="none")).sum()
    if method == "ilql":
        assert (v[:count] - m).abs().min() > 1e-5, "an aim is too near V"
        side = torch.where(v[:count] > m, 1 - case["expectile"], case["expectile"])
        loss = loss + (weights * side * 0.5 * (v[:count] - m).square()).sum()
    return loss


def follow(case, folder, at):
    model = Valued(folder)
    behind, adamw, steps = copy.deepcopy(model), optimizer(model, RATE), []
    for _ in range(STEPS):
        loss = loss_of(case, model, behind, at)
        steps.append({"loss": loss.item(), "norm": step(model, loss, adamw)})
        with torch.no_grad():
            for old, new in zip(behind.parameters(), model.parameters()):
                old.lerp_(new, FOLLOW)
    with torch.no_grad():
        q, v, logits = model(at["read"][: len(at["tokens"])])
        rows = range(len(at["tokens"]))
        after = {"log_probs": logits.log_softmax(1)[rows, at["tokens"]].tolist(), "v": v.tolist(),
                 "q": [one[rows, at["tokens"]].tolist() for one in q]}
    print(folder.name, case["method"], [round(one["loss"], 4) for one in steps])
    return {"learning": case, "steps": steps, "after": after}


def main():
    torch.set_num_threads(1)
    golden = {"rate": RATE, "follow": FOLLOW, "level": LEVEL, "trajectories": TRAJECTORIES}
    for name in ("gpt2", "llama"):
        folder = Path(__file__).parent / "transformer" / name
        golden[name] = [follow(case, folder, places()) for case in CASES]
    write(golden, __file__)


if __name__ == "__main__":
    main()
