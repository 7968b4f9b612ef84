"""What a policy must write from fixed coins, by PyTorch and a ChaCha of its own: page_writes.json.

The policy is tests/browser/tiny.kudos. Each case gives a prompt, sampling settings and a seed, and holds
the tokens with both log-probabilities (nats), each from a whole forward pass in float32 without a
cache. The trainer's tests and the tests in a browser read this file.
Usage: python page_writes.py [FILE]
"""

import json
import sys
from pathlib import Path

import torch
from shipped_policy import load

BUNDLE = Path(__file__).parents[1] / "browser" / "tiny.kudos"
MASK = 0xFFFFFFFF

CASES = [
    {"text": "Once upon a time", "seed": 1, "sampling": {"temperature": 1.0, "max_completion_length": 24}},
    {"text": "The sea", "seed": 7, "sampling": {"temperature": 0.7, "top_k": 20, "max_completion_length": 24}},
    {"text": "The sea", "seed": 8, "sampling": {"temperature": 1.3, "top_p": 0.9, "max_completion_length": 24}},
    {"text": "hello", "seed": 9, "sampling": {"temperature": 0.0, "max_completion_length": 12}},
    {
        "messages": [{"role": "system", "content": "dialogue"}, {"role": "user", "content": "how are you? 你好"}],
        "seed": 9007199254740989,
        "sampling": {"temperature": 1.0, "top_k": 50, "top_p": 0.8, "max_completion_length": 24},
    },
]


def quarter(x, a, b, c, d):
    for first, second, target, turn in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x[first] = (x[first] + x[second]) & MASK
        mixed = x[target] ^ x[first]
        x[target] = ((mixed << turn) | (mixed >> (32 - turn))) & MASK


def coins(seed, count):
    """Uniform numbers of completion 0 of step 0: ChaCha with 8 rounds, 24 bits of each word."""
    key = [seed & MASK, seed >> 32, 0, 0, 0, 0, 0, 0]
    drawn = []
    block = 0
    while len(drawn) < count:
        start = [0x61707865, 0x3320646E, 0x79622D32, 0x6B206574, *key, block, 0, 0, 0]
        x = list(start)
        for _ in range(4):
            for rows in ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)):
                quarter(x, *rows)
            for diagonal in ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)):
                quarter(x, *diagonal)
        drawn += [((a + b & MASK) >> 8) / 2**24 for a, b in zip(x, start)]
        block += 1
    return drawn[:count]


def cut(full, sampling):
    """The distribution drawn from: top-k, then the smallest nucleus, each renormalized."""
    kept = full
    if sampling.get("top_k"):
        threshold = kept.topk(sampling["top_k"]).values[-1]
        kept = kept.masked_fill(kept < threshold, -torch.inf).log_softmax(-1)
    if sampling.get("top_p", 1.0) < 1.0:
        order = kept.exp().sort(descending=True)
        reached = int((order.values.cumsum(0) < sampling["top_p"]).sum())
        threshold = kept[order.indices[reached]]
        kept = kept.masked_fill(kept < threshold, -torch.inf).log_softmax(-1)
    return kept


def write(model, prompt, end, case):
    sampling = case["sampling"]
    temperature = sampling["temperature"]
    ids, drawn, full = list(prompt), [], []
    for coin in coins(case["seed"], sampling["max_completion_length"]):
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0, -1]
        soft = (logits / (temperature or 1.0)).log_softmax(-1)
        kept = cut(soft, sampling)
        total = kept.exp().cumsum(0)
        token = int(kept.argmax()) if temperature == 0 else int((total <= coin * total[-1]).sum())
        ids.append(token)
        full.append(float(soft[token]))
        drawn.append(0.0 if temperature == 0 else float(kept[token]))
        if token == end:
            break
    return {"token_ids": ids[len(prompt) :], "logprobs_drawn": drawn, "logprobs_full": full}


def main():
    torch.set_num_threads(1)
    model, tokenizer = load(BUNDLE)
    rows = []
    for case in CASES:
        text = case.get("text")
        if "messages" in case:
            text = tokenizer.apply_chat_template(case["messages"], tokenize=False, add_generation_prompt=True)
        prompt = tokenizer.encode(text, add_special_tokens=False)
        rows.append({**case, "prompt_ids": prompt, **write(model, prompt, tokenizer.eos_token_id, case)})
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".json")
    path.write_text("[\n" + ",\n".join(map(json.dumps, rows)) + "\n]\n")
    print(f"{len(rows)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
