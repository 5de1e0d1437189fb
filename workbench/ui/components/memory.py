"""Keep the program itself out of the collector's way, so that runs of a script end at once.

Streamlit collects garbage in full after every run of a script, and holds up what it still has to
send meanwhile. With the libraries of this app that goes through half a million objects that live
as long as the process: a tenth of a second for each press of a key.
"""

import gc
import sys
import threading

_lock = threading.Lock()
_n_modules = 0


def settle_modules() -> None:
    """Exempt from collection what is in memory now, wherever modules were loaded since last time.

    Call it once a script has run: pages load what they need when they are first opened. Objects
    that are free of cycles are still freed as soon as nothing refers to them.
    """
    global _n_modules
    with _lock:
        if len(sys.modules) == _n_modules:
            return
        _n_modules = len(sys.modules)
        gc.collect()
        gc.freeze()
