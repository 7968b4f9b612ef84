"""Losses of the policy-gradient family by TRL's own code, advantages and the rest by plain torch, in float64.

Writes objectives.json. B = P x G completions; a prompt's are neighbors.

    losses       TRL 1.16's `GRPOTrainer._compute_loss` and `RLOOTrainer._compute_loss`, run on a stand-in that
                 hands them the log-probabilities of the chosen tokens: loss, its gradient by each of these,
                 and the shares of clipped tokens that TRL logs. Dual clip, which TRL lacks, by plain torch:
                 max(min(r A, clip(r) A), c A) where A < 0 (Ye et al. 2020, eq. 5; token mean).
    advantages   of rewards [B], log-probabilities and values [B, T] by plain torch:
                 trl_group, trl_batch     (R - group mean) / (std(correction=1) + 1e-4) of group, of batch
                 verl_group               the same with 1e-6
                 open_rlhf_group          the same with 1e-9
                 reinforce_plus_plus      sum over s >= t of -beta (logp - ref), R added to all, then whitened:
                                          verl (x - mean) * rsqrt(var(correction=1) + 1e-8), OpenRLHF
                                          (x - mean) * rsqrt(max(var(correction=0), 1e-8)), over all tokens
                 gae                      A_t = d_t + gamma lam A_{t+1}, token rewards as above; returns A + V
    value        0.5 * mean of max((v - R)^2, (clip(v, old - c, old + c) - R)^2) over tokens, its gradient by v

Usage: PYTHONPATH=FOLDER python objectives.py [FILE], where FOLDER has trl 1.16.0 and datasets
"""

from collections import defaultdict
from types import SimpleNamespace

import torch
from written import write

PROMPTS, GROUP, TOKENS = 2, 3, 7
COMPLETIONS = PROMPTS * GROUP
LENGTHS = [7, 5, 3, 6, 1, 4]
REWARDS = [1.0, 0.25, -0.5, 2.0, 0.75, 0.0]
MASK = (torch.arange(TOKENS).unsqueeze(0) < torch.tensor(LENGTHS).unsqueeze(1)).double()


def inputs():
    generator = torch.Generator().manual_seed(13)

    def noise(scale):
        shape = (COMPLETIONS, TOKENS)
        return torch.randn(shape, generator=generator, dtype=torch.float64) * scale

    old = (-1.5 + noise(0.5)).round(decimals=4)
    return {
        "old": old,
        "logps": (old + noise(0.4)).round(decimals=4),
        "reference": (old + noise(0.3)).round(decimals=4),
        "drawn": (old + noise(0.5)).round(decimals=4),
        "values": noise(0.7).round(decimals=4),
        "new_values": noise(0.7).round(decimals=4),
        "advantages": (noise(1.2)[:, 0]).round(decimals=4),
    }


class Accelerator:
    num_processes = 1
    sync_gradients = True

    @staticmethod
    def gather(values):
        return values

    @staticmethod
    def reduce(values, reduction):
        return values


def stand_in(logps, case):
    """What `_compute_loss` asks of a trainer."""
    args = SimpleNamespace(delta=None, use_bias_correction_kl=False, steps_per_generation=1)
    entropies = torch.zeros_like(logps)
    return SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logps, entropies, None),
        _metrics=defaultdict(lambda: defaultdict(list)), _entropy_bonus_enabled=False,
        model=SimpleNamespace(training=True), accelerator=Accelerator(), args=args, aux_loss_enabled=False, top_entropy_quantile=1.0,
        off_policy_mask_threshold=None, importance_sampling_level=case.get("level", "token"),
        beta=case.get("beta", 0.0), epsilon_low=case.get("low", 0.2), epsilon_high=case.get("high", 0.2),
        loss_type=case["loss"], use_vllm=case.get("corrected", False),
        vllm_importance_sampling_correction=True, max_completion_length=TOKENS,
        current_gradient_accumulation_steps=1,
    )


def by_trl(case, data):
    from trl import GRPOTrainer, RLOOTrainer

    logps = data["logps"].clone().requires_grad_()
    ids = torch.zeros((COMPLETIONS, TOKENS), dtype=torch.long)
    batch = {
        "prompt_ids": ids[:, :1], "prompt_mask": ids[:, :1] + 1, "completion_ids": ids, "completion_mask": MASK,
        "advantages": data["advantages"], "old_per_token_logps": data["old"],
        "old_logps": (data["old"] * MASK).sum(1), "ref_per_token_logps": data["reference"],
        "num_items_in_batch": MASK.sum(),
        "importance_sampling_ratio": torch.exp((data["old"] - data["drawn"]) * MASK).clamp(max=1.2),
    }
    trainer = stand_in(logps, case)
    kind = RLOOTrainer if case["loss"] == "rloo" else GRPOTrainer
    loss = kind._compute_loss(trainer, None, batch)
    loss.backward()
    logged = trainer._metrics["train"]
    shares = [logged[f"clip_ratio/{name}"][-1] for name in ("low_mean", "high_mean")
              if logged[f"clip_ratio/{name}"]]
    return case | {"value": loss.item(), "gradient": rows(logps.grad), "clipped": shares}


def dual_clip(case, data):
    logps = data["logps"].clone().requires_grad_()
    ratio = torch.exp(logps - data["old"])
    advantages = data["advantages"].unsqueeze(1)
    clipped = torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    held = torch.where(advantages < 0, torch.max(clipped, case["dual"] * advantages), clipped)
    loss = -(held * MASK).sum() / MASK.sum()
    loss.backward()
    return case | {"value": loss.item(), "gradient": rows(logps.grad), "clipped": []}


def rows(tensor):
    """Only the tokens that there are."""
    rounded = torch.round(tensor.detach(), decimals=10)
    return [row[:length].tolist() for row, length in zip(rounded, LENGTHS)]


def whiten(values, correction, guard):
    tokens = values[MASK.bool()]
    variance = tokens.var(correction=correction)
    scale = (variance + 1e-8).rsqrt() if guard == "variance" else variance.clamp(min=1e-8).rsqrt()
    return (values - tokens.mean()) * scale


def advantages(data, beta=0.1):
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    groups = rewards.view(PROMPTS, GROUP)
    centered = groups - groups.mean(1, keepdim=True)

    def of_group(epsilon):
        return (centered / (groups.std(1, keepdim=True) + epsilon)).flatten().tolist()

    paid = -beta * (data["old"] - data["reference"]) * MASK
    to_go = paid.flip(1).cumsum(1).flip(1)
    returns = to_go + rewards.unsqueeze(1)
    return {
        "trl_group": of_group(1e-4), "verl_group": of_group(1e-6), "open_rlhf_group": of_group(1e-9),
        "trl_batch": (centered / (rewards.std() + 1e-4)).flatten().tolist(),
        "reinforce_plus_plus": {"beta": beta, "verl": rows(whiten(returns, 1, "variance")),
                                "open_rlhf": rows(whiten(returns, 0, "floor"))},
        "gae": [gae(data, paid, rewards, gamma, lam) for gamma, lam in ((1.0, 0.95), (0.9, 0.5))],
    }


def gae(data, paid, rewards, gamma, lam):
    found, returns = [], []
    for row, length in enumerate(LENGTHS):
        token = paid[row].clone()
        token[length - 1] += rewards[row]
        values = torch.cat([data["values"][row, :length], torch.zeros(1, dtype=torch.float64)])
        after, out = 0.0, [0.0] * length
        for place in reversed(range(length)):
            delta = token[place] + gamma * values[place + 1] - values[place]
            after = delta + gamma * lam * after
            out[place] = float(after)
        found.append(out)
        returns.append([a + float(v) for a, v in zip(out, values)])
    return {"gamma": gamma, "lam": lam, "advantages": found, "returns": returns}


def value_loss(data, clip):
    values = data["new_values"].clone().requires_grad_()
    old = data["values"]
    returns = (old + data["reference"] * 0.1).round(decimals=4)
    loss = (values - returns).square()
    if clip is not None:
        near = torch.max(torch.min(values, old + clip), old - clip)
        loss = torch.max(loss, (near - returns).square())
    loss = 0.5 * (loss * MASK).sum() / MASK.sum()
    loss.backward()
    return {"clip": clip, "value": loss.item(), "returns": rows(returns), "gradient": rows(values.grad)}


CASES = [
    {"loss": "grpo"},
    {"loss": "grpo", "beta": 0.04},
    {"loss": "dapo", "high": 0.28},
    {"loss": "dapo", "high": 0.28, "beta": 0.1, "corrected": True},
    {"loss": "dr_grpo"},
    {"loss": "grpo", "level": "sequence", "low": 0.03, "high": 0.04},
    {"loss": "grpo", "level": "sequence", "low": 0.03, "high": 0.04, "beta": 0.02},
    {"loss": "cispo", "high": 1.3},
    {"loss": "rloo"},
]


def main():
    torch.set_num_threads(1)
    data = inputs()
    losses = [by_trl(case, data) for case in CASES]
    losses += [dual_clip({"loss": "dual_clip", "dual": dual}, data) for dual in (1.25, 3.0)]
    golden = {"prompts": PROMPTS, "group": GROUP, "tokens": TOKENS, "lengths": LENGTHS, "rewards": REWARDS}
    golden |= {name: rows(value) if value.dim() == 2 else value.tolist() for name, value in data.items()}
    golden |= {"losses": losses, "wanted": advantages(data),
               "value_losses": [value_loss(data, clip) for clip in (None, 0.2)]}
    write(golden, __file__)


if __name__ == "__main__":
    main()
