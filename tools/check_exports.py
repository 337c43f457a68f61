#!/usr/bin/env python3
"""The bridge exports exactly the functions of its header, and carries its own soname: a program that holds another
TLS library must not meet this one's. usage: check_exports.py LIBRARY HEADER… | --self-test
"""
import pathlib
import re
import subprocess
import sys
import tempfile

SONAME = 'libriffle_quiche.so.0'


def declared(headers):
    """The functions that C headers declare: a name, then parameters, then a semicolon, outside every struct."""
    names = set()
    for header in headers:
        text = re.sub(r'//[^\n]*|/\*.*?\*/|^[ \t]*#(?:\\\n|[^\n])*', '', pathlib.Path(header).read_text(), flags=re.S | re.M)
        text = re.sub(r'extern "C" \{', '', text)
        while re.search(r'\{[^{}]*\}', text):
            text = re.sub(r'\{[^{}]*\}', '', text)
        for statement in text.split(';'):
            if not re.search(r'\b(typedef|using|static_assert|_Static_assert)\b', statement):
                match = re.search(r'\b(\w+)\s*\((?!\s*\*)', statement)
                if match:
                    names.add(match[1])
    return names


def check(library, headers):
    listing = subprocess.run(['nm', '-D', '--defined-only', library], check=True, stdout=subprocess.PIPE, text=True).stdout
    exported = {line.split()[-1].split('@')[0] for line in listing.splitlines() if line.strip()}
    wanted = declared(headers)
    dynamic = subprocess.run(['readelf', '-d', library], check=True, stdout=subprocess.PIPE, text=True).stdout
    found = [f'exported but not declared: {name}' for name in sorted(exported - wanted)]
    found += [f'declared but not exported: {name}' for name in sorted(wanted - exported)]
    if f'[{SONAME}]' not in dynamic:
        found.append(f'the soname is not {SONAME}')
    if not wanted:
        found.append('the header declares nothing')
    return found


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        (root / 'a.h').write_text('#define X(a) f(a);\ntypedef int (*t)(int);\nstruct s { int (*f)(int); };\n'
                                  '#ifdef __cplusplus\nextern "C" {\n#endif\nint one(int a, void (*b)(int));\n'
                                  'struct s* two(void);  // three();\n#ifdef __cplusplus\n}\n#endif\n')
        assert declared([root / 'a.h']) == {'one', 'two'}, declared([root / 'a.h'])

        def faults(code, soname=SONAME):
            (root / 'a.c').write_text(code)
            subprocess.run(['cc', '-shared', '-fPIC', f'-Wl,-soname,{soname}', '-o', root / 'a.so', root / 'a.c'], check=True)
            return check(str(root / 'a.so'), [root / 'a.h'])

        fine = 'int one(void){return 1;} int two(void){return 2;}'
        assert faults(fine) == [], faults(fine)
        assert faults(fine + 'int SSL_new(void){return 3;}') == ['exported but not declared: SSL_new']
        assert faults('int one(void){return 1;}') == ['declared but not exported: two']
        assert faults(fine, 'liba.so') == [f'the soname is not {SONAME}']
    print('check_exports: a symbol too many, one too few and a foreign soname are found')


if __name__ == '__main__':
    if '--self-test' in sys.argv:
        self_test()
        sys.exit(0)
    problems = check(sys.argv[1], sys.argv[2:])
    print('\n'.join(problems) or 'the bridge exports what its header declares, and nothing else')
    sys.exit(1 if problems else 0)
