"""Runs the simulated building as a child process: ``python -m plugins.simulator``."""

import signal

if __name__ == "__main__":
    # Ctrl-C reaches the whole process group: the kernel decides when its child ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    import sys

    from plugins.simulator.child import main

    sys.exit(main(sys.argv[1:]))
