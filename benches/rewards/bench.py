"""Text rewards, ours beside sacrebleu's and rouge-score's: completions scored a second, each by itself, on the same texts in one run.

    python bench.py EXAMPLE [COUNT]

EXAMPLE is the program that `cargo build --workspace --exclude collector --example text_rewards` makes. The texts are sentences of data/sentences.txt; a completion is
its reference with every fifth word left out and the first two exchanged, so that all orders of n-grams have something to count. One thread each; the
time is that of scoring alone, and the best of three turns counts. All scores are compared: the run fails where one differs by more than 1e-5.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DATA = Path(__file__).parents[2] / "data/sentences.txt"
TURNS = 3


def texts(count):
    """Completions and their references."""
    lines = [line for line in DATA.read_text(encoding="utf-8").splitlines() if len(line.split()) > 4]
    references = [lines[place % len(lines)] for place in range(count)]

    def altered(text):
        words = [word for place, word in enumerate(text.split()) if place % 5 != 4]
        words[0], words[1] = words[1], words[0]
        return " ".join(words)

    return [altered(text) for text in references], references


def peers():
    """For each reward, what scores one pair."""
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    bleu, chrf = sacrebleu.BLEU(effective_order=True), sacrebleu.CHRF()
    # As our reward `rougeL` does, which computes all of them.
    rouge = RougeScorer(["rouge1", "rouge2", "rougeL", "rougeLsum"], use_stemmer=False)
    return {
        "bleu": lambda one, other: bleu.sentence_score(one, [other]).score / 100,
        "chrf": lambda one, other: chrf.sentence_score(one, [other]).score / 100,
        "rougeL": lambda one, other: rouge.score(other, one)["rougeL"].fmeasure,
    }


def timed(score, pairs):
    """Seconds and scores."""
    begin = time.perf_counter()
    scores = [score(one, other) for one, other in zip(*pairs)]
    return time.perf_counter() - begin, scores


def main():
    example, count = sys.argv[1], int((sys.argv[2:] or [20_000])[0])
    pairs = texts(count)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("completions", "references")]
        for file, lines in zip(files, pairs):
            file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        printed = subprocess.run([example, *files], check=True, capture_output=True, text=True).stdout
    ours = {row["reward"]: row for row in map(json.loads, printed.splitlines())}
    for name, score in peers().items():
        seconds, scores = min((timed(score, pairs) for _ in range(TURNS)), key=lambda turn: turn[0])
        difference = max(abs(one - other) for one, other in zip(scores, ours[name]["scores"], strict=True))
        if difference > 1e-5:
            sys.exit(f"{name}: scores differ by {difference}")
        rates = count / ours[name]["seconds"], count / seconds
        print(f"{name}: {rates[0]:.0f} and {rates[1]:.0f} completions a second, ratio {rates[0] / rates[1]:.1f}, largest difference {difference:.1e}")


if __name__ == "__main__":
    main()
