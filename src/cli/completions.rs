//! The shells' completion scripts, as they are printed.

use clap::ValueEnum;

/// A shell that has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs, reason = "the names say it, and --help shows no more")]
pub(crate) enum Shell {
    Bash,
    Fish,
    Zsh,
}

/// What a shell needs to complete the command line of kclpipe.
pub(crate) fn completions(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => include_str!("completions/kclpipe.bash"),
        Shell::Fish => include_str!("completions/kclpipe.fish"),
        Shell::Zsh => include_str!("completions/kclpipe.zsh"),
    }
}
