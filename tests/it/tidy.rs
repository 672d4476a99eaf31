//! The repository checks itself.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules, each with its layer: a module may use only modules of lower layers.
const LAYERS: [(&str, u32); 25] = [
    ("backoff", 0),
    ("clean", 0),
    ("clock", 0),
    ("due", 0),
    ("exit", 0),
    ("logging", 1),
    ("protocol", 0),
    ("record", 1),
    ("capture", 1),
    ("outcome", 1),
    ("checkpoint", 2),
    ("format", 2),
    ("process", 2),
    ("dead_letter", 2),
    ("properties", 2),
    ("tally", 2),
    ("handler", 3),
    ("check", 3),
    ("watch", 3),
    ("bridge", 4),
    ("replay", 4),
    ("launch", 4),
    ("cli", 5),
    ("config", 6),
    ("lib", 7),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files under `folder` with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let found = paths.flat_map(|path| match path.is_dir() {
        true => files(&path, ending),
        false => vec![path],
    });
    found
        .filter(|path| path.to_string_lossy().ends_with(ending))
        .collect()
}

/// The module of the top level that a source file belongs to.
fn module(file: &Path) -> String {
    let inside = file
        .strip_prefix(root().join("src"))
        .expect("a source file");
    let first = inside
        .components()
        .next()
        .expect("a name")
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules of the top level that the code of a file names, by `crate::` or by enough of `super::`.
fn used(file: &Path, code: &str) -> Vec<String> {
    let inside = file.strip_prefix(root().join("src")).expect("inside");
    let is_folders = inside.ends_with("mod.rs");
    let depth = inside.components().count() - usize::from(is_folders);
    let top = "super::".repeat(depth);
    let by_super = code.match_indices(&top).filter_map(|(at, _)| {
        let rest = &code[at + top.len()..];
        let goes_on = code[..at].ends_with("super::") || rest.starts_with("super::");
        (!goes_on).then_some(rest)
    });
    let names = code.split("crate::").skip(1).chain(by_super);
    let is_part = |c: &char| c.is_alphanumeric() || *c == '_';
    names
        .map(|rest| rest.chars().take_while(is_part).collect())
        .collect()
}

fn layer(module: &str) -> u32 {
    let known = LAYERS.iter().find(|(name, _)| *name == module);
    known
        .unwrap_or_else(|| panic!("module '{module}' has no layer in tests/it/tidy.rs"))
        .1
}

#[test]
fn a_module_uses_only_modules_of_lower_layers() {
    for file in files(&root().join("src"), ".rs") {
        let user = module(&file);
        if ["lib", "main"].contains(&user.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("readable");
        let code = text.split("#[cfg(test)]\nmod tests {").next();
        for used in used(&file, code.unwrap_or_default()) {
            let fine = used == user || layer(&used) < layer(&user);
            assert!(
                fine,
                "{} uses '{used}', which is not below it",
                file.display()
            );
        }
    }
}

#[test]
fn only_cli_names_clap_and_only_process_starts_anything() {
    for file in files(&root().join("src"), ".rs") {
        let text = fs::read_to_string(&file).expect("readable");
        let name = file.display();
        assert!(
            module(&file) == "cli" || !text.contains("clap::"),
            "{name} names clap"
        );
        let starts = text.contains("process::Command::new") || text.contains("kill_process");
        assert!(
            module(&file) == "process" || !starts,
            "{name} starts or stops processes"
        );
    }
}

#[test]
fn every_source_file_says_what_it_is() {
    for file in files(&root().join("src"), ".rs") {
        let text = fs::read_to_string(&file).expect("readable");
        assert!(
            text.starts_with("//! "),
            "{} has no first line that says what it is",
            file.display()
        );
    }
}
