#!/usr/bin/env python3
"""Files of at most 600 lines, functions of at most 70. tools/sizes.txt lists what is larger, as `path[:function] lines`;
an entry may only shrink, and goes when it is no longer needed. `--self-test` shows that each rule can fail.

Functions are found by counting braces in clang-formatted C++ and rustfmt-formatted Rust; a lambda or a closure counts
as a part of the function around it.
"""
import pathlib
import re
import sys

FILE_LIMIT, FUNCTION_LIMIT = 600, 70
SUFFIXES = {'.cpp', '.hpp', '.h', '.c', '.rs', '.py', '.sh', '.cmake'}
TOPS = ('src', 'include', 'bridge', 'tests', 'examples', 'bench', 'fuzz', 'tools', 'cmake', '.ci')

# Comments, strings and character literals, in C++ and Rust. A lifetime ('a) and a digit separator stay as they are.
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|R"(?P<d>[^(\s]{0,16})\(.*?\)(?P=d)"|r(?P<h>#+)".*?"(?P=h)|"(?:\\.|[^"\\])*"|'
                   r"(?<![0-9])'(?:\\[^']+|[^'\\\n])'", re.S)
CONTAINER = re.compile(r'^(inline\s+)?(namespace|class|struct|union|enum|extern|impl|mod|trait|unsafe\s+impl|'
                       r'pub(\([a-z]+\))?\s+(struct|enum|mod|trait|union)|unsafe\s+extern|macro_rules)\b')
TEMPLATE = re.compile(r'^(template\s*<(?:[^<>]|<(?:[^<>]|<[^<>]*>)*>)*>\s*|(public|private|protected)\s*:(?!:)\s*|'
                      r'requires\b[^{]*?\)\s*(?=\w)|#!?\[[^\]]*\]\s*)+')

ACCESS = re.compile(r'\s*(?:(?:public|private|protected)\s*:(?!:)\s*)*')


def blank(match):
    return '\n' * match[0].count('\n')


def functions(text):
    """(name, first line, lines) of each function of the text."""
    text = NOISE.sub(blank, text)
    text = re.sub(r'^[ \t]*#(?!!?\[)(?:\\\n|[^\n])*', blank, text, flags=re.M)
    depth_of_function, start, stack, found = None, 0, [], []
    for mark in re.finditer(r'[{};]', text):
        at = mark.start()
        if mark[0] == '{' and at and not text[at - 1].isspace():
            stack.append('value')  # x{1}: in formatted code a block has a space before its brace
            continue
        if mark[0] == '}' and stack and stack[-1] == 'value':
            stack.pop()
            continue
        if mark[0] == '{':
            head = TEMPLATE.sub('', text[start:at].strip())
            is_function = '(' in head and not CONTAINER.match(head) and not head.rstrip().endswith(('=', ',', '('))
            if depth_of_function is None and is_function:
                depth_of_function = len(stack)
                first = start + ACCESS.match(text[start:at]).end()
                name = re.search(r'([~\w:]+|operator[^\s(]+)\s*(?:<[^()]*>)?\s*\(', head)
                found.append([name[1] if name else head[:30], text.count('\n', 0, first) + 1, 0])
            stack.append('block')
        elif mark[0] == '}' and stack:
            stack.pop()
            if depth_of_function == len(stack):
                found[-1][2] = text.count('\n', 0, at) + 2 - found[-1][1]
                depth_of_function = None
        start = at + 1
    return [tuple(item) for item in found]


def sizes(root):
    """What is above its limit: key -> (lines, limit, where)."""
    large = {}
    files = [path for top in TOPS for path in sorted((root / top).rglob('*')) if path.suffix in SUFFIXES]
    for path in files + [root / 'run']:
        if not path.is_file():
            continue
        name, text = str(path.relative_to(root)), path.read_text()
        lines = text.count('\n')
        if lines > FILE_LIMIT:
            large[name] = (lines, FILE_LIMIT, name)
        if path.suffix in ('.cpp', '.hpp', '.rs'):
            for function, line, length in functions(text):
                if length > FUNCTION_LIMIT:
                    large[f'{name}:{function}'] = (length, FUNCTION_LIMIT, f'{name}:{line}')
    return large


def compare(large, ratchet):
    found = []
    for key, (lines, limit, where) in large.items():
        if key not in ratchet:
            found.append(f'{where}: {key} has {lines} lines, the limit is {limit}')
        elif lines > ratchet[key]:
            found.append(f'{where}: {key} grew from {ratchet[key]} to {lines} lines; it may only shrink')
        elif lines < ratchet[key]:
            found.append(f'tools/sizes.txt: {key} shrank to {lines} lines: lower its entry')
    found += [f'tools/sizes.txt: {key} is within its limit now, or gone: remove its entry'
              for key in ratchet if key not in large]
    return found


def read_ratchet(path):
    lines = [line.split('#')[0].split() for line in path.read_text().splitlines()]
    return {words[0]: int(words[1]) for words in lines if words}


def self_test():
    body = '  x();\n'
    code = ('namespace a {\ntemplate <class T, std::size_t N>\nstruct S {\n public:\n  S() : x_{1} {\n' + body * 71 +
            '  }\n  int x_;\n};\nconst T table = {\n' + '  {1, 2},\n' * 80 + '};\n'
            'template <class T>\nvoid small(T t) {\n  const char* s = "{"; // {\n  char c = \'{\';\n  int n = 1\'000;\n}\n'
            'Result<int> Foo::large(\n    int a) const {\n' + body * 68 + '}\n}\n')
    assert [(n, c) for n, _, c in functions(code)] == [('S', 73), ('small', 6), ('Foo::large', 71)], functions(code)
    rust = 'impl<\'a> X<\'a> {\n    pub fn f(&\'a self) -> u8 {\n' + '        g();\n' * 70 + '        b\'{\'\n    }\n}\n'
    assert functions(rust) == [('f', 2, 73)], functions(rust)
    large = {'a.cpp': (700, 600, 'a.cpp')}
    assert compare(large, {'a.cpp': 700}) == [] and compare({}, {}) == []
    for ratchet in ({}, {'a.cpp': 699}, {'a.cpp': 701}, {'a.cpp': 700, 'b.cpp': 800}):
        assert len(compare(large, ratchet)) == 1, ratchet
    print('check_sizes: large files, large functions and each way to break the ratchet are found')


if __name__ == '__main__':
    if '--self-test' in sys.argv:
        self_test()
        sys.exit(0)
    base = pathlib.Path(__file__).resolve().parent.parent
    problems = compare(sizes(base), read_ratchet(base / 'tools/sizes.txt'))
    print('\n'.join(problems) or 'every file and function is within its limit')
    sys.exit(1 if problems else 0)
