#!/usr/bin/env python3
"""The benchmark behind `./run bench`: limit lines, the bare loop and riffle, interleaved in one run.

Every figure comes from two processes on loopback. The unit is CPU seconds per GB (or microseconds per operation) of
both processes together, user and system, as the kernel reports it when each has ended (wait4), from start to end.
A round runs every line of every case once; every other round runs them in reverse order. Ratios to the bare loop are
taken within a round; the table shows the median and, in brackets, the smallest and the largest. `bare-again` is the
bare loop a second time: what it differs by is the noise, and no smaller difference may be claimed.

Lines: udp and udp-aead (limit lines: GSO and GRO alone, then with AES-128-GCM; in rps-1, udp is a ping-pong), bare
and bare-again (a bare loop over quiche), riffle (handlers on the loop), riffle-callers (application threads: one with
blocking calls in bulk, four in rps).
All QUIC lines: AES-128-GCM, X25519MLKEM768, CUBIC, payloads of at most 1,452 bytes, stream windows of 1 MiB.
"""
import argparse
import json
import os
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINES = ["udp", "udp-aead", "bare", "bare-again", "riffle", "riffle-callers"]
START_TIMEOUT = 10  # seconds for a server to listen
STOP_TIMEOUT = 15  # seconds for a server to end after SIGTERM


class BenchError(Exception):
    """A run that did not go as it must; the text says what and why."""


@dataclass(frozen=True)
class Case:
    name: str
    kind: str  # "bulk" or "ops"
    client: list[str]  # of the QUIC programs
    lines: dict[str, list[str]]  # line -> further arguments of its client


@dataclass
class Run:
    """One line of one case in one round."""

    bytes: int
    operations: int
    seconds: float
    cpu_client: float
    cpu_server: float
    client: dict
    server: dict
    receive_buffer_errors: int

    @property
    def cpu(self) -> float:
        return self.cpu_client + self.cpu_server


@dataclass
class Series:
    runs: list[Run] = field(default_factory=list)


def cases(args: argparse.Namespace) -> list[Case]:
    bulk = {"bare": [], "riffle": [], "riffle-callers": ["--callers", "1"]}
    limits = {"udp": ["--mode", "udp"], "udp-aead": ["--mode", "udp-aead"]}
    size, secs = str(args.bytes), str(args.secs)
    found = []
    for mode in ("download", "upload"):
        for streams in (1, 16):
            lines = dict(bulk)
            if mode == "download" and streams == 1:
                lines = {**limits, "bare": [], "bare-again": [], "riffle": [], "riffle-callers": ["--callers", "1"]}
            client = ["--mode", mode, "--bytes", size, "--streams", str(streams)]
            found.append(Case(f"{mode}-{streams}", "bulk", client, lines))
    requests = ["--mode", "rps", "--req-bytes", "512", "--resp-bytes", "512", "--secs", secs, "--concurrency"]
    found.append(Case("rps-64", "ops", [*requests, "64"],
                      {"bare": [], "bare-again": [], "riffle": [], "riffle-callers": ["--callers", "4"]}))
    found.append(Case("rps-1", "ops", [*requests, "1"],
                      {"udp": ["--mode", "pingpong", "--secs", secs], "bare": [], "riffle": []}))
    found.append(Case("hps-16", "ops", ["--mode", "hps", "--secs", secs, "--concurrency", "16"],
                      {"bare": [], "riffle": []}))
    wanted_lines = args.only.split(",") if args.only else LINES
    wanted_cases = args.cases.split(",") if args.cases else [case.name for case in found]
    for name, known in [(n, LINES) for n in wanted_lines] + [(n, [c.name for c in found]) for n in wanted_cases]:
        if name not in known:
            raise BenchError(f"{name} is not known here; there are: {', '.join(known)}")
    return [Case(c.name, c.kind, c.client, {n: a for n, a in c.lines.items() if n in wanted_lines})
            for c in found if c.name in wanted_cases]


def programs(args: argparse.Namespace, wanted: set[str]) -> dict[str, list[str]]:
    """The command of each line; a program that is missing is an error."""
    found = {"udp": [args.limit], "bare": [args.bare], "riffle": [args.riffle, "bench"]}
    commands = {"udp": found["udp"], "udp-aead": found["udp"], "bare": found["bare"], "bare-again": found["bare"],
                "riffle": found["riffle"], "riffle-callers": found["riffle"]}
    missing = sorted({commands[line][0] for line in wanted if not os.access(commands[line][0], os.X_OK)})
    if missing:
        raise BenchError("not built: " + ", ".join(missing) + "\nBuild all of them with `./run build release` and the "
                         "target bench_programs, or choose the lines that you want with --only.")
    return commands


def receive_buffer_errors() -> int:
    """RcvbufErrors of the whole network namespace."""
    rows = [line.split() for line in Path("/proc/net/snmp").read_text().splitlines() if line.startswith("Udp:")]
    return int(dict(zip(rows[0][1:], rows[1][1:]))["RcvbufErrors"])


def stolen_share(before: list[int], after: list[int]) -> float:
    spent = [b - a for a, b in zip(before, after)]
    return 100.0 * spent[7] / max(1, sum(spent[:8]))


def cpu_ticks() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


def cpu_of(usage) -> float:
    return usage.ru_utime + usage.ru_stime


class Process:
    """A child whose output goes to files and whose CPU time comes from wait4."""

    def __init__(self, command: list[str]):
        self.command = command
        self.errors = tempfile.TemporaryFile()
        self.child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors, stdin=subprocess.DEVNULL)

    def fail(self, what: str) -> BenchError:
        self.errors.seek(0)
        said = self.errors.read().decode(errors="replace").strip()
        return BenchError(f"{' '.join(self.command)}: {what}" + (f"\n{said}" if said else ""))

    def first_line(self, timeout: float) -> str:
        ready, _, _ = select.select([self.child.stdout], [], [], timeout)
        line = self.child.stdout.readline().decode() if ready else ""
        if not line:
            raise self.fail(f"printed nothing within {timeout} s")
        return line.strip()

    def end(self, timeout: float):
        """Waits for the end and returns what was printed and the resource usage."""
        watch = os.pidfd_open(self.child.pid)
        try:
            chunks, deadline = [], time.monotonic() + timeout
            while True:
                left = max(0.0, deadline - time.monotonic())
                ready, _, _ = select.select([self.child.stdout], [], [], left)
                chunk = os.read(self.child.stdout.fileno(), 65536) if ready else b""
                if not chunk:
                    break
                chunks.append(chunk)
            left = max(0.0, deadline - time.monotonic())
            if not select.select([watch], [], [], left)[0]:
                raise self.fail(f"had not ended after {timeout} s")
        finally:
            os.close(watch)
        _, status, usage = os.wait4(self.child.pid, 0)
        self.child.returncode = os.waitstatus_to_exitcode(status)
        if self.child.returncode != 0:
            raise self.fail(f"ended with {self.child.returncode}")
        return b"".join(chunks).decode(), usage

    def kill(self):
        if self.child.returncode is None:
            self.child.kill()
            self.child.wait()


def last_object(text: str) -> dict:
    """The last line that is a JSON object; a server need not print one."""
    objects = [line for line in text.splitlines() if line.startswith("{")]
    return json.loads(objects[-1]) if objects else {}


def run_once(command: list[str], client_arguments: list[str], timeout: float) -> Run:
    errors_before = receive_buffer_errors()
    # riffle's server prints its counters only when asked for JSON; the bare loop and the limits always do.
    asked = ["--json"] if command[-1] == "bench" else []
    server = Process([*command, "server", "--listen", "127.0.0.1:0", *asked])
    client = None
    try:
        words = server.first_line(START_TIMEOUT).split()
        if len(words) != 2 or words[0] != "listening":
            raise server.fail(f"its first line is {' '.join(words)!r}, not `listening ADDR:PORT`")
        client = Process([*command, "client", "--connect", words[1], *client_arguments, "--json"])
        printed, client_usage = client.end(timeout)
        figures = last_object(printed)
        if not figures:
            raise client.fail("printed no JSON object")
        os.kill(server.child.pid, signal.SIGTERM)
        printed, server_usage = server.end(STOP_TIMEOUT)
    finally:
        server.kill()
        if client:
            client.kill()
    seconds = figures["seconds"]
    rate = figures.get("per_second")
    return Run(
        bytes=figures["bytes"],
        operations=round(figures.get("operations") or (rate * seconds if rate else 0)),
        seconds=seconds,
        cpu_client=cpu_of(client_usage),
        cpu_server=cpu_of(server_usage),
        client=figures,
        server=last_object(printed),
        receive_buffer_errors=receive_buffer_errors() - errors_before,
    )


def cost(case: Case, run: Run) -> float:
    """CPU of both ends: seconds per GB, or microseconds per operation."""
    return run.cpu / (run.bytes * 1e-9) if case.kind == "bulk" else run.cpu * 1e6 / run.operations


def rate(case: Case, run: Run) -> float:
    return run.bytes * 8e-9 / run.seconds if case.kind == "bulk" else run.operations / run.seconds


def per_call(run: Run) -> tuple[float | None, float | None]:
    """Datagrams a system call where the data is sent and where it is received."""
    sender, receiver = run.server, run.client
    if (run.client.get("datagrams_sent") or 0) > (run.client.get("datagrams_received") or 0):
        sender, receiver = run.client, run.server

    def ratio(side: dict, count: str, calls: str) -> float | None:
        return side[count] / side[calls] if side.get(calls) and side.get(count) else None

    return ratio(sender, "datagrams_sent", "udp_send_calls"), ratio(receiver, "datagrams_received", "udp_receive_calls")


def spread(values: list[float], digits: int) -> str:
    if not values:
        return "-"
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def median_of(values) -> float | None:
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def summarize(case: Case, results: dict[str, Series]) -> dict[str, dict]:
    """The figures of each line of a case."""
    base = results.get("bare", Series()).runs
    summary = {}
    for line, series in results.items():
        costs, rates = ([f(case, run) for run in series.runs] for f in (cost, rate))
        calls = [per_call(run) for run in series.runs]
        summary[line] = {
            "cpu": costs,
            "rate": rates,
            "cpu_ratio_to_bare": [cost(case, a) / cost(case, b) for a, b in zip(series.runs, base)],
            "rate_ratio_to_bare": [rate(case, a) / rate(case, b) for a, b in zip(series.runs, base)],
            "datagrams_per_send_call": median_of(c[0] for c in calls),
            "datagrams_per_receive_call": median_of(c[1] for c in calls),
            "p50_us": median_of(run.client.get("p50_us") for run in series.runs),
            "p99_us": median_of(run.client.get("p99_us") for run in series.runs),
            "receive_buffer_errors": sum(run.receive_buffer_errors for run in series.runs),
        }
    return summary


def print_table(case: Case, summary: dict[str, dict]) -> None:
    bulk = case.kind == "bulk"
    head = ["line", "CPU s/GB" if bulk else "CPU us/op", "Gbit/s" if bulk else "per second", "CPU to bare",
            "rate to bare", *([] if bulk else ["p50 us", "p99 us"]), "sent/call", "received/call", "RcvbufErrors"]

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.1f}"

    rows = [head]
    for line, s in summary.items():
        rows.append([line, spread(s["cpu"], 3 if bulk else 2), spread(s["rate"], 2 if bulk else 0),
                     spread(s["cpu_ratio_to_bare"], 3), spread(s["rate_ratio_to_bare"], 3),
                     *([] if bulk else [number(s["p50_us"]), number(s["p99_us"])]),
                     number(s["datagrams_per_send_call"]), number(s["datagrams_per_receive_call"]),
                     str(s["receive_buffer_errors"])])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    print(f"\n{case.name}")
    for row in rows:
        print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())


def verdicts(found: dict[str, dict[str, dict]]) -> list[tuple[str, bool]]:
    """What riffle promises of its handlers on the loop, beside the bare loop of the same run."""
    said = []
    for name, summary in found.items():
        riffle = summary.get("riffle")
        if not riffle or not riffle["cpu_ratio_to_bare"]:
            continue
        if name.startswith(("download", "upload")):
            ratio = statistics.median(riffle["cpu_ratio_to_bare"])
            said.append((f"{name}: {ratio:.3f} of the bare loop's CPU a GB (at most 1.10)", ratio <= 1.10))
            for key, side in (("datagrams_per_send_call", "sent"), ("datagrams_per_receive_call", "received")):
                calls = riffle[key]
                said.append((f"{name}: {calls or 0:.1f} datagrams {side} a call (at least 20)", (calls or 0) >= 20))
        if name == "rps-64":
            ratio = statistics.median(riffle["rate_ratio_to_bare"])
            said.append((f"{name}: {ratio:.3f} of the bare loop's requests a second (at least 0.85)", ratio >= 0.85))
    return said


def measure(args: argparse.Namespace, chosen: list[Case], commands: dict[str, list[str]]):
    results = {case.name: {line: Series() for line in case.lines} for case in chosen}
    dropped = 0
    for number in range(args.rounds):
        steps = [(case, line) for case in chosen for line in case.lines]
        ticks = cpu_ticks()
        runs = []
        for case, line in steps if number % 2 == 0 else reversed(steps):
            shown = f"round {number + 1} of {args.rounds}: {case.name} {line}"
            print(f"\r\033[K{shown}" if sys.stderr.isatty() else shown, end="" if sys.stderr.isatty() else "\n",
                  file=sys.stderr, flush=True)
            own = case.lines[line]
            arguments = [*own, "--bytes", str(args.bytes)] if line.startswith("udp") else [*case.client, *own]
            if line.startswith("riffle"):
                arguments = [*arguments, "--insecure"]  # the server has made its certificate just now
            runs.append((case.name, line, run_once(commands[line], arguments, args.timeout)))
        stolen = stolen_share(ticks, cpu_ticks())
        if args.drop_steal is not None and stolen > args.drop_steal:
            dropped += 1
            continue
        for name, line, run in runs:
            results[name][line].runs.append(run)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return results, dropped


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, help="rounds (default 5; 12 for a claim below 10 %%)")
    parser.add_argument("--bytes", type=int, help="bytes of a bulk run (default 2 GB)")
    parser.add_argument("--secs", type=float, help="seconds of a request or handshake run (default 2)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of small runs: to see that all works")
    parser.add_argument("--only", help=f"lines, separated by commas: {','.join(LINES)}")
    parser.add_argument("--cases", help="cases, separated by commas: download-1, download-16, upload-1, upload-16, "
                        "rps-64, rps-1, hps-16")
    parser.add_argument("--drop-steal", type=float, metavar="PERCENT",
                        help="drop a round in which the host stole more CPU than this (default: none is dropped)")
    parser.add_argument("--gate", action="store_true", help="end with 1 if riffle is not what it promises to be")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every run")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one client (default 120)")
    parser.add_argument("--riffle", default=str(ROOT / "build/release/riffle"))
    parser.add_argument("--bare", default=str(ROOT / "build/cargo/release/riffle-bare"))
    parser.add_argument("--limit", default=str(ROOT / "build/cargo/release/riffle-limit"))
    args = parser.parse_args()
    args.rounds = args.rounds or (2 if args.quick else 5)
    args.bytes = args.bytes or (200_000_000 if args.quick else 2_000_000_000)
    args.secs = args.secs or (0.5 if args.quick else 2)
    return args


def main() -> int:
    args = parse()
    try:
        chosen = cases(args)
        commands = programs(args, {line for case in chosen for line in case.lines})
        results, dropped = measure(args, chosen, commands)
    except BenchError as error:
        print(f"\nbench: {error}", file=sys.stderr)
        return 2
    summaries = {case.name: summarize(case, results[case.name]) for case in chosen}
    print("Two processes on loopback; CPU of both, user and system, from start to end. Median (smallest-largest) of "
          f"{args.rounds - dropped} rounds.")
    rule = "none may be" if args.drop_steal is None else f"those with more than {args.drop_steal} % of CPU stolen are"
    print(f"Rounds dropped: {dropped} ({rule}). RcvbufErrors are summed over the rounds, of the whole machine.")
    for case in chosen:
        print_table(case, summaries[case.name])
    said = verdicts(summaries)
    if said:
        print("\nriffle, handlers on the loop:")
        for text, kept in said:
            print(f"  {'yes' if kept else 'NO '}  {text}")
    if args.json:
        runs = {name: {line: [vars(run) for run in series.runs] for line, series in lines.items()}
                for name, lines in results.items()}
        Path(args.json).write_text(json.dumps(
            {"rounds": args.rounds, "dropped": dropped, "summary": summaries, "runs": runs}, indent=1) + "\n")
    return 1 if args.gate and not all(kept for _, kept in said) else 0


if __name__ == "__main__":
    sys.exit(main())
