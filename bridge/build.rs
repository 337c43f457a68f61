fn main() {
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libriffle_quiche.so.0");
}
