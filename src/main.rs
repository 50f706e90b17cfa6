//! Arguments → command → exit code.

fn main() -> std::process::ExitCode {
    deskhand::cli::main()
}
