#!/usr/bin/env python3
"""Holds the bridge's three faces against each other: the C header, the Rust sources and the exported symbols.

    check_abi.py riffle_bridge.h src/ libriffle_quiche.so

It fails when a function, a struct's field, a callback or a constant differs in name, order or type, or when the library
exports anything else. Both sides are written by hand in one plain style, so that a few expressions can read them.
"""
import pathlib
import re
import subprocess
import sys

C_TO_RUST = {
    "void": "()", "void*": "*mut c_void", "char": "c_char", "const char*": "*const c_char", "size_t": "usize",
    "size_t*": "*mut usize", "uint8_t*": "*mut u8", "const uint8_t*": "*const u8", "int64_t*": "*mut i64",
    "uint64_t*": "*mut u64",
} | {f"{'u' * u}int{n}_t": f"{'u' if u else 'i'}{n}" for u in (0, 1) for n in (8, 16, 32, 64)}


def c_type(text):
    """A C type, as Rust writes it."""
    text = re.sub(r"\s*\*", "*", " ".join(text.split()))
    if text in C_TO_RUST:
        return C_TO_RUST[text]
    match = re.fullmatch(r"(const )?(rqb_\w+)(\*{0,2})", text)
    if not match:
        sys.exit(f"the header uses a type that this check does not know: {text}")
    is_const, name, stars = match.groups()
    if not stars:
        return name
    outer = ("*const " if is_const else "*mut ") + name
    return outer if stars == "*" else "*mut " + outer


def c_field(text):
    match = re.fullmatch(r"(.*?)(\w+)(?:\[(\w+)\])?", text.strip(), re.S)
    kind, name, count = match.groups()
    rust = c_type(kind)
    return name, f"[{rust}; {count}]" if count else rust


def read_header(path):
    text = re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.S)
    structs, functions, constants = {}, {}, {}
    for name, body in re.findall(r"typedef struct (\w+) \{(.*?)\} \1;", text, re.S):
        structs[name] = [c_field(field) for field in body.split(";") if field.strip()]
    for name, args in re.findall(r"typedef void \(\*(\w+)\)\((.*?)\);", text, re.S):
        functions["type " + name] = ([c_field(arg) for arg in args.split(",")], "()")
    prototypes = re.sub(r"typedef .*?;", "", re.sub(r"typedef struct \w+ \{.*?\} \w+;", "", text, flags=re.S))
    for result, name, args in re.findall(r"^(\w[\w ]*?\*?)\s*(rqb_\w+)\(([^)]*)\);", prototypes, re.M | re.S):
        functions[name] = ([c_field(arg) for arg in args.split(",") if arg.strip() != "void"], c_type(result))
    for name, value in re.findall(r"^#define (RQB_\w+) (\S+)", text, re.M):
        constants[name] = value.strip("()").replace("UINT64_MAX", "u64::MAX").replace("INT64_MAX", "i64::MAX")
    return structs, functions, constants


def rust_fields(text):
    text = re.sub(r"#\[.*?\]|///?.*", "", text)
    return [tuple(" ".join(part.split()) for part in field.replace("pub ", "").split(":", 1))
            for field in text.split(",") if field.strip()]


def read_rust(folder):
    structs, functions, constants = {}, {}, {}
    for path in sorted(folder.glob("*.rs")):
        if path.name == "seeded.rs":
            continue  # the simulator's library alone
        text = path.read_text()
        for name, body in re.findall(r"#\[repr\(C\)\]\s*(?:#\[.*?\]\s*)*pub struct (\w+) \{(.*?)\n\}", text, re.S):
            structs[name] = rust_fields(body)
        for name, args, result in re.findall(
                r'#\[no_mangle\]\s*pub (?:unsafe )?extern "C" fn (\w+)\((.*?)\)(?: -> (.*?))? \{', text, re.S):
            functions[name] = (rust_fields(args), " ".join((result or "()").split()))
        for name, args in re.findall(r'pub type (rqb_\w+) = Option<unsafe extern "C" fn\((.*?)\)>;', text):
            functions["type " + name] = (rust_fields(args), "()")
        for name, value in re.findall(r"^pub const (RQB_\w+): \w+ = (.*?);", text, re.M):
            constants[name] = value
    return structs, functions, constants


def compare(what, header, rust):
    wrong = []
    for name in sorted(header.keys() | rust.keys()):
        if name not in rust:
            wrong.append(f"{what} {name} is in the header only")
        elif name not in header:
            wrong.append(f"{what} {name} is in the Rust sources only")
        elif header[name] != rust[name]:
            wrong.append(f"{what} {name} differs:\n  header {header[name]}\n  Rust   {rust[name]}")
    return wrong


def main():
    header = read_header(pathlib.Path(sys.argv[1]))
    rust = read_rust(pathlib.Path(sys.argv[2]))
    wrong = []
    for what, ours, theirs in zip(("struct", "function", "constant"), header, rust):
        wrong += compare(what, ours, theirs)
    listing = subprocess.run(["nm", "-D", "--defined-only", sys.argv[3]], check=True, capture_output=True, text=True)
    exported = {line.split()[-1] for line in listing.stdout.splitlines()}
    declared = {name for name in header[1] if not name.startswith("type ")}
    wrong += [f"the library exports {name}, which the header does not declare" for name in sorted(exported - declared)]
    wrong += [f"the library does not export {name}" for name in sorted(declared - exported)]
    dynamic = subprocess.run(["readelf", "-d", sys.argv[3]], check=True, capture_output=True, text=True).stdout
    if "[libriffle_quiche.so.0]" not in dynamic:
        wrong.append("the library's soname is not libriffle_quiche.so.0")
    if len(declared) < 30 or len(header[0]) < 15:
        wrong.append("the header was not read: too few functions or structs")
    for line in wrong:
        print(line, file=sys.stderr)
    if wrong:
        return 1
    print(f"{len(declared)} functions, {len(header[0])} structs, {len(header[2])} constants agree")
    return 0


if __name__ == "__main__":
    sys.exit(main())
