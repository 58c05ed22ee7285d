"""How many CPUs this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path


def cgroup_quota() -> float:
    """CPUs that a cgroup (a container's limit) grants: v2, then v1; inf without one."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        pass
    try:
        granted = int(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us").read_text())
        return math.inf if granted <= 0 else granted / int(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us").read_text())
    except (OSError, ValueError):
        return math.inf


def available_cpus() -> int:
    """CPUs by affinity and cgroup quota; a set ``OMP_NUM_THREADS`` is the user's word, and goes first."""
    asked = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    try:
        cpus = len(os.sched_getaffinity(0))
    except AttributeError:  # macOS, Windows
        cpus = os.cpu_count() or 1
    return max(1, min(cpus, math.ceil(cgroup_quota()) if cgroup_quota() < cpus else cpus))
