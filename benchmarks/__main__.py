"""Run the benchmarks: `python -m benchmarks [attention] [training]`; without names, all of them."""

import sys

from benchmarks import attention, training

ALL = {"attention": attention.main, "training": training.main}

if __name__ == "__main__":
    names = sys.argv[1:] or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        sys.exit(f"There is no benchmark {', '.join(unknown)}; there are {', '.join(ALL)}.")
    for name in names:
        ALL[name]()
