"""The PyTorch that `cargo xtask bench` is compared with: a decoder of GPT-2's layout by hand.

Pre-norm, learned positions, tanh GELU, biases, tied head, float32, eager, and no eager way that was
tried is clearly faster: fused attention with is_causal for whole sequences, a fused AdamW, a
preallocated cache in inference mode, logits only where a token is drawn, and a draw that inverts
the cumulated distribution (torch.multinomial draws V exponentials a row; --draw multinomial takes
it). Prints one JSON line. `check` compares cached with uncached logits and the draws with the
distribution they should follow, and times nothing.

Usage: python peer_torch.py train|generate|decode-at|check [--threads N] [--seconds S] [...]
"""

import argparse
import json
import math
import resource
import time

import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, n_heads):
        super().__init__()
        self.n_heads = n_heads
        self.norm_attention, self.norm_feed = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def heads(self, x):
        """Query, key and value, each [B, H, T, D / H]."""
        b, t, _ = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(b, t, 3, self.n_heads, -1)
        return qkv.permute(2, 0, 3, 1, 4).unbind(0)

    def finish(self, x, mixed):
        x = x + self.out(mixed.transpose(1, 2).reshape(x.shape))
        return x + self.down(F.gelu(self.up(self.norm_feed(x)), approximate="tanh"))

    def forward(self, x):
        return self.finish(x, F.scaled_dot_product_attention(*self.heads(x), is_causal=True))


class Decoder(nn.Module):
    def __init__(self, options):
        super().__init__()
        width = options.width
        self.tokens = nn.Embedding(options.vocabulary, width)
        self.positions = nn.Embedding(options.context, width)
        self.blocks = nn.ModuleList(Block(width, options.heads) for _ in range(options.layers))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                closes_residual = name.endswith(("out.weight", "down.weight"))
                scale = math.sqrt(2 * options.layers) if closes_residual else 1
                nn.init.normal_(parameter, std=0.02 / scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def embed(self, ids, start):
        return self.tokens(ids) + self.positions.weight[start : start + ids.shape[1]]

    def head(self, x):
        return F.linear(self.norm(x), self.tokens.weight)

    def forward(self, ids):
        x = self.embed(ids, 0)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Cache:
    """Keys and values of every layer, [B, H, capacity, D / H], allocated once."""

    def __init__(self, model, batch, capacity):
        block, width = model.blocks[0], model.tokens.weight.shape[1]
        shape = (batch, block.n_heads, capacity, width // block.n_heads)
        self.model = model
        self.layers = [(torch.zeros(shape), torch.zeros(shape)) for _ in model.blocks]

    def logits(self, ids, start):
        """Logits after the last of `ids` [B, T], which stand at positions start.. [B, V]"""
        end = start + ids.shape[1]
        x = self.model.embed(ids, start)
        for block, (keys, values) in zip(self.model.blocks, self.layers):
            q, k, v = block.heads(x)
            keys[:, :, start:end], values[:, :, start:end] = k, v
            past = keys[:, :, :end], values[:, :, :end]
            x = block.finish(x, F.scaled_dot_product_attention(q, *past, is_causal=start == 0))
        return self.model.head(x[:, -1])


def draw(logits, options):
    """One token a row, [B, 1], from softmax(logits / temperature), cut to top_k where given."""
    logits = logits / options.temperature if options.temperature != 1 else logits
    if options.top_k:
        logits, kept = torch.topk(logits, options.top_k)
    probabilities = torch.softmax(logits, -1)
    if options.draw == "multinomial":
        index = torch.multinomial(probabilities, 1)
    else:
        cumulated = probabilities.cumsum(-1)
        coins = torch.rand(len(logits), 1) * cumulated[:, -1:]
        index = torch.searchsorted(cumulated, coins, right=True).clamp_(max=logits.shape[-1] - 1)
    return kept.gather(1, index) if options.top_k else index


def generate(cache, prompts, options):
    """[B, prompt + new]; the last token drawn is not run again."""
    prompt = prompts.shape[1]
    sequence = torch.empty(len(prompts), prompt + options.new_tokens, dtype=torch.long)
    sequence[:, :prompt] = prompts
    sequence[:, prompt : prompt + 1] = draw(cache.logits(prompts, 0), options)
    for t in range(prompt, sequence.shape[1] - 1):
        sequence[:, t + 1 : t + 2] = draw(cache.logits(sequence[:, t : t + 1], t), options)
    return sequence


def measure(work, options):
    """Runs `work` for about options.seconds after the warm-up: repeats, wall and CPU seconds."""
    wait = torch.cuda.synchronize if options.device == "cuda" else lambda: None
    for _ in range(options.warmup):
        work()
    wait()
    wall, cpu, repeats = time.perf_counter(), time.process_time(), 0
    while repeats == 0 or time.perf_counter() - wall < options.seconds:
        work()
        wait()
        repeats += 1
    return repeats, time.perf_counter() - wall, time.process_time() - cpu


def rates(tokens, work, options):
    repeats, wall, cpu = measure(work, options)
    return {"tokens_per_second": repeats * tokens / wall,
            "cpu_tokens_per_second": repeats * tokens / cpu, "repeats": repeats}


def bench_train(model, options):
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95),
                                  weight_decay=0.1, fused=True)
    batch = options.batch or 4
    ids = torch.randint(0, options.vocabulary, (batch, options.context + 1))

    def step():
        logits = model(ids[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return {"batch": batch} | rates(batch * options.context, step, options)


def bench_generate(model, options):
    """Tokens drawn, prefill included."""
    batch = options.batch or 64
    prompts = torch.randint(0, options.vocabulary, (batch, options.prompt_tokens))
    cache = Cache(model, batch, options.prompt_tokens + options.new_tokens)
    work = lambda: generate(cache, prompts, options)  # noqa: E731
    kept = {"batch": batch, "top_k": options.top_k, "draw": options.draw}
    return kept | rates(batch * options.new_tokens, work, options)


def bench_decode_at(model, options):
    """Milliseconds of one step of the whole batch with that many positions before it."""
    batch = options.batch or 64
    cache = Cache(model, batch, options.context)
    token = torch.randint(0, options.vocabulary, (batch, 1))
    answer = {"batch": batch, "context": options.context}
    for position in options.positions:
        repeats, wall, cpu = measure(lambda: draw(cache.logits(token, position), options), options)
        answer[f"ms_per_step_at_{position}"] = 1e3 * wall / repeats
        answer[f"cpu_ms_per_step_at_{position}"] = 1e3 * cpu / repeats
    return answer


def check(model, options):
    """Fails when the cache or a draw is wrong."""
    ids = torch.randint(0, options.vocabulary, (3, 20))
    cache = Cache(model, 3, 20)
    found = [cache.logits(ids[:, :8], 0)]
    found += [cache.logits(ids[:, t : t + 1], t) for t in range(8, 20)]
    gap = (torch.stack(found, 1) - model(ids)[:, 7:]).abs().max().item()
    assert gap < 1e-4, f"cached logits differ by {gap}"
    logits = torch.randn(7)
    options.temperature, worst = 0.7, 0.0
    for options.draw in ("cumulated", "multinomial"):
        for options.top_k in (0, 4):
            kept = logits >= logits.topk(options.top_k or 7).values[-1]
            expected = torch.softmax((logits / 0.7).masked_fill(~kept, -torch.inf), -1)
            counts = draw(logits.expand(100_000, 7), options).flatten().bincount(minlength=7)
            worst = max(worst, (counts / 100_000 - expected).abs().max().item())
    assert worst < 0.008, f"frequencies are off by {worst}"
    return {"cached_logits_gap": gap, "frequency_gap": worst}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode", choices=["train", "generate", "decode-at", "check"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=10, help="how long to measure")
    parser.add_argument("--warmup", type=int, default=1, help="repeats before the clock starts")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--context", type=int, help="256; decode-at: 512")
    parser.add_argument("--batch", type=int, help="train: 4; generate and decode-at: 64")
    parser.add_argument("--prompt-tokens", type=int, default=32)
    parser.add_argument("--new-tokens", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-k", type=int, default=0, help="0: all of the vocabulary")
    parser.add_argument("--draw", choices=["cumulated", "multinomial"], default="cumulated")
    parser.add_argument("--positions", type=int, nargs="+", default=[32, 500])
    parser.add_argument("--device", choices=["cpu", "cuda", "auto"], default="cpu",
                        help="auto: cuda where there is one")
    options = parser.parse_args()
    if options.device == "auto":
        options.device = "cuda" if torch.cuda.is_available() else "cpu"
    options.context = options.context or (512 if options.mode == "decode-at" else 256)
    return options


def peak_rss_mib():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    options = parse()
    imported = peak_rss_mib()  # torch itself, before any tensor
    torch.set_num_threads(options.threads)
    torch.set_default_device(options.device)
    torch.manual_seed(0)
    model = Decoder(options)
    if options.mode == "train":
        answer = bench_train(model, options)
    else:
        run = {"generate": bench_generate, "decode-at": bench_decode_at, "check": check}
        with torch.inference_mode():
            answer = run[options.mode](model.eval(), options)
    print(json.dumps({"mode": options.mode} | answer | {
        "peak_rss_mib": peak_rss_mib(), "import_rss_mib": imported,
        "threads": options.threads, "device": options.device, "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters())}))


if __name__ == "__main__":
    main()
