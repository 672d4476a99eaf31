//! The repository checks itself.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules, each with its layer: a module may use only modules of lower layers.
const LAYERS: &[(&str, u32)] = &[
    ("append_line", 0),
    ("clean", 0),
    ("clock", 0),
    ("due", 0),
    ("exit", 0),
    ("outcome", 0),
    ("plural", 0),
    ("properties", 0),
    ("random", 0),
    ("shard_state", 1),
    ("http", 0),
    ("launched", 0),
    ("suggest", 0),
    ("filter", 1),
    ("backoff", 1),
    ("host_slots", 1),
    ("logging", 1),
    ("process", 1),
    ("protocol", 1),
    ("throttle", 0),
    ("trigger", 0),
    ("counters", 2),
    ("record", 2),
    ("capture", 2),
    ("checkpoint", 3),
    ("record_json", 3),
    ("dead_letter", 4),
    ("format", 4),
    ("check", 5),
    ("handler", 5),
    ("reporting", 5),
    ("bridge", 6),
    ("init", 6),
    ("lambda", 2),
    ("launch", 6),
    ("replay", 6),
    ("status", 6),
    ("cli", 7),
    ("redrive", 7),
    ("config", 8),
    ("app", 9),
    ("lib", 10),
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
    let found = paths.flat_map(|path| {
        if path.is_dir() {
            files(&path, ending)
        } else {
            vec![path]
        }
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

/// The text without its blocks of tests, each of which ends at a brace in the first column. What is behind such
/// a block, or behind tests in a file of their own, is code.
fn without_tests(text: &str) -> String {
    let mut parts = text.split("#[cfg(test)]\nmod ");
    let mut code = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let has_block = part.lines().next().is_some_and(|line| line.ends_with('{'));
        let end = part.find("\n}\n").filter(|_| has_block);
        code.push_str(end.map_or(if has_block { "" } else { part }, |at| &part[at..]));
    }
    code
}

#[test]
fn only_blocks_of_tests_are_cut_out() {
    let code = "a\n#[cfg(test)]\nmod tests;\nb\n#[cfg(test)]\nmod more {\n    no\n}\nc\n#[cfg(test)]\nmod last {\n    no\n}\n";
    let left = without_tests(code);
    assert!(
        ["a\n", "b\n", "c\n"].iter().all(|kept| left.contains(kept)),
        "{left}"
    );
    assert!(!left.contains("no"), "{left}");
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
        if ["lib", "main", "testing"].contains(&user.as_str()) {
            continue;
        }
        let text = fs::read_to_string(&file).expect("readable");
        for used in used(&file, &without_tests(&text)) {
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
