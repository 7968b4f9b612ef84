"""Loads a Hugging Face folder with transformers and prints what it computes, as one JSON object.

The other side of `converted.json`: a folder that Kudos wrote must mean the same in Python.
Keys: logits (one [T, V] list a row of --ids, each row run alone, without padding), parameters
(how many numbers were loaded), text_ids and text_round_trip (with --text), chat_text and
chat_ids (with --messages). A weight that is missing, left over or of another shape is an error:
transformers itself would only warn, and fill in random numbers.

Usage: python load_checkpoint.py FOLDER [--ids FILE] [--text TEXT] [--messages FILE]
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast
from transformers.utils import logging


def load_model(folder):
    model, found = AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    wrong = {kind: sorted(map(str, names)) for kind, names in found.items() if names}
    if wrong:
        sys.exit(f"the weights of {folder} do not fit its config: {json.dumps(wrong)}")
    return model.eval()


def model_numbers(folder, rows):
    model = load_model(folder)
    with torch.no_grad():
        logits = [model(torch.tensor([row])).logits[0].tolist() for row in rows]
    return {"logits": logits, "parameters": sum(p.numel() for p in model.parameters())}


def tokenizer_numbers(folder, text, messages):
    """Ids by AutoTokenizer, which must be those of the bare tokenizer.json."""
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    bare = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    answer = {}
    if text is not None:
        ids = tokenizer.encode(text, add_special_tokens=False)
        alone = bare.encode(text, add_special_tokens=False)
        if ids != alone:
            sys.exit(f"AutoTokenizer gives {ids}, tokenizer.json by itself {alone}")
        answer |= {"text_ids": ids, "text_round_trip": tokenizer.decode(ids)}
    if messages is not None:
        chat = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        answer |= {"chat_text": chat, "chat_ids": tokenizer.encode(chat, add_special_tokens=False)}
    return answer


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ids", type=Path, help="JSON file: a list of rows of token ids")
    parser.add_argument("--text", help="text to turn into token ids")
    parser.add_argument("--messages", type=Path, help="JSON file: a list of {role, content}")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    answer = {}
    if arguments.ids:
        answer |= model_numbers(arguments.folder, json.loads(arguments.ids.read_text()))
    if arguments.text is not None or arguments.messages:
        messages = json.loads(arguments.messages.read_text()) if arguments.messages else None
        answer |= tokenizer_numbers(arguments.folder, arguments.text, messages)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
