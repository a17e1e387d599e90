"""Draw by a hash: numbers that are a function of a key and a seed alone, whatever else is drawn, in any order."""

import numpy as np


def mix(x: np.ndarray) -> np.ndarray:
    """Scramble 64 bits one-to-one, uint64: splitmix64 (Steele, Lea and Flood 2014).

    >>> hex(mix(np.array([0], np.uint64)).item())  # the first number of its generator at seed 0
    '0xe220a8397b1dcdaf'
    """
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def hashes_of(ids: np.ndarray, seed: int) -> np.ndarray:
    """Hash ids, each by itself, with a seed: uint64 [N]."""
    return mix(np.asarray(ids, np.int64).view(np.uint64) ^ mix(np.array([seed], np.uint64)))
