#!/usr/bin/env python3
"""Line coverage of the core and of all our C++, with its limits. usage: coverage.py BUILD_DIR, which holds
all.profdata and the instrumented programs."""
import json
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LIMITS = (('src/core', ('src/core/',), 95.0), ('src and include', ('src/', 'include/'), 90.0))


def programs(build):
    """Every ELF program of the build that carries a coverage map."""
    for path in sorted(build.rglob('*')):
        if path.is_file() and os.access(path, os.X_OK) and 'CMakeFiles' not in path.parts and '.so' not in path.name:
            if path.read_bytes()[:4] == b'\x7fELF' and b'__llvm_covmap' in path.read_bytes():
                yield str(path)


def lines_by_file(build):
    """path -> (lines, covered), for our files that are no tests and no tests' support."""
    first, *rest = programs(build)
    command = ['llvm-cov-19', 'export', '-summary-only', f'-instr-profile={build}/all.profdata', first]
    for path in rest:
        command += ['-object', path]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout)
    result = {}
    for entry in report['data'][0]['files']:
        path = pathlib.Path(entry['filename'])
        if ROOT in path.parents and not re.search(r'_test|test_support', path.name):
            lines = entry['summary']['lines']
            result[str(path.relative_to(ROOT))] = (lines['count'], lines['covered'])
    return result


def main():
    files = lines_by_file(pathlib.Path(sys.argv[1]).resolve())
    good = True
    for label, prefixes, limit in LIMITS:
        part = {path: lines for path, lines in files.items() if path.startswith(prefixes)}
        count = sum(lines for lines, _ in part.values())
        covered = sum(hit for _, hit in part.values())
        percent = 100.0 * covered / count if count else 0.0
        print(f'coverage of {label}: {percent:.1f} % of {count} lines in {len(part)} files, the limit is {limit:.0f} %')
        if percent < limit:
            good = False
        least = sorted(part.items(), key=lambda item: item[1][1] - item[1][0])[:8]
        for path, (lines, hit) in least:
            if hit < lines:
                print(f'    {lines - hit:4d} lines not reached in {path} ({100.0 * hit / lines:.0f} %)')
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
