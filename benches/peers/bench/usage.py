"""Processor time, from the kernel's counters."""

import os
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def _fields(pid):
    """The fields of /proc/PID/stat after the name: the state, the parent, and so on."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _seconds_of(pid):
    return sum(map(int, _fields(pid)[11:13])) / TICKS_PER_SECOND


def _postgres_seconds(postmaster):
    """The time of all of PostgreSQL's processes. The postmaster's counters have the ended ones."""
    seconds = sum(map(int, _fields(postmaster)[11:15])) / TICKS_PER_SECOND
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            if int(_fields(entry)[1]) == postmaster:
                seconds += _seconds_of(entry)
        except (FileNotFoundError, ProcessLookupError):
            pass
    return seconds


def _machine_seconds():
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[:8])
    return (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND


@dataclass
class Usage:
    """Processor seconds up to now, or in a span of time."""

    system: float
    postgres: float
    # This program and its children that have ended: the load, and queries.
    load: float
    machine: float

    @staticmethod
    def read(pids, postmaster):
        return Usage(
            system=sum(map(_seconds_of, pids)),
            postgres=_postgres_seconds(postmaster),
            load=sum(os.times()[:4]),
            machine=_machine_seconds(),
        )

    def since(self, before):
        return Usage(
            self.system - before.system,
            self.postgres - before.postgres,
            self.load - before.load,
            self.machine - before.machine,
        )

    def others_share(self, seconds):
        """The share of the machine's processor time that other programs took."""
        others = self.machine - self.system - self.postgres - self.load
        return max(0.0, others / (seconds * os.cpu_count()))
