"""Preference, KTO and reward-model losses with their gradients, by plain torch in float64.

Writes preference.json: sums of log-probabilities under policy and reference, lengths, weights; scores
and verdicts; and for each case the loss and its gradient by the policy's log-probabilities or scores.

    d        = (logp_chosen - ref_chosen) - (logp_rejected - ref_rejected)
    sigmoid  = -(1 - e) logsigmoid(beta d) - e logsigmoid(-beta d)
    hinge    = relu(1 - beta d)
    ipo      = (d' - 1 / (2 beta))^2, d' of log-ratios divided by the number of tokens each (TRL 1.16)
    robust   = (-(1 - e) logsigmoid(beta d) + e logsigmoid(-beta d)) / (1 - 2 e)   (TRL 1.16)
    sigmoid_norm = -logsigmoid(beta d'), d' as for ipo (TRL 1.16)
    apo_zero = 1 - sigmoid(beta (logp_chosen - ref_chosen)) + sigmoid(beta (logp_rejected - ref_rejected))   (TRL 1.16)
    simpo    = -(1 - e) logsigmoid(beta (a - gamma / beta)) - e logsigmoid(-beta (a - gamma / beta)),
               a = mean logp_chosen - mean logp_rejected over tokens (TRL 1.16, CPOTrainer)
    orpo     = -beta logsigmoid(a - (log1p(-exp(mean logp_chosen)) - log1p(-exp(mean logp_rejected))))
               (TRL 1.16, ORPOTrainer) plus rpo at alpha 1
    rpo      = alpha (-sum of w logp_chosen) / (sum of w tokens of the chosen), added to any of these: the mean
               over tokens that TRL's rpo_alpha and its loss "sft" (1.16) take, of weighted pairs
    kto      = w_good (1 - sigmoid(beta (l - z))),  w_bad (1 - sigmoid(beta (z - l))),
               z = max(0, mean(l of others)), not differentiated (TRL 1.16)
    reward   = binary cross-entropy of the share by the difference of scores less the margin, or by the score

Every loss is the weighted mean over pairs, completions or verdicts.
Usage: python preference.py [FILE]
"""

import json
import sys
from pathlib import Path

import torch
from torch.nn import functional as F

torch.manual_seed(11)
PAIRS = 6


def draw(*shape, scale=3.0):
    return (torch.randn(*shape, dtype=torch.float64) * scale).round(decimals=3)


def mean(values, weights):
    return (values * weights).sum() / weights.sum()


def preference_loss(case, policy, data):
    ratio = policy - data["reference"]
    beta, smoothing = case["beta"], case.get("label_smoothing", 0.0)
    if case["loss"] in ("ipo", "sigmoid_norm"):
        ratio = ratio / data["tokens"]
    averages = policy / data["tokens"]
    ahead = averages[:, 0] - averages[:, 1]
    d = ratio[:, 0] - ratio[:, 1]
    if case["loss"] == "sigmoid":
        losses = -(1 - smoothing) * F.logsigmoid(beta * d) - smoothing * F.logsigmoid(-beta * d)
    elif case["loss"] == "hinge":
        losses = torch.relu(1 - beta * d)
    elif case["loss"] == "robust":
        clean, flipped = -(1 - smoothing) * F.logsigmoid(beta * d), -smoothing * F.logsigmoid(-beta * d)
        losses = (clean - flipped) / (1 - 2 * smoothing)
    elif case["loss"] == "sigmoid_norm":
        losses = -F.logsigmoid(beta * d)
    elif case["loss"] == "apo_zero":
        losses = 1 - torch.sigmoid(beta * ratio[:, 0]) + torch.sigmoid(beta * ratio[:, 1])
    elif case["loss"] == "simpo":
        logits = ahead - case["margin"] / beta
        losses = -F.logsigmoid(beta * logits) * (1 - smoothing) - F.logsigmoid(-beta * logits) * smoothing
    elif case["loss"] == "orpo":
        odds = ahead - (torch.log1p(-averages[:, 0].exp()) - torch.log1p(-averages[:, 1].exp()))
        losses = -beta * F.logsigmoid(odds)
    else:
        losses = (d - 1 / (2 * beta)) ** 2
    loss = mean(losses, data["weights"])
    alpha = case.get("rpo_alpha", 0.0) + (1.0 if case["loss"] == "orpo" else 0.0)
    if alpha:
        likelihood = (data["weights"] * policy[:, 0]).sum()
        loss = loss - alpha * likelihood / (data["weights"] * data["tokens"][:, 0]).sum()
    return loss


def preference(case, data):
    policy = data["policy"].clone().requires_grad_()
    loss = preference_loss(case, policy, data)
    loss.backward()
    return {**case, "value": loss.item(), "gradient": policy.grad.flatten().tolist()}


def kto_loss(case, ratio, data):
    z = data["others"].mean().clamp(min=0)
    beta = case["beta"]
    good = case["desirable_weight"] * (1 - torch.sigmoid(beta * (ratio - z)))
    bad = case["undesirable_weight"] * (1 - torch.sigmoid(beta * (z - ratio)))
    return mean(torch.where(data["good"], good, bad), data["weights"])


def kto(case, data):
    ratio = data["log_ratio"].clone().requires_grad_()
    loss = kto_loss(case, ratio, data)
    loss.backward()
    return {**case, "value": loss.item(), "gradient": ratio.grad.tolist()}


def reward(case, data):
    scores = data["scores"].clone().requires_grad_()
    smoothing = case["label_smoothing"]
    losses = []
    for first, second, share in data["verdicts"]:
        logit = scores[first] - scores[second] - case["margin"] * (2 * share - 1) if second >= 0 else scores[first]
        target = torch.tensor(share * (1 - smoothing) + (1 - share) * smoothing, dtype=torch.float64)
        losses.append(F.binary_cross_entropy_with_logits(logit, target))
    loss = mean(torch.stack(losses), data["weights"])
    loss.backward()
    return {**case, "value": loss.item(), "gradient": scores.grad.tolist()}


def plain(data):
    return {key: value.tolist() if torch.is_tensor(value) else value for key, value in data.items()}


def main():
    pairs = {
        "policy": draw(PAIRS, 2) - 20,
        "reference": draw(PAIRS, 2) - 20,
        "tokens": torch.randint(1, 12, (PAIRS, 2)).double(),
        "weights": torch.tensor([1.0, 1.0, 0.5, 2.0, 1.0, 0.0], dtype=torch.float64),
    }
    judged = {
        "log_ratio": draw(PAIRS),
        "good": torch.tensor([True, False, True, True, False, False]),
        "weights": torch.tensor([1.0, 0.5, 1.0, 2.0, 1.0, 1.0], dtype=torch.float64),
    }
    verdicts = {
        "scores": draw(5, scale=1.0),
        # Place, other place or -1 for a grade, share.
        "verdicts": [[0, 1, 1.0], [1, 2, 0.0], [3, 4, 0.5], [0, -1, 0.75], [2, -1, 0.0], [4, 0, 1.0]],
        "weights": torch.tensor([1.0, 1.0, 2.0, 0.5, 1.0, 1.0], dtype=torch.float64),
    }
    preference_cases = [
        {"loss": "sigmoid", "beta": 0.1},
        {"loss": "sigmoid", "beta": 0.5, "label_smoothing": 0.1},
        {"loss": "hinge", "beta": 0.3},
        {"loss": "ipo", "beta": 0.2},
        {"loss": "sigmoid", "beta": 0.1, "rpo_alpha": 1.0},
        {"loss": "hinge", "beta": 0.3, "rpo_alpha": 0.2},
        {"loss": "ipo", "beta": 0.2, "rpo_alpha": 0.5},
        {"loss": "robust", "beta": 0.5, "label_smoothing": 0.2},
        {"loss": "sigmoid_norm", "beta": 2.0},
        {"loss": "simpo", "beta": 2.0, "margin": 0.5},
        {"loss": "simpo", "beta": 2.0, "margin": 1.0, "label_smoothing": 0.1},
        {"loss": "orpo", "beta": 0.1},
        {"loss": "apo_zero", "beta": 0.3},
        {"loss": "apo_zero", "beta": 0.1, "rpo_alpha": 0.5},
    ]
    kto_cases = []
    for others in (draw(PAIRS) + 1, draw(PAIRS) - 4):
        for weights in ((1.0, 1.0), (1.0, 1.5)):
            case = {"beta": 0.2, "desirable_weight": weights[0], "undesirable_weight": weights[1]}
            kto_cases.append(kto({**case, "others": others.tolist()}, {**judged, "others": others}))
    reward_cases = [{"margin": 0.0, "label_smoothing": 0.0}, {"margin": 0.4, "label_smoothing": 0.1}]
    golden = {
        "pairs": plain(pairs),
        "preference": [preference(case, pairs) for case in preference_cases],
        "judged": plain(judged),
        "kto": kto_cases,
        "verdicts": plain(verdicts),
        "reward": [reward(case, verdicts) for case in reward_cases],
    }
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
