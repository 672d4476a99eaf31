//! The recipes of docs/recipes.md, run with the options that the page gives them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::docs::server;
use crate::harness::{are_here, write_program, write_script};

const KCLPIPE: &str = env!("CARGO_BIN_EXE_kclpipe");

/// Examples that belong to README.
const OF_README: [&str; 3] = ["handler.sh", "records.jsonl", "records.txt"];

/// What `my-store` stands for: it reads all of its input, prints what looks like an answer, and is not to
/// be had the first time it is asked for figs.
const MY_STORE: &str = r#"cat >/dev/null
echo ok
if [ "$1" = figs ] && [ ! -e asked ]; then : >asked; exit 1; fi
echo "$2 $1" >>stock.txt"#;

/// What `aws s3 cp --only-show-errors FILE URL` stands for: it fails the first time.
const AWS: &str = r#"if [ ! -e asked ]; then : >asked; exit 1; fi
cat "$4" >"${5##*/}""#;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples")
}

fn page() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md");
    fs::read_to_string(page).expect("the page")
}

/// The files in a folder and below it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let visible = paths.filter(|path| !path.ends_with("__pycache__"));
    let found = visible.flat_map(|path| {
        if path.is_dir() {
            files(&path)
        } else {
            vec![path]
        }
    });
    found.collect()
}

/// A folder with the examples.
struct Place(TempDir);

/// What replay printed.
struct Printed {
    report: Value,
    log: String,
}

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().expect("a folder"));
        for entry in fs::read_dir(folder()).expect("the examples") {
            let entry = entry.expect("an entry");
            symlink(entry.path(), place.path(entry.file_name())).expect("linked");
        }
        fs::create_dir(place.path("bin")).expect("created");
        write_script(&place.path("bin/my-store"), MY_STORE);
        write_script(&place.path("bin/aws"), AWS);
        place
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes records with these keys and payloads.
    fn records<'a>(&self, records: impl IntoIterator<Item = (&'a str, String)>) {
        let mut text = String::new();
        for (key, data) in records {
            let record = json!({ "partitionKey": key, "data": data });
            text += &format!("{record}\n");
        }
        fs::write(self.path("records"), text).expect("written");
    }

    /// Runs the page's command that ends with `handler`, with more options before it.
    fn replay(&self, batch_size: usize, handler: &str, more: &[&str]) -> Printed {
        self.disturbed(batch_size, handler, more, &[])
    }

    /// The same with these variables for the stand-ins, one of which may kill kclpipe, once.
    fn disturbed(
        &self,
        batch_size: usize,
        handler: &str,
        more: &[&str],
        variables: &[(&str, &str)],
    ) -> Printed {
        let restarts = usize::from(!variables.is_empty()).to_string();
        let mut words = command_for(handler).into_iter();
        let path = std::env::var("PATH").expect("PATH");
        let mut command = Command::new(KCLPIPE);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KCLPIPE_") {
                command.env_remove(name);
            }
        }
        command
            .args(["replay", "records", "--json", "--timeout", "60s"])
            .args(["--restarts", &restarts])
            .args(["--batch-size", &batch_size.to_string(), "--"])
            .args(words.next())
            .args(more)
            .args(words)
            .current_dir(self.0.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("KCLPIPE_RETRY_DELAY", "2ms")
            .env("KCLPIPE_RETRY_MAX_DELAY", "5ms")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env_remove("PYTHONUNBUFFERED")
            .env("no_proxy", "*")
            .envs(variables.iter().copied())
            .stdin(Stdio::null());
        let output = command.output().expect("started");
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{handler}: {output:?}\n{log}");
        Printed {
            report: serde_json::from_slice(&output.stdout).expect("JSON"),
            log,
        }
    }

    fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The payloads of dead letters, and why they are there.
    fn letters(&self, name: &str) -> Vec<(String, String)> {
        use base64::Engine;
        let lines = self.lines(name);
        let letters = lines.iter().map(|line| {
            let letter: Value = serde_json::from_str(line).expect("JSON");
            let text = |field: &str| letter[field].as_str().expect("text").to_owned();
            let payload = base64::engine::general_purpose::STANDARD.decode(text("dataBase64"));
            let payload = String::from_utf8_lossy(&payload.expect("base64")).into_owned();
            (payload, text("outcome"))
        });
        letters.collect()
    }
}

/// The page's command for a handler, in words.
fn command_for(handler: &str) -> Vec<String> {
    let page = page();
    let mut commands = page
        .lines()
        .filter(|line| line.starts_with("kclpipe ") && line.ends_with(handler));
    let command = commands
        .next()
        .unwrap_or_else(|| panic!("the page has no command for {handler}"));
    assert_eq!(commands.next(), None, "one command for {handler}");
    shlex::split(command).expect("words")
}

const FRUIT: [&str; 5] = ["apples", "pears", "plums", "figs", "cherries"];

/// So many fruit with their numbers; the key is the fruit.
fn fruit(count: usize) -> impl Iterator<Item = (&'static str, usize)> {
    (1..=count).map(|n| (FRUIT[n % FRUIT.len()], n))
}

/// `apples 3`, and in their middle one that is no such record.
fn words(count: usize) -> Vec<(&'static str, String)> {
    let records = fruit(count).map(|(fruit, n)| (fruit, format!("{fruit} {n}")));
    let mut records: Vec<_> = records.collect();
    records.insert(count / 2, ("pears", "pears many".to_owned()));
    records
}

/// `{"fruit":"apples","count":3}`, and in their middle three that are no such records.
fn orders(count: usize) -> Vec<(&'static str, String)> {
    let order = |(fruit, n)| (fruit, json!({ "fruit": fruit, "count": n }).to_string());
    let mut records: Vec<_> = fruit(count).map(order).collect();
    for bad in ["17", r#"{"fruit":"pears","count":"many"}"#, "pears"] {
        records.insert(count / 2, ("pears", bad.to_owned()));
    }
    records
}

/// The bad ones among the orders, in order.
const BAD_ORDERS: [&str; 3] = ["pears", r#"{"fruit":"pears","count":"many"}"#, "17"];

/// What stock.txt holds if each was stored once and in order.
fn stock(count: usize) -> Vec<String> {
    fruit(count)
        .map(|(fruit, n)| format!("{n} {fruit}"))
        .collect()
}

/// The lines of one fruit.
fn of<'a>(fruit: &str, lines: &'a [String]) -> Vec<&'a String> {
    lines.iter().filter(|line| line.ends_with(fruit)).collect()
}

fn rejected(payloads: &[&str]) -> Vec<(String, String)> {
    let why = "the handler answered 'reject'";
    let letters = payloads
        .iter()
        .map(|payload| ((*payload).to_owned(), why.to_owned()));
    letters.collect()
}

#[test]
fn the_page_shows_the_files_as_they_are() {
    let page = page();
    for file in files(&folder()) {
        let name = file.strip_prefix(folder()).expect("inside");
        let name = name.to_str().expect("text");
        if OF_README.contains(&name) {
            continue;
        }
        let (_, section) = page
            .split_once(&format!("](examples/{name})"))
            .unwrap_or_else(|| panic!("the page does not name {name}"));
        let block = section.split("```").nth(1).expect("a block");
        let (_, shown) = block.split_once('\n').expect("a line");
        let text = fs::read_to_string(&file).expect("readable");
        assert!(shown == text, "the page shows {name} as\n{shown}");
    }
}

/// What `aws s3 cp - URL` stands for: it stores stdin under the URL's last part. At its call number `KILL_AT` it
/// kills kclpipe, `before` the object is there or `after`.
const AWS_FROM_STDIN: &str = r#"echo call >>calls
strike() { [ "$KILL_AT" = "$(($(wc -l <calls)))" ] && [ "$KILL_WHEN" = "$1" ] && kill -9 "$PPID"; }
cat >"part.$$"
strike before
mv "part.$$" "objects/${4##*/}"
strike after
exit 0"#;

/// A place with `aws` and records of 40 minutes, one a minute.
fn with_objects() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("objects")).expect("created");
    write_script(&place.path("bin/aws"), AWS_FROM_STDIN);
    // 2026-01-01T00:02:30Z.
    let first: u64 = 1_767_225_750_000;
    let record = |n: u64| json!({ "data": format!("line {n}"), "approximateArrivalTimestamp": first + n * 60_000 });
    let lines = (0..40).map(|n| format!("{}\n", record(n)));
    fs::write(place.path("records"), lines.collect::<String>()).expect("written");
    place
}

/// The objects with their text.
fn objects(place: &Place) -> BTreeMap<String, String> {
    let entries = fs::read_dir(place.path("objects")).expect("the folder");
    let objects = entries.map(|entry| {
        let entry = entry.expect("an entry");
        let text = fs::read_to_string(entry.path()).expect("readable");
        (entry.file_name().into_string().expect("text"), text)
    });
    objects.collect()
}

#[test]
fn objects_overwrite_themselves_whenever_kclpipe_is_killed() {
    const HANDLER: &str = "s3://bucket/{shard}/{first}.txt";
    let place = with_objects();
    place.replay(7, HANDLER, &[]);
    let undisturbed = objects(&place);
    let sizes: Vec<usize> = undisturbed
        .values()
        .map(|text| text.lines().count())
        .collect();
    assert_eq!(sizes, [3, 5, 5, 5, 5, 5, 5, 5, 2], "{undisturbed:?}");
    for (at, when, more) in [
        ("1", "before", &[][..]),
        ("4", "before", &["--checkpoint-batch"]),
        ("4", "after", &["--checkpoint-batch"]),
        ("7", "before", &["--checkpoint-records", "4"]),
        ("9", "after", &[]),
    ] {
        let place = with_objects();
        let variables = [("KILL_AT", at), ("KILL_WHEN", when)];
        let printed = place.disturbed(7, HANDLER, more, &variables);
        let shard = &printed.report["shards"][0];
        assert_eq!(shard["restarts"], 1, "{shard}");
        let calls = place.lines("calls").len();
        assert!(calls > undisturbed.len(), "some of the work is done again");
        assert_eq!(objects(&place), undisturbed, "killed {when} object {at}");
    }
}

#[test]
fn a_request_for_each_record_tells_a_bad_record_from_a_busy_server() {
    if !are_here("the example put.sh", &["curl"]) {
        return;
    }
    let place = Place::new();
    let script = fs::read_to_string(place.path("put.sh")).expect("the example");
    fs::remove_file(place.path("put.sh")).expect("a link");
    let there = format!("http://{}", server());
    let script = script.replace("https://example.com", &there);
    write_program(&place.path("put.sh"), &script);
    let answers = ["200", "busy", "400", "204", "gone", "404", "422", "200"];
    place.records(answers.map(|answer| (answer, answer.to_owned())));
    place.replay(10, "./put.sh", &[]);
    let mut letters = place.letters("refused.jsonl");
    letters.sort();
    let expected = [
        ("400", "exit code 65"),
        ("404", "exit code 1"),
        ("422", "exit code 65"),
    ];
    let expected = expected.map(|(data, outcome)| (data.to_owned(), outcome.to_owned()));
    assert_eq!(letters, expected);
}

#[test]
fn tee_appends_each_record_in_order() {
    let place = Place::new();
    place.records(words(30));
    place.replay(10, "tee -a archive.txt", &[]);
    let expected: Vec<String> = words(30).into_iter().map(|(_, data)| data).collect();
    assert_eq!(place.lines("archive.txt"), expected);
}

/// How the commands of the page end, each of which a test below runs.
const TESTED: [&str; 12] = [
    "s3://bucket/{shard}/{first}.txt",
    "./put.sh",
    "tee -a archive.txt",
    "./loop.sh",
    "./awk.sh",
    "@jq.args",
    "@large.args",
    "./stock.py",
    "@pipeline.args",
    "./upload.sh",
    "lambda/run.py",
    "lambda/run.js",
];

#[test]
fn each_recipe_is_tested_and_says_what_happens_when_it_dies() {
    let page = page();
    let commands = page.lines().filter(|line| line.starts_with("kclpipe "));
    let forgotten: Vec<&str> = commands
        .filter(|line| !TESTED.iter().any(|end| line.ends_with(end)))
        .collect();
    assert!(forgotten.is_empty(), "{forgotten:?}");
    for recipe in page.split("\n## ").skip(1) {
        let name = recipe.lines().next().unwrap_or_default();
        assert!(recipe.contains("\n**If it dies**"), "{name}");
        assert!(recipe.contains("\nkclpipe "), "{name}");
    }
}

/// A frame as `--format jsonl` makes it.
fn json_line(n: usize, data: &str) -> String {
    format!(
        r#"{{"n":{n},"shardId":"s","sequenceNumber":"{n}","subSequenceNumber":0,"partitionKey":"k","approximateArrivalTimestamp":null,"attempt":1,"last":false,"data":{}}}{}"#,
        json!(data),
        '\n'
    )
}

/// Runs a handler of the page with one whole record and another, cut off `short` of its end, which takes a
/// death of kclpipe in real life. Returns what it printed and whether it ended well.
fn cut_off(place: &Place, handler: &str, whole: &str, next: &str, short: usize) -> (String, bool) {
    let words = match handler.strip_prefix('@') {
        Some(file) => {
            let text = fs::read_to_string(place.path(file)).expect("readable");
            let words = shlex::split(&text).expect("words").into_iter();
            words.skip_while(|word| word != "--").skip(1).collect()
        }
        None => vec![handler.to_owned()],
    };
    fs::write(place.path("asked"), "").expect("written");
    let input = format!("{whole}{}", &next[..next.len() - short]);
    fs::write(place.path("input"), input).expect("written");
    let path = std::env::var("PATH").expect("PATH");
    let output = Command::new(&words[0])
        .args(&words[1..])
        .current_dir(place.0.path())
        .env("PATH", format!("{}:{path}", place.path("bin").display()))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("KCLPIPE_TOKEN", "token")
        .env("KCLPIPE_EXIT_RETRY", "75")
        .env("KCLPIPE_BATCH_COUNT", "2")
        .stdin(fs::File::open(place.path("input")).expect("opened"))
        .output()
        .expect("started");
    let printed = String::from_utf8(output.stdout).expect("text");
    (printed, output.status.success())
}

/// How much may be missing of a line that ends with a number: its end, a digit, all of the number, more.
const SHORT: [usize; 4] = [1, 2, 3, 10];

#[test]
fn a_text_line_that_was_cut_off_is_no_record_for_the_loop() {
    for short in SHORT[..3].iter().copied() {
        let place = Place::new();
        let (printed, _) = cut_off(&place, "./loop.sh", "apples 3\n", "plums 12\n", short);
        assert_eq!(printed.matches("token").count(), 1, "{short}: {printed}");
        assert_eq!(place.lines("stock.txt"), ["3 apples"], "{short}");
    }
}

#[test]
fn a_json_line_that_was_cut_off_is_no_record_per_shard() {
    for (handler, program, data) in [
        ("./awk.sh", "awk", ["apples 3", "plums 12"]),
        (
            "./stock.py",
            "python3",
            [
                r#"{"fruit":"apples","count":3}"#,
                r#"{"fruit":"plums","count":12}"#,
            ],
        ),
        ("@jq.args", "jq", [r#"{"count":3}"#, r#"{"count":12}"#]),
    ] {
        if !are_here(&format!("the example {handler}, cut off"), &[program]) {
            continue;
        }
        // Without its line feed alone, a JSON object is whole.
        for short in SHORT.map(|short| short + 1) {
            let place = Place::new();
            let next = json_line(2, data[1]);
            let whole = json_line(1, data[0]);
            let (printed, well) = cut_off(&place, handler, &whole, &next, short);
            assert!(well || handler == "@jq.args", "{handler} {short}");
            let answers: Vec<&str> = printed.lines().collect();
            let first: &[&str] = match handler {
                "./awk.sh" => &["token ok 1"],
                "@jq.args" => &["ok"],
                // What it collected is not stored, and so not answered.
                _ => &[],
            };
            assert_eq!(answers, first, "{handler} {short}");
            let stored = place.lines("stock.txt");
            assert!(stored.len() <= 1, "{handler} {short}: {stored:?}");
        }
    }
}

#[test]
fn a_batch_that_was_cut_off_is_neither_added_up_nor_uploaded() {
    for (handler, programs) in [
        ("@pipeline.args", &["bash", "jq", "awk", "sort"][..]),
        ("./upload.sh", &["jq"]),
    ] {
        if !are_here(&format!("the example {handler}, cut off"), programs) {
            continue;
        }
        let next = json_line(2, "plums 12");
        // Up to the whole of the second line.
        for short in [2, 5, 100, next.len()] {
            let place = Place::new();
            let whole = json_line(1, "apples 3");
            let (_, well) = cut_off(&place, handler, &whole, &next, short);
            assert!(!well, "{handler} {short}");
            assert_eq!(place.lines("totals.txt"), [""; 0], "{handler} {short}");
            assert!(!place.path("1-0.jsonl").exists(), "{handler} {short}");
        }
    }
}

#[test]
fn the_loop_stores_each_record_in_order() {
    let place = Place::new();
    place.records(words(30));
    place.replay(10, "./loop.sh", &[]);
    assert_eq!(place.lines("stock.txt"), stock(30));
    assert_eq!(place.letters("refused.jsonl"), rejected(&["pears many"]));
    assert!(place.path("asked").exists(), "one record was retried");
}

#[test]
fn awk_stores_each_record_in_order_with_many_on_their_way() {
    if !are_here("the example awk.sh", &["awk"]) {
        return;
    }
    let place = Place::new();
    place.records(words(500));
    place.replay(300, "./awk.sh", &[]);
    assert_eq!(place.lines("stock.txt"), stock(500));
    assert_eq!(place.letters("refused.jsonl"), rejected(&["pears many"]));
}

#[test]
fn several_awks_keep_the_order_of_each_key() {
    if !are_here("the example awk.sh", &["awk"]) {
        return;
    }
    let place = Place::new();
    place.records(words(500));
    place.replay(300, "./awk.sh", &["--jobs", "3"]);
    let (stored, expected) = (place.lines("stock.txt"), stock(500));
    assert_eq!(stored.len(), 500);
    for fruit in FRUIT {
        assert_eq!(of(fruit, &stored), of(fruit, &expected));
    }
}

#[test]
fn jq_lets_orders_through_and_refuses_the_rest() {
    if !are_here("the example jq.args", &["jq"]) {
        return;
    }
    let place = Place::new();
    place.records(orders(40));
    let printed = place.replay(20, "@jq.args", &[]);
    assert_eq!(printed.report["delivered"], 43);
    assert_eq!(place.letters("refused.jsonl"), rejected(&BAD_ORDERS));
}

#[test]
fn a_filter_hands_over_only_the_orders_that_it_matches() {
    let place = Place::new();
    place.records(orders(40));
    let printed = place.replay(20, "@large.args", &[]);
    assert_eq!(printed.report["checkpointed"], 43);
    let matches = |(fruit, n): &(&str, usize)| ["apples", "pears"].contains(fruit) && *n >= 10;
    let orders = fruit(40).filter(matches);
    let expected: Vec<String> = orders
        .map(|(fruit, n)| json!({ "fruit": fruit, "count": n }).to_string())
        .collect();
    assert_eq!(place.lines("large.txt"), expected);
}

#[test]
fn python_stores_each_order_once_even_if_it_comes_again() {
    if !are_here("the example stock.py", &["python3"]) {
        return;
    }
    let place = Place::new();
    place.records(orders(1200));
    for _ in 0..2 {
        place.replay(1100, "./stock.py", &[]);
        assert_eq!(place.letters("refused.jsonl"), rejected(&BAD_ORDERS));
        fs::remove_file(place.path("refused.jsonl")).expect("removed");
    }
    let read = "import sqlite3\n\
        rows = sqlite3.connect('stock.db').execute('SELECT count, fruit FROM orders ORDER BY rowid')\n\
        for row in rows: print(*row)";
    let mut python = Command::new("python3");
    let output = python.args(["-c", read]).current_dir(place.path("."));
    let output = output.output().expect("started");
    let stored = String::from_utf8(output.stdout).expect("text");
    assert_eq!(stored.lines().collect::<Vec<_>>(), stock(1200));
}

#[test]
fn the_pipeline_adds_up_all_but_the_bad_record() {
    if !are_here("the example pipeline.args", &["bash", "jq", "awk", "sort"]) {
        return;
    }
    let place = Place::new();
    place.records(words(20));
    place.replay(10, "@pipeline.args", &[]);
    let lines = place.lines("totals.txt");
    for kind in FRUIT {
        let counts = lines
            .iter()
            .filter_map(|line| line.strip_suffix(&format!(" {kind}")));
        let total: usize = counts.map(|n| n.parse::<usize>().expect("a number")).sum();
        let expected: usize = fruit(20).filter(|(f, _)| *f == kind).map(|(_, n)| n).sum();
        assert_eq!(total, expected, "{kind}");
    }
    let refused = ("pears many".to_owned(), "exit code 65".to_owned());
    assert_eq!(place.letters("refused.jsonl"), [refused]);
}

#[test]
fn the_upload_makes_one_object_of_a_batch() {
    if !are_here("the example upload.sh", &["jq"]) {
        return;
    }
    let place = Place::new();
    place.records(words(24));
    let printed = place.replay(10, "./upload.sh", &[]);
    assert!(
        printed
            .log
            .contains("asked to be retried later: exit code 75"),
        "{}",
        printed.log
    );
    let entries = fs::read_dir(place.path(".")).expect("the folder");
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<String> = names
        .map(|name| name.into_string().expect("text"))
        .collect();
    names.retain(|name| name.ends_with("-0.jsonl"));
    names.sort();
    assert_eq!(names.len(), 3, "{names:?}");
    let lines: Vec<String> = names.iter().flat_map(|name| place.lines(name)).collect();
    let data = lines.iter().map(|line| {
        let record: Value = serde_json::from_str(line).expect("JSON");
        record["data"].as_str().expect("text").to_owned()
    });
    let expected: Vec<String> = words(24).into_iter().map(|(_, data)| data).collect();
    assert_eq!(data.collect::<Vec<_>>(), expected);
    assert_eq!(
        printed.report["checkpoints"], 4,
        "one a batch, and the shard's end"
    );
}

/// A function behind its script; one record fails for good, and the others are stored once.
fn lambda_function(script: &str) {
    stores_all_but_one(&Place::new(), script, "the page's own");
}

fn stores_all_but_one(place: &Place, script: &str, what: &str) {
    let order = |(fruit, n)| (fruit, json!({ "fruit": fruit, "count": n }).to_string());
    let mut records: Vec<_> = fruit(12).map(order).collect();
    records.insert(5, ("pears", "pears many".to_owned()));
    place.records(records);
    place.replay(100, script, &[]);
    assert_eq!(place.lines("stock.txt"), stock(12), "{what}");
    let named = "the reply lists it as failed".to_owned();
    assert_eq!(
        place.letters("failed.jsonl"),
        [("pears many".to_owned(), named)],
        "{what}"
    );
}

#[test]
fn a_python_function_of_aws_lambda_runs_unchanged() {
    if are_here("the example lambda/run.py", &["python3"]) {
        lambda_function("lambda/run.py");
    }
}

#[test]
fn a_node_function_of_aws_lambda_runs_unchanged() {
    if are_here("the example lambda/run.js", &["node"]) {
        lambda_function("lambda/run.js");
    }
}

/// The ways in which functions give their reply that are older than promises, each with what stores a record
/// or says that it cannot.
const OLDER_STYLES: [(&str, &str); 4] = [
    ("a plain function", "(event) => work(event)"),
    (
        "a callback at once",
        "(event, context, callback) => { callback(null, work(event)); }",
    ),
    (
        "a late callback, behind a wrapper that has no parameters",
        "(...all) => setTimeout(() => all[2](null, work(all[0])), 5)",
    ),
    (
        "a callback in a promise's place",
        "async (event, context, callback) => callback(null, work(event))",
    ),
];

const WORK: &str = r#"const { appendFileSync } = require('fs');
const work = (event) => {
    for (const { kinesis } of event.Records) {
        try {
            const { fruit, count } = JSON.parse(Buffer.from(kinesis.data, 'base64'));
            appendFileSync('stock.txt', `${count} ${fruit}\n`);
        } catch {
            return { batchItemFailures: [{ itemIdentifier: kinesis.sequenceNumber }] };
        }
    }
};
exports.handler = "#;

/// A folder in which `lambda/run.js` calls this function.
fn with_function(function: &str) -> Place {
    let place = Place::new();
    fs::remove_file(place.path("lambda")).expect("a link");
    fs::create_dir(place.path("lambda")).expect("created");
    fs::copy(folder().join("lambda/run.js"), place.path("lambda/run.js")).expect("copied");
    let index = format!("{WORK}{function};\n");
    fs::write(place.path("lambda/index.js"), index).expect("written");
    place
}

#[test]
fn node_functions_of_every_style_are_called() {
    if !are_here("the example lambda/run.js", &["node"]) {
        return;
    }
    for (what, function) in OLDER_STYLES {
        stores_all_but_one(&with_function(function), "lambda/run.js", what);
    }
}

#[test]
fn a_node_function_that_fails_in_any_style_names_no_record() {
    if !are_here("the example lambda/run.js", &["node"]) {
        return;
    }
    for function in [
        "() => { throw new Error('thrown'); }",
        "async () => { throw new Error('rejected'); }",
        "(event, context, callback) => callback(new Error('called back'))",
        "(event, context, callback) => callback('called back')",
        "() => new Promise(() => {})",
    ] {
        let place = with_function(function);
        place.records([("apples", "{}".to_owned())]);
        place.replay(100, "lambda/run.js", &[]);
        let letters = place.letters("failed.jsonl");
        let expected = [("{}".to_owned(), "exit code 1".to_owned())];
        assert_eq!(letters, expected, "{function}");
    }
}
