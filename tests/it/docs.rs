//! What README and docs/ say, held against the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kclpipe::testing::check::IDS;
use kclpipe::testing::config::{self, Task};
use kclpipe::testing::exit::{self, Exit};
use kclpipe::testing::handler::VARIABLES;
use kclpipe::testing::outcome::{Class, Ended, OnExit};
use kclpipe::testing::properties::{Properties, split_command};
use kclpipe::testing::replay::faults::{Amount, KINDS};
use kclpipe::testing::reporting::{FAMILIES, Kind};
use serde_json::Value;

use crate::harness::{are_here, write_program, write_script};
use crate::launch::MAVEN;

/// The longest README that anybody reads.
const README_LINES: usize = 250;

/// Options of other programs that the documents name.
const OF_OTHERS: [&str; 26] = [
    "--example",
    "--seeds",
    "--collector",
    "--config",
    "--consumer-name",
    "--data-binary",
    "--endpoint-url",
    "--ignored",
    "--line-buffered",
    "--max-time",
    "--no-install-recommends",
    "--now",
    "--only-show-errors",
    "--partition-key",
    "--path",
    "--properties-file",
    "--release",
    "--restart",
    "--shard-count",
    "--stream",
    "--stream-name",
    "--system",
    "--test",
    "--test-threads",
    "--unbuffered",
    "--uuid",
];

/// Options that have another name now, which the changelog says.
const FORMER: [&str; 3] = ["--record", "--record-data", "--report"];

/// Variables that `kclpipe launch` reads; behind the second stands a property's name.
const OF_LAUNCH: [&str; 2] = ["KCLPIPE_JARS", "KCLPIPE_PROPERTY"];

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

/// The same, with those of the folders in it.
fn files_below(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).expect(folder);
    let inside = entries.map(|entry| entry.expect("an entry"));
    let folders = inside.filter(|entry| entry.path().is_dir());
    let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let below = names.flat_map(|name| files_below(&format!("{folder}/{name}")));
    below.chain(files(folder)).collect()
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
fn the_options_are_shown_as_the_program_prints_them() {
    let (page, help) = (read("docs/options.md"), help(&["-h"]));
    let shown = block(&page, "\n## What most users set\n");
    assert!(
        shown == help,
        "the block in docs/options.md is not what kclpipe -h prints, which is:\n{help}"
    );
}

#[test]
fn readmes_first_command_does_what_readme_says() {
    let readme = read("README.md");
    let commands = blocks(&readme, "sh");
    let output = shell(place().path(), &commands[0]);
    assert!(output.status.success(), "{output:?}");
    let printed = [output.stderr, output.stdout].concat();
    let printed = String::from_utf8(printed).expect("text");
    let trouble = printed.contains(" WARN ") || printed.contains(" ERROR ");
    assert!(!trouble, "all is well in a first run: {printed}");
    let printed: Vec<&str> = printed.lines().collect();
    let told = block(&readme, "This plays a shard").lines();
    let mut from = 0;
    for line in told {
        let found = printed[from..]
            .iter()
            .position(|printed| printed.contains(line));
        let found =
            found.unwrap_or_else(|| panic!("'{line}' is not printed there, but:\n{printed:#?}"));
        from += found + 1;
    }
}

#[test]
fn the_tables_of_handlers_exit_codes_are_those_of_the_program() {
    let class = |code| OnExit::default().class(Ended::Code(code));
    let (readme, page) = (read("README.md"), read("docs/handlers.md"));
    let told = classes(&page, "\n## Exit codes\n");
    assert!(told.len() >= 12, "there is no such table: {told:?}");
    for code in 0..=255 {
        let expected = (class(code) != Class::Fail).then(|| class(code).to_string());
        assert_eq!(told.get(&code).copied(), expected.as_deref(), "code {code}");
    }
    // README has one code of each class that a script picks on purpose.
    let told = classes(&readme, "\n## The contract of your command\n");
    let shown: Vec<(u8, String)> = told
        .iter()
        .map(|(c, class)| (*c, class.to_string()))
        .collect();
    let expected = [0, 65, 75].map(|code| (code, class(code).to_string()));
    assert_eq!(shown, expected);
}

/// The classes in a table, by their exit codes.
fn classes<'a>(document: &'a str, heading: &str) -> BTreeMap<u8, &'a str> {
    let rows = table(document, heading);
    let of_row = |row: &Vec<&'a str>| {
        numbers(row[0])
            .into_iter()
            .map(|code| (code, row[1]))
            .collect::<Vec<_>>()
    };
    rows.iter().flat_map(of_row).collect()
}

/// The numbers of a command's ends.
fn codes<E: Exit>() -> BTreeSet<u8> {
    E::ALL.iter().map(|exit| exit.code()).collect()
}

#[test]
fn the_tables_of_our_own_exit_codes_are_those_of_the_program() {
    let commands = [
        codes::<exit::Bridge>(),
        codes::<exit::Check>(),
        codes::<exit::Init>(),
        codes::<exit::Lambda>(),
        codes::<exit::Launch>(),
        codes::<exit::Redrive>(),
        codes::<exit::Replay>(),
        codes::<exit::Show>(),
    ];
    let all: BTreeSet<u8> = commands.into_iter().flatten().collect();
    for (name, heading, expected) in [
        ("docs/options.md", "\n## Exit codes\n", all),
        (
            "docs/protocol.md",
            "\n## How kclpipe ends\n",
            codes::<exit::Bridge>(),
        ),
        (
            "docs/check.md",
            "\nThe exit codes:\n",
            codes::<exit::Check>(),
        ),
    ] {
        let text = read(name);
        let rows = table(&text, heading);
        let told: BTreeSet<u8> = rows.iter().flat_map(|row| numbers(row[0])).collect();
        assert_eq!(told, expected, "in {name}");
    }
}

/// The help of the bridge, and of each subcommand that it names.
fn helps() -> Vec<String> {
    let bridge = help(&["--help"]);
    let (_, commands) = bridge.split_once("\nCommands:\n").expect("subcommands");
    let lines = commands.lines().take_while(|line| !line.is_empty());
    let words = lines.filter_map(|line| line.split_whitespace().next());
    let others: Vec<String> = words.map(|word| help(&[word, "--help"])).collect();
    [vec![bridge.clone()], others].concat()
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
fn the_table_of_finding_ids_is_that_of_the_program() {
    let page = read("docs/check.md");
    let rows = table(&page, "\n## Ids\n");
    let told: Vec<&str> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(told, IDS);
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
    let help: String = helps().concat();
    let known: BTreeSet<&str> = options(&help).into_iter().chain(OF_OTHERS).collect();
    for name in documents().into_iter().chain(files("properties")) {
        let text = read(&name);
        let former: &[&str] = match name.as_str() {
            "docs/changelog.md" => &FORMER,
            _ => &[],
        };
        let unknown = options(&text).into_iter();
        let unknown = unknown.filter(|option| !known.contains(option) && !former.contains(option));
        let unknown: Vec<_> = unknown.collect();
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
    let known: BTreeSet<String> = of_options
        .chain(VARIABLES.map(str::to_owned))
        .chain(OF_LAUNCH.map(str::to_owned))
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
    for name in VARIABLES {
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

/// Commands of documents that are not run: they change the system, want the network, or take too long.
const ONLY_NAMED: [&str; 10] = [
    "apt",
    "aws",
    "cargo",
    "install",
    "java",
    "journalctl",
    "psql",
    "systemctl",
    "systemd-analyze",
    "tar",
];

/// A folder as the top of the repository is, with the samples in it, where `kclpipe` is this program, and
/// the commands that are only named do nothing.
fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a folder");
    for name in ["docs", "tests"] {
        symlink(root().join(name), place.path().join(name)).expect("linked");
    }
    fs::create_dir(place.path().join("properties")).expect("made");
    for name in ["kclpipe.properties", "local.properties", "handler.args"] {
        // As the pages say, with a stream and an application of one's own.
        let sample = read(&format!("properties/{name}"));
        let own = sample
            .replace("my-stream", "orders")
            .replace("my-application", "orders-reader");
        fs::write(place.path().join("properties").join(name), own).expect("written");
    }
    let bin = place.path().join("bin");
    fs::create_dir(&bin).expect("made");
    for name in ONLY_NAMED {
        write_script(&bin.join(name), "true");
    }
    write_script(&bin.join("mvn"), MAVEN);
    for (name, sample) in [
        ("kclpipe.properties", "properties/kclpipe.properties"),
        ("handler.args", "properties/handler.args"),
        ("handler.sh", "docs/examples/handler.sh"),
        ("records.txt", "docs/examples/records.txt"),
    ] {
        fs::copy(place.path().join(sample), place.path().join(name)).expect("copied");
    }
    // What a worker has left by then.
    fs::create_dir(place.path().join("metrics")).expect("made");
    let letter = r#"{"shardId":"shardId-000000000000","sequenceNumber":"1","subSequenceNumber":0,"partitionKey":"k","approximateArrivalTimestamp":1,"dataBase64":"eA=="}"#;
    fs::write(place.path().join("dead.jsonl"), format!("{letter}\n")).expect("written");
    // What README asks for: your stream and your application.
    let properties = place.path().join("kclpipe.properties");
    let yours = read("properties/kclpipe.properties")
        .replace("= my-stream", "= orders")
        .replace("= my-application", "= orders-reader");
    fs::write(properties, yours).expect("written");
    let release = place.path().join("target/release");
    fs::create_dir_all(&release).expect("made");
    for folder in [bin, release] {
        symlink(env!("CARGO_BIN_EXE_kclpipe"), folder.join("kclpipe")).expect("linked");
    }
    place
}

/// The blocks of a document in this language.
fn blocks(document: &str, language: &str) -> Vec<String> {
    let mark = format!("\n```{language}\n");
    let blocks = document.split(mark.as_str()).skip(1);
    blocks
        .map(|rest| rest.split("\n```").next().unwrap_or_default().to_owned() + "\n")
        .collect()
}

/// Runs the commands of a page, each block by itself, in a folder that is like the top of the repository.
fn commands_work(page: &str, needs: &[&str]) {
    if !are_here(&format!("the commands of {page}"), needs) {
        return;
    }
    // Two seeds show as much as twenty.
    let text = read(page).replace("$(seq 20)", "$(seq 2)");
    let place = place();
    // What a page shows as a program is what its commands run.
    let programs = blocks(&text, "python").into_iter();
    if let Some(program) = programs.into_iter().find(|b| b.starts_with("#!")) {
        write_program(&place.path().join("orders.py"), &program);
    }
    let commands = blocks(&text, "sh").into_iter();
    let mut seen = 0;
    for block in commands.filter(|block| !block.starts_with("#!")) {
        let output = shell(place.path(), &block);
        assert!(output.status.success(), "in {page}:\n{block}\n{output:?}");
        seen += 1;
    }
    assert!(seen > 0, "{page} has no commands");
}

/// Runs a block of commands there. What does not end is stopped.
fn shell(place: &Path, block: &str) -> Output {
    let path = std::env::var("PATH").expect("a PATH");
    Command::new("timeout")
        .args(["120", "sh", "-ec", block])
        .env("HOME", place)
        .env("XDG_RUNTIME_DIR", place)
        .env_remove("XDG_DATA_HOME")
        .env_remove("JAVA_HOME")
        .current_dir(place)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PATH", format!("{}/bin:{path}", place.display()))
        .stdin(Stdio::null())
        .output()
        .expect("timeout, of coreutils")
}

/// A test for the commands of each page.
macro_rules! commands_of_documents_work {
    ($($name:ident: $page:literal needs $programs:expr;)*) => {
        const PAGES_WITH_COMMANDS: &[&str] = &[$($page),*];

        mod the_commands_work_as_they_stand {
            $(#[test]
            fn $name() {
                super::commands_work($page, &$programs);
            })*
        }
    };
}

commands_of_documents_work! {
    of_readme: "README.md" needs [];
    of_filter: "docs/filter.md" needs [];
    of_from_kclpy: "docs/from-kclpy.md" needs ["python3"];
    of_from_lambda: "docs/from-lambda.md" needs ["python3"];
    of_launch: "docs/launch.md" needs [];
    of_operations: "docs/operations.md" needs [];
    of_performance: "docs/performance.md" needs [];
    of_rehearsal: "docs/rehearsal.md" needs [];
    of_windows: "docs/windows.md" needs [];
}

/// README's recipes: the last program that each names, the programs that it needs, and the file that its records
/// end up in.
const RECIPES: [(&str, &[&str], &str); 6] = [
    ("./handler.sh", &[], "handled"),
    ("aws", &[], "object"),
    ("psql", &[], "table"),
    ("./load.sh", &["bash", "jq"], "loaded"),
    ("docs/examples/lambda/run.py", &["python3"], "stock.txt"),
    ("docs/examples/stock.py", &["python3"], "stock.db"),
];

#[test]
fn readmes_recipes_take_records() {
    let readme = read("README.md");
    let (_, section) = readme.split_once("\n## Recipes\n").expect("recipes");
    let block = blocks(section, "sh").remove(0);
    let recipes: Vec<&str> = block
        .lines()
        .filter(|line| line.starts_with("kclpipe "))
        .collect();
    assert_eq!(recipes.len(), RECIPES.len());
    for (recipe, (program, needs, file)) in recipes.into_iter().zip(RECIPES) {
        assert!(recipe.contains(program), "{recipe}");
        if are_here(&format!("README's recipe with {program}"), needs) {
            takes_records(recipe, file);
        }
    }
}

/// Plays a shard for a recipe, in a place where the reader's own programs keep what they get.
fn takes_records(recipe: &str, file: &str) {
    let place = place();
    let path = |name: &str| place.path().join(name);
    write_script(&path("handler.sh"), "cat >>handled");
    write_script(&path("load.sh"), "cat >>loaded");
    write_script(&path("bin/aws"), r#"echo "$4" >name; cat >>object"#);
    write_script(&path("bin/psql"), "cat >>table");
    let fruits = ["apples", "pears", "plums"];
    let records = fruits.map(|fruit| format!("{{\"fruit\":\"{fruit}\",\"count\":3}}\n"));
    fs::write(path("orders"), records.concat()).expect("written");
    let output = shell(place.path(), &format!("kclpipe replay orders -- {recipe}"));
    assert!(output.status.success(), "{recipe}: {output:?}");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(
        !log.contains(" WARN ") && !log.contains(" ERROR "),
        "{recipe}: {log}"
    );
    let kept = fs::read(path(file)).expect(file);
    let kept = String::from_utf8_lossy(&kept);
    assert!(
        fruits.iter().all(|fruit| kept.contains(fruit)),
        "{recipe}: {kept}"
    );
}

/// What `tests/daemon/functions.rs` runs.
#[test]
fn readmes_commands_for_a_function_are_those_of_the_page() {
    let (readme, page) = (read("README.md"), read("docs/from-lambda.md"));
    let shown = block(&readme, "\n## A function of AWS Lambda\n");
    assert_eq!(shown, block(&page, "\nIn Python:\n"));
}

#[test]
fn readme_names_the_packages_of_this_version() {
    let readme = read("README.md");
    for (before, after) in [("kclpipe-", "-x86_64-linux"), ("kclpipe_", "_amd64.deb")] {
        let name = format!("{before}{}{after}", env!("CARGO_PKG_VERSION"));
        assert!(readme.contains(&name), "README.md does not name {name}");
    }
}

/// Pages whose commands are about files of the reader's, or have tests of their own (`examples.rs`).
const ABOUT_OTHER_FILES: [&str; 3] = ["docs/check.md", "docs/handlers.md", "docs/recipes.md"];

#[test]
fn no_page_with_commands_is_forgotten() {
    let has_commands = |name: &String| {
        let blocks = blocks(&read(name), "sh");
        blocks.iter().any(|block| !block.starts_with("#!"))
    };
    let found: BTreeSet<String> = documents().into_iter().filter(has_commands).collect();
    let known = PAGES_WITH_COMMANDS.iter().chain(&ABOUT_OTHER_FILES);
    assert_eq!(found, known.map(|name| (*name).to_owned()).collect());
}

/// The scripts that a text has sh run: what is between the quotes of `sh -c '…'`.
fn scripts(text: &str) -> impl Iterator<Item = &str> {
    let scripts = text.split("sh -c '").skip(1);
    scripts.filter_map(|rest| Some(rest.split_once('\'')?.0))
}

/// sh has no pipefail, so a failure of any command but the last is not seen, and its record is lost.
#[test]
fn no_pipeline_is_shown_under_sh() {
    let pages = documents().into_iter().chain(files("properties"));
    let pages = pages.chain(files_below("docs/examples"));
    let texts = pages.map(|name| (name.clone(), read(&name)));
    let helps = helps().into_iter().map(|help| ("a help".to_owned(), help));
    let mut seen = 0;
    for (name, text) in texts.chain(helps) {
        for script in scripts(&text) {
            let is_pipeline = script.replace("||", "").contains('|');
            assert!(!is_pipeline, "{name} shows a pipeline under sh: {script}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "only {seen} were found");
}

/// Answers each request with the status that its body asks for, and what is `busy` or `gone` first in that way
/// and then with 200. Returns where it listens.
pub(crate) fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    std::thread::spawn(move || {
        let mut seen = BTreeSet::new();
        for client in listener.incoming() {
            let mut client = BufReader::new(client.expect("a client"));
            let body = body(&mut client);
            let status = match (body.as_str(), seen.insert(body.clone())) {
                ("gone", true) => continue,
                ("busy", true) => "503",
                ("gone" | "busy", false) => "200",
                (status, _) => status,
            };
            let answer =
                format!("HTTP/1.1 {status} -\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            let _ = client.get_mut().write_all(answer.as_bytes());
        }
    });
    address
}

/// The body of a request.
fn body(client: &mut impl BufRead) -> String {
    let mut length = 0;
    loop {
        let mut line = String::new();
        client.read_line(&mut line).expect("a line of the head");
        match line.trim_end().split_once(": ") {
            Some(("Content-Length", value)) => length = value.parse().expect("a number"),
            Some(_) => {}
            None if line.trim_end().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).expect("the body");
    String::from_utf8(body).expect("text")
}

#[test]
fn readmes_handler_tells_a_bad_record_from_a_server_that_is_busy_or_gone() {
    if !are_here("README's handler", &["curl"]) {
        return;
    }
    let readme = read("README.md");
    let mut handlers = blocks(&readme, "sh").into_iter();
    let handler = handlers.find(|block| block.starts_with("#!")).expect("one");
    let there = format!("http://{}", server());
    let place = tempfile::tempdir().expect("a folder");
    let program = place.path().join("handler");
    write_program(&program, &handler.replace("https://example.com", &there));
    fs::write(
        place.path().join("records"),
        "200\nbusy\n400\n204\ngone\n404\n422\n200\n",
    )
    .expect("written");
    let quick = "--max-attempts 2 --retry-delay 2ms --retry-max-delay 4ms --dead-letter letters";
    let mut words = vec!["replay", "records", "--timeout", "60s", "--", "kclpipe"];
    words.extend(quick.split(' ').chain(["--", "./handler"]));
    let output = Command::new(env!("CARGO_BIN_EXE_kclpipe"))
        .args(words)
        .current_dir(place.path())
        .env("no_proxy", "*")
        .stdin(Stdio::null())
        .output()
        .expect("started");
    assert!(output.status.success(), "{output:?}");
    let letters = fs::read_to_string(place.path().join("letters")).expect("letters");
    let letters = letters.lines().map(|line| {
        let letter: Value = serde_json::from_str(line).expect("JSON");
        let data = letter["dataBase64"].as_str().expect("a text");
        let data = STANDARD.decode(data).expect("base64");
        let outcome = letter["outcome"].as_str().expect("a text").to_owned();
        (String::from_utf8(data).expect("text"), outcome)
    });
    let expected = [
        ("400", "exit code 65"),
        ("404", "exit code 1"),
        ("422", "exit code 65"),
    ];
    let expected = expected.map(|(data, outcome)| (data.to_owned(), outcome.to_owned()));
    assert_eq!(letters.collect::<Vec<_>>(), expected, "{output:?}");
}

#[test]
fn the_unit_is_shown_as_it_is_and_its_patience_is_longer_than_the_daemons() {
    let unit = read("docs/kclpipe@.service");
    assert_eq!(blocks(&read("docs/operations.md"), "ini"), [unit.as_str()]);
    let patience = unit
        .split("TimeoutStopSec=")
        .nth(1)
        .map(|rest| numbers(rest.lines().next().unwrap_or_default()));
    let daemon =
        Properties::parse(read("properties/kclpipe.properties").as_bytes()).expect("sound");
    let grace: u64 = daemon
        .get("shutdownGraceMillis")
        .and_then(|grace| grace.parse().ok())
        .expect("a number");
    let patience = u64::from(patience.expect("a time")[0]);
    assert!(patience * 1000 > grace, "{patience} s, {grace} ms");
}

/// The texts in a source file, each as what stands between its `{}`s.
fn texts(source: &str) -> Vec<Vec<String>> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let code = code.replace("\\\"", "'").replace("'\"'", "");
    let texts = code.split('"').skip(1).step_by(2).map(|text| {
        // A backslash at a line's end joins the lines.
        let lines: Vec<&str> = text.split("\\\n").collect();
        let rest = lines[1..].iter().map(|line| line.trim_start());
        let joined = [lines[0]].into_iter().chain(rest).collect::<String>();
        let mut pieces = joined.split('{');
        let first = pieces.next().unwrap_or_default().to_owned();
        let others = pieces.map(|piece| piece.split_once('}').map_or(piece, |(_, text)| text));
        [first]
            .into_iter()
            .chain(others.map(str::to_owned))
            .collect()
    });
    texts.collect()
}

/// Whether a line is what a text prints with something in each gap.
fn is_printed_by(text: &[String], line: &str) -> bool {
    let (Some((first, others)), true) = (text.split_first(), text.concat().len() >= 12) else {
        return false;
    };
    let Some(mut rest) = line.strip_prefix(first.as_str()) else {
        return false;
    };
    for (left, piece) in (0..others.len()).rev().zip(others) {
        rest = match (left, rest.find(piece.as_str())) {
            (0, _) => return rest.ends_with(piece.as_str()),
            (_, Some(at)) => &rest[at + piece.len()..],
            (_, None) => return false,
        };
    }
    rest.is_empty()
}

#[test]
fn every_log_line_that_is_quoted_is_printed() {
    let sources = files_below("src");
    let known: Vec<_> = sources.iter().flat_map(|name| texts(&read(name))).collect();
    let mut seen = 0;
    for name in documents() {
        let page = read(&name);
        let mut blocks = page.split("\n```");
        let quoted = blocks
            .by_ref()
            .filter_map(|block| block.strip_prefix("text\n"));
        for line in quoted.flat_map(str::lines) {
            let levels = ["ERROR ", "WARN  ", "INFO  "];
            let Some(told) = levels.iter().find_map(|level| line.strip_prefix(level)) else {
                continue;
            };
            let (_, text) = told.split_once(": ").expect(line);
            assert!(
                known.iter().any(|known| is_printed_by(known, text)),
                "'{line}' in {name} is not what any part of src prints"
            );
            seen += 1;
        }
    }
    assert!(seen >= 20, "only {seen} lines were found");
}

#[test]
fn readme_links_every_page() {
    let readme = read("README.md");
    for name in documents().iter().filter(|name| *name != "README.md") {
        assert!(readme.contains(&format!("]({name}")), "{name}");
    }
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

/// The names that a text takes for metrics of ours.
fn metrics(text: &str) -> BTreeSet<&str> {
    words_with(text, "kclpipe_", |c| c.is_ascii_lowercase() || c == '_')
}

/// The names under which Prometheus has our metrics, and those of the metrics.
fn metrics_that_exist() -> BTreeMap<String, &'static str> {
    let mut names = BTreeMap::new();
    for family in FAMILIES {
        let endings: &[&str] = match family.kind {
            Kind::Histogram => &["", "_bucket", "_sum", "_count"],
            Kind::Counter | Kind::Gauge => &[""],
        };
        names.extend(
            endings
                .iter()
                .map(|end| (format!("{}{end}", family.name), family.name)),
        );
    }
    names
}

#[test]
fn the_table_of_metrics_is_that_of_the_program() {
    let page = read("docs/monitoring.md");
    let told = table(&page, "\n## Every metric\n");
    let exist = FAMILIES.iter().map(|family| {
        let labels = family.labels.iter().map(|label| format!("`{label}`"));
        let labels: Vec<String> = labels.collect();
        let kind = format!("{:?}", family.kind).to_lowercase();
        [
            format!("`{}`", family.name),
            kind,
            labels.join(", "),
            family.help.to_owned(),
        ]
    });
    let exist: Vec<[String; 4]> = exist.collect();
    assert_eq!(told, exist);
}

/// The metric that `kclpipe status --listen` adds to those of the files.
const SERVED: &str = "kclpipe_up";

#[test]
fn documents_dashboard_and_alerts_name_only_metrics_that_exist_and_none_is_forgotten() {
    let exist = metrics_that_exist();
    let mut shown = BTreeSet::new();
    let others = ["docs/grafana-dashboard.json", "docs/alerts.yml"].map(str::to_owned);
    for name in documents().into_iter().chain(others.clone()) {
        let text = read(&name);
        for metric in metrics(&text) {
            if metric == SERVED {
                continue;
            }
            let known = exist.get(metric);
            let family = known.unwrap_or_else(|| panic!("{name} names {metric}"));
            if others.contains(&name) {
                shown.insert(*family);
            }
        }
    }
    let all: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(shown, all, "no panel and no alert has the others");
}

#[test]
fn every_alert_is_explained_and_has_a_level_and_a_summary() {
    let (page, rules) = (read("docs/monitoring.md"), read("docs/alerts.yml"));
    let told = table(&page, "\n## What to alarm on\n");
    let told: Vec<&str> = told.iter().map(|row| row[0].trim_matches('`')).collect();
    let rules: Vec<&str> = rules.split("- alert: ").skip(1).collect();
    let names: Vec<&str> = rules
        .iter()
        .filter_map(|rule| rule.lines().next())
        .collect();
    assert_eq!(told, names);
    for rule in rules {
        for part in [
            "expr: ",
            "labels: {severity: ",
            "summary: ",
            "description: ",
        ] {
            assert!(rule.contains(part), "no '{part}' in {rule}");
        }
    }
}

#[test]
fn every_panel_of_the_dashboard_has_a_title_and_queries_of_the_chosen_shards() {
    let dashboard: Value =
        serde_json::from_str(&read("docs/grafana-dashboard.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let titles: BTreeSet<String> = panels.iter().map(|panel| text(&panel["title"])).collect();
    assert_eq!(titles.len(), panels.len());
    for panel in panels {
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            let query = text(&target["expr"]);
            let chosen = query.matches(r#"{name=~"$name",shard=~"$shard""#).count();
            assert_eq!(chosen, query.matches("kclpipe_").count(), "{query}");
        }
    }
}

/// All source of the program, without its comments.
fn source() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut left, mut all) = (vec![folder], String::new());
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder");
            left.extend(entries.map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).expect("text");
            let code = text.lines().filter(|line| !line.trim().starts_with("//"));
            code.for_each(|line| all.extend([line, "\n"]));
        }
    }
    all
}

/// Whether the source declares something of this name: an item, or a case of an enum.
fn declares(source: &str, name: &str) -> bool {
    let keywords = [
        "fn ", "struct ", "enum ", "trait ", "mod ", "const ", "static ",
    ];
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    source.match_indices(name).any(|(at, _)| {
        let (before, after) = (&source[..at], &source[at + name.len()..]);
        let is_item = keywords.iter().any(|word| before.ends_with(word));
        let is_case = before.ends_with("\n    ") && after.starts_with([',', '(', ' ']);
        !after.starts_with(is_part) && (is_item || is_case)
    })
}

#[test]
fn what_the_architecture_names_is_in_the_source() {
    let (page, source) = (read("docs/architecture.md"), source());
    let mut names = 0;
    // What stands between single backticks.
    for span in page.split('`').skip(1).step_by(2) {
        let first = span.split('/').next().unwrap_or_default();
        if ["src", "tests", "docs"].contains(&first) && span.contains('/') {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(span);
            assert!(path.exists(), "{span} is not there");
            names += 1;
            continue;
        }
        let is_name = |word: &str| {
            word.starts_with(|c: char| c.is_ascii_alphabetic())
                && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if FOREIGN.contains(&span) || !span.split("::").all(is_name) {
            continue;
        }
        for name in span.split("::") {
            assert!(
                declares(&source, name),
                "`{span}`: nothing is called {name}"
            );
            names += 1;
        }
    }
    assert!(names > 30, "only {names} names were seen");
}

/// Names in docs/architecture.md that are not the program's own.
const FOREIGN: [&str; 7] = [
    "unsafe",
    "unwrap",
    "curl",
    "ssh",
    "SHARD_END",
    "LATEST",
    "ShutdownException",
];

#[test]
fn a_name_counts_only_where_it_is_declared() {
    let source = "struct Pool;\nenum E {\n    Case,\n    Other(u8),\n}\nfn used() { call(); }\n";
    for (name, expected) in [
        ("Pool", true),
        ("Poo", false),
        ("Case", true),
        ("Other", true),
        ("used", true),
        ("call", false),
    ] {
        assert_eq!(declares(source, name), expected, "{name}");
    }
}
