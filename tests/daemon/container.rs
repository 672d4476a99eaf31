//! The image of docs/container/: the real daemon in the root file system that packaging/rootfs makes of its Dockerfile,
//! started and stopped as a container runtime would.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, getuid, kill_process};
use tempfile::TempDir;

use crate::dockerfile::Dockerfile;
use crate::harness::{Application, Case, Record, tests, wait};

tests! {
    a_stop_of_the_image_stores_the_checkpoints: kcl3_per_record;
}

/// No checkpoint comes before the final one.
const ARGUMENTS: &str = "--checkpoint-every 0 -- sh -c 'cat >>done && echo >>done'\n";

fn a_stop_of_the_image_stores_the_checkpoints(case: Case) {
    let Some(root) = image() else {
        return;
    };
    let application = Application::new(case, "");
    let [left, right] = application.put_on_both(&Record::many(20));
    let mut container = Container::start(&root, &application.properties());
    container.until("all records", |container| container.done() == 40);

    container.stop();
    assert_eq!(container.wait().code(), Some(143), "{}", container.logged());
    application.assert_checkpointed(&left[19]);
    application.assert_checkpointed(&right[19]);
}

/// The root file system, or a line that says why there is none.
fn image() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent();
    let root = target.expect("a target directory").join("image/root");
    let missing = if !getuid().is_root() {
        "the rights to change the root directory"
    } else if !root.exists() {
        "target/image/root, which packaging/rootfs makes"
    } else {
        return Some(root);
    };
    let note = format!("SKIPPED: the image, for want of {missing}\n");
    // Not captured, as println! would be.
    let _ = std::io::stderr().write_all(note.as_bytes());
    None
}

/// Mounts what a container runtime does, and becomes the entry point.
const RUNTIME: &str = r#"
root=$1 configuration=$2 volume=$3 at=$4 user=$5 chroot=$6
shift 6
mkdir -p "$root/etc/kclpipe"
mount --bind "$configuration" "$root/etc/kclpipe"
mount --bind "$volume" "$root$at"
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
exec "$chroot" --userspec="$user" "$root" /usr/bin/env -i -C "$at" "$@"
"#;

/// A container that runs, with namespaces of its own for its mounts and its processes.
struct Container {
    runtime: Child,
    folder: TempDir,
    signal: Signal,
}

impl Container {
    /// Starts the image with these properties.
    fn start(root: &Path, properties: &str) -> Container {
        let image = Dockerfile::read();
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let [configuration, volume] = ["configuration", "volume"].map(|n| folder.path().join(n));
        fs::create_dir(&configuration).expect("made");
        fs::create_dir(&volume).expect("made");
        let child = "executableName = kclpipe @/etc/kclpipe/handler.args\n";
        let properties = properties.to_owned() + child;
        fs::write(configuration.join("kclpipe.properties"), properties).expect("written");
        fs::write(configuration.join("handler.args"), ARGUMENTS).expect("written");
        let user = user(root, image.last("USER"));
        chown(&volume, Some(user), Some(user)).expect("given");

        let log = File::create(folder.path().join("log")).expect("a log");
        let mut runtime = Command::new("unshare");
        runtime.args(["--mount", "--pid", "--fork", "--kill-child", "sh", "-ec"]);
        runtime.args([RUNTIME, "runtime"]).arg(root);
        runtime.arg(configuration).arg(volume);
        runtime
            .arg(image.last("VOLUME"))
            .arg(format!("{user}:{user}"));
        // In the image `env` has another PATH, and so had `chroot` if it were looked for there.
        runtime.arg(found("chroot"));
        runtime.args(VARIABLES).args(image.all("ENV"));
        runtime
            .args(image.words("ENTRYPOINT"))
            .args(image.words("CMD"));
        runtime
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("shared"))
            .stderr(log);
        Container {
            runtime: runtime.spawn().expect("unshare starts"),
            folder,
            signal: signal(image.last("STOPSIGNAL")),
        }
    }

    /// How many records are done.
    fn done(&self) -> usize {
        let done = fs::read(self.folder.path().join("volume/done")).unwrap_or_default();
        done.iter().filter(|b| **b == b'\n').count()
    }

    /// All that it has printed.
    fn logged(&self) -> String {
        let logged = fs::read(self.folder.path().join("log")).expect("a log");
        String::from_utf8_lossy(&logged).into_owned()
    }

    /// Looks until it is so, and gives up at once when the container ends.
    #[track_caller]
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Container) -> bool) {
        wait::until(what, || {
            let ended = self.runtime.try_wait().expect("it can be asked");
            assert!(
                ended.is_none(),
                "{ended:?} before {what}: {}",
                self.logged()
            );
            is_so(self)
        });
    }

    /// Signals its process 1, which is the runtime's only child.
    fn stop(&self) {
        let own = self.runtime.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"));
        let first: i32 = children.expect("its children").trim().parse().expect("one");
        let first = Pid::from_raw(first).expect("a process");
        kill_process(first, self.signal).expect("signalled");
    }

    /// Waits for its end.
    #[track_caller]
    fn wait(&mut self) -> ExitStatus {
        wait::until_some("the container's end", || {
            self.runtime.try_wait().expect("it can be asked")
        })
    }
}

impl Drop for Container {
    /// Nothing in it outlives its process 1, which ends with the runtime.
    fn drop(&mut self) {
        let _ = self.runtime.kill();
        let _ = self.runtime.wait();
    }
}

/// What the runtime sets, and what the services of these tests want.
const VARIABLES: [&str; 6] = [
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "AWS_ACCESS_KEY_ID=AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY=secret",
    "AWS_REGION=us-east-1",
    "AWS_EC2_METADATA_DISABLED=true",
    // kinesalite cannot write large replies in CBOR.
    "JAVA_TOOL_OPTIONS=-Daws.cborEnabled=false -XX:TieredStopAtLevel=1",
];

/// The number of a user of the image, whose group has the same.
fn user(root: &Path, name: &str) -> u32 {
    let users = fs::read_to_string(root.join("etc/passwd")).expect("the users");
    let line = users
        .lines()
        .find(|line| line.starts_with(&format!("{name}:")));
    let number = line
        .and_then(|line| line.split(':').nth(2))
        .expect("the user");
    number.parse().expect("a number")
}

fn signal(name: &str) -> Signal {
    match name {
        "SIGTERM" => Signal::TERM,
        other => panic!("{other} is not what Java ends with in order"),
    }
}

/// The whole path of a program of this machine.
fn found(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").expect("a PATH");
    let mut all = std::env::split_paths(&path).map(|folder| folder.join(program));
    all.find(|file| file.is_file()).expect(program)
}
