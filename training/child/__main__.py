"""``python -m training.child FOLDER``: train what the folder of a run says."""

import json
import os
import sys
from pathlib import Path

from db.child_process import QUIET, end_with_parent, open_channel, start_time
from training.child.events import Events, failure_of
from training.runs.folder import RunFolder
from training.runs.process import UPLOADS, environment


def main(folder: RunFolder) -> int:
    """Train and return the exit code; how it ended is the last event."""
    open_channel()
    end_with_parent()
    is_first = os.environ.get("RANK", "0") == "0"
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    for name, value in {**QUIET, **environment(folder, local)}.items():
        os.environ.setdefault(name, value)  # a node that joined by hand has no parent to set it
    for name in UPLOADS:
        os.environ.pop(name, None)
    if is_first:
        leader = os.getsid(0)
        record = {"pid": leader, "started": start_time(leader)}
        folder.pid.write_text(json.dumps(record), "utf-8")
    events = Events(speaks=is_first)
    try:
        from training.child.train import train

        train(folder, events)
    except Exception as error:  # the edge of the process: the parent tells people
        events.write("failed", **failure_of(error))
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main(RunFolder(Path(sys.argv[1]))))
