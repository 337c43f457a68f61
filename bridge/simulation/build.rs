fn main() {
    println!("cargo:rustc-cfg=riffle_seeded");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libriffle_quiche_sim.so.0");
    println!("cargo:rustc-cdylib-link-arg=-Wl,--wrap=RAND_bytes");
}
