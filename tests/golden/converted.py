"""converted.json: what transformers makes of the folders that `trainer convert` writes.

The folders come from a test that writes them where KUDOS_WRITE_CONVERTED says:
  KUDOS_WRITE_CONVERTED=/tmp/converted cargo test -p kudos-tests --test all converted
  python tests/golden/converted.py /tmp/converted
The SHA-256 of every file that was read stands beside its logits, so that a converter that writes anything else fails its
test until this was run again.
"""

import argparse
import hashlib
import json
from pathlib import Path

import torch
from load_checkpoint import model_numbers, tokenizer_numbers
from transformers.utils import logging

IDS = [5, 9, 30, 31, 250]
TEXT = "the täxt 12"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path)
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    torch.set_num_threads(1)
    folders = {}
    for folder in sorted(arguments.folders.iterdir()):
        files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(folder.iterdir())}
        numbers = model_numbers(folder, [IDS]) | tokenizer_numbers(folder, TEXT, None)
        logits = [[[round(x, 6) for x in row] for row in rows] for rows in numbers["logits"]]
        folders[folder.name] = {
            "files": files,
            "logits": logits,
            "text_ids": numbers["text_ids"],
            "text_round_trip": numbers["text_round_trip"],
        }
    golden = {"ids": IDS, "text": TEXT, "folders": folders}
    path = Path(__file__).with_name("converted.json")
    path.write_text(json.dumps(golden, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
