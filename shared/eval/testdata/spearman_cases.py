"""Draws 10,000 pairs of samples and writes SciPy's rank correlations of them.

    spearman_cases.py OUT.gz [SEED]

OUT is a gzipped row of float64, little-endian. The samples are not stored:
the Go test draws them again with the same generator, number for number, so
everything here is splitmix64 and exact arithmetic.
"""
import gzip
import math
import struct
import sys
import warnings

import numpy
import scipy
from scipy.stats import spearmanr

CASES = 10_000
MASK = (1 << 64) - 1


class SplitMix:
    """Steele, Lea, Flood 2014: Fast splittable pseudorandom number generators."""

    def __init__(self, seed):
        self.state = seed & MASK

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, n):
        return self.next() % n

    def unit(self):
        """A multiple of 2^-53 in [0, 1)."""
        return (self.next() >> 11) * 2.0**-53


SPECIAL = [math.inf, -math.inf, 0.0, -0.0, 5e-324, -5e-324, 1.7976931348623157e308, 1.0]


def value(rng, kind, steps):
    match kind:
        case 0:  # all different
            return rng.unit()
        case 1:  # ties, as labels have them
            return rng.below(steps) / 20
        case 2:  # constant
            return steps / 20
        case 3:  # infinities, zeros of both signs, the least and the largest numbers
            return SPECIAL[rng.below(len(SPECIAL))]
        case 4:  # huge, of both signs
            return (rng.unit() - 0.5) * 1e308
        case 5:  # subnormal: few bits are left, so ties
            return (rng.unit() - 0.5) * 2.0**-1060
        case 6:  # neighbouring floats
            return 1 + rng.below(steps) * 2.0**-52
        case 7:  # all magnitudes
            return math.ldexp(rng.unit() - 0.5, rng.below(2000) - 1000)
    raise ValueError(kind)


def case(rng):
    """Two samples of 0 to 60 values."""
    n = rng.below(61)
    kinds = [rng.below(8), rng.below(8)]
    steps = [1 + rng.below(21), 1 + rng.below(21)]
    x = [value(rng, kinds[0], steps[0]) for _ in range(n)]
    y = [value(rng, kinds[1], steps[1]) for _ in range(n)]
    match rng.below(8):
        case 0:  # the same order, and ties where x has them
            y = list(x)
        case 1:
            y = [-v for v in x]
        case 2:  # the same but for a few
            y = [w if rng.below(5) == 0 else v for v, w in zip(x, y)]
        case 3 if n > 0 and rng.below(4) == 0:
            (x if rng.below(2) == 0 else y)[rng.below(n)] = math.nan
    return x, y


def main():
    out, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    rng = SplitMix(seed)
    answers = []
    with warnings.catch_warnings(), numpy.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of constant input
        for _ in range(CASES):
            x, y = case(rng)
            answers.append(float(spearmanr(x, y, nan_policy="propagate").statistic))
    with open(out, "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as z:
        z.write(struct.pack(f"<{CASES}d", *answers))
    undefined = sum(map(math.isnan, answers))
    print(f"scipy {scipy.__version__}, numpy {numpy.__version__}, seed {seed}: {CASES} cases, {undefined} undefined")


if __name__ == "__main__":
    main()
