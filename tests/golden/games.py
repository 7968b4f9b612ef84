"""What programs earn in Wordle and the maze, exactly, by code that shares nothing with Kudos.

Writes games.json:

- `words`: the COUNT most frequent five-letter words of data/sentences.txt;
- `marks`: guesses with a hidden word and what is revealed;
- `wordle`: for each policy the exact mean of the return, of success and of the length with every EACHth of the
  words (`played`), by recursion over what is known. What is known is kept letter by letter and place by place (here, not here, open), as LMRL-Gym describes it, not as
  marks; the hidden word is uniform among the words that fit;
- `maze`: distances to the goal from every start by value iteration, and the mean return of the shortest way and of
  uniformly random moves within a hundred moves, by powers of the transition matrix.

Usage: python games.py [FILE]
"""

import json
import math
import re
import sys
from collections import Counter, defaultdict
from functools import cache
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
COUNT = 60
EACH = 3
GUESSES = 6


def frequent(text, count):
    counts = Counter(w for w in re.findall(r"[\w'-]+", text) if re.fullmatch("[a-z]{5}", w))
    return sorted(sorted(counts, key=lambda w: (-counts[w], w))[:count])


# What is known: for each letter five of "?" (open), "+" (here) and "-" (not here).
OPEN = tuple("?????" for _ in range(26))


def learn(known, guess, hidden):
    known = list(known)
    for place, letter in enumerate(guess):
        row = known[ord(letter) - 97]
        if hidden[place] == letter:
            row = row[:place] + "+" + row[place + 1 :]
        elif letter in hidden:
            row = row[:place] + "-" + row[place + 1 :]
        else:
            row = "-----"
        known[ord(letter) - 97] = row
    return tuple(known)


def fits(known, word):
    for index, row in enumerate(known):
        letter = chr(97 + index)
        if row == "?????":
            continue
        if row == "-----":
            if letter in word:
                return False
            continue
        if letter not in word:
            return False
        for place, sign in enumerate(row):
            if sign == "+" and word[place] != letter or sign == "-" and word[place] == letter:
                return False
    return True


def marks(guess, hidden):
    rows = learn(OPEN, guess, hidden)
    names = []
    for place, letter in enumerate(guess):
        row = rows[ord(letter) - 97]
        names.append("g" if row[place] == "+" else "b" if row == "-----" else "y")
    return " ".join(names)


class Exact:
    """Mean return, success and length of a policy from here on, by what is known and the guesses left."""

    def __init__(self, words, choices):
        self.words, self.choices, self.memo = words, choices, {}

    def value(self, known, left):
        fit = tuple(w for w in self.words if fits(known, w))
        return self.from_words(fit, known, left)

    def from_words(self, fit, known, left):
        if left == 0:
            return np.zeros(3)
        key = (fit, left)
        if key not in self.memo:
            total = np.zeros(3)
            for guess, share in self.choices(self.words, fit):
                parts = defaultdict(int)
                for hidden in fit:
                    parts[learn(known, guess, hidden), guess == hidden] += 1
                for (after, won), count in parts.items():
                    chance = share * count / len(fit)
                    if won:
                        total += chance * np.array([0.0, 1.0, 1.0])
                    else:
                        total += chance * (np.array([-1.0, 0.0, 1.0]) + self.value(after, left - 1))
            self.memo[key] = total
        return self.memo[key]


def uniform(words, fit):
    return [(w, 1 / len(words)) for w in words]


def consistent(words, fit):
    return [(w, 1 / len(fit)) for w in fit]


def data(words, fit):
    shares = {w: 2 / 3 / len(words) for w in words}
    for w in fit:
        shares[w] += 1 / 3 / len(fit)
    return list(shares.items())


def information_gain(words, fit):
    left = {}
    for guess in fit:
        parts = Counter(marks(guess, hidden) for hidden in fit)
        left[guess] = math.fsum(n / len(fit) * math.log(n) for n in parts.values())
    least = min(left.values())
    best = [w for w in fit if left[w] - least < 1e-12]
    return [(w, 1 / len(best)) for w in best]


PLAN = """
XXXXXXXXXXXXX
X     X     X
XXX XXXXX XXX
XXX XXXXX XXX
XXX XXXXX XXX
XXX       XXX
XXXXXX XXXXXX
XXXXXX XXXXXX
XXXXXX XXXXXX
XXXXXXXXXXXXX
""".strip().split("\n")
GOAL, MOVES = (8, 6), 100


def maze():
    free = [(r, c) for r, row in enumerate(PLAN) for c, sign in enumerate(row) if sign == " "]
    starts = [p for p in free if p != GOAL]
    index = {p: i for i, p in enumerate(starts)}
    step = np.zeros((len(starts), len(starts)))
    for (r, c), i in index.items():
        for dr, dc in [(0, 1), (0, -1), (1, 0), (-1, 0)]:
            there = (r + dr, c + dc) if (r + dr, c + dc) in free else (r, c)
            if there != GOAL:
                step[i, index[there]] += 0.25
    values = {p: 0.0 if p == GOAL else -math.inf for p in free}
    for _ in free:
        for r, c in starts:
            around = [(r, c + 1), (r, c - 1), (r + 1, c), (r - 1, c)]
            values[r, c] = max(
                [0.0 if p == GOAL else -1.0 + values[p] for p in around if p in values]
            )
    # After each move that does not reach the goal another 1 is paid.
    alive = np.ones(len(starts))
    paid, length = 0.0, 0.0
    for _ in range(MOVES):
        length += alive.mean()
        alive = step @ alive
        paid -= alive.mean()
    return {
        "starts": starts,
        "optimum_from": [values[p] for p in starts],
        "optimum": sum(values[p] for p in starts) / len(starts),
        "uniform": [paid, 1.0 - alive.mean(), length],
    }


def main():
    words = frequent((HERE / "../../data/sentences.txt").read_text(), COUNT)
    policies = [uniform, consistent, data, information_gain]
    played = words[::EACH]
    made = {
        "words": words,
        "played": played,
        "marks": [[g, h, marks(g, h)] for g in words[::7] for h in words[::9]],
        "wordle": {p.__name__: list(Exact(played, p).value(OPEN, GUESSES)) for p in policies},
        "maze": maze(),
    }
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "games.json"
    path.write_text(json.dumps(made, indent=1) + "\n")


main()
