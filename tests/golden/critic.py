"""Ten updates of PPO with a critic, by plain torch in float64, from the models of transformer/{gpt2,llama}.

Writes critic.json. The critic is transformers' own model for the classification of tokens (one label, dropout off) with the
trunk of the same checkpoint and the head given here. Of each completion's tokens, in order:

    r_t    = -beta (logp_old - logp_reference) + reward at the last token
    delta  = r_t + gamma V_{t+1} - V_t, V = 0 behind the last token;  A_t = delta_t + gamma lam A_{t+1};  R = A + V
    A      is then whitened over all tokens: ddof 0, the variance at least 1e-8
    policy = mean over tokens of max(-A q, -A clamp(q, 1 - 0.2, 1 + 0.2)), q = exp(logp - logp_old)
    value  = 0.5 * mean of max((V - R)^2, (clamp(V, V_old - c, V_old + c) - R)^2)        as TRL's former PPOTrainer has it
    held   = share of the tokens whose second square is the larger one                     verl's vf_clipfrac
    explained variance = 1 - var(R - V_old) / (var(R) + 1e-5), ddof 1                       as verl has it

Each update takes all completions, clips each model's gradient at a global norm of 1 and steps AdamW.
No ratio or value may come so near a bound that float32 could fall on the other side of it.
Usage: python critic.py [FILE]
"""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForTokenClassification
from written import write

STEPS, GAMMA, LAM, BETA, CLIP, VALUE_CLIP = 10, 0.98, 0.9, 0.1, 0.2, 0.4
ADAMW = {"betas": (0.9, 0.95), "eps": 1e-8}
RATES = {"policy": 7e-5, "critic": 2e-4}
DECAY = 0.1
PROMPTS = [[5, 9], [11, 4, 30], [8], [17, 21, 3, 44]]
COMPLETIONS = [[7, 12, 40, 2, 9], [33, 6, 2], [25, 19, 54, 13, 58, 10, 2], [60, 2]]
REWARDS = [1.0, -0.5, 0.25, 2.0]
HERE = Path(__file__).parent


def at_tokens(numbers, prompt, completion):
    """What stands before each token of the completion. [T, ..] -> [N, ..]"""
    return numbers[len(prompt) - 1 : len(prompt) + len(completion) - 1]


def log_probs(policy):
    rows = []
    for prompt, completion in zip(PROMPTS, COMPLETIONS):
        logits = policy(torch.tensor([prompt + completion])).logits[0]
        all_tokens = torch.log_softmax(at_tokens(logits, prompt, completion), -1)
        rows.append(all_tokens.gather(1, torch.tensor(completion)[:, None])[:, 0])
    return torch.cat(rows)


def values(critic):
    rows = []
    for prompt, completion in zip(PROMPTS, COMPLETIONS):
        said = critic(torch.tensor([prompt + completion])).logits[0, :, 0]
        rows.append(at_tokens(said, prompt, completion))
    return torch.cat(rows)


def advantages(old, reference, said):
    """Whitened advantages and returns, each [N]."""
    found, returns, first = [], [], 0
    for completion, reward in zip(COMPLETIONS, REWARDS):
        length = len(completion)
        part = slice(first, first + length)
        rewards = -BETA * (old[part] - reference[part])
        rewards[-1] += reward
        v = torch.cat([said[part], torch.zeros(1, dtype=torch.float64)])
        out, later = [0.0] * length, 0.0
        for t in reversed(range(length)):
            later = rewards[t] + GAMMA * v[t + 1] - v[t] + GAMMA * LAM * later
            out[t] = later
        found.append(torch.stack(out))
        returns.append(found[-1] + v[:-1])
        first += length
    found, returns = torch.cat(found), torch.cat(returns)
    deviation = found.var(correction=0).clamp(min=1e-8).sqrt()
    return (found - found.mean()) / deviation, returns


def optimizer(model, rate):
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": DECAY},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, foreach=False, **ADAMW)


def step(model, loss, adamw):
    adamw.zero_grad()
    loss.backward()
    used = [p for p in model.parameters() if p.grad is not None]
    norm = torch.nn.utils.clip_grad_norm_(used, 1.0)
    adamw.step()
    return norm.item()


def far_from(what, distances):
    """Float32 falls on the same side of every bound."""
    assert distances.abs().min() > 2e-5, f"{what} is too near a bound: {distances.abs().min()}"


def run(name, seed):
    generator = torch.Generator().manual_seed(seed)
    folder = HERE / "transformer" / name
    load = {"dtype": torch.float64, "attn_implementation": "eager"}
    policy = AutoModelForCausalLM.from_pretrained(folder, **load).train()
    critic = AutoModelForTokenClassification.from_pretrained(folder, num_labels=1, **load).eval()
    head = critic.score if hasattr(critic, "score") else critic.classifier
    weight = torch.randn(head.weight.shape, generator=generator, dtype=torch.float64).mul(0.1).round(decimals=4)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.fill_(0.125)
    with torch.no_grad():
        old, said = log_probs(policy), values(critic)
        off = torch.randn(old.shape, generator=generator, dtype=torch.float64).mul(0.3)
        reference = (old + off).round(decimals=4)
        advantage, returns = advantages(old, reference, said)
    explained = 1 - (returns - said).var() / (returns.var() + 1e-5)
    adamw = {"policy": optimizer(policy, RATES["policy"]), "critic": optimizer(critic, RATES["critic"])}
    steps = []
    for _ in range(STEPS):
        ratio = torch.exp(log_probs(policy) - old)
        held = torch.max(-advantage * ratio, -advantage * ratio.clamp(1 - CLIP, 1 + CLIP))
        low, high = (ratio < 1 - CLIP) & (advantage < 0), (ratio > 1 + CLIP) & (advantage > 0)
        far_from("ratio", torch.cat([ratio - 1 + CLIP, ratio - 1 - CLIP]).detach())
        v = values(critic)
        near = torch.clamp(v, said - VALUE_CLIP, said + VALUE_CLIP)
        plain, clipped = (v - returns).square(), (near - returns).square()
        far_from("value", torch.cat([v - said - VALUE_CLIP, v - said + VALUE_CLIP]).detach())
        policy_loss, value_loss = held.mean(), 0.5 * torch.max(plain, clipped).mean()
        steps.append({
            "policy_loss": policy_loss.item(), "value_loss": value_loss.item(),
            "clip_ratio": (low | high).double().mean().item(),
            "value_clip_ratio": (clipped > plain).double().mean().item(),
            "policy_norm": step(policy, policy_loss, adamw["policy"]),
            "value_norm": step(critic, value_loss, adamw["critic"]),
        })
    with torch.no_grad():
        after = {"log_probs": log_probs(policy).tolist(), "values": values(critic).tolist()}
    shares = [(one["clip_ratio"], one["value_clip_ratio"]) for one in steps]
    assert max(one for one, _ in shares) > 0 and max(one for _, one in shares) > 0, "both clips are at work"
    print(name, [round(one["value_loss"], 4) for one in steps], shares)
    return {"head": weight[0].tolist(), "bias": 0.125, "reference": reference.tolist(), "old_values": said.tolist(),
            "advantages": advantage.tolist(), "returns": returns.tolist(), "explained_variance": explained.item(),
            "steps": steps, "after": after, "parameters": {key: list(p.shape) for key, p in critic.named_parameters()}}


def main():
    torch.set_num_threads(1)
    golden = {"gamma": GAMMA, "lam": LAM, "beta": BETA, "clip": CLIP, "value_clip": VALUE_CLIP, "rates": RATES,
              "decay": DECAY, "prompts": PROMPTS, "completions": COMPLETIONS, "rewards": REWARDS}
    golden |= {name: run(name, seed) for seed, name in enumerate(["gpt2", "llama"], start=7)}
    write(golden, __file__)


if __name__ == "__main__":
    main()
