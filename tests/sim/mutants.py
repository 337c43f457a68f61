#!/usr/bin/env python3
"""Shows that the simulator notices: builds it with one deliberate defect at a time and expects it to fail.

usage: tests/sim/mutants.py BUILD [WORDS]    (a build folder in which riffle_sim is built, such as build/dev;
                                             only the mutants whose name holds the words)

Each mutant is one replaced text of one source file, compiled by that file's own command and linked before the rooms'
archives, so that nothing else is built anew. A text that is no longer there, or not once, is an error of this list.
"""
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]

# (what is broken, file, text, replacement, scenario, fault)
MUTANTS = [
    ('a listener\'s ended sessions are never destroyed', 'src/shell/listener.cpp',
     '  home_.note_session_over();\n', '', 'handshake', 'none'),
    ('an embedded engine is not woken before its first cycle', 'src/shell/engine_shell.cpp',
     '  link_->list.fall_asleep();\n', '', 'handshake', 'none'),
    ('a socket\'s batch is forgotten after EAGAIN', 'src/shell/udp_endpoint.cpp',
     '  pending_.assign(bytes.begin(), bytes.end());\n', '', 'one_stream', 'sysfaults'),
    ('a session does not act on its deadlines', 'src/shell/session_driver.cpp',
     '  if (now >= session_.next_deadline()) session_.on_deadline(now);\n', '', 'one_stream', 'loss'),
    ('an ended session asks for no deadline', 'src/shell/session_driver.cpp',
     'earliest = connection_ != nullptr ? connection_->next_deadline() : never;', 'earliest = never;', 'close_client', 'none'),
    ('a session ends without on_closed', 'src/core/session/session.cpp',
     '  actions.emplace_back(action::Closed{});\n', '', 'close_server', 'none'),
    ('a session ends with two on_closed', 'src/core/session/session.cpp',
     '  actions.emplace_back(action::Closed{});\n',
     '  actions.emplace_back(action::Closed{});\n  actions.emplace_back(action::Closed{});\n', 'close_client', 'none'),
    ('on_draining comes after on_closed', 'src/core/session/session.cpp',
     '  actions.emplace_back(action::Closed{});\n',
     '  actions.emplace_back(action::Closed{});\n  actions.emplace_back(action::Draining{});\n', 'vanished_peer', 'loss'),
    ('one delivery too many in counted mode', 'src/core/session/session_reading.cpp',
     '--stream->delivery.count == 0', 'stream->delivery.count-- == 0', 'mode_switches', 'none'),
    ('active_times gives no notice', 'src/core/session/session_reading.cpp',
     'actions.emplace_back(action::DeliveriesUsedUp{id});', 'is_dirty_ = true;', 'mode_switches', 'none'),
    ('the end of a stream is told with its last bytes though more are held', 'src/core/session/session_reading.cpp',
     'out.fin = stream.receive == ReceiveState::ended && stream.meet->reading.is_empty();',
     'out.fin = stream.receive == ReceiveState::ended;', 'mode_switches', 'none'),
    ('stalled readers are told one too early', 'src/core/session/session_reading.cpp',
     '  if (stalled <= promised) {', '  if (stalled < promised) {', 'stalled_reader', 'none'),
    ('stalled readers are never told', 'src/core/session/session_reading.cpp',
     'actions.emplace_back(action::SessionBlocked{stalled});', 'is_dirty_ = true;', 'stalled_reader', 'none'),
    ('credit that the transport took is not given back', 'src/core/session/session_writing.cpp',
     '  give_credit(stream, taken);\n', '', 'one_stream', 'none'),
    ('writable is never signalled', 'src/core/session/session_writing.cpp',
     'actions.emplace_back(action::Writable{stream.id});', 'is_dirty_ = true;', 'one_stream', 'none'),
    ('parked readers stay parked', 'src/core/session/session_reading.cpp',
     '  stream.meet->reading.unpark();\n  account(stream);\n', '  account(stream);\n  return;\n', 'mode_switches', 'none'),
    ('the connection\'s window is too small for stalled readers', 'src/quiche/quiche_stack.cpp',
     'raw.max_connection_window = std::max(in.max_connection_window, raw.connection_window);',
     'raw.connection_window = in.connection_window / 4; raw.max_connection_window = raw.connection_window;',
     'stalled_reader', 'none'),
]


def commands_of(build):
    out = subprocess.run(['ninja', '-C', str(build), '-t', 'commands', 'riffle_sim'], capture_output=True, text=True,
                         check=True).stdout.splitlines()
    compile_of = {}
    for line in out:
        words = line.split()
        if '-c' in words:
            compile_of[words[words.index('-c') + 1]] = line
    return compile_of, next(line for line in out if ' -o riffle_sim ' in line)


def run(command, build, timeout=None):
    return subprocess.run(command, cwd=build, shell=True, capture_output=True, text=True, timeout=timeout)


def try_mutant(build, compile_of, link, mutant):
    what, name, old, new, scenario, fault = mutant
    text = (ROOT / name).read_text()
    if text.count(old) != 1:
        return f'ERROR     {what}: the text is {text.count(old)} times in {name}'
    folder = build / 'mutants'
    folder.mkdir(exist_ok=True)
    source, thing, program = folder / pathlib.Path(name).name, folder / 'mutant.o', folder / 'riffle_sim'
    source.write_text(text.replace(old, new))
    words = shlex.split(compile_of[str(ROOT / name)])
    for flag, value in (('-c', source), ('-o', thing), ('-MT', thing), ('-MF', folder / 'mutant.d')):
        if flag in words:
            words[words.index(flag) + 1] = str(value)
    words += [f'-I{(ROOT / name).parent}', '-Wno-error']
    built = run(shlex.join(words), build)
    if built.returncode == 0:
        with_it = link.replace(' -o riffle_sim ', f' {thing} -o {program} ').replace('\\$ORIGIN', str(build))
        built = run(with_it, build)
    if built.returncode != 0:
        return f'ERROR     {what}: does not build: {built.stderr[:300]}'
    try:
        ran = run(f'{program} --all --seeds 20 --scenario {scenario} --fault {fault}', build, timeout=300)
        caught = ran.returncode != 0
    except subprocess.TimeoutExpired:
        caught = True
    return f'{"caught  " if caught else "SURVIVED"}  {what} ({scenario} under {fault})'


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    build = pathlib.Path(sys.argv[1]).resolve()
    compile_of, link = commands_of(build)
    results = []
    for mutant in MUTANTS:
        if len(sys.argv) > 2 and sys.argv[2] not in mutant[0]:
            continue
        results.append(try_mutant(build, compile_of, link, mutant))
        print(results[-1], flush=True)
    missed = [line for line in results if not line.startswith('caught')]
    print(f'{len(results) - len(missed)} of {len(results)} mutants caught')
    sys.exit(1 if missed else 0)


if __name__ == '__main__':
    main()
