#!/usr/bin/env python3
"""The house rules that a machine can check: `make lint` (TIDY=all|changed|no).

layers     an include never climbs; see LAYERS and EXCEPTIONS below
cycles     no two folders of src/ reach each other by includes
foreign    libuv, hiredis, RocksDB, xxHash, sockets and threads only where they belong
words      no file over 1000 lines, no bare to-do mark, no path into somebody's home
headers    every header compiles alone, twice in a row; results are cached by content
tidy       clang-tidy 14 with .clang-tidy over all or the changed sources; cached as well

Each finding is a line `file:line: what is wrong`; the last line is `N passed, N failed`, counting
files per rule.
"""

import argparse
import concurrent.futures
import functools
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache" / "lint"

# A room may include itself, every room of a lower layer, and what BESIDE grants it in its own.
LAYERS = [
    ["base"],
    ["record", "ring", "resp", "config", "metrics"],
    ["types", "persist", "wire", "net", "rdb"],
    ["shard"],
    ["membership", "hints", "sync", "coordination"],
    ["commands"],
    ["script", "acl"],
    ["server"],
    ["tools"],
]
BESIDE = {"sync": {"membership", "hints"}, "coordination": {"membership", "hints", "sync"}}
# Tools stand beside the server, not on it: they speak RESP as any client does.
ONLY = {"tools": {"base", "resp", "net"}}

# The one table of exceptions. Key: a file of src/, or a room followed by '/'. Value: what it may
# include although the rules say no (a room followed by '/', or a foreign header), and the reason.
EXCEPTIONS = {
    "tools/conf.cc": (["config/"], "it prints the table of options"),
    "config/config.h": (["mutex", "shared_mutex"], "CONFIG SET of a text while other threads read it"),
    "ring/node_info.cc": (["arpa/inet.h"], "inet_pton checks an address; nothing is connected"),
    "tools/sim.cc": (
        ["config/", "record/", "ring/", "metrics/", "types/", "persist/", "wire/", "shard/",
         "membership/", "hints/", "sync/", "coordination/", "commands/", "acl/", "server/"],
        "the simulator runs whole nodes in one process",
    ),
    "tools/sim/": (
        ["config/", "record/", "ring/", "metrics/", "types/", "persist/", "wire/", "shard/",
         "membership/", "hints/", "sync/", "coordination/", "commands/", "acl/", "server/"],
        "the simulator runs whole nodes in one process",
    ),
}

# Foreign headers and the places that may include them: rooms of src/ or single files.
FOREIGN = [
    (r"uv\.h|uv/.*", ["net/"]),
    (r"hiredis/.*", ["net/", "tools/"]),
    (r"rocksdb/.*", ["persist/"]),
    (r"xxhash\.h", ["base/hash.cc"]),
    (r"liblzf/.*", ["rdb/"]),
    (r"lua5\.1/.*", ["script/"]),
    (r"jemalloc/.*", ["base/", "metrics/", "server/"]),
    (r"sys/socket\.h|netinet/.*|arpa/.*|netdb\.h|poll\.h|sys/epoll\.h", ["net/", "server/", "tools/"]),
    (r"thread|mutex|condition_variable|shared_mutex|pthread\.h", ["base/", "net/", "persist/", "server/", "tools/"]),
]
LINES_MAX = 1000
LINES_TEXT = {".cc", ".h", ".def", ".py", ".sh", ".tcl", ".js"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
MARK = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b(?!\(#\d+\))")
HOME = re.compile(r"(?<![\w.$}])/(?:ho" + r"me/\w|ro" + r"ot/|Us" + r"ers/\w)")


class Report:
    def __init__(self):
        self.passed = 0
        self.failed = 0

    def rule(self, name, looked_at, findings, note=""):
        """findings: list of (file, line or 0, text). A file with any finding failed this rule."""
        for path, line, text in findings:
            print(f"{path}:{line}: {text}" if line else f"{path}: {text}")
        bad = len({path for path, _, _ in findings})
        good = max(0, looked_at - bad)
        self.passed += good
        self.failed += bad
        print(f"lint {name}: {good} files pass, {bad} fail{note}", flush=True)


@functools.lru_cache(maxsize=None)
def text_of(path):
    return path.read_text(encoding="utf-8", errors="replace")


@functools.lru_cache(maxsize=None)
def includes_of(path):
    """[(line number, is quoted, header)] of one file."""
    found = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        m = INCLUDE.match(line)
        if m:
            found.append((number, m.group(1) == '"', m.group(2)))
    return found


def resolve(path, header):
    """The file of this repository that `header` means in `path`, or None."""
    for folder in (ROOT / "src", path.parent):
        candidate = folder / header
        if candidate.is_file():
            return candidate.resolve()
    return None


def closure_key(path, flags):
    """Hash of what decides how `path` compiles: the flags, its text and all own headers below it."""
    seen, queue = {}, [path]
    while queue:
        at = queue.pop()
        if at in seen:
            continue
        seen[at] = hashlib.sha256(text_of(at).encode()).hexdigest()
        for _, _, header in includes_of(at):
            below = resolve(at, header)
            if below:
                queue.append(below)
    lines = [flags] + [f"{p.relative_to(ROOT)} {h}" for p, h in sorted(seen.items())]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class Cache:
    """Keys of what passed. Failures are never remembered."""

    def __init__(self, name):
        self.path = CACHE / f"{name}.json"
        try:
            self.old = set(json.loads(self.path.read_text()))
        except (OSError, ValueError):
            self.old = set()
        self.used = set()

    def has(self, key):
        if key in self.old:
            self.used.add(key)
        return key in self.old

    def add(self, key):
        self.used.add(key)

    def save(self, keep_old):
        CACHE.mkdir(parents=True, exist_ok=True)
        kept = self.used | (self.old if keep_old else set())
        partial = self.path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(sorted(kept)))
        partial.replace(self.path)


def rel(path):
    return path.relative_to(ROOT).as_posix()


def room_of(path):
    parts = path.relative_to(ROOT / "src").parts
    return parts[0] if len(parts) > 1 else ""


def excepted(path, target):
    """Does the table of exceptions let `path` include `target` ('room/' or a foreign header)?"""
    name = path.relative_to(ROOT / "src").as_posix()
    for key, (allowed, _) in EXCEPTIONS.items():
        if name == key or (key.endswith("/") and name.startswith(key)):
            if target in allowed:
                return True
    return False


def check_layers(report, sources):
    layer_of = {room: i for i, layer in enumerate(LAYERS) for room in layer}
    findings = []
    for path in sources:
        room = room_of(path)
        if room not in layer_of:
            findings.append((rel(path), 0, f"room '{room or 'src'}' is not in the table of layers (tests/lint/lint.py)"))
            continue
        for line, quoted, header in includes_of(path):
            if header.startswith(".") or "/../" in header:
                findings.append((rel(path), line, f"write the include as \"room/file.h\", not \"{header}\""))
                continue
            below = resolve(path, header)
            if below is None:
                if quoted:
                    findings.append((rel(path), line, f"\"{header}\" is not in src/; foreign headers are written <...>"))
                continue
            if not below.is_relative_to(ROOT / "src"):
                findings.append((rel(path), line, f"src/ does not include {rel(below)}"))
                continue
            other = room_of(below)
            if other == room or excepted(path, other + "/"):
                continue
            if other not in layer_of:
                findings.append((rel(path), line, f"room '{other}' is not in the table of layers"))
            elif room in ONLY and other not in ONLY[room]:
                findings.append((rel(path), line, f"{room}/ includes only {', '.join(sorted(ONLY[room]))}, not {other}/"))
            elif layer_of[other] > layer_of[room]:
                findings.append((rel(path), line, f"climbs: {room}/ (layer {layer_of[room]}) includes {other}/ "
                                                  f"(layer {layer_of[other]})"))
            elif layer_of[other] == layer_of[room] and other not in BESIDE.get(room, set()):
                findings.append((rel(path), line, f"{room}/ and {other}/ are of one layer and do not include each other"))
    report.rule("layers", len(sources), findings)


def check_cycles(report, sources):
    edges = {}  # folder -> folder -> example
    for path in sources:
        here = rel(path.parent)
        edges.setdefault(here, {})
        for line, _, header in includes_of(path):
            below = resolve(path, header)
            if below and below.is_relative_to(ROOT / "src") and below.parent != path.parent:
                edges[here].setdefault(rel(below.parent), f"{rel(path)}:{line}")
    findings, state, stack = [], {}, []

    def visit(folder):
        state[folder] = "open"
        stack.append(folder)
        for other in sorted(edges.get(folder, {})):
            if state.get(other) == "open":
                loop = stack[stack.index(other):] + [other]
                where = ", ".join(edges[a][b] for a, b in zip(loop, loop[1:]))
                findings.append((folder, 0, f"folders include each other: {' -> '.join(loop)} ({where})"))
            elif other not in state:
                visit(other)
        stack.pop()
        state[folder] = "done"

    for folder in sorted(edges):
        if folder not in state:
            visit(folder)
    report.rule("cycles", len(edges), findings, " (folders)")


def check_foreign(report, sources):
    findings, with_rocksdb = [], []
    for path in sources:
        name = path.relative_to(ROOT / "src").as_posix()
        for line, quoted, header in includes_of(path):
            if quoted or excepted(path, header):
                continue
            for pattern, places in FOREIGN:
                if re.fullmatch(pattern, header) and not any(
                        name == p or (p.endswith("/") and name.startswith(p)) for p in places):
                    findings.append((rel(path), line, f"<{header}> belongs to {', '.join(places)} only"))
            if header.startswith("rocksdb/") and path not in with_rocksdb:
                with_rocksdb.append(path)
    if len(with_rocksdb) > 1:
        names = ", ".join(rel(p) for p in with_rocksdb)
        findings.append((rel(with_rocksdb[-1]), 0, f"one file of persist/ includes RocksDB, not {len(with_rocksdb)}: {names}"))
    report.rule("foreign", len(sources), findings)


def check_words(report):
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, check=True,
                            capture_output=True).stdout.decode().split("\0")
    findings, looked_at = [], 0
    for name in sorted(filter(None, listed)):
        path = ROOT / name
        if not path.is_file() or path.is_symlink() or b"\0" in path.read_bytes()[:4096]:
            continue
        looked_at += 1
        lines = text_of(path).splitlines()
        if path.suffix in LINES_TEXT and len(lines) > LINES_MAX:
            findings.append((name, 0, f"{len(lines)} lines; a file has at most {LINES_MAX}: give a part its own file"))
        for number, line in enumerate(lines, 1):
            mark = MARK.search(line)
            if mark:
                findings.append((name, number, f"bare {mark.group(1)}: do it, or write {mark.group(1)}(#issue)"))
            if HOME.search(line):
                findings.append((name, number, "a path into somebody's home"))
    report.rule("words", looked_at, findings)


def check_headers(report, sources, flags, jobs):
    headers = [p for p in sources if p.suffix == ".h"]
    cache = Cache("headers")
    keys = {p: closure_key(p, "headers 1 " + flags) for p in headers}
    todo = [p for p in headers if not cache.has(keys[p])]

    def compile_alone(path):
        name = path.relative_to(ROOT / "src").as_posix()
        text = f'#include "{name}"\n#include "{name}"\n'
        run = subprocess.run(["g++", *flags.split(), "-fsyntax-only", "-x", "c++", "-"], input=text, cwd=ROOT,
                             capture_output=True, text=True)
        return path, run.returncode, run.stderr

    findings = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for path, code, errors in pool.map(compile_alone, todo):
            if code == 0:
                cache.add(keys[path])
            else:
                first = next((l for l in errors.splitlines() if "error:" in l), errors.strip()[:300])
                findings.append((rel(path), 0, f"does not compile alone: {first}"))
    cache.save(keep_old=False)
    report.rule("headers", len(headers), findings, f" ({len(headers) - len(todo)} known from before)")


def git(*args):
    run = subprocess.run(["git", *args], cwd=ROOT, capture_output=True, text=True)
    return run.stdout.strip() if run.returncode == 0 else ""


def changed_files(base):
    """Files that differ from `base`, in commits or in the working tree."""
    start = git("merge-base", "HEAD", base)
    if not start or start == git("rev-parse", "HEAD"):
        start = git("rev-parse", "-q", "--verify", "HEAD~1") or git("rev-parse", "HEAD")
    names = git("diff", "--name-only", start).splitlines() + git("ls-files", "-o", "--exclude-standard").splitlines()
    return {(ROOT / n).resolve() for n in names if n}


def tidy_targets(which, sources, tests, base):
    """Sources to read: all, or those that changed or directly include a header that did (one each)."""
    units = [p for p in sources + tests if p.suffix == ".cc"]
    if which == "all":
        return units
    changed = changed_files(base)
    chosen = [p for p in units if p in changed]
    for header in sorted(p for p in changed if p.suffix == ".h"):
        readers = [p for p in units if any(resolve(p, h) == header for _, _, h in includes_of(p))]
        own = [p for p in readers if p.stem == header.stem]
        if readers and not any(p in chosen for p in readers):
            chosen.append((own or readers)[0])
    return chosen


def check_tidy(report, which, sources, tests, flags, jobs, seconds, base):
    rules = text_of(ROOT / ".clang-tidy")
    cache = Cache("tidy")
    targets = tidy_targets(which, sources, tests, base)
    keys = {p: closure_key(p, "tidy 1 " + flags + rules) for p in targets}
    todo = [p for p in targets if not cache.has(keys[p])]
    until = time.monotonic() + seconds

    def tidy(path):
        left = until - time.monotonic()
        if left <= 1:
            return path, None, ""
        own = ["--checks=-readability-function-cognitive-complexity,-readability-function-size,"
               "-bugprone-unchecked-*,-concurrency-mt-unsafe"] if "tests" in path.parts else []
        command = ["clang-tidy-14", "--quiet", *own, rel(path), "--", *flags.split()]
        try:
            run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=left)
        except subprocess.TimeoutExpired:
            return path, None, ""
        return path, run.returncode, run.stdout + ("" if run.returncode == 0 else run.stderr)

    findings, unread, seen = [], 0, set()
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for path, code, output in pool.map(tidy, todo):
            if code is None:
                unread += 1
                continue
            warned = code != 0
            for line in output.splitlines():
                m = re.match(r"(.*?):(\d+):\d+: (warning|error): (.*)$", line)
                if not m:
                    continue
                warned = True
                where = os.path.relpath(os.path.join(ROOT, m.group(1)), ROOT)
                if (where, m.group(2), m.group(4)) not in seen:
                    seen.add((where, m.group(2), m.group(4)))
                    findings.append((where, int(m.group(2)), m.group(4)))
            if warned and not any(f == rel(path) for f, _, _ in findings) and code != 0:
                findings.append((rel(path), 0, f"clang-tidy ended with {code}: {output.strip()[-300:]}"))
            if not warned:
                cache.add(keys[path])
    cache.save(keep_old=True)
    note = f" ({len(targets) - len(todo)} known from before"
    note += f", {unread} not looked at: {seconds} s were over)" if unread else ")"
    report.rule(f"tidy {which}", len(targets) - unread, findings, note)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tidy", choices=["all", "changed", "no"], default="changed")
    parser.add_argument("--tidy-seconds", type=int, default=int(os.environ.get("TIDY_SECONDS", "3600")))
    parser.add_argument("--base", default=os.environ.get("TIDY_BASE", "origin/main"),
                        help="what 'changed' is compared with")
    parser.add_argument("--flags", default="-Isrc -D_GNU_SOURCE -std=c++20")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()

    def tree(top):
        return sorted(p.resolve() for p in (ROOT / top).rglob("*") if p.suffix in (".cc", ".h", ".def"))

    sources, tests = tree("src"), tree("tests")
    report = Report()
    check_layers(report, sources)
    check_cycles(report, sources)
    check_foreign(report, sources)
    check_words(report)
    check_headers(report, sources, options.flags, options.jobs)
    if options.tidy != "no":
        check_tidy(report, options.tidy, sources, tests, options.flags, options.jobs, options.tidy_seconds,
                   options.base)
    print(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


if __name__ == "__main__":
    sys.exit(main())
