"""Feed the package with what strangers may: ``python tools/fuzz/fuzz.py --seconds 120``.

Mutated models, random valid nets, pictures and the files beside a model, arguments. Each case is drawn by a number and
judged in a child with limits of time and memory. Whatever is neither a result, held against an oracle, nor an error of
the package is a fault. ``--replay 'CLASS#NUMBER'`` judges one case again and tells its story.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support"), str(ROOT / "tools" / "fuzz")]

import numpy as np  # noqa: E402
from children import Case, Child  # noqa: E402
from classes import DRAWS, GROUPS  # noqa: E402
from outcomes import BAD, KINDS, Outcome, outcome_of  # noqa: E402

SEED = 1
Table = dict[str, Counter[str]]


def judge(case: Case, folder: Path, *, seed: int = SEED) -> Outcome:
    """Draw the case and judge it."""
    name, number = case
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), number])
    warnings.simplefilter("ignore")
    return outcome_of(lambda: DRAWS[name](rng, folder))


def cases(group: str, first: int = 0) -> Iterator[Case]:
    """Yield cases of a group, of one class after the other."""
    for number in itertools.count(first):
        yield from ((name, number) for name in GROUPS[group])


class Tally:
    """What became of the cases, by class, and which showed a fault first."""

    def __init__(self) -> None:
        self.counts: Table = defaultdict(Counter)
        self.buckets: dict[tuple[str, str, str], list[tuple[int, str]]] = defaultdict(list)

    def add(self, case: Case, outcome: Outcome) -> None:
        """Count a case."""
        self.counts[case[0]][outcome.kind] += 1
        self.buckets[case[0], outcome.kind, outcome.why].append((case[1], outcome.story))

    @property
    def bad(self) -> int:
        """How many are to be mended."""
        return sum(c[k] for c in self.counts.values() for k in BAD)

    def table(self) -> str:
        """Return the table: a row for each class, and their sums."""
        total: Counter[str] = Counter()
        rows = [f"| class | cases | {' | '.join(KINDS)} |", f"| --- |{' ---: |' * (len(KINDS) + 1)}"]
        for group, names in GROUPS.items():
            inside = sum((self.counts[n] for n in names), Counter[str]())
            total += inside
            rows += [row(n, self.counts[n]) for n in names if self.counts[n]]
            rows += [row(f"**{group}**", inside)] if inside else []
        return "\n".join([*rows, row("**all**", total)])

    def told(self, *, every: bool) -> str:
        """Return the buckets, those to be mended alone unless ``every``, with numbers to replay."""
        kinds = [*BAD, *(k for k in KINDS if k not in BAD)] if every else list(BAD)
        merged: dict[tuple[str, str], list[tuple[str, int, str]]] = defaultdict(list)
        for (name, kind, why), found in self.buckets.items():
            if kind in kinds and (why or kind in BAD):
                merged[kind, why] += [(name, number, story) for number, story in found]
        lines = []
        for (kind, why), found in sorted(merged.items(), key=lambda i: (kinds.index(i[0][0]), -len(i[1]))):
            seeds = ", ".join(f"{name}#{number}" for name, number, _ in found[:4])
            lines.append(f"{kind}: {why} ({len(found)}): {seeds}")
            if kind in BAD:
                lines.append("    " + found[0][2].strip().replace("\n", "\n    "))
        return "\n".join(lines)


def row(name: str, counts: Counter[str]) -> str:
    return f"| {name} | {sum(counts.values())} | {' | '.join(str(counts[k]) for k in KINDS)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="shared by the groups")
    parser.add_argument("--cases", type=int, help="of each group, instead of a time")
    parser.add_argument("--first", type=int, default=0, help="the number of the first case of each class")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=[g for g in GROUPS if g != "anything"])
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--every", action="store_true", help="list the buckets of refusals, too")
    parser.add_argument("--replay", metavar="CLASS#NUMBER", help="judge one case here and tell its story")
    given = parser.parse_args()
    if given.replay:
        return replayed(given.replay, given.seed)
    tally = Tally()
    with Child(lambda case, folder: judge(case, folder, seed=given.seed)) as child:
        for group in given.groups:
            end = time.monotonic() + given.seconds / len(given.groups)
            for count, case in enumerate(cases(group, given.first)):
                if count >= given.cases if given.cases else time.monotonic() > end:
                    break
                outcome = child.run(case)
                tally.add(case, outcome)
                if outcome.kind in BAD:
                    print(f"{outcome.kind}: {case[0]}#{case[1]}: {outcome.why}", file=sys.stderr, flush=True)
    print(tally.table())
    print(f"seed {given.seed}")
    print(tally.told(every=given.every))
    return int(tally.bad > 0)


def replayed(text: str, seed: int) -> int:
    name, _, number = text.rpartition("#")
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    outcome = judge((name, int(number)), folder, seed=seed)
    print(f"{outcome.kind}: {outcome.why}\n{outcome.story}\n{folder}")
    return int(outcome.kind in BAD)


if __name__ == "__main__":
    sys.exit(main())
