"""What the best of k draws earns, from n draws: the mean of the maxima of all sets of k, counted one by one.

Writes best_of.json: lists of rewards, and for each the exact means for k = 1 to n. Fractions throughout,
so that nothing is rounded before the end.
Usage: python best_of.py [FILE]
"""

import itertools
import json
import random
import sys
from fractions import Fraction
from pathlib import Path


def expected(rewards, k):
    maxima = [max(chosen) for chosen in itertools.combinations(rewards, k)]
    return sum(maxima) / Fraction(len(maxima))


def main():
    coins = random.Random(5)
    cases = []
    for n in (1, 2, 3, 5, 8, 12):
        rewards = [Fraction(coins.randrange(-64, 64), 64) for _ in range(n)]
        if n == 8:
            rewards[3] = rewards[6] = max(rewards)
        means = [float(expected(rewards, k)) for k in range(1, n + 1)]
        cases.append({"rewards": [float(reward) for reward in rewards], "expected": means})
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_suffix(".json")
    path.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
