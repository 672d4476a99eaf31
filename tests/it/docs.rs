//! What README and docs/ say, held against the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kclpipe::config::{self, Task};
use kclpipe::outcome::{Class, Ended, OnExit};
use kclpipe::properties::{Properties, split_command};
use kclpipe::replay::faults::{Amount, KINDS};

/// The longest README that anybody reads.
const README_LINES: usize = 350;

/// Options of other programs that the documents name.
const OF_OTHERS: [&str; 14] = [
    "--data-binary",
    "--endpoint-url",
    "--ignored",
    "--line-buffered",
    "--only-show-errors",
    "--partition-key",
    "--path",
    "--properties-file",
    "--release",
    "--shard-count",
    "--stream-name",
    "--test",
    "--test-threads",
    "--unbuffered",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).expect(name)
}

/// The names of the files in a folder, from the top of the repository.
fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).expect(folder);
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let files = paths.filter(|path| path.is_file());
    files
        .map(|path| {
            let inside = path.strip_prefix(root()).expect("it is inside");
            inside.to_string_lossy().into_owned()
        })
        .collect()
}

/// README and the pages of docs/.
fn documents() -> Vec<String> {
    let pages = files("docs")
        .into_iter()
        .filter(|name| name.ends_with(".md"));
    pages.chain(["README.md".to_owned()]).collect()
}

fn kclpipe(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kclpipe"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KCLPIPE_") {
            command.env_remove(name);
        }
    }
    // Help is as wide as the terminal, and COLUMNS wide without one.
    command
        .env_remove("COLUMNS")
        .args(arguments)
        .current_dir(root())
        .stdin(Stdio::null());
    command.output().expect("started")
}

fn help(arguments: &[&str]) -> String {
    String::from_utf8(kclpipe(arguments).stdout).expect("text")
}

/// The text between ``` and ``` that follows `heading`.
fn block<'a>(document: &'a str, heading: &str) -> &'a str {
    let (_, section) = document.split_once(heading).expect(heading);
    section.split("```\n").nth(1).expect("a block")
}

/// The cells of a table that follows `heading`, without its two head lines.
fn table<'a>(document: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let (_, section) = document.split_once(heading).expect(heading);
    let lines = section.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
        .collect()
}

/// The numbers in a cell of a table.
fn numbers(cell: &str) -> Vec<u8> {
    let words = cell.split(|c: char| !c.is_ascii_digit());
    words.filter_map(|word| word.parse().ok()).collect()
}

/// The words of a text that begin with `mark`, as far as their letters are fit for a name.
fn words_with<'a>(text: &'a str, mark: &str, fit: fn(char) -> bool) -> BTreeSet<&'a str> {
    let found = text.match_indices(mark).filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(|c| !c.is_alphanumeric() && c != '-' && c != '_')
    });
    let names = found.map(|(at, _)| {
        let name = &text[at..];
        let length = mark.len()
            + name[mark.len()..]
                .find(|c| !fit(c))
                .unwrap_or(name.len() - mark.len());
        name[..length].trim_end_matches(['-', '_'])
    });
    names.filter(|name| name.len() > mark.len()).collect()
}

fn options(text: &str) -> BTreeSet<&str> {
    words_with(text, "--", |c| c.is_ascii_lowercase() || c == '-')
}

/// GitHub's name for a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn anchors(document: &str) -> BTreeSet<String> {
    let mut in_block = false;
    let headings = document.lines().filter(|line| {
        in_block ^= line.starts_with("```");
        !in_block && line.starts_with('#')
    });
    headings.map(anchor).collect()
}

#[test]
fn readme_is_short() {
    let lines = read("README.md").lines().count();
    assert!(lines < README_LINES, "README.md has {lines} lines");
}

#[test]
fn readme_has_the_options_as_the_program_prints_them() {
    let (readme, help) = (read("README.md"), help(&["-h"]));
    let shown = block(&readme, "\n## Options\n");
    assert!(
        shown == help,
        "the block under 'Options' in README.md is not what kclpipe -h prints, which is:\n{help}"
    );
}

#[test]
fn readmes_first_command_does_what_readme_says() {
    let readme = read("README.md");
    let line = readme.lines().find(|line| line.starts_with("cargo run"));
    let (_, arguments) = line
        .and_then(|line| line.split_once(" -- "))
        .expect("the command");
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let output = kclpipe(&arguments);
    assert!(output.status.success(), "{output:?}");
    let printed = [output.stderr, output.stdout].concat();
    let printed = String::from_utf8(printed).expect("text");
    let printed: Vec<&str> = printed.lines().collect();
    let told = block(&readme, "The first one prints").lines();
    let mut from = 0;
    for line in told {
        let found = printed[from..]
            .iter()
            .position(|printed| printed.ends_with(line));
        let found =
            found.unwrap_or_else(|| panic!("'{line}' is not printed there, but:\n{printed:#?}"));
        from += found + 1;
    }
}

#[test]
fn the_tables_of_handlers_exit_codes_are_those_of_the_program() {
    for (name, heading) in [
        ("README.md", "\n## The contract of your command\n"),
        ("docs/handlers.md", "\n## Exit codes\n"),
    ] {
        let text = read(name);
        let rows = table(&text, heading);
        let told: BTreeMap<u8, &str> = rows
            .iter()
            .flat_map(|row| numbers(row[0]).into_iter().map(|code| (code, row[1])))
            .collect();
        assert!(told.len() >= 12, "{name} has no such table: {told:?}");
        for code in 0..=255 {
            let class = OnExit::default().class(Ended::Code(code));
            let expected = (class != Class::Fail).then(|| class.to_string());
            assert_eq!(
                told.get(&code).copied(),
                expected.as_deref(),
                "code {code} in {name}"
            );
        }
    }
}

#[test]
fn the_tables_of_our_own_exit_codes_are_those_of_the_program() {
    let source = read("src/exit.rs");
    let codes = source
        .lines()
        .filter_map(|line| line.trim().strip_suffix(','));
    let codes = codes.filter_map(|line| line.split_once(" = ")?.1.parse::<u8>().ok());
    let codes: BTreeSet<u8> = codes.collect();
    assert!(codes.len() >= 5, "{codes:?}");
    for (name, heading) in [
        ("README.md", "- **Exit codes**"),
        ("docs/protocol.md", "\n## How kclpipe ends\n"),
    ] {
        let text = read(name);
        let rows = table(&text, heading);
        let told: BTreeSet<u8> = rows.iter().flat_map(|row| numbers(row[0])).collect();
        assert_eq!(told, codes, "in {name}");
    }
}

#[test]
fn the_table_of_faults_is_that_of_the_program() {
    let page = read("docs/rehearsal.md");
    let rows = table(&page, "\n## Faults\n");
    let told: Vec<(&str, String)> = rows
        .iter()
        .map(|row| (row[0].trim_matches('`'), row[1].to_owned()))
        .collect();
    let known = KINDS.iter().map(|kind| {
        let usual = match kind.usual {
            Amount::Rate(rate) => rate.to_string(),
            Amount::UpTo(longest) => format!("{}ms", longest.as_millis()),
        };
        (kind.name, usual)
    });
    assert_eq!(told, known.collect::<Vec<_>>());
    let help = help(&["replay", "--help"]);
    let named = |name: &str| help.split([' ', ',', '\n']).any(|word| word == name);
    for kind in &KINDS {
        assert!(named(kind.name), "--help does not name {}", kind.name);
        let error = kind.error.unwrap_or_default();
        assert!(page.contains(error), "docs/rehearsal.md has no {error}");
    }
}

#[test]
fn the_rehearsal_of_the_docs_is_as_they_say() {
    let page = read("docs/rehearsal.md");
    let line = page
        .lines()
        .find(|line| line.starts_with("kclpipe replay --inject"));
    let arguments = line.and_then(|line| line.split_once(' ')).expect("it").1;
    let (replay, child) = arguments.split_once(" -- ").expect("a child");
    let all = format!("{replay} --seed 3 -- {child}");
    let output = kclpipe(&all.split(' ').collect::<Vec<_>>());
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("text");
    // How many checkpoints there are, and how fast it is, depends on time.
    let of_seed = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.contains("records/s"));
        let lines = lines.map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let next = words.iter().skip(1).copied().chain([""]);
            let kept = words.iter().zip(next);
            kept.filter(|(_, next)| !next.starts_with("checkpoint"))
                .map(|(word, _)| format!("{word} "))
                .collect()
        });
        lines.collect()
    };
    let told = block(&page, "It ends with");
    assert_eq!(of_seed(&printed), of_seed(told));
}

#[test]
fn every_option_that_is_named_exists() {
    let help = [help(&["--help"]), help(&["replay", "--help"])].concat();
    let known: BTreeSet<&str> = options(&help).into_iter().chain(OF_OTHERS).collect();
    for name in documents().into_iter().chain(files("properties")) {
        let text = read(&name);
        let unknown: Vec<_> = options(&text).difference(&known).copied().collect();
        assert!(unknown.is_empty(), "{name} names {unknown:?}");
    }
}

#[test]
fn every_variable_that_is_named_exists() {
    let help = help(&["--help"]);
    let of_options = options(&help).into_iter().map(|option| {
        let name = option.trim_start_matches('-').to_uppercase();
        format!("KCLPIPE_{}", name.replace('-', "_"))
    });
    let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let source = read("src/handler/environment.rs");
    let of_handlers = words_with(&source, "KCLPIPE_", is_name);
    let known: BTreeSet<String> = of_options
        .chain(of_handlers.iter().map(|name| (*name).to_owned()))
        .collect();
    // What is in a folder of docs/examples is shown by a page, too.
    for name in documents().into_iter().chain(files("docs/examples")) {
        let text = read(&name);
        let unknown: Vec<_> = words_with(&text, "KCLPIPE_", is_name)
            .into_iter()
            .filter(|name| !known.contains(*name))
            .collect();
        assert!(unknown.is_empty(), "{name} names {unknown:?}");
    }
    let contract = read("docs/handlers.md");
    for name in of_handlers {
        assert!(
            contract.contains(&format!("`{name}`")),
            "docs/handlers.md does not name {name}"
        );
    }
}

#[test]
fn the_command_of_every_properties_sample_is_sound() {
    let samples = files("properties");
    let samples = samples.iter().filter(|name| name.ends_with(".properties"));
    let mut seen = 0;
    for name in samples {
        let properties = Properties::parse(&fs::read(root().join(name)).expect(name)).expect(name);
        let command = properties.get("executableName").expect(name);
        let mut words = split_command(command).into_iter();
        let program = words.next().expect("a program");
        assert!(
            program == "kclpipe" || program.ends_with("/kclpipe"),
            "{name}: {program}"
        );
        // @FILE is relative to the daemon's directory, and a sample's file is beside the sample.
        let beside = Path::new(name).parent().expect("a folder");
        let arguments = words.map(|word| match word.strip_prefix('@') {
            Some(file) => format!("@{}", root().join(beside).join(file).display()).into(),
            None => word.into(),
        });
        let task = config::read(arguments, std::iter::empty());
        assert!(matches!(task, Ok(Task::Bridge(_))), "{name}: {task:?}");
        seen += 1;
    }
    assert_eq!(seen, 2, "samples");
}

#[test]
fn every_link_leads_somewhere() {
    for name in documents() {
        let text = read(&name);
        let links = text.split("](").skip(1);
        let links = links.map(|rest| rest.split(')').next().expect("a first part"));
        for link in links.filter(|link| !link.contains("://")) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => root().join(&name),
                file => root().join(&name).parent().expect("a folder").join(file),
            };
            assert!(target.exists(), "'{link}' in {name} leads nowhere");
            let found = place.is_empty()
                || anchors(&fs::read_to_string(&target).expect("text")).contains(place);
            assert!(found, "'{link}' in {name} leads to no heading");
        }
    }
}
