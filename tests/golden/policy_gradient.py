"""Advantages, losses and gradients of the policy-gradient objective, by plain torch in float64.

Writes policy_gradient.json: random logits of B = P x G completions (the G completions of a
prompt are neighbors), and for each case a choice of baseline, aggregation, place of the KL,
entropy bonus and temperature with the advantages, the loss and its gradient by the logits.

    logp   = log_softmax(logits / temperature)[action]; the reference likewise, same temperature
    d      = logp - logp_reference, at the chosen token; 0 outside the completion
    R      = reward - beta * sum_t d_t                        KL in the reward (k1), else reward
    A      = R - baseline(R), one number a completion, never differentiated
    loss   = - sum w A logp  +  beta * sum w kl  -  entropy_coefficient * sum w H
    kl     = d^2 / 2 (k2)  or  exp(-d) - 1 + d (k3), differentiated; H of the full softmax
    w      = mask / sum(mask)           token_mean
             mask / (length * B)        sequence_mean
             mask / (B * T)             constant

Baselines: none; batch_mean (over B); leave_one_out (mean of the other G - 1 of the group);
group_z_score: (R - mean) / (std + 1e-4), std with ddof 1 within the group.
Every gradient is checked here by a central difference along a random direction.

What is remembered between batches, over five random ones:

    running_mean   A = R - m; m = 0 before the first batch, its mean reward after it, then
                   decay * m + (1 - decay) * mean(R) after each further one
    adaptive_kl    beta *= 1 + clip(KL / target - 1, -0.2, 0.2) * completions / horizon
                   (Ziegler et al. 2019, section 2.2, as their code has it)

    adaptive_entropy   twenty steps of a policy that is one softmax, by plain gradient descent. With H its entropy and c = 0
                   at first: loss = -mean(A logp) - paid H, paid = c if the step before had H <= target, else 0; then
                   c = min(c + step, most) if H <= target, else max(c - step, 0) (He et al. 2025, as TRL has it)

    sequence_mask  A = R w, w = exp(sum_t (logp - drawn)) of the completion, but 0 above `bound` and below 1 / bound;
                   `ratios` are the least, the mean and the largest of exp(..) before the bound, `effective_share` is
                   (sum w)^2 / (B sum w^2) (Kish 1965)
Usage: python policy_gradient.py [FILE]
"""

import json
import sys
from pathlib import Path

import torch

PROMPTS, GROUP, TOKENS, VOCABULARY = 2, 3, 7, 11
COMPLETIONS = PROMPTS * GROUP
LENGTHS = [7, 5, 3, 6, 1, 4]
REWARDS = {
    "varied": [1.0, 0.25, -0.5, 2.0, 0.75, 0.0],
    "one_flat_group": [0.5, 0.5, 0.5, 1.0, -1.0, 0.25],
}
BETA, Z_SCORE_EPS = 0.1, 1e-4
BASELINES = ["none", "batch_mean", "leave_one_out", "group_z_score"]
AGGREGATIONS = ["token_mean", "sequence_mean", "constant"]
KLS = ["none", "reward_k1", "loss_k2", "loss_k3"]
FIELDS = ["baseline", "aggregation", "kl", "entropy_coefficient", "temperature", "rewards"]


def cases():
    """Each baseline with each aggregation, each KL with each aggregation, and mixes of all."""
    plain = [(b, a, "none", 0.0, 1.0, "varied") for b in BASELINES for a in AGGREGATIONS]
    kl = [("batch_mean", a, k, 0.0, 1.0, "varied") for k in KLS[1:] for a in AGGREGATIONS]
    entropy = [("leave_one_out", a, "none", 0.01, t, "varied")
               for a in AGGREGATIONS for t in (1.0, 0.7)]
    mixes = [
        ("none", "token_mean", "none", 0.0, 0.7, "varied"),
        ("none", "sequence_mean", "reward_k1", 0.01, 0.7, "varied"),
        ("leave_one_out", "token_mean", "reward_k1", 0.0, 0.7, "varied"),
        ("leave_one_out", "constant", "loss_k3", 0.01, 0.7, "varied"),
        ("leave_one_out", "sequence_mean", "loss_k2", 0.01, 0.7, "one_flat_group"),
        ("group_z_score", "sequence_mean", "loss_k3", 0.0, 1.0, "varied"),
        ("group_z_score", "token_mean", "loss_k3", 0.01, 0.7, "varied"),
        ("group_z_score", "constant", "reward_k1", 0.0, 0.7, "varied"),
        ("group_z_score", "token_mean", "none", 0.0, 1.0, "one_flat_group"),
        ("group_z_score", "token_mean", "loss_k2", 0.01, 1.0, "one_flat_group"),
    ]
    return [dict(zip(FIELDS, case)) for case in plain + kl + entropy + mixes]


def inputs(generator):
    """Numbers of four decimals, so that JSON holds them exactly as they were used."""
    shape = (COMPLETIONS, TOKENS, VOCABULARY)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64).mul(1.5)
    shift = torch.randn(shape, generator=generator, dtype=torch.float64).mul(0.5)
    actions = torch.randint(0, VOCABULARY, shape[:2], generator=generator)
    mask = torch.arange(TOKENS).unsqueeze(0) < torch.tensor(LENGTHS).unsqueeze(1)
    return {"logits": logits.round(decimals=4), "actions": actions, "mask": mask.double(),
            "reference_logits": (logits + shift).round(decimals=4)}


def chosen(logits, actions, temperature):
    """Log-probability of each action and the whole log-softmax."""
    everything = torch.log_softmax(logits / temperature, dim=-1)
    return everything.gather(-1, actions.unsqueeze(-1)).squeeze(-1), everything


def advantages_of(case, data):
    rewards = torch.tensor(REWARDS[case["rewards"]], dtype=torch.float64)
    if case["kl"] == "reward_k1":
        logp, _ = chosen(data["logits"].detach(), data["actions"], case["temperature"])
        reference, _ = chosen(data["reference_logits"], data["actions"], case["temperature"])
        rewards = rewards - BETA * ((logp - reference) * data["mask"]).sum(1)
    groups = rewards.view(PROMPTS, GROUP)
    match case["baseline"]:
        case "none":
            return rewards
        case "batch_mean":
            return rewards - rewards.mean()
        case "leave_one_out":
            others = (groups.sum(1, keepdim=True) - groups) / (GROUP - 1)
            return (groups - others).flatten()
        case "group_z_score":
            centered = groups - groups.mean(1, keepdim=True)
            return (centered / (groups.std(1, keepdim=True, correction=1) + Z_SCORE_EPS)).flatten()


def weights_of(case, mask):
    match case["aggregation"]:
        case "token_mean":
            return mask / mask.sum()
        case "sequence_mean":
            return mask / (mask.sum(1, keepdim=True) * COMPLETIONS)
        case "constant":
            return mask / (COMPLETIONS * TOKENS)


def terms_of(case, data, advantages):
    """The three aggregated sums, before their coefficients: policy, KL, entropy."""
    weights = weights_of(case, data["mask"])
    logp, everything = chosen(data["logits"], data["actions"], case["temperature"])
    reference, _ = chosen(data["reference_logits"], data["actions"], case["temperature"])
    d = logp - reference
    kl = {"loss_k2": d.square() / 2, "loss_k3": torch.exp(-d) - 1 + d}.get(case["kl"])
    entropy = -(everything.exp() * everything).sum(-1)
    return {
        "policy": -(weights * advantages.unsqueeze(1) * logp).sum(),
        "kl": (weights * kl).sum() if kl is not None else torch.zeros((), dtype=torch.float64),
        "entropy": (weights * entropy).sum(),
    }


def loss_of(case, terms):
    return terms["policy"] + BETA * terms["kl"] - case["entropy_coefficient"] * terms["entropy"]


def check_gradient(case, data, advantages, gradient, generator):
    direction = torch.randn(gradient.shape, generator=generator, dtype=torch.float64)
    step = 1e-5

    def loss_at(distance):
        moved = data | {"logits": data["logits"].detach() + distance * direction}
        return loss_of(case, terms_of(case, moved, advantages)).item()

    slope = (loss_at(step) - loss_at(-step)) / (2 * step)
    exact = (gradient * direction).sum().item()
    assert abs(slope - exact) < 1e-8, f"{case}: slope {slope}, gradient says {exact}"


def rounded(tensor):
    return torch.round(tensor.detach(), decimals=9).tolist()


def solve(case, data, generator):
    data = data | {"logits": data["logits"].clone().requires_grad_()}
    advantages = advantages_of(case, data)
    terms = terms_of(case, data, advantages)
    loss = loss_of(case, terms)
    loss.backward()
    gradient = data["logits"].grad
    check_gradient(case, data, advantages, gradient, generator)
    return case | {"advantages": rounded(advantages), "loss": loss.item(),
                   "terms": {name: term.item() for name, term in terms.items()},
                   "gradient": rounded(gradient)}


def running_mean(decay, generator):
    remembered, batches = None, []
    for _ in range(5):
        rewards = torch.randn(COMPLETIONS, generator=generator, dtype=torch.float64)
        rewards = rewards.round(decimals=4)
        advantages = rewards - (0.0 if remembered is None else remembered)
        now = rewards.mean().item()
        remembered = now if remembered is None else decay * remembered + (1 - decay) * now
        batches.append({"rewards": rewards.tolist(), "advantages": rounded(advantages)})
    return {"decay": decay, "batches": batches}


def adaptive_kl(initial, target, horizon, generator):
    """The divergence of each completion of five batches, with the coefficient after each."""
    beta, batches = initial, []
    for scale in (0.1, 0.5, 1.0, 1.1, 4.0):
        share = torch.rand(COMPLETIONS, generator=generator, dtype=torch.float64)
        kl = (share * 2 * target * scale).round(decimals=4)
        error = max(-0.2, min(0.2, kl.mean().item() / target - 1))
        beta *= 1 + error * COMPLETIONS / horizon
        batches.append({"kl_nats": kl.tolist(), "beta": beta})
    return {"initial": initial, "target": target, "horizon": horizon, "batches": batches}


def adaptive_entropy(target, step, most, generator):
    logits = torch.randn(VOCABULARY, generator=generator, dtype=torch.float64).mul(0.5).round(decimals=4)
    actions = torch.randint(0, VOCABULARY, (COMPLETIONS,), generator=generator)
    advantages = torch.tensor(REWARDS["varied"], dtype=torch.float64)
    start, coefficient, before, steps, rate = logits.tolist(), 0.0, None, [], 2.0
    for _ in range(20):
        logits = logits.detach().requires_grad_()
        everything = torch.log_softmax(logits, -1)
        entropy = -(everything.exp() * everything).sum()
        paid = coefficient if before is not None and before <= target else 0.0
        loss = -(advantages * everything[actions]).mean() - paid * entropy
        loss.backward()
        logits = logits - rate * logits.grad
        before = entropy.item()
        assert abs(before - target) > 1e-4, "float32 must fall on the same side of the target"
        coefficient = min(coefficient + step, most) if before <= target else max(coefficient - step, 0.0)
        steps.append({"paid": paid, "loss": loss.item(), "entropy": before})
    series = [one["paid"] for one in steps]
    falls = [later < now for now, later in zip(series, series[1:])]
    assert most in series and True in falls and 0.0 in series[falls.index(True):], f"not every rule is at work: {series}"
    return {"target": target, "step": step, "most": most, "rate": rate, "logits": start, "actions": actions.tolist(),
            "rewards": advantages.tolist(), "steps": steps, "after": rounded(logits)}


def sequence_mask(bound, data, generator):
    logp, _ = chosen(data["logits"], data["actions"], 1.0)
    off = torch.randn(logp.shape, generator=generator, dtype=torch.float64).mul(0.3)
    drawn = (logp + off).round(decimals=4)
    ratio = torch.exp(((logp - drawn) * data["mask"]).sum(1))
    assert (torch.cat([ratio - bound, ratio - 1 / bound]).abs() > 1e-4).all()
    assert (ratio > bound).any() and (ratio < 1 / bound).any(), f"both bounds are at work: {ratio}"
    weights = torch.where((ratio > bound) | (ratio < 1 / bound), 0.0, ratio)
    share = weights.sum().square() / (COMPLETIONS * weights.square().sum())
    rewards = torch.tensor(REWARDS["varied"], dtype=torch.float64)
    return {"bound": bound, "drawn": [row[:length] for row, length in zip(drawn.tolist(), LENGTHS)],
            "advantages": rounded(rewards * weights), "ratios": rounded(torch.stack([ratio.min(), ratio.mean(), ratio.max()])),
            "effective_share": share.item()}


def main():
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(7)
    data = inputs(generator)
    solved = [solve(case, data, generator) for case in cases()]
    head = {"prompts": PROMPTS, "group": GROUP, "tokens": TOKENS, "vocabulary": VOCABULARY,
            "lengths": LENGTHS, "beta": BETA, "z_score_eps": Z_SCORE_EPS, "rewards": REWARDS}
    head |= {name: tensor.tolist() for name, tensor in data.items()}
    head["running_mean"] = [running_mean(decay, generator) for decay in (0.9, 0.5)]
    steered = [(0.1, 2.0, 100.0), (0.02, 6.0, 40.0)]
    head["adaptive_kl"] = [adaptive_kl(*start, generator) for start in steered]
    head["adaptive_entropy"] = [adaptive_entropy(*start, generator) for start in ((1.9, 0.3, 0.7), (1.9, 0.5, 0.9))]
    head["sequence_mask"] = sequence_mask(1.5, data, generator)
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    lines.append('"cases": [\n' + ",\n".join(map(json.dumps, solved)) + "\n]")
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".json")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{len(solved)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
