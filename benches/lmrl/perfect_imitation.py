"""What a perfect imitation of Wordle's data policy earns if it plays greedily, letter by letter.

The data policy guesses any word with probability 2/3, else one that fits all answers. Of a policy that has learned just that, the likeliest first
letter is taken, then the likeliest second behind it, and so on; or the likeliest word as a whole. An independent program: it shares no code with
the trainer.

Usage: python3 benches/lmrl/perfect_imitation.py WORDS [--games 20000] [--seed 1]
"""

import argparse
import math
import random
from pathlib import Path

GUESSES = 6


def answer(guess, hidden):
    """Green, yellow wherever the hidden word has the letter elsewhere, or black."""
    return [2 if g == h else int(g in hidden) for g, h in zip(guess, hidden)]


def probabilities(words, fitting, share):
    """Of each word, where `share` of the guesses fit and the others are any."""
    chance = {word: (1 - share) / len(words) for word in words}
    for word in fitting:
        chance[word] += share / len(fitting)
    return chance


def by_letter(chance):
    prefix = ""
    for place in range(5):
        letters = {}
        for word, p in chance.items():
            if word.startswith(prefix):
                letters[word[place]] = letters.get(word[place], 0.0) + p
        prefix += max(letters, key=letters.get)
    return prefix


def by_word(chance):
    return max(chance, key=chance.get)


def play(words, choose, share, coins, known):
    fitting, cost = words, 0
    for _ in range(GUESSES):
        state = tuple(fitting)
        if state not in known:
            known[state] = choose(probabilities(words, fitting, share))
        guess, hidden = known[state], coins.choice(fitting)
        if guess == hidden:
            break
        cost -= 1
        seen = answer(guess, hidden)
        fitting = [word for word in fitting if answer(guess, word) == seen]
    return cost


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", type=Path)
    parser.add_argument("--games", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    words = [word for word in arguments.words.read_text().lower().split() if len(word) == 5]
    for name, choose, share in [
        ("all guesses, by letter", by_letter, 1 / 3),
        ("all guesses, by word", by_word, 1 / 3),
        ("guesses that won, by letter", by_letter, 1.0),
    ]:
        coins, known = random.Random(arguments.seed), {}
        earned = [play(words, choose, share, coins, known) for _ in range(arguments.games)]
        mean = sum(earned) / len(earned)
        deviation = math.sqrt(sum((one - mean) ** 2 for one in earned) / (len(earned) - 1))
        print(f"{name}: {mean:.3f} (standard error {deviation / math.sqrt(len(earned)):.3f})", flush=True)


if __name__ == "__main__":
    main()
