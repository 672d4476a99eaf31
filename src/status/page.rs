//! What `--listen` answers: the metrics, the health, and a page for a person.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;

use super::directory::Directory;
use super::limits::Limits;
use super::metrics;
use super::standing::{Shard, Standing};
use super::table::{Style, table};
use crate::http::{Client, Request, Response, Site};

/// Answers requests about the shards of a directory.
#[derive(Debug)]
pub(crate) struct Page {
    /// The directory of the files.
    pub(crate) directory: PathBuf,
    /// What makes the health bad.
    pub(crate) limits: Limits,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Site for Page {
    fn answer(&self, request: Request, _: &Client) -> Response {
        self.at(&request, SystemTime::now())
    }
}

impl Page {
    /// The answer, at `now`.
    fn at(&self, request: &Request, now: SystemTime) -> Response {
        if !self.is_meant(request.host.as_deref()) {
            return Response::text(421, "this host is not served here\n");
        }
        if !matches!(request.method.as_str(), "GET" | "HEAD") {
            return Response::text(405, "only GET and HEAD\n");
        }
        let path = request.path.split('?').next().unwrap_or_default();
        let answer = match path {
            "/" => self.page(now),
            "/metrics" => self.metrics(now),
            "/healthz" => self.health(now),
            _ => return Response::text(404, "there are /, /metrics and /healthz\n"),
        };
        answer.unwrap_or_else(|e| Response::text(500, &format!("{e:#}\n")))
    }

    /// A page of somebody else's that a browser here has open could have its own name lead to us. Where only this
    /// machine is served, only its own names are.
    fn is_meant(&self, host: Option<&str>) -> bool {
        if !self.address.ip().is_loopback() {
            return true;
        }
        let Some(host) = host else {
            return false;
        };
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let bare = name.trim_start_matches('[').trim_end_matches(']');
        name.eq_ignore_ascii_case("localhost")
            || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    fn metrics(&self, now: SystemTime) -> Result<Response> {
        let mut files = Directory::read(&self.directory, now)?.files;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let text = metrics::of_all(&files);
        Ok(Response::new(
            200,
            "text/plain; version=0.0.4; charset=utf-8",
            text,
        ))
    }

    fn health(&self, now: SystemTime) -> Result<Response> {
        let broken = self.limits.broken(&self.shards(now)?);
        Ok(match broken.is_empty() {
            true => Response::text(200, "ok\n"),
            false => Response::text(503, &(broken.join("\n") + "\n")),
        })
    }

    fn shards(&self, now: SystemTime) -> Result<Vec<Shard>> {
        let files = Directory::read(&self.directory, now)?.files;
        Ok(Shard::sorted(files, now))
    }

    fn page(&self, now: SystemTime) -> Result<Response> {
        let shards = self.shards(now)?;
        let mut page = String::from(HEAD);
        let style = Style {
            colored: false,
            width: None,
        };
        let text = table(&shards, style);
        for (at, line) in text.lines().enumerate() {
            let standing = at.checked_sub(1).and_then(|at| shards.get(at));
            let class = match standing.map(|shard| shard.standing) {
                Some(Standing::Gone | Standing::Blocked) => "bad",
                Some(Standing::Stale) => "doubtful",
                Some(Standing::Well | Standing::Complete) | None => "",
            };
            let _ = writeln!(page, r#"<span class="{class}">{}</span>"#, html(line));
        }
        if shards.is_empty() {
            page.push_str(
                "no shard: nothing is leased here, or kclpipe runs without --metrics-dir\n",
            );
        }
        page.push_str(FOOT);
        Ok(Response::new(200, "text/html; charset=utf-8", page))
    }
}

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="refresh" content="5">
<meta name="viewport" content="width=device-width">
<title>kclpipe: shards</title>
<style>
body { font: 14px/1.5 ui-monospace, monospace; margin: 2em; color: #222; background: #fff; }
h1 { font-size: 18px; }
pre { overflow-x: auto; }
.bad { color: #b00020; font-weight: bold; }
.doubtful { color: #8a5a00; }
@media (prefers-color-scheme: dark) {
  body { color: #ddd; background: #181818; }
  a { color: #9cf; }
  .bad { color: #ff7b7b; }
  .doubtful { color: #e6b450; }
}
</style>
</head>
<body>
<h1>Shards of this machine</h1>
<pre>
"#;

const FOOT: &str = r#"</pre>
<p><a href="/metrics">metrics</a> <a href="/healthz">health</a></p>
</body>
</html>
"#;

/// Text, in a page.
fn html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::{Duration, UNIX_EPOCH};

    use super::super::standing::tests::blocked;
    use super::*;
    use crate::shard_state::{LastFailure, ShardState};

    fn site(directory: &std::path::Path, address: &str) -> Page {
        Page {
            directory: directory.to_path_buf(),
            limits: "blocked=1m,stale=1m,gone=1m".parse().expect("limits"),
            address: address.parse().expect("an address"),
        }
    }

    fn get(site: &Page, path: &str, host: Option<&str>) -> (u16, String) {
        let request = Request {
            method: "GET".to_owned(),
            path: path.to_owned(),
            host: host.map(str::to_owned),
            ..Request::default()
        };
        let answer = site.at(&request, UNIX_EPOCH + Duration::from_secs(1000));
        let body = String::from_utf8(answer.body).expect("text");
        (answer.status, body)
    }

    const HOST: Option<&str> = Some("localhost:9300");

    #[test]
    fn the_page_shows_what_the_table_shows_and_the_health_says_why_it_is_bad() {
        let folder = tempfile::tempdir().expect("a folder");
        let site = site(folder.path(), "127.0.0.1:9300");
        assert_eq!(get(&site, "/healthz", HOST), (200, "ok\n".to_owned()));
        assert!(get(&site, "/", HOST).1.contains("no shard"));
        let state = ShardState {
            last_failure: Some(LastFailure {
                ended: "exit code 1".to_owned(),
                stderr: "<script>alert(1)</script>".to_owned(),
            }),
            ..blocked("shardId-1", 400)
        };
        let text = serde_json::to_string(&state).expect("plain data");
        fs::write(folder.path().join("kclpipe-app-shardId-1-1.json"), text).expect("written");
        let (status, page) = get(&site, "/?x=1", HOST);
        assert_eq!(status, 200);
        assert!(page.contains(r#"<span class="bad">gone"#), "{page}");
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
        let (status, why) = get(&site, "/healthz", HOST);
        assert_eq!(status, 503);
        assert!(why.contains("app shardId-1: blocked for 10m"), "{why}");
        assert!(get(&site, "/metrics", HOST).1.contains("kclpipe_up"));
        assert_eq!(get(&site, "/../etc/passwd", HOST).0, 404);
    }

    #[test]
    fn only_this_machine_is_meant_where_only_it_is_served() {
        let folder = tempfile::tempdir().expect("a folder");
        let local = site(folder.path(), "127.0.0.1:9300");
        for (host, status) in [
            (Some("localhost"), 200),
            (Some("127.0.0.1:9300"), 200),
            (Some("[::1]:9300"), 200),
            (Some("[::1]"), 200),
            (Some("evil.example:9300"), 421),
            (Some("10.0.0.1"), 421),
            (None, 421),
        ] {
            assert_eq!(get(&local, "/healthz", host).0, status, "{host:?}");
        }
        let open = site(folder.path(), "0.0.0.0:9300");
        assert_eq!(get(&open, "/healthz", Some("worker-1:9300")).0, 200);
    }
}
