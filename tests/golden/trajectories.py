"""Ten updates by every policy gradient and preference loss, by plain torch in float64, from transformer/{gpt2,llama}.

Writes trajectories.json: the batch and, for each case, loss and gradient norm of every update and the log-probabilities
after the last. Per token, of completion c with reward R, with d = logp_old - logp_reference and q = exp(logp - logp_old):

    reinforce        R' = R - 0.05 sum d;  A = R' - mean of all R';  -mean over tokens of A logp
    entropy          the same less 0.02 times the mean over tokens of the entropy of the softmax
    rloo             A = R' - mean of the prompt's other R'
    grpo             A = (R - mean) / (std + 1e-4) of the prompt's three, ddof 1;  min(q A, clip(q, 0.8, 1.2) A), less
                     0.04 (exp(d') - 1 - d'), d' = logp_reference - logp;  each completion's mean, then the mean of those
    grpo_batch       divided by the deviation of all nine rewards
    grpo_dual        at least 1.1 A where A < 0, in the place of the minimum; logp_old is that of what was drawn from
    grpo_masked      A times logp_old's ratio to what was drawn from, by token, 0 above 1.3 and below 1 / 1.3
    grpo_truncated   A times that ratio of the whole completion, at most 1.2
    dr_grpo          A = R - mean of the prompt's three;  divided by 9 * 8 in place of the number of tokens;  no divergence
    dapo             R less clip((length - 4) / 4, 0, 1);  clip(q, 0.8, 1.28);  mean over tokens, without the prompt whose
                     rewards are all the same;  no divergence
    reinforce_plus_plus            A_t = R - 0.01 sum_{s >= t} d_s, less its mean, over sqrt(max(variance, 1e-8)), ddof 0
    reinforce_plus_plus_baseline   A = R - mean of the prompt's three, whitened likewise;  plus 0.01 d'^2 / 2 in the loss
    remax            A_t = R - greedy reward of the prompt - 0.01 sum_{s >= t} d_s;  -mean of A logp
    a2c              A_t = R - 0.01 sum_{s >= t} d_s - V_t;  -mean of A logp
    gspo             q = exp(mean over the completion of logp - logp_old), clip(q, 0.95, 1.06);  as grpo, no divergence
    cispo            min(q, 1.1) fixed, times A logp, A as in grpo;  mean over tokens
    cispo_both       clip(q, 0.9, 1.1) fixed
    raft             the best completion of each prompt:  -mean over their tokens of logp

Preference losses take each prompt's first completion for chosen and its second for rejected, with preference.py's formulas;
KTO the six with the labels below. Each update takes the whole batch, clips the gradient at a global norm of 1, steps AdamW.
No number may come so near a bound that float32 could fall on the other side of it.
Usage: python trajectories.py [FILE]
"""

from pathlib import Path

import torch
from critic import at_tokens, far_from, optimizer, step
from preference import kto_loss, preference_loss
from transformers import AutoModelForCausalLM
from written import write

STEPS, RATE, GROUP, LONGEST = 10, 2e-4, 3, 8
PROMPTS = [[5, 9], [11, 4, 30], [8]]
COMPLETIONS = [
    [7, 12, 40, 2, 9], [33, 6, 2], [25, 19, 54, 13, 58, 10, 2], [60, 2], [18, 44, 31, 2], [3, 27, 52, 36, 15, 41, 9, 2],
    [22, 47, 2], [50, 16, 29, 38, 57, 2], [14, 35],
]
REWARDS = [1.0, -0.5, 0.25, 2.0, 0.75, 0.0, 0.5, 0.5, 0.5]
GREEDY = [0.5, 1.25, 0.25]
PREFERENCES = [
    {"loss": "sigmoid", "beta": 0.3}, {"loss": "sigmoid", "beta": 0.3, "label_smoothing": 0.1, "rpo_alpha": 0.5},
    {"loss": "hinge", "beta": 0.3}, {"loss": "ipo", "beta": 0.5}, {"loss": "robust", "beta": 0.3, "label_smoothing": 0.2},
    {"loss": "sigmoid_norm", "beta": 1.0}, {"loss": "apo_zero", "beta": 0.3},
    {"loss": "simpo", "beta": 2.0, "margin": 0.5}, {"loss": "orpo", "beta": 0.2},
]
KTO = {"loss": "kto", "beta": 0.3, "desirable_weight": 1.0, "undesirable_weight": 1.5}
LABELS = [True, False, True, True, False, False]
OTHERS = [0.3, -0.1, 0.6]
WEIGHTS = [1.0, 0.5, 2.0]

LENGTHS = torch.tensor([len(one) for one in COMPLETIONS])
OWNER = torch.repeat_interleave(torch.arange(len(COMPLETIONS)), LENGTHS)
R = torch.tensor(REWARDS, dtype=torch.float64)


def scores(policy):
    """Log-probability of each token and entropy of each softmax. [N], [N]"""
    found, spread = [], []
    for row, completion in enumerate(COMPLETIONS):
        prompt = PROMPTS[row // GROUP]
        logits = policy(torch.tensor([prompt + completion])).logits[0]
        everything = torch.log_softmax(at_tokens(logits, prompt, completion), -1)
        found.append(everything.gather(1, torch.tensor(completion)[:, None])[:, 0])
        spread.append(-(everything.exp() * everything).sum(-1))
    return torch.cat(found), torch.cat(spread)


def sums(numbers):
    """Over the tokens of each completion. [N] -> [C]"""
    return torch.zeros(len(COMPLETIONS), dtype=torch.float64).index_add(0, OWNER, numbers)


def to_go(numbers):
    """Sum over a token and those behind it in its completion. [N] -> [N]"""
    return torch.cat([part.flip(0).cumsum(0).flip(0) for part in numbers.split(LENGTHS.tolist())])


def centered(rewards):
    groups = rewards.view(-1, GROUP)
    return (groups - groups.mean(1, keepdim=True)).flatten()


def standard(rewards):
    spread = rewards.view(-1, GROUP).std(1, correction=1).repeat_interleave(GROUP)
    return centered(rewards) / (spread + 1e-4)


def whitened(advantages):
    return (advantages - advantages.mean()) / advantages.var(correction=0).clamp(min=1e-8).sqrt()


def advantages(case, data):
    """[N]"""
    d, paid = data["d"], (R - 0.05 * sums(data["d"]))
    groups = paid.view(-1, GROUP)
    ratio = torch.exp(data["old"] - data["drawn"])
    whole = torch.exp(sums(data["old"] - data["drawn"]))
    if case == "grpo_masked":
        far_from("mask", torch.cat([ratio - 1.3, ratio - 1 / 1.3]))
    match case:
        case "reinforce" | "entropy":
            return (paid - paid.mean())[OWNER]
        case "rloo":
            return (paid - ((groups.sum(1, keepdim=True) - groups) / (GROUP - 1)).flatten())[OWNER]
        case "grpo_batch":
            return (centered(R) / (R.std(correction=1) + 1e-4))[OWNER]
        case "grpo_masked":
            return standard(R)[OWNER] * ratio * ((ratio <= 1.3) & (ratio >= 1 / 1.3))
        case "grpo_truncated":
            return (standard(R) * whole.clamp(max=1.2))[OWNER]
        case "dr_grpo":
            return centered(R)[OWNER]
        case "dapo":
            return standard(R - ((LENGTHS - 4) / 4).clamp(0, 1).double())[OWNER]
        case "reinforce_plus_plus":
            return whitened(R[OWNER] - 0.01 * to_go(d))
        case "reinforce_plus_plus_baseline":
            return whitened(centered(R)[OWNER])
        case "remax":
            greedy = torch.tensor(GREEDY, dtype=torch.float64).repeat_interleave(GROUP)
            return (R - greedy)[OWNER] - 0.01 * to_go(d)
        case "a2c":
            return R[OWNER] - 0.01 * to_go(d) - data["values"]
        case "raft":
            return torch.ones(len(OWNER), dtype=torch.float64)
        case _:
            return standard(R)[OWNER]


def shares(case):
    """What each token weighs. [N]"""
    kept = torch.ones(len(COMPLETIONS), dtype=torch.float64)
    if case == "dapo":
        kept[2 * GROUP :] = 0
    if case == "raft":
        # Of equals the first.
        kept = torch.zeros_like(kept)
        kept[[int(rewards.argmax()) + GROUP * row for row, rewards in enumerate(R.view(-1, GROUP))]] = 1
    if case.startswith("grpo") or case == "gspo":
        return (kept / LENGTHS / len(COMPLETIONS))[OWNER]
    if case == "dr_grpo":
        return torch.full((len(OWNER),), 1.0 / (len(COMPLETIONS) * LONGEST), dtype=torch.float64)
    return kept[OWNER] / (kept * LENGTHS).sum()


BOUNDS = {"dapo": (0.8, 1.28), "gspo": (0.95, 1.06), "cispo": (0.0, 1.1), "cispo_both": (0.9, 1.1)}
PLAIN = ["reinforce", "entropy", "rloo", "remax", "a2c", "raft"]
CASES = PLAIN + ["grpo", "grpo_batch", "grpo_dual", "grpo_masked", "grpo_truncated", "dr_grpo", "dapo", "reinforce_plus_plus",
                 "reinforce_plus_plus_baseline", "gspo", "cispo", "cispo_both"]


def policy_loss(case, data, logp, entropy):
    a, weights = data["advantages"], data["weights"]
    if case in PLAIN:
        bonus = 0.02 if case == "entropy" else 0.0
        return -(weights * a * logp).sum() - bonus * (weights * entropy).sum(), 0
    q = torch.exp(logp - data["old"])
    if case == "gspo":
        q = torch.exp(sums(logp - data["old"]) / LENGTHS)[OWNER]
    low, high = BOUNDS.get(case, (0.8, 1.2))
    far_from(case, torch.cat([q - low, q - high]).detach())
    bounded = q.clamp(low, high)
    if case.startswith("cispo"):
        return -(weights * bounded.detach() * a * logp).sum(), int((bounded != q).sum())
    gain = torch.min(q * a, bounded * a)
    held = int((bounded * a < q * a).sum())
    if case == "grpo_dual":
        far_from(case, (q - 1.1).detach())
        held = int(((gain < 1.1 * a) & (a < 0)).sum())
        gain = torch.where(a < 0, torch.max(gain, 1.1 * a), gain)
    away = data["reference"] - logp
    if case.startswith("grpo"):
        gain = gain - 0.04 * (torch.exp(away) - 1 - away)
    if case == "reinforce_plus_plus_baseline":
        gain = gain - 0.01 * away.square() / 2
    return -(weights * gain).sum(), held


def of_pairs(numbers):
    """Chosen and rejected of each prompt. [C] -> [P, 2]"""
    return numbers.view(-1, GROUP)[:, :2]


def rated_loss(case, data, logp):
    whole, before = sums(logp), sums(data["reference"])
    if case["loss"] == "kto":
        kto = {"others": torch.tensor(OTHERS, dtype=torch.float64), "good": torch.tensor(LABELS),
               "weights": torch.ones(len(LABELS), dtype=torch.float64)}
        return kto_loss(case, of_pairs(whole - before).flatten(), kto)
    pairs = {"reference": of_pairs(before), "tokens": of_pairs(LENGTHS).double(),
             "weights": torch.tensor(WEIGHTS, dtype=torch.float64)}
    if case["loss"] == "hinge":
        ratio = of_pairs(whole - before)
        far_from("hinge", (1 - case["beta"] * (ratio[:, 0] - ratio[:, 1])).detach())
    return preference_loss(case, of_pairs(whole), pairs)


def follow(folder, loss_of):
    policy = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").train()
    adamw, steps, held = optimizer(policy, RATE), [], 0
    for _ in range(STEPS):
        loss, bounded = loss_of(*scores(policy))
        steps.append({"loss": loss.item(), "norm": step(policy, loss, adamw)})
        held += bounded
    with torch.no_grad():
        return {"steps": steps, "after": scores(policy)[0].tolist()}, held


def run(name, seed):
    generator = torch.Generator().manual_seed(seed)
    folder = Path(__file__).parent / "transformer" / name
    start = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager")
    with torch.no_grad():
        old = scores(start)[0]

    def near(scale):
        return (old + torch.randn(old.shape, generator=generator, dtype=torch.float64) * scale).round(decimals=4)

    values = torch.randn(old.shape, generator=generator, dtype=torch.float64).mul(0.5).round(decimals=4)
    data = {"old": old, "reference": near(0.3), "drawn": near(0.2), "values": values}
    data["d"] = old - data["reference"]
    golden = {key: data[key].tolist() for key in ("reference", "drawn", "values")}
    golden["policies"], golden["rated"] = {}, []
    for case in CASES:
        own = data | {"advantages": advantages(case, data), "weights": shares(case)}
        if case == "grpo_dual":
            own["old"] = data["drawn"]
        found, held = follow(folder, lambda logp, entropy: policy_loss(case, own, logp, entropy))
        assert case in PLAIN or held, f"{case}: no bound is at work"
        golden["policies"][case] = found
        print(name, case, held, [round(one["loss"], 4) for one in found["steps"]])
    for case in [*PREFERENCES, KTO]:
        found, _ = follow(folder, lambda logp, _: (rated_loss(case, data, logp), 0))
        golden["rated"].append(case | found)
        print(name, case["loss"], [round(one["loss"], 4) for one in found["steps"]])
    return golden


def main():
    torch.set_num_threads(1)
    golden = {"rate": RATE, "group": GROUP, "longest": LONGEST, "prompts": PROMPTS, "completions": COMPLETIONS,
              "rewards": REWARDS, "greedy": GREEDY, "labels": LABELS, "others": OTHERS, "weights": WEIGHTS}
    golden |= {name: run(name, seed) for seed, name in enumerate(["gpt2", "llama"], start=3)}
    write(golden, __file__)


if __name__ == "__main__":
    main()
