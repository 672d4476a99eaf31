//! The shells' completion scripts, as they are printed.

use clap::ValueEnum;

/// What `kclpipe completions --help` shows after the options.
pub(super) const INSTALL: &str = "\
To try it in this shell:
  bash:  source <(kclpipe completions bash)
  zsh:   source <(kclpipe completions zsh)
  fish:  kclpipe completions fish | source
For good, write it to a file that the shell reads: bash-completion's
~/.local/share/bash-completion/completions/kclpipe, _kclpipe in a directory of
zsh's fpath, or ~/.config/fish/completions/kclpipe.fish.";

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
