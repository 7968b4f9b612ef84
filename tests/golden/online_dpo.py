"""Ten steps of online DPO by torch, on transformer/llama and from the same coins: online_dpo.json.

Each step draws GROUP completions of every prompt by inverting the cumulative distribution at coins of page_writes'
ChaCha (here with step and completion), ranks them by a reward that is an exact integer, and takes the first best and
the first worst of a prompt as a pair, if they differ. The loss is the mean over pairs of -logsigmoid(beta d) against
the frozen start, the optimizer AdamW with a clipped global norm, as in transformer.py.
Usage: python online_dpo.py [FILE]
"""

import copy
import json
import sys
from pathlib import Path

import torch
from page_writes import MASK, quarter
from torch.nn import functional as F
from transformer import OPTIMIZER
from transformers import LlamaForCausalLM

PROMPTS = [[7, 12, 3], [20, 5, 44, 9], [31, 2, 8, 15, 50]]
GROUP, LENGTH, BETA, SEED, STEPS = 4, 6, 0.3, 5, 10


def coins(step, completion, count):
    """Uniform numbers: ChaCha with 8 rounds, 24 bits of each word; count fits one block."""
    start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, SEED, 0, step, 0, 0, 0, 0, 0, 0, 0, completion, 0]
    x = list(start)
    for _ in range(4):
        for rows in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
            quarter(x, *rows)
        for diagonal in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
            quarter(x, *diagonal)
    return [((a + b & MASK) >> 8) / 2**24 for a, b in zip(x, start)][:count]


def reward(completion):
    return sum(7 * token % 13 for token in completion)


def write(model, prompt, drawn):
    ids = list(prompt)
    for coin in drawn:
        with torch.no_grad():
            total = model(torch.tensor([ids])).logits[0, -1].log_softmax(-1).exp().cumsum(0)
        ids.append(int((total <= coin * total[-1]).sum()))
    return ids[len(prompt) :]


def logp(model, prompt, completion):
    logits = model(torch.tensor([prompt + completion])).logits[0, len(prompt) - 1 : -1]
    return logits.log_softmax(-1)[range(len(completion)), completion].sum()


def pairs(model, step):
    found = []
    for number, prompt in enumerate(PROMPTS):
        group = [write(model, prompt, coins(step, number * GROUP + row, LENGTH)) for row in range(GROUP)]
        best, worst = max(group, key=reward), min(group, key=reward)
        if reward(best) > reward(worst):
            found.append((prompt, best, worst))
    return found


def main():
    torch.set_num_threads(1)
    folder = Path(__file__).parent / "transformer" / "llama"
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    reference = copy.deepcopy(model)
    parameters = list(model.parameters())
    decays = [(True, OPTIMIZER["weight_decay"]), (False, 0.0)]
    groups = [{"params": [p for p in parameters if (p.dim() >= 2) == wide], "weight_decay": decay} for wide, decay in decays]
    betas, lr, eps = tuple(OPTIMIZER["betas"]), OPTIMIZER["lr"], OPTIMIZER["eps"]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, foreach=False)
    steps = []
    for step in range(STEPS):
        played = pairs(model, step)
        optimizer.zero_grad()
        margins = []
        for prompt, chosen, rejected in played:
            with torch.no_grad():
                start = logp(reference, prompt, chosen) - logp(reference, prompt, rejected)
            margins.append(logp(model, prompt, chosen) - logp(model, prompt, rejected) - start)
        loss = -F.logsigmoid(BETA * torch.stack(margins)).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, OPTIMIZER["max_norm"])
        optimizer.step()
        steps.append({"pairs": played, "loss": loss.item(), "grad_norm": norm.item()})
    golden = {"prompts": PROMPTS, "group": GROUP, "length": LENGTH, "beta": BETA, "seed": SEED, "steps": steps}
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(golden) + "\n")
    print([round(step["loss"], 4) for step in steps], path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
