"""CIDEr-D by its authors' program: cider.json is read by crates/core/tests/cider.rs.

    pip install pycocoevalcap==1.2
    python tests/golden/cider.py

Captions are emoji names and keywords of data/, damaged by seeded coins. The texts are words in small letters, a
space between two, so that what is compared is the metric and not a tokenizer.
"""

import json
import random
import re
from pathlib import Path

from pycocoevalcap.cider.cider_scorer import CiderScorer

HERE = Path(__file__).resolve().parent
N_ITEMS = 60


def words(text):
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def damaged(text, coins):
    """Words dropped, repeated, swapped."""
    kept = [word for word in text.split() if coins.random() > 0.2]
    if kept and coins.random() < 0.5:
        kept.insert(coins.randrange(len(kept) + 1), coins.choice(kept))
    if len(kept) > 1 and coins.random() < 0.3:
        kept[0], kept[-1] = kept[-1], kept[0]
    return " ".join(kept)


def main():
    coins = random.Random(1)
    rows = [json.loads(line) for line in (HERE / "../../data/emoji_captions.jsonl").read_text().splitlines()]
    items = []
    for row in coins.sample(rows, N_ITEMS):
        references = [words(row["caption"]), words(" ".join(row["keywords"])), words(row["subcategory"])]
        references = references[: coins.randint(1, 3)]
        items.append({"text": damaged(coins.choice(references), coins), "references": references})
    items[0]["text"] = ""
    items[1]["text"] = items[1]["references"][0]
    items[2]["text"] = "words that no reference has"
    scorer = CiderScorer(n=4, sigma=6.0)
    for item in items:
        scorer += (item["text"], item["references"])
    _, scores = scorer.compute_score()
    for item, score in zip(items, scores):
        item["score"] = round(float(score), 10)
    (HERE / "cider.json").write_text(json.dumps({"items": items}, indent=0, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
