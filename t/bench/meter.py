"""What the benches share: processor time and memory of process trees, runs of the source, and the table of results.

Every row stands beside the baseline that was measured in the same run, in turns with it. build/bench/RESULTS.tsv holds
one line a row: bench, row, unit, ours, baseline, ratio, aim, holds. What is measured again replaces its line."""

import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

TOP = os.environ.get("TOP") or os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
BUILD = os.environ.get("BUILD") or os.path.join(TOP, "build")
QUICK = os.environ.get("QUICK", "") not in ("", "0")
REPEATS = int(os.environ.get("REPEATS", "1" if QUICK else "3"))
TICKS = os.sysconf("SC_CLK_TCK")
RESULTS = os.path.join(BUILD, "bench", "RESULTS.tsv")
if not os.environ.get("TMPDIR"):
    tempfile.tempdir = "/var/tmp"       # /tmp may be in memory, where a sync costs nothing
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))     # the blocks end, and with them the servers


def stat_fields(pid):
    """From the parent's pid on (field 4 of proc(5))."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        return f.read().rsplit(")", 1)[1].split()


def tree(root):
    """The pids of a process and all that descend from it."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                parents.setdefault(int(stat_fields(name)[1]), []).append(int(name))
            except OSError:
                pass
    found = [root]
    for pid in found:
        found.extend(parents.get(pid, []))
    return found


def cpu_s(roots):
    """Of the trees, also of processes that ended: their time went to the parent that waited for them."""
    total = 0
    for root in roots:
        for pid in tree(root):
            try:
                total += sum(int(x) for x in stat_fields(pid)[11:15])
            except OSError:
                pass
    return total / TICKS


def status_kib(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(field + ":"))


def sockets(root):
    """How many a process and its children have open."""
    count = 0
    for pid in tree(root):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                count += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
            except OSError:
                pass
    return count


def pss_kib(data, root):
    """Proportional memory of a process and its children, without pages of files below the directory `data`."""
    total = 0
    for pid in tree(root):
        is_ours = False
        with open(f"/proc/{pid}/smaps", encoding="utf-8", errors="replace") as f:
            for line in f:
                if line[0] in "0123456789abcdef":
                    is_ours = data in line
                elif line.startswith("Pss:") and not is_ours:
                    total += int(line.split()[1])
    return total


def source(port, sessions, messages, size, *more, users=20, domain="example.test", seconds=60):
    """One run of the load source; its figures by name, or None when not everything was answered."""
    done = subprocess.run([os.path.join(BUILD, "t", "bench", "source"), "-p", str(port), "-c", str(sessions),
                           "-n", str(messages), "-s", str(size), "-u", str(users), "-d", domain,
                           "-T", str(seconds), *more], capture_output=True, text=True, timeout=seconds + 30)
    if done.returncode != 0:
        print(f"# source: {done.stdout.strip()} {done.stderr.strip()[:300]}", flush=True)
        return None
    return {k: float(v) for k, v in re.findall(r"(\w+)=([\d.]+)", done.stdout)}


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def shown(value):
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


class Sink:
    """t/bench/sink: counts and throws away."""

    def __init__(self, *options):
        self.process = subprocess.Popen([os.path.join(BUILD, "t", "bench", "sink"), *options],
                                        stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline())

    def counts(self):
        self.process.send_signal(signal.SIGUSR1)
        return {k: int(v) for k, v in (pair.split("=") for pair in self.process.stdout.readline().decode().split())}

    def wait(self, what, count, seconds=60):
        """True when that many came, counted from the beginning."""
        deadline = time.monotonic() + seconds
        while self.counts()[what] < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)


class Table:
    """Prints rows as they come and keeps them for RESULTS.tsv. An aim is a pair (text, function of ours and the ratio
    to the baseline); it is never a test."""

    def __init__(self, bench, baseline):
        self.bench, self.rows = bench, []
        print(f"{'':46} {'unit':>10} {'posthouse':>10} {baseline[:22]:>22} {'ratio':>8}  aim", flush=True)

    def row(self, name, unit, ours, baseline=None, aim=None):
        ratio = ours / baseline if ours is not None and baseline else None
        holds = "-"
        if aim and ours is not None:
            try:
                holds = "yes" if aim[1](ours, ratio) else "NO"
            except TypeError:       # no baseline, no ratio
                holds = "-"
        print(f"{name:46} {unit:>10} {shown(ours):>10} {shown(baseline):>22} {shown(ratio):>8}  "
              f"{aim[0] + ': ' + holds if aim else ''}", flush=True)
        self.rows.append([self.bench, name, unit, shown(ours), shown(baseline), shown(ratio),
                          aim[0] if aim else "-", holds])

    def save(self):
        head = ["bench", "row", "unit", "posthouse", "baseline", "ratio", "aim", "holds"]
        old = []
        os.makedirs(os.path.dirname(RESULTS), exist_ok=True)
        if os.path.exists(RESULTS):
            with open(RESULTS, encoding="utf-8") as f:
                old = [line.rstrip("\n").split("\t") for line in f][1:]
        new = {tuple(x[:3]) for x in self.rows}
        with open(RESULTS, "w", encoding="utf-8") as f:
            for line in [head] + [x for x in old if tuple(x[:3]) not in new] + self.rows:
                f.write("\t".join(line) + "\n")
