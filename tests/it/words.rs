//! What users read is plain English: words of a dialect that the project once spoke stay out of the messages,
//! the help, README and docs/.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Words, and what to write instead. A word at a place where it says what it says to everybody is in
/// [`ALLOWED`].
const DIALECT: [(&str, &str); 38] = [
    ("behind", "after"),
    ("so long", "this long, or for a time"),
    ("so many", "N, or how many"),
    ("so much", "N bytes, or how much"),
    ("so often", "N times, or at this interval"),
    ("as often", "N times"),
    ("passed over", "skipped"),
    ("passes over", "skips"),
    ("pass over", "skip"),
    ("is told", "is reported, or hears"),
    ("are told", "are reported, or hear"),
    ("told", "reported, or said"),
    ("tells", "says"),
    ("to mend", "to fix"),
    ("mends", "fixes"),
    ("mended", "fixed"),
    ("the mend", "the fix"),
    ("mend its", "fix its"),
    ("mend the", "fix the"),
    ("mend it", "fix it"),
    ("usual", "default"),
    ("stands it", "copes with it"),
    ("stand it", "cope with it"),
    ("stood it", "survived"),
    ("given up", "gave up on record N"),
    ("give a record up", "give up on a record"),
    ("gives a record up", "gives up on a record"),
    ("the run", "everything up to a position is done"),
    ("run of done", "everything up to a position is done"),
    ("wish", "checkpoint request"),
    ("wishes", "checkpoint requests"),
    ("for ever", "forever"),
    ("without a word", "silently"),
    ("stands after", "comes after"),
    ("stands before", "comes before"),
    ("stand behind", "come after"),
    ("let be", "left alone"),
    ("taken for broken", "assumed to be broken"),
];

/// Where such a word is the field's own: lag is how far one is behind, and a program is run.
const ALLOWED: [&str; 20] = [
    "behind  records/s",
    "behind=1h",
    "{behind} ms",
    "{behind}",
    "behind latest",
    "falls behind",
    "fall behind",
    "fall-behind",
    "farthest behind",
    "left behind by",
    "further behind",
    "18 hours behind",
    "behind the tip",
    "behind its tip",
    "behind the shard's tip",
    "behind the stream's end",
    "legendformat\": \"behind\"",
    "here of the run with",
    "the service has given up",
    "| humanizeduration }} behind",
];

/// Whether a literal is for a reader: an identifier has no blanks.
fn is_sentence(text: &str) -> bool {
    text.contains(' ')
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// All files below a folder with one of these endings.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let found = paths.flat_map(|path| match path.is_dir() {
        true => files(&path, endings),
        false => vec![path],
    });
    let has_ending = |path: &PathBuf| {
        endings
            .iter()
            .any(|end| path.to_string_lossy().ends_with(end))
    };
    found.filter(has_ending).collect()
}

/// The end of the string literal that begins after its opening quote at `at`.
fn end_of_literal(code: &str, at: usize) -> usize {
    let mut escaped = false;
    let end = code[at..].char_indices().find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(code.len(), |(end, _)| at + end)
}

/// The sentences among the string literals of a source file, without those of its tests, each on one line.
fn literals(source: &str) -> Vec<String> {
    let code = source.split("#[cfg(test)]\nmod tests {").next();
    let code = code.unwrap_or_default().replace("'\"'", "' '");
    let code: Vec<&str> = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    let (code, mut at, mut found) = (code.join("\n"), 0, Vec::new());
    while let Some(quote) = code[at..].find('"') {
        let start = at + quote + 1;
        let end = end_of_literal(&code, start);
        let text = code[start..end].replace("\\\n", " ");
        found.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
        at = (end + 1).min(code.len());
    }
    found.retain(|text| is_sentence(text));
    found
}

/// What the dialect has in a text, as `WORD: write this instead`.
fn dialect(text: &str) -> Vec<String> {
    let mut text = text.to_lowercase();
    for allowed in ALLOWED {
        text = text.replace(allowed, "");
    }
    let is_letter = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let has = |word: &str| {
        text.match_indices(word).any(|(at, _)| {
            let after = &text[at + word.len()..];
            !is_letter(text[..at].chars().next_back()) && !is_letter(after.chars().next())
        })
    };
    let found = DIALECT.iter().filter(|(word, _)| has(word));
    found
        .map(|(word, instead)| format!("'{word}': write {instead}"))
        .collect()
}

fn assert_plain(place: &str, text: &str, mistakes: &mut Vec<String>) {
    let found = dialect(text);
    mistakes.extend(
        found
            .iter()
            .map(|word| format!("{place}: {word}\n    {text}")),
    );
}

#[test]
fn the_list_finds_its_words_and_lets_others_be() {
    assert_eq!(dialect("The record BEHIND it"), ["'behind': write after"]);
    assert!(dialect("0.3s behind latest, in the runtime, unusual").is_empty());
    let source =
        "// \"so many\"\nlet a = \"one \\\n    so many\"; let b = '\"'; let c = \"a\\\"b c\";";
    assert_eq!(literals(source), ["one so many", "a\\\"b c"]);
}

#[test]
fn messages_are_plain_english() {
    let (mut mistakes, mut seen) = (Vec::new(), 0);
    for file in files(&root().join("src"), &[".rs"]) {
        let inside = file.strip_prefix(root()).expect("it is inside");
        let is_of_tests = inside.components().any(|part| part.as_os_str() == "tests");
        if is_of_tests || file.ends_with("tests.rs") {
            continue;
        }
        for text in literals(&fs::read_to_string(&file).expect("readable")) {
            assert_plain(&file.display().to_string(), &text, &mut mistakes);
            seen += 1;
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
    assert!(seen > 500, "only {seen} sentences were found");
}

#[test]
fn a_message_stands_whole_in_the_source() {
    for file in files(&root().join("src"), &[".rs"]) {
        let inside = file.strip_prefix(root()).expect("it is inside");
        let name = inside.display().to_string();
        if name.starts_with("src/cli") || name.contains("/tests") {
            continue;
        }
        let source = fs::read_to_string(&file).expect("readable");
        let code = source.split("#[cfg(test)]\nmod tests {").next();
        let lines: Vec<&str> = code.unwrap_or_default().lines().collect();
        let broken = lines.iter().find(|line| {
            let text = line.trim_end();
            let is_list = text.ends_with("\"\\") || text.ends_with("\\n\\");
            text.ends_with('\\') && !is_list
        });
        assert!(broken.is_none(), "{name}: grep would not find {broken:?}");
    }
}

#[test]
fn help_is_plain_english() {
    let mut mistakes = Vec::new();
    for command in [
        "--help",
        "-h",
        "replay --help",
        "init --help",
        "check --help",
        "launch --help",
        "lambda --help",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_kclpipe"))
            .args(command.split(' '))
            .stdin(Stdio::null())
            .output()
            .expect("started");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.len() > 500, "{command}: {text}");
        // A paragraph is broken into lines.
        for paragraph in text.split("\n\n") {
            let words: Vec<&str> = paragraph.split_whitespace().collect();
            assert_plain(command, &words.join(" "), &mut mistakes);
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}

#[test]
fn documents_are_plain_english() {
    let endings = [".md", ".yml", ".properties", ".args", ".json"];
    let folders = ["docs", "properties"].map(|folder| root().join(folder));
    let pages = folders.iter().flat_map(|folder| files(folder, &endings));
    let mut mistakes = Vec::new();
    for page in pages.chain([root().join("README.md")]) {
        let name = page
            .strip_prefix(root())
            .expect("inside")
            .display()
            .to_string();
        for line in fs::read_to_string(&page).expect(&name).lines() {
            // The changelog names what has another name now.
            if !line.contains("(was `") {
                assert_plain(&name, line, &mut mistakes);
            }
        }
    }
    assert!(mistakes.is_empty(), "{}", mistakes.join("\n"));
}
