"""Does it pay to ask about what the reward models disagree on? Replayed ratings of the VADER ground truth.

    python active.py FOLDER SOURCE ENCODER TRAINER OUT [SEEDS]

A pool of pairs of sentences is there to be asked about. What a person says of a pair is replayed: one of the
twenty ratings of each sentence, drawn anew until they differ. All arms begin with the same random labels; then `random`
asks about pairs drawn uniformly, `scores` about pairs drawn from the tenth whose difference of scores the members of
the ensemble disagree about most, and `answers` from the tenth whose answer would tell most about the members: the entropy
of the mean probability less the mean entropy (Houlsby et al. 2011). After each round a fresh ensemble (`trainer
reward` with active.toml) judges held-out sentences; printed is Pearson's r with their mean ratings over all raters.
"""

import json
import math
import random
import statistics
import subprocess
import sys
from pathlib import Path

import folds

ROUNDS = [50, 100, 200, 400, 800]
SENTENCES = 1000
HELD_OUT = 700
PAIRS = 4000
TENTH = 10
HERE = Path(__file__).parent


def rated(folder, source):
    """Text, mean and all raters' ratings of each sentence."""
    name = folds.FILES[source]
    texts = {}
    for line in next(Path(folder).rglob(name)).read_text(encoding="utf-8-sig", errors="replace").splitlines():
        parts = line.split("\t")
        if len(parts) >= 3:
            texts[parts[0]] = (float(parts[1]), parts[2].strip())
    found = []
    raw = next(Path(folder).rglob(name.replace("GroundTruth", "anonDataRatings")))
    for line in raw.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        parts = line.split("\t")
        if len(parts) >= 4 and parts[0] in texts:
            mean, text = texts[parts[0]]
            found.append((text, mean, json.loads(parts[3])))
    return found


def said(first, second, coins):
    """What one person says of two sentences; None where nobody tells them apart."""
    for _ in range(20):
        a, b = coins.choice(first[2]), coins.choice(second[2])
        if a != b:
            return (first[0], second[0]) if a > b else (second[0], first[0])
    return None


def run(trainer, *args):
    done = subprocess.run([trainer, *map(str, args)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


class Arm:
    def __init__(self, trainer, encoder, out):
        self.trainer, self.encoder, self.out = trainer, encoder, out
        out.mkdir(parents=True, exist_ok=True)

    def judge(self, labels, texts, seed):
        """Each member's score of each text after learning from labels, in nats."""
        rows = [{"prompt": "", "chosen": chosen, "rejected": rejected} for chosen, rejected in labels]
        data, judged = self.out / f"{len(labels)}.jsonl", self.out / "texts.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        judged.write_text("".join(json.dumps({"prompt": "", "completion": text}) + "\n" for text in texts))
        folder = self.out / f"run-{len(labels)}"
        run(self.trainer, "reward", "--config", HERE / "active.toml", "--model", self.encoder, "--dataset", data,
            "--seed", seed, "--output-dir", folder, "--device", "flex")
        lines = run(self.trainer, "judge", "--reward", folder / "model", "--dataset", judged, "--device", "flex")
        rows = [json.loads(line) for line in lines.splitlines()]
        by_line = {int(row["id"].rsplit(":", 1)[1]): row["members"] for row in rows}
        scale = json.loads((folder / "model" / "reward.json").read_text())["scale"]["deviation"]
        return [[scale * score for score in by_line[line + 1]] for line in range(len(texts))]


def information(differences):
    """What an answer would tell about the members, in nats."""
    chances = [1 / (1 + math.exp(-one)) for one in differences]
    entropy = lambda p: -sum(part * math.log(part) for part in (p, 1 - p) if part > 0)
    return entropy(sum(chances) / len(chances)) - sum(map(entropy, chances)) / len(chances)


def replay(arm, chosen_by, sentences, seed):
    coins = random.Random(seed)
    coins.shuffle(sentences)
    pool, held_out = sentences[:SENTENCES], sentences[SENTENCES : SENTENCES + HELD_OUT]
    pairs = []
    while len(pairs) < PAIRS:
        first, second = coins.sample(range(SENTENCES), 2)
        answer = said(pool[first], pool[second], coins)
        if answer:
            pairs.append((first, second, answer))
    # Both arms begin alike and then draw coins of their own.
    left, labels, curve = pairs[ROUNDS[0] :], [answer for _, _, answer in pairs[: ROUNDS[0]]], []
    coins = random.Random(seed + 1000)
    for place, count in enumerate(ROUNDS):
        texts = [text for text, _, _ in held_out] + [text for text, _, _ in pool]
        members = arm.judge(labels, texts, seed)
        means = [sum(row) / len(row) for row in members]
        curve.append(folds.pearson(means[:HELD_OUT], [mean for _, mean, _ in held_out]))
        if place + 1 == len(ROUNDS):
            return curve
        candidates = left
        if chosen_by != "random":
            opinions = members[HELD_OUT:]
            differences = lambda pair: [a - b for a, b in zip(opinions[pair[0]], opinions[pair[1]])]
            worth = {"scores": statistics.pstdev, "answers": information}[chosen_by]
            apart = lambda pair: worth(differences(pair))
            # A tenth, or as many as this round asks about.
            most = max(len(left) // TENTH, ROUNDS[place + 1] - count)
            candidates = sorted(left, key=apart, reverse=True)[:most]
        asked = coins.sample(range(len(candidates)), ROUNDS[place + 1] - count)
        asked = [candidates[one] for one in asked]
        labels = labels + [answer for _, _, answer in asked]
        gone = set(map(id, asked))
        left = [pair for pair in left if id(pair) not in gone]


def main(folder, source, encoder, trainer, out, seeds=3):
    sentences = rated(folder, source)
    print("labels", *ROUNDS, sep="\t", flush=True)
    for seed in range(1, int(seeds) + 1):
        for chosen_by in ("random", "scores", "answers"):
            arm = Arm(trainer, encoder, Path(out) / f"{seed}-{chosen_by}")
            curve = replay(arm, chosen_by, list(sentences), seed)
            print(f"{seed} {chosen_by}", *(f"{r:.4f}" for r in curve), sep="\t", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
