//! Compiles `proto/gateway.proto` with protox, so that a machine needs no `protoc`.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto/gateway.proto");
    let descriptors = protox::compile(["gateway.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_client(true)
        .build_server(true)
        // A fake gateway in a test implements the calls it needs; the others answer UNIMPLEMENTED.
        .generate_default_stubs(true)
        .codec_path("crate::engine::codec::SmallBuffers")
        .compile_fds(descriptors)?;
    Ok(())
}
