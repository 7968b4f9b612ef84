"""What transformers makes of the policy that ships, a folder that Kudos wrote: shipped_policy.json.

For a few requests: the text of the chat template, its token ids and those of an answer, the logits
after the last prompt token, the log-probability of each answer token (nats), and 24 greedy tokens.
Everything in float32 on one thread, each request alone, so without padding.
Usage: python shipped_policy.py [FILE]
"""

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from load_checkpoint import load_model
from transformers import AutoTokenizer

BUNDLE = Path(__file__).parents[2] / "policies" / "base.kudos"

REQUESTS = [
    ("triples", "Paris: the capital and largest city of France", "Paris | part_of | France"),
    ("triples", "Rhône: a river — 813 km long — of France", "Rhône | instance_of | river"),
    ("dialogue", "hello, how are you?", "i'm fine, thanks"),
    ("summary", "Returns the number of bytes that were read so far.", "Bytes read."),
]


def unpack(bundle, folder):
    """The parts of a bundle as files: the manifest after 16 bytes says where they lie."""
    data = bundle.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    for part in json.loads(data[16 : 16 + length])["parts"]:
        content = data[part["offset"] : part["offset"] + part["bytes"]]
        (folder / part["name"]).write_bytes(content)


def load(bundle):
    with TemporaryDirectory() as folder:
        unpack(bundle, Path(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        return load_model(Path(folder)), tokenizer


def solve(model, tokenizer, task, request, answer):
    messages = [{"role": "system", "content": task}, {"role": "user", "content": request}]
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    prompt = tokenizer.encode(text, add_special_tokens=False)
    completion = tokenizer.encode(answer, add_special_tokens=False) + [tokenizer.eos_token_id]
    with torch.no_grad():
        logits = model(torch.tensor([prompt + completion])).logits[0]
        greedy = model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)
    # The logits before each answer token, the last prompt position first.
    before = logits[len(prompt) - 1 : -1]
    chosen = before.log_softmax(-1).gather(1, torch.tensor(completion).unsqueeze(1)).squeeze(1)
    return {
        "task": task,
        "request": request,
        "answer": answer,
        "text": text,
        "prompt": prompt,
        "completion": completion,
        "logits": [round(value, 6) for value in before[0].tolist()],
        "log_probs": chosen.tolist(),
        "greedy": greedy[0, len(prompt) :].tolist(),
    }


def main():
    torch.set_num_threads(1)
    model, tokenizer = load(BUNDLE)
    solved = [solve(model, tokenizer, *request) for request in REQUESTS]
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".json")
    path.write_text("[\n" + ",\n".join(map(json.dumps, solved)) + "\n]\n")
    print(f"{len(solved)} requests, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
