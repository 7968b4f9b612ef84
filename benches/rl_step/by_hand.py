"""The same step as bench.py's, written by hand on plain PyTorch: what an expert writes who wants nothing else.

A GPT-2 of three functions, a key-value cache that is allocated once, one matrix product a projection, log-probabilities of the
completion's tokens alone. Read by bench.py, which runs it in a process of its own.
"""

import json
import math

import torch
import torch.nn.functional as F
from safetensors.torch import load_file


class Gpt2:
    """A GPT-2 from a Hugging Face folder."""

    def __init__(self, folder):
        config = json.loads((folder / "config.json").read_text())
        self.layers, self.heads, self.width = config["n_layer"], config["n_head"], config["n_embd"]
        tensors = load_file(folder / "model.safetensors")
        self.weights = {name.removeprefix("transformer."): tensor.requires_grad_() for name, tensor in tensors.items()}

    def parameters(self):
        return list(self.weights.values())

    def linear(self, name, x):
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return torch.addmm(bias, x.reshape(-1, x.shape[-1]), weight).view(*x.shape[:-1], -1)

    def norm(self, name, x):
        return F.layer_norm(x, (self.width,), self.weights[f"{name}.weight"], self.weights[f"{name}.bias"], 1e-5)

    def hidden(self, ids, cache=None, start=0):
        """`[B, T] -> [B, T, D]`; with a cache, of the T positions from `start` on."""
        batch, time = ids.shape
        x = self.weights["wte.weight"][ids] + self.weights["wpe.weight"][start:start + time]
        for layer in range(self.layers):
            name = f"h.{layer}"
            qkv = self.linear(f"{name}.attn.c_attn", self.norm(f"{name}.ln_1", x))
            q, k, v = (part.view(batch, time, self.heads, -1).transpose(1, 2) for part in qkv.split(self.width, 2))
            if cache is not None:
                keys, values = cache[layer]
                keys[:, :, start:start + time], values[:, :, start:start + time] = k, v
                k, v = keys[:, :, :start + time], values[:, :, :start + time]
            heard = F.scaled_dot_product_attention(q, k, v, is_causal=time > 1)
            x = x + self.linear(f"{name}.attn.c_proj", heard.transpose(1, 2).reshape(batch, time, self.width))
            inner = F.gelu(self.linear(f"{name}.mlp.c_fc", self.norm(f"{name}.ln_2", x)), approximate="tanh")
            x = x + self.linear(f"{name}.mlp.c_proj", inner)
        return self.norm("ln_f", x)

    def logits(self, hidden):
        return hidden @ self.weights["wte.weight"].T

    @torch.no_grad()
    def write(self, prompts, length):
        """`[B, P] -> [B, P + length]`, drawn at temperature 1."""
        batch, prompt = prompts.shape
        shape = (batch, self.heads, prompt + length, self.width // self.heads)
        cache = [(torch.empty(shape), torch.empty(shape)) for _ in range(self.layers)]
        ids, texts = prompts, [prompts]
        for at in range(length):
            hidden = self.hidden(ids, cache, 0 if at == 0 else prompt + at - 1)
            ids = torch.multinomial(self.logits(hidden[:, -1]).softmax(-1), 1)
            texts.append(ids)
        return torch.cat(texts, 1)

    def log_probs(self, texts, prompt):
        """`[B, T] -> [B, T - prompt]`"""
        logits = self.logits(self.hidden(texts[:, :-1])[:, prompt - 1:])
        found = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), texts[:, prompt:].reshape(-1), reduction="none")
        return -found.view(texts.shape[0], -1)


class Run:
    """A policy, its optimizer and the sizes of a step."""

    def __init__(self, folder, sizes, reward):
        self.policy, self.sizes, self.reward = Gpt2(folder), sizes, reward
        self.reference = Gpt2(folder)
        self.optimizer = torch.optim.AdamW(self.policy.parameters(), lr=1e-4, weight_decay=0.0, fused=True)

    def step(self, prompts, tokenizer):
        """Draws, rewards and updates once; prompts of one length, `[P, T]`. Returns the tokens drawn."""
        group, length, micro_batch, beta = self.sizes
        prompt = prompts.shape[1]
        texts = self.policy.write(prompts.repeat_interleave(group, 0), length)
        rewards = torch.tensor(self.reward(tokenizer.batch_decode(texts[:, prompt:]))).view(-1, group)
        advantages = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
        # A text is over at its first end token, whatever was drawn behind it.
        ends = (texts[:, prompt:] == tokenizer.eos_token_id).long()
        mask = (ends.cumsum(1) - ends == 0).float()
        parts = zip(texts.split(micro_batch), advantages.view(-1, 1).split(micro_batch), mask.split(micro_batch))
        for part, advantage, counted in parts:
            found = self.policy.log_probs(part, prompt)
            gain = torch.exp(found - found.detach()) * advantage
            if beta > 0:
                with torch.no_grad():
                    off = self.reference.log_probs(part, prompt)
                gain = gain - beta * (torch.exp(off - found) - (off - found) - 1)
            loss = -(gain * counted).sum() / mask.sum()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        total = int(mask.sum())
        assert math.isfinite(float(loss)) and total > 0
        return total
