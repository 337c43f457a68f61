#!/usr/bin/env python3
"""Holds the documents to what is there: a code block below `<!-- source: FILE -->` equals that file; links and the
paths of this project exist; every `./run COMMAND` and `--preset NAME` exists. `--self-test` shows that each can fail;
`--write` puts the files into the code blocks that are marked with them.
"""
import json
import pathlib
import re
import sys
import tempfile

BLOCK = re.compile(r'(?<=<!-- source: )(\S+)( -->\s*\n```\w*\n)(.*?)^```', re.S | re.M)
SOURCE = re.compile(r'<!-- source: (\S+) -->')
LINK = re.compile(r'\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)')
PATH = re.compile(r'`((?:src|include|bridge|tests|examples|bench|fuzz|docs|tools|cmake|\.ci)/[\w./-]*)`')


def run_commands(root):
    listed = re.search(r'^\s+([a-z| ]+)\) "cmd_\$command"', (root / 'run').read_text(), re.M)
    return set(listed[1].split(' | '))


def presets(root):
    return {item['name'] for item in json.loads((root / 'CMakePresets.json').read_text())['configurePresets']}


def check_document(root, path, commands, names):
    text, found = path.read_text(), []
    blocks = {source: code for source, _, code in BLOCK.findall(text)}
    for source in SOURCE.findall(text):
        if source not in blocks:
            found.append(f'no code block follows the mark of {source}')
        elif not (root / source).is_file() or (root / source).read_text() != blocks[source]:
            found.append(f'the code block is not what {source} holds')
    prose = re.sub(r'```.*?```', '', text, flags=re.S)  # a lambda is no link
    found += [f'the link {link} leads nowhere' for link in LINK.findall(prose) if not (path.parent / link).exists()]
    found += [f'{name} does not exist' for name in PATH.findall(text) if not (root / name).exists()]
    found += [f'./run has no command {name}' for name in re.findall(r'\./run ([a-z]+)', text) if name not in commands]
    found += [f'there is no preset {name}' for name in re.findall(r'--preset[ =]([\w-]+)', text) if name not in names]
    return [f'{path.relative_to(root)}: {fault}' for fault in found]


def documents(root):
    return sorted(root.glob('*.md')) + sorted((root / 'docs').rglob('*.md'))


def write(root):
    for path in documents(root):
        text = path.read_text()
        filled = BLOCK.sub(lambda m: m[1] + m[2] + (root / m[1]).read_text() + '```', text)
        if filled != text:
            path.write_text(filled)


def check(root):
    commands, names = run_commands(root), presets(root)
    return [fault for path in documents(root) for fault in check_document(root, path, commands, names)]


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / 'examples').mkdir()
        (root / 'examples/a.cpp').write_text('int a;\n')
        (root / 'run').write_text('  demo | test) "cmd_$command" "$@" ;;\n')
        (root / 'CMakePresets.json').write_text('{"configurePresets": [{"name": "dev"}]}')
        fine = ('<!-- source: examples/a.cpp -->\n```cpp\nint a;\n```\n[a](examples/a.cpp) `examples/a.cpp` ./run test '
                'ctest --preset dev https://x.org [w](https://x.org/y)\n')
        (root / 'README.md').write_text(fine)
        assert check(root) == [], check(root)
        faults = ('<!-- source: examples/a.cpp -->\nprose\n', '<!-- source: examples/a.cpp -->\n```cpp\nint b;\n```\n',
                  '<!-- source: examples/b.cpp -->\n```cpp\nint a;\n```\n', '[a](examples/b.cpp)', '`src/x.cpp`',
                  './run tset', '--preset debug')
        for fault in faults:
            (root / 'README.md').write_text(fault)
            assert len(check(root)) == 1, (fault, check(root))
        (root / 'README.md').write_text(faults[1])
        write(root)
        assert check(root) == [] and 'int a;' in (root / 'README.md').read_text()
    print(f'check_docs: {len(faults)} kinds of fault are found')


if __name__ == '__main__':
    if '--self-test' in sys.argv:
        self_test()
        sys.exit(0)
    if '--write' in sys.argv:
        write(pathlib.Path(__file__).resolve().parent.parent)
    problems = check(pathlib.Path(__file__).resolve().parent.parent)
    print('\n'.join(problems) or 'the documents agree with what is there')
    sys.exit(1 if problems else 0)
