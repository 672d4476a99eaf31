//! The unit of docs/ under a real systemd, which has namespaces of its own: what a stop, a death and a mistake come to.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use crate::harness::{Application, Case, Record, Shard, installed, tests, wait};

tests! {
    stops_and_deaths_lose_nothing: kcl3_per_record;
    a_mistake_in_the_properties_is_not_tried_again: kcl3_per_record;
}

const UNIT: &str = "kclpipe@orders";

/// What is held once, and then taken.
const HELD: &str = "hold";

/// A handler that notes its records, and stays with [`HELD`] the first time. No checkpoint comes before the final one.
const ARGUMENTS: &str = r#"--checkpoint-every 0 -- sh -c '
read -r record
if [ "$record" = hold ] && ! [ -e held ]; then echo >held; sleep 1000; fi
echo "$record" >>done'
"#;

/// The services' credentials, and what they cannot do.
const ENVIRONMENT: &str = "AWS_ACCESS_KEY_ID=AKIAEXAMPLE\nAWS_SECRET_ACCESS_KEY=secret\nAWS_REGION=us-east-1\n\
    AWS_EC2_METADATA_DISABLED=true\n\
    JAVA_TOOL_OPTIONS=-Daws.cborEnabled=false -XX:TieredStopAtLevel=1\n";

fn stops_and_deaths_lose_nothing(case: Case) {
    if !can_run() {
        return;
    }
    let application = Application::new(case, "");
    let systemd = Systemd::start(&application.properties());
    let shards = application.shards();
    let mut sent = put(&application, &shards, "first");
    systemd.control(&["start", UNIT]);
    systemd.until_done(&sent);

    application
        .stream
        .put(&shards[0], &[Record::new("key", HELD)]);
    sent.insert(HELD.to_owned());
    wait::until("the record that is held", || systemd.state("held").exists());
    systemd.kill("sh");
    systemd.until_done(&sent);
    assert_eq!(
        systemd.property("NRestarts"),
        "0",
        "a handler's death is nobody else's"
    );

    for (restarts, program) in [("1", "kclpipe"), ("2", "java")] {
        systemd.kill(program);
        wait::until(&format!("a start after the death of {program}"), || {
            systemd.property("NRestarts") == restarts
        });
        sent.extend(put(&application, &shards, program));
        systemd.until_done(&sent);
    }

    let last = shards.each_ref().map(|shard| {
        let last = application.stream.put(shard, &[Record::new("key", "last")]);
        last[0].clone()
    });
    wait::until("the last records", || systemd.lines("last") == 2);
    systemd.control(&["stop", UNIT]);
    assert_eq!(systemd.property("Result"), "success");
    assert_eq!(systemd.processes(), []);
    last.iter()
        .for_each(|last| application.assert_checkpointed(last));
}

/// Puts ten records into each shard, and returns their texts, of which no two are the same.
fn put(application: &Application, shards: &[Shard], name: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (number, shard) in shards.iter().enumerate() {
        let texts: Vec<String> = (0..10).map(|n| format!("{name} {number} {n}")).collect();
        let records = texts.iter().map(|text| Record::new("key", text.as_str()));
        application.stream.put(shard, &records.collect::<Vec<_>>());
        all.extend(texts);
    }
    all
}

/// It would be started again ten seconds later, and so on: then its state were `activating`, and never `failed`.
fn a_mistake_in_the_properties_is_not_tried_again(case: Case) {
    if !can_run() {
        return;
    }
    let properties = Application::new(case, "").properties();
    let systemd = Systemd::start(&properties.replace("shutdownGraceMillis", "shutdownGraceMilis"));
    systemd.control(&["start", UNIT]);
    wait::until("the end of the unit", || {
        systemd.property("ActiveState") != "active"
    });
    assert_eq!(systemd.property("ActiveState"), "failed");
    assert_eq!(systemd.property("ExecMainStatus"), "78");
    assert_eq!(systemd.property("NRestarts"), "0");
}

/// Whether there is a systemd here, and the rights to run one; if not, a line says so.
fn can_run() -> bool {
    let missing = if !getuid().is_root() {
        "the rights to make namespaces"
    } else if !Path::new("/lib/systemd/systemd").exists() {
        "systemd"
    } else if !Path::new("/sys/fs/cgroup/cgroup.procs").exists()
        && !Path::new("/sys/fs/cgroup/unified/cgroup.procs").exists()
    {
        "control groups of version 2"
    } else {
        return true;
    };
    let note = format!("SKIPPED: the unit under systemd, for want of {missing}\n");
    // Not captured, as println! would be.
    let _ = std::io::stderr().write_all(note.as_bytes());
    false
}

/// A systemd that runs.
struct Systemd {
    outer: Child,
    _folder: TempDir,
}

impl Systemd {
    /// Boots one in which these are the properties of `orders`.
    fn start(properties: &str) -> Systemd {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let [configuration, mounts] = ["configuration", "mounts"].map(|n| folder.path().join(n));
        fs::create_dir(&configuration).expect("made");
        fs::create_dir(&mounts).expect("made");
        // The worker is named by the unit.
        let properties = properties.replace("workerId", "#workerId");
        let child = "executableName = kclpipe @/etc/kclpipe/handler.args\n";
        let write = |name: &str, text: &str| fs::write(configuration.join(name), text);
        write("orders.properties", &(properties + child)).expect("written");
        write("orders.env", ENVIRONMENT).expect("written");
        write("handler.args", ARGUMENTS).expect("written");

        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let log = File::create(folder.path().join("log")).expect("a log");
        let mut outer = Command::new("sh");
        outer.arg(root.join("tests/daemon/support/systemd.sh"));
        outer.arg(mounts).arg(env!("CARGO_BIN_EXE_kclpipe"));
        outer.arg(installed("kcl-3.1.3"));
        outer
            .arg(root.join("docs/kclpipe@.service"))
            .arg(configuration);
        outer
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("shared"))
            .stderr(log);
        let outer = outer.spawn().expect("sh starts");
        let systemd = Systemd {
            outer,
            _folder: folder,
        };
        wait::until("systemd", || systemd.is_up());
        systemd
    }

    fn is_up(&self) -> bool {
        self.first().is_some() && self.ask(&["is-system-running"]).trim() == "running"
    }

    /// Its process 1, by its number outside: the only child of `unshare`, once it is there.
    fn first(&self) -> Option<Pid> {
        let outer = self.outer.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).ok()?;
        Pid::from_raw(children.trim().parse().ok()?)
    }

    /// What `systemctl` prints in it.
    fn ask(&self, arguments: &[&str]) -> String {
        let first = self.first().expect("systemd runs").as_raw_nonzero();
        let output = Command::new("nsenter")
            .args(["--target", &first.to_string(), "--all", "systemctl"])
            .args(arguments)
            .output();
        String::from_utf8_lossy(&output.expect("nsenter starts").stdout).into_owned()
    }

    /// Lets `systemctl` do something.
    fn control(&self, arguments: &[&str]) {
        self.ask(arguments);
    }

    /// A property of the unit.
    fn property(&self, name: &str) -> String {
        let value = self.ask(&["show", "--property", name, "--value", UNIT]);
        value.trim().to_owned()
    }

    /// A path in it, from outside.
    fn path(&self, inside: &str) -> PathBuf {
        let first = self.first().expect("systemd runs").as_raw_nonzero();
        PathBuf::from(format!("/proc/{first}/root{inside}"))
    }

    /// A file in the worker's directory.
    fn state(&self, name: &str) -> PathBuf {
        self.path(&format!("/var/lib/kclpipe/orders/{name}"))
    }

    /// The records that the handler noted.
    fn done(&self) -> Vec<String> {
        let text = fs::read_to_string(self.state("done")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How many times it noted this one.
    fn lines(&self, record: &str) -> usize {
        self.done().iter().filter(|line| *line == record).count()
    }

    /// Waits until each of these is noted.
    fn until_done(&self, sent: &BTreeSet<String>) {
        wait::until_some_or(
            "all records",
            || {
                self.done()
                    .into_iter()
                    .collect::<BTreeSet<_>>()
                    .is_superset(sent)
                    .then_some(())
            },
            || self.show(),
        );
    }

    /// What may say why something did not come.
    #[expect(clippy::print_stderr, reason = "libtest shows it with the failure")]
    fn show(&self) {
        let first = self.first().expect("systemd runs").as_raw_nonzero();
        let log = Command::new("nsenter")
            .args([
                "--target",
                &first.to_string(),
                "--all",
                "journalctl",
                "--no-pager",
            ])
            .output();
        let log = log.expect("nsenter starts").stdout;
        eprintln!("--- the journal\n{}", String::from_utf8_lossy(&log));
    }

    /// The unit's processes, by their numbers outside, with their names. Without any it has no control group.
    fn processes(&self) -> Vec<(Pid, String)> {
        let group = self.property("ControlGroup");
        if group.is_empty() {
            return Vec::new();
        }
        let list = self.path(&format!("/sys/fs/cgroup{group}/cgroup.procs"));
        let list = fs::read_to_string(list).unwrap_or_default();
        let numbers = list
            .lines()
            .filter_map(|line| Pid::from_raw(line.parse().ok()?));
        let named = numbers.filter_map(|number| {
            let name = fs::read_to_string(format!("/proc/{}/comm", number.as_raw_nonzero()));
            Some((number, name.ok()?.trim().to_owned()))
        });
        named.collect()
    }

    /// Kills one of the unit's processes of this name.
    fn kill(&self, name: &str) {
        let found = self.processes().into_iter().find(|(_, own)| own == name);
        let (process, _) = found.unwrap_or_else(|| panic!("no {name}: {:?}", self.processes()));
        kill_process(process, Signal::KILL).expect("killed");
    }
}

impl Drop for Systemd {
    /// Its process 1 is not gone before all others are, and then its control groups are empty.
    fn drop(&mut self) {
        match self.first() {
            Some(first) => drop(kill_process(first, Signal::KILL)),
            None => drop(self.outer.kill()),
        }
        let _ = self.outer.wait();
        let name = format!("kclpipe-{}", self.outer.id());
        for hierarchy in ["", "unified", "systemd"] {
            let group = Path::new("/sys/fs/cgroup").join(hierarchy).join(&name);
            remove(&group);
        }
    }
}

/// Removes a control group and those in it, the innermost first.
fn remove(group: &Path) {
    let inside = fs::read_dir(group).into_iter().flatten().flatten();
    inside
        .filter(|entry| entry.path().is_dir())
        .for_each(|entry| remove(&entry.path()));
    let _ = fs::remove_dir(group);
}
