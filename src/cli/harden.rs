//! What a process that holds secrets should not allow: a core dump with them in it, or a neighbour that reads its memory.

/// No core dumps, and no attaching by other processes of the same user (on Linux; root always may).
///
/// A refusal is no reason not to work: it is logged by whoever has a log by then, through the value.
///
/// # Errors
/// What the operating system refused.
#[cfg(unix)]
pub(super) fn keep_memory_private() -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).map_err(|error| format!("core dumps cannot be turned off: {error}"))?;
    // A limit of zero does not stop a kernel that pipes dumps to a program; this does.
    #[cfg(target_os = "linux")]
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable)
        .map_err(|error| format!("the memory cannot be closed to other processes: {error}"))?;
    Ok(())
}

/// Nothing to do where there are no core dumps.
#[cfg(not(unix))]
pub(super) fn keep_memory_private() -> Result<(), String> {
    Ok(())
}
