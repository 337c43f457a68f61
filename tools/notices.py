#!/usr/bin/env python3
"""Writes THIRD_PARTY_NOTICES.md: what is linked into the shipped library and command, with the licence texts, from
Cargo.lock (by `cargo metadata`) and tools/notices_cpp.md. `--check` fails when the file is not what would be written.
"""
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHIPPED = 'riffle-quiche'
HEAD = '''# Third-party notices

riffle itself is under the BSD-2-Clause licence (LICENSE). This file is written by tools/notices.py and checked by
`./run check notices`; it names what the built library and command contain, and what only the build or the tests use.

'''


def linked(metadata):
    """The packages that end up in the shared object: normal dependencies, through everything but procedural macros."""
    packages = {package['id']: package for package in metadata['packages']}
    nodes = {node['id']: node for node in metadata['resolve']['nodes']}
    todo = [identity for identity, package in packages.items() if package['name'] == SHIPPED]
    seen = set(todo)
    while todo:
        for dependency in nodes[todo.pop()]['deps']:
            identity = dependency['pkg']
            normal = any(kind['kind'] is None for kind in dependency['dep_kinds'])
            macro = any('proc-macro' in target['kind'] for target in packages[identity]['targets'])
            if normal and not macro and identity not in seen:
                seen.add(identity)
                todo.append(identity)
    return sorted((packages[i] for i in seen if packages[i]['name'] != SHIPPED), key=lambda p: (p['name'], p['version']))


def licence_texts(package):
    """The texts to reproduce: where a package offers a choice, MIT; further texts that apply beside it."""
    folder = pathlib.Path(package['manifest_path']).parent
    names = sorted(p.name for p in folder.iterdir() if p.name.upper().startswith(('LICENSE', 'COPYING', 'NOTICE')))
    if 'LICENSE-MIT' in names:
        names = ['LICENSE-MIT'] + [n for n in names if n not in ('LICENSE-MIT', 'LICENSE-APACHE', 'COPYING', 'LICENSE.md')]
    if not names:
        sys.exit(f'{package["name"]} {package["version"]} brings no licence text: add it by hand')
    texts = [(folder / name).read_text() for name in names]
    bundled = folder / 'deps/boringssl/LICENSE'
    return texts + ([bundled.read_text()] if bundled.is_file() else [])


def document():
    metadata = json.loads(subprocess.run(
        ['cargo', 'metadata', '--locked', '--format-version', '1', '--filter-platform', 'x86_64-unknown-linux-gnu'],
        cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)
    packages = linked(metadata)
    out = [HEAD, (ROOT / 'tools/notices_cpp.md').read_text(), '\n## Rust packages in libriffle_quiche.so.0\n\n',
           'boring-sys contains BoringSSL.\n\n| package | version | licence | source |\n|---|---|---|---|\n']
    texts = {}
    for package in packages:
        out.append(f'| {package["name"]} | {package["version"]} | {package["license"]} | {package["repository"] or ""} |\n')
        for text in licence_texts(package):
            clean = '\n'.join(line.rstrip() for line in text.strip('\n').splitlines())
            texts.setdefault(clean, []).append(f'{package["name"]} {package["version"]}')
    for text, names in texts.items():
        out.append(f'\n### {", ".join(names)}\n\n```text\n{text}\n```\n')
    return ''.join(out)


if __name__ == '__main__':
    wanted, path = document(), ROOT / 'THIRD_PARTY_NOTICES.md'
    if '--check' in sys.argv:
        if not path.is_file() or path.read_text() != wanted:
            sys.exit('THIRD_PARTY_NOTICES.md is not current: run tools/notices.py')
        print('THIRD_PARTY_NOTICES.md is current')
    else:
        path.write_text(wanted)
