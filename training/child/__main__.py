"""``python -m training.child FOLDER``: train what the folder of a run says."""

import os
import sys
from pathlib import Path

from training.child.events import Events, failure_of
from training.child.parent import end_with_parent


def main(folder: Path) -> int:
    """Train and return the exit code; how it ended is the last event."""
    end_with_parent()
    events = Events(folder / "events.jsonl", speaks=os.environ.get("RANK", "0") == "0")
    try:
        from training.child.train import train

        train(folder, events)
    except Exception as error:  # the edge of the process: the parent tells people
        events.write("failed", **failure_of(error))
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
