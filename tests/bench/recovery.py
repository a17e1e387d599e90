"""How long from a rank's death to the next step, from a command to its first one, and where the time goes.

python -m tests.bench.recovery [--times 5]
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from tests.launch import fault_kinds as kinds
from tests.launch.fault_runs import Recovery, disturbed, prompted


def main() -> None:
    """Kill a rank again and again, once steps were committed; print each recovery, their median and its parts."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=5, help="deaths")
    times = parser.parse_args().times
    with tempfile.TemporaryDirectory() as folder:
        run = prompted(Path(folder, "run"), epochs=4 * times)
        with disturbed(run, "train_teacher") as training:
            print(line_of("from the command to the first step", training.wait_for_recovery(training.began)))
            recoveries = []
            for number in range(times):
                training.wait_for_save()
                recoveries.append(kinds.suffer(training, kinds.RANK_FAULTS[number % 2]))
                print(line_of(f"death {number + 1}", recoveries[-1]), flush=True)
            training.wait_for_exit(0)
    seconds = [each.seconds for each in recoveries]
    print(f"median of {times}: {statistics.median(seconds):.1f} s ({min(seconds):.1f} to {max(seconds):.1f})")
    for name in recoveries[0].parts:
        print(f"    {name}: {statistics.median(each.parts[name] for each in recoveries):.1f} s")


def line_of(name: str, recovery: Recovery) -> str:
    """Put a recovery in a line."""
    parts = ", ".join(f"{part} {seconds:.1f}" for part, seconds in recovery.parts.items())
    return f"{name}: {recovery.seconds:.1f} s ({parts}); {recovery.lost} steps lost"


if __name__ == "__main__":
    main()
