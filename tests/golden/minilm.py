"""What transformers says of all-MiniLM-L6-v2, from the folder that Kudos reads: golden minilm.json.

    python minilm.py FOLDER

The vector of a text is the mean over its tokens in the last layer, the marks at both ends among them.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer

PAIRS = [
    ("A man is playing a guitar on the stage.", "Someone performs music with a string instrument."),
    ("The cat sat on the mat.", "A kitten rests upon the rug."),
    ("The cat sat on the mat.", "Interest rates rose again last quarter."),
    ("It is raining.", "It is not raining."),
    ("How do I bake bread at home without an oven?", "Bread can be baked in a covered pan."),
    ("Café Ångström opens at 7:30 (closed on Sundays)!", "cafe angstrom opens at 7:30, closed on sundays"),
    ("yes", "The committee adjourned the hearing, since several of its members had been called away unexpectedly."),
]


def main():
    folder = Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def vector(text):
        # One at a time, so that there is no padding to leave out.
        ids = torch.tensor([tokenizer(text).input_ids])
        with torch.no_grad():
            states = model(ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        return states[0].mean(0)

    cosines = [torch.cosine_similarity(vector(a), vector(b), dim=0).item() for a, b in PAIRS]
    golden = json.dumps({"pairs": PAIRS, "cosines": cosines}, indent=0)
    Path(__file__).with_name("minilm.json").write_text(golden + "\n")


if __name__ == "__main__":
    main()
