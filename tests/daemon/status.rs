//! What `kclpipe status --listen` serves is taken by the programs that it is for: promtool and a Prometheus that
//! scrapes it, without node_exporter, and a browser, which is Debian's package `chromium-headless-shell`.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::harness::served::{Blocked, Server, get};
use crate::harness::wait::until;
use crate::monitoring::{ask, check_metrics, start_prometheus};

/// A name that would change the page, were it a part of it.
const NAME: &str = "<script>document.title = 'changed'</script> & \"co\"";

/// A folder with two blocked kclpipes, and a server for their shards.
struct Site {
    server: Server,
    _kclpipes: [Blocked; 2],
    folder: TempDir,
}

impl Site {
    fn new() -> Site {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory can be made");
        let metrics = folder.path().join("metrics");
        std::fs::create_dir(&metrics).expect("a directory can be made");
        let start = |name| Blocked::start(folder.path(), &metrics, name);
        let kclpipes = [start(NAME), start("other")];
        let arguments = ["status", "--listen", "0", "metrics"];
        let server = Server::start(folder.path(), env!("CARGO_BIN_EXE_kclpipe"), &arguments);
        until("two blocked shards are served", || {
            let metrics = get(&server.address, "/metrics");
            let is_blocked =
                |line: &&str| line.starts_with("kclpipe_blocked{") && line.ends_with(" 1");
            metrics.lines().filter(is_blocked).count() == 2
        });
        Site {
            server,
            _kclpipes: kclpipes,
            folder,
        }
    }
}

#[test]
#[ignore = "needs promtool and prometheus"]
fn prometheus_scrapes_all_shards_of_the_machine_in_one_place() {
    let site = Site::new();
    check_metrics(&get(&site.server.address, "/metrics"));
    let prometheus = start_prometheus(site.folder.path(), &site.server.address);
    until("the shard is up, and blocked", || {
        let up = ask(
            &prometheus.address,
            "kclpipe_up == 1 and kclpipe_blocked == 1",
        );
        up.iter().any(|sample| sample["metric"]["name"] == NAME)
    });
    let scraped = ask(&prometheus.address, "up{job=\"node\"}");
    assert_eq!(scraped[0]["value"][1], "1");
}

#[test]
#[ignore = "needs chromium-headless-shell"]
fn a_browser_shows_the_blocked_shards_and_runs_nothing_that_a_name_brings() {
    let site = Site::new();
    let page = shown(site.folder.path(), &site.server.address);
    assert!(page.contains("<title>kclpipe: shards</title>"), "{page}");
    let table = page.split("<pre>").nth(1).expect(&page);
    let bad: Vec<&str> = table.split("<span class=\"bad\">").skip(1).collect();
    assert_eq!(bad.len(), 2, "{page}");
    assert!(
        bad.iter().all(|line| line.contains("record 30.0")),
        "{page}"
    );
    assert_eq!(table.matches("&lt;script&gt;").count(), 1, "{page}");
}

/// What a browser has made of the page, as HTML.
fn shown(folder: &Path, address: &str) -> String {
    let output = Command::new("chromium-headless-shell")
        // Root has no sandbox there; the profile is this test's own.
        .args(["--no-sandbox", "--disable-gpu", "--dump-dom"])
        .arg(format!(
            "--user-data-dir={}",
            folder.join("profile").display()
        ))
        .arg(format!("http://{address}/"))
        .output()
        .expect("chromium-headless-shell can be started");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("a page is UTF-8")
}
