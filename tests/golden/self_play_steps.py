"""Ten steps of SPIN and of Nash-MD by torch in float64, on transformer/llama and from the same coins: self_play_steps.json.

Completions are drawn as in online_dpo.py. r is what SPIN's opponent or Nash-MD's start gives, d = log p(y) - log r(y).

    spin      every ITERATION steps the opponent becomes the policy as it is. It writes GROUP completions of every prompt; the
              reference of the data is chosen over each that differs: mean of -logsigmoid(beta (d(chosen) - d(written))) with
              the opponent for r
    nash_md   the policy writes GROUP completions y of every prompt, each meets one y' of a mixture whose logits at every token
              are (1 - SHARE) of the policy's and SHARE of the start's, from coins of the completions behind those of the
              policy; P = 1 where y earns more, 1/2 where both earn the same, else 0. The gradient is that of
              mean(sg(beta d(y) - (P - 1/2)) log p(y)) (Munos et al. 2023); `loss` is the mean of beta d(y) - (P - 1/2)

The optimizer is AdamW with a gradient clipped at a global norm of 1, as in critic.py.
Usage: python self_play_steps.py [FILE]
"""

import copy
from pathlib import Path

import torch
from critic import optimizer, step
from online_dpo import LENGTH, PROMPTS, SEED, coins, logp, reward
from torch.nn import functional as F
from transformers import LlamaForCausalLM
from written import write

STEPS, GROUP, RATE, ITERATION, BETA, SHARE = 10, 2, 1e-3, 4, 0.3, 0.25
# What the data say after each prompt; the first is of another length than what is drawn.
REFERENCES = [[9, 4, 27], [13, 13, 50, 6, 2, 33], [8, 40, 41, 22, 5, 2]]
# The prompt of each completion.
ASKED = [number for number in range(len(PROMPTS)) for _ in range(GROUP)]


def next_logits(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1]


def drawn(logits_of, at, first):
    """A completion of each prompt asked: tokens are the first whose cumulative share is above the coin."""
    found = []
    for place, number in enumerate(ASKED):
        ids = list(PROMPTS[number])
        for coin in coins(at, first + place, LENGTH):
            total = logits_of(ids).softmax(-1).cumsum(0)
            assert (total - coin).abs().min() > 5e-6, "float32 must draw the same token"
            ids.append(int((total <= coin).sum()))
        found.append(ids[len(PROMPTS[number]) :])
    return found


def log_ratio(model, other, prompt, completion):
    with torch.no_grad():
        fixed = logp(other, prompt, completion)
    return logp(model, prompt, completion) - fixed


def spin(players, at):
    policy = players["policy"]
    if at % ITERATION == 0:
        players["opponent"] = copy.deepcopy(policy)
    opponent = players["opponent"]
    written = drawn(lambda ids: next_logits(opponent, ids), at, 0)
    margins = []
    for number, other in zip(ASKED, written):
        prompt, chosen = PROMPTS[number], REFERENCES[number]
        if other != chosen:
            margins.append(log_ratio(policy, opponent, prompt, chosen) - log_ratio(policy, opponent, prompt, other))
    loss = -F.logsigmoid(BETA * torch.stack(margins)).mean()
    return loss, {"written": written, "loss": loss.item()}


def nash_md(players, at):
    policy, start = players["policy"], players["start"]

    def mixed(ids):
        return (1 - SHARE) * next_logits(policy, ids) + SHARE * next_logits(start, ids)

    own = drawn(lambda ids: next_logits(policy, ids), at, 0)
    others = drawn(mixed, at, len(ASKED))
    parts, weights, wins = [], [], []
    for number, one, other in zip(ASKED, own, others):
        wins.append(0.5 * ((reward(one) > reward(other)) + (reward(one) >= reward(other))))
        weights.append(BETA * log_ratio(policy, start, PROMPTS[number], one).detach() - (wins[-1] - 0.5))
        parts.append(weights[-1] * logp(policy, PROMPTS[number], one))
    loss = torch.stack(weights).mean().item()
    return torch.stack(parts).mean(), {"written": own, "others": others, "wins": wins, "loss": loss}


def run(game):
    folder = Path(__file__).parent / "transformer" / "llama"
    policy = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    players, adamw, steps = {"policy": policy, "start": copy.deepcopy(policy)}, optimizer(policy, RATE), []
    for at in range(STEPS):
        surrogate, played = game(players, at)
        steps.append(played | {"norm": step(policy, surrogate, adamw)})
    print(game.__name__, [round(one["loss"], 4) for one in steps])
    with torch.no_grad():
        after = [logp(policy, prompt, one).item() for prompt, one in zip(PROMPTS, REFERENCES)]
    return {"steps": steps, "after": after}


def main():
    torch.set_num_threads(1)
    golden = {"prompts": PROMPTS, "references": REFERENCES, "group": GROUP, "length": LENGTH, "seed": SEED, "rate": RATE,
              "iteration": ITERATION, "beta": BETA, "share": SHARE}
    write(golden | {game.__name__: run(game) for game in (spin, nash_md)}, __file__)


if __name__ == "__main__":
    main()
