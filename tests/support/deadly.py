"""A task that ends every process which tries it; alone, so that a process imports little for it."""

import os
import signal


def deadly(job):
    os.kill(os.getpid(), signal.SIGKILL)
