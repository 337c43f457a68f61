#!/usr/bin/env python3
"""Holds every #include against the rooms: an include may follow only the arrows (DEPS) of src/CMakeLists.txt.

The public headers may include each other and the standard library; the command and the examples only the public
headers and third parties. Unit tests (x_test.cpp) and what supports them (x_test_support.hpp) may reach across.
`--self-test` shows that each rule can fail.
"""
import pathlib
import re
import sys
import tempfile

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)
ROOM = re.compile(r'^riffle_room\((\w+)\s+([^)]*)\)', re.M)
# The core is handed the time and the randomness that it uses, and talks to nobody.
NOT_IN_CORE = re.compile(r'^(sys|netinet|arpa|linux|boost|fmt|gtest|benchmark)/|'
                         r'^(thread|mutex|shared_mutex|condition_variable|semaphore|future|random|ctime|fstream|iostream|'
                         r'unistd\.h|pthread\.h|time\.h|poll\.h|fcntl\.h)$')
TEST = re.compile(r'(_test|test_support)\.[hc]pp$')
OPT_IN = {'include/riffle/asio.hpp'}  # the one public header that names a third party (law 7)


def rooms_of(root):
    """(folder -> room, room -> set of rooms it may include, itself among them), from src/CMakeLists.txt."""
    folders, direct = {}, {}
    for name, rest in ROOM.findall((root / 'src/CMakeLists.txt').read_text()):
        part, lists = None, {'FOLDERS': [], 'DEPS': [], 'EXTERNAL': []}
        for word in rest.split():
            if word in lists:
                part = word
            else:
                lists[part].append(word)
        direct[name] = set(lists['DEPS'])
        folders.update({folder: name for folder in lists['FOLDERS']})
    reach = {}
    for name in direct:
        reach[name], todo = {name}, [name]
        while todo:
            for dep in direct.get(todo.pop(), ()):
                if dep not in reach[name]:
                    reach[name].add(dep)
                    todo.append(dep)
        if 'bridge' not in direct[name]:
            reach[name].discard('bridge')  # only the adapter itself sees the bridge
    folders['cli'], reach['cli'] = 'cli', {'cli'}
    return folders, reach


def room_of(folders, path):
    """The room of a path under src/, by its longest folder."""
    parts = path.split('/')[:-1]
    while parts:
        if '/'.join(parts) in folders:
            return folders['/'.join(parts)]
        parts.pop()
    return None


def target_of(root, folders, file, name):
    """('public', name), ('room', room), ('bridge', name) or ('other', name)."""
    if name.startswith('riffle/'):
        return 'public', name
    beside = (file.parent / name)
    for path in (root / 'src' / name, beside):
        if path.is_file() and (root / 'src') in path.parents:
            return 'room', room_of(folders, str(path.relative_to(root / 'src')))
    if (root / 'bridge/include' / name).is_file():
        return 'bridge', name
    return 'other', name


def check_room_file(root, folders, reach, file, name):
    room = room_of(folders, str(file.relative_to(root / 'src')))
    if room is None:
        return 'lies in no room of src/CMakeLists.txt'
    kind, what = target_of(root, folders, file, name)
    if TEST.search(name):
        return f'only a test includes what supports tests ({name})'
    if kind == 'room' and what not in reach[room]:
        return f'room "{room}" may not include room "{what}" ({name})'
    if kind == 'bridge' and 'bridge' not in reach[room]:
        return f'room "{room}" may not include the bridge ({name})'
    if kind == 'other' and room == 'core' and NOT_IN_CORE.search(name):
        return f'the core is pure ({name})'
    return None


def check_outer_file(root, folders, file, name):
    kind, what = target_of(root, folders, file, name)
    relative = str(file.relative_to(root))
    if relative.startswith('include/'):
        standard = kind == 'other' and re.fullmatch(r'[a-z_0-9]+', name)
        if kind != 'public' and not standard and relative not in OPT_IN:
            return f'a public header includes only riffle/ and the standard library ({name})'
    elif kind in ('room', 'bridge'):
        return f'an example uses the public headers alone ({name})'
    return None


def check(root):
    folders, reach = rooms_of(root)
    found = []
    for top in ('src', 'include', 'examples'):
        for file in sorted((root / top).rglob('*.[hc]pp')):
            if top == 'src' and TEST.search(file.name):
                continue
            text = file.read_text()
            for match in INCLUDE.finditer(text):
                fault = (check_room_file(root, folders, reach, file, match[2]) if top == 'src'
                         else check_outer_file(root, folders, file, match[2]))
                if fault:
                    line = text.count('\n', 0, match.start(2)) + 1
                    found.append(f'{file.relative_to(root)}:{line}: {fault}')
    return found


def self_test():
    table = ('riffle_room(base FOLDERS base)\nriffle_room(core FOLDERS core core/session DEPS base)\n'
             'riffle_room(quiche FOLDERS quiche DEPS core bridge)\nriffle_room(shell FOLDERS shell DEPS quiche)\n')
    fine = {'src/base/a.hpp': '#include <sys/socket.h>', 'src/core/session/s.hpp': '#include "base/a.hpp"\n#include <span>',
            'src/quiche/q.cpp': '#include "core/session/s.hpp"\n#include <bridge.h>', 'bridge/include/bridge.h': '',
            'src/shell/s.cpp': '#include "base/a.hpp"\n#include <riffle/engine.hpp>',
            'src/core/s_test.cpp': '#include "shell/s_test_support.hpp"', 'src/shell/s_test_support.hpp': '',
            'include/riffle/engine.hpp': '#include <riffle/error.hpp>\n#include <vector>',
            'src/cli/main.cpp': '#include <riffle/engine.hpp>\n#include <CLI/CLI.hpp>\n#include "cli/args.hpp"',
            'src/cli/args.hpp': '', 'examples/e.cpp': '#include <riffle/riffle.hpp>'}
    faults = {'src/base/b.hpp': '#include "core/session/s.hpp"', 'src/core/c.cpp': '#include <thread>',
              'src/core/d.cpp': '#include <sys/socket.h>',
              'src/shell/e.cpp': '#include "shell/s_test_support.hpp"',
              'src/shell/f.cpp': '#include <bridge.h>', 'src/lost/g.cpp': '#include <span>',
              'src/cli/h.cpp': '#include "base/a.hpp"', 'include/riffle/i.hpp': '#include "base/a.hpp"',
              'include/riffle/j.hpp': '#include <boost/asio.hpp>', 'examples/k.cpp': '#include "base/a.hpp"'}
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)

        def put(path, text):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text + '\n')

        put('src/CMakeLists.txt', table)
        for path, text in fine.items():
            put(path, text)
        assert check(root) == [], check(root)
        for path, text in faults.items():
            put(path, text)
            found = check(root)
            assert len(found) == 1 and found[0].startswith(path + ':1:'), (path, found)
            (root / path).unlink()
    print(f'check_layers: {len(faults)} kinds of fault are found')


if __name__ == '__main__':
    if '--self-test' in sys.argv:
        self_test()
        sys.exit(0)
    problems = check(pathlib.Path(__file__).resolve().parent.parent)
    print('\n'.join(problems) or 'every include follows an arrow')
    sys.exit(1 if problems else 0)
