"""What transformers says of SmolLM2-135M-Instruct, from the GGUF file that Kudos reads: golden smollm2.json.

    python smollm2.py SmolLM2-135M-Instruct.Q4_1.gguf
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

TEXT = (
    "Once upon a time there was a little girl named Lily. She loved to play outside in the garden with her dog. "
    "One day, she found a big red ball under the tree."
)
PROMPT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\nWrite one short sentence about a dog.<|im_end|>\n<|im_start|>assistant\n"
)


def main():
    path = Path(sys.argv[1])
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    text, prompt = (tokenizer(one, add_special_tokens=False).input_ids for one in (TEXT, PROMPT))
    with torch.no_grad():
        log_probs = model(torch.tensor([text])).logits[0].log_softmax(-1)
        chosen = [log_probs[place, token].item() for place, token in enumerate(text[1:])]
        logits = model(torch.tensor([prompt])).logits[0, -1]
        greedy = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=32)[0, len(prompt) :].tolist()
    top = logits.topk(8)
    golden = {
        "text": TEXT,
        "text_ids": text,
        "text_token_logprobs": chosen,
        "prompt": PROMPT,
        "prompt_ids": prompt,
        "last_top8": [[token, value] for token, value in zip(top.indices.tolist(), top.values.tolist())],
        "greedy_ids": greedy,
        "greedy_text": tokenizer.decode(greedy, skip_special_tokens=True),
    }
    Path(__file__).with_name("smollm2.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
