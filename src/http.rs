//! A small HTTP/1.1 server for this machine: a thread for each connection, of which there are a bounded number, so that
//! no client holds up another. `httparse` reads heads and chunk sizes.
//!
//! Where strangers may connect, both directions have time limits. Where the [`Site`] knows its clients there are none:
//! an answer may be hours away, and so may the next request.

use std::cell::Cell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The longest head of a request.
const HEAD: usize = 16 * 1024;

/// The most fields in it.
const FIELDS: usize = 64;

/// The pause after a connection could not be accepted: there may be no descriptor for it now.
const PAUSE: Duration = Duration::from_millis(100);

/// What a client asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// For example `GET`.
    pub(crate) method: String,
    /// With what comes after a `?`.
    pub(crate) path: String,
    /// The field `Host`.
    pub(crate) host: Option<String>,
    /// All of it, also where it came in chunks.
    pub(crate) body: Vec<u8>,
}

/// What it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// For example 200.
    pub(crate) status: u16,
    /// The media type.
    pub(crate) content_type: &'static str,
    /// Other fields.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// The content.
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A response with content.
    pub(crate) fn new(
        status: u16,
        content_type: &'static str,
        body: impl Into<Vec<u8>>,
    ) -> Response {
        Response {
            status,
            content_type,
            fields: Vec::new(),
            body: body.into(),
        }
    }

    /// A response of plain text.
    pub(crate) fn text(status: u16, text: &str) -> Response {
        Response::new(status, "text/plain; charset=utf-8", text)
    }
}

/// What a server bears.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Connections at a time; more are answered with 503.
    pub(crate) connections: usize,
    /// The longest body of a request, in bytes.
    pub(crate) body: usize,
    /// How long a client may take to make a request, from the answer before on, and how long to take an answer; `None`
    /// for no limit.
    pub(crate) patience: Option<Duration>,
}

/// What a server serves.
pub(crate) trait Site: Send + Sync + 'static {
    /// Whether this client may ask anything; decided once for each connection.
    fn admits(&self, peer: SocketAddr) -> bool {
        let _ = peer;
        true
    }

    /// The answer to a request. It may take its time: only this client waits.
    fn answer(&self, request: Request, client: &Client) -> Response;

    /// Takes note of a request whose body cannot be read, and which is refused with this status.
    fn refuses(&self, request: &Request, status: u16, client: &Client) {
        let _ = (request, status, client);
    }
}

/// The other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Client(Arc<TcpStream>);

impl Client {
    /// Whether it has closed the connection, or is dead: nobody would read an answer.
    pub(crate) fn is_gone(&self) -> bool {
        let at_once = Timespec::default();
        let mut polled = [PollFd::new(&*self.0, PollFlags::RDHUP)];
        poll(&mut polled, Some(&at_once)).is_err() || !polled[0].revents().is_empty()
    }
}

/// Answers requests for as long as this process lives.
pub(crate) fn serve(listener: &TcpListener, bounds: Bounds, site: impl Site) {
    let (site, open) = (Arc::new(site), Arc::new(AtomicUsize::new(0)));
    loop {
        let Ok((stream, peer)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        let connection = Connection::new(stream, peer, bounds, Arc::clone(&open));
        let site = Arc::clone(&site);
        // Where no thread can be had the connection is dropped, which closes it.
        let _ = thread::Builder::new().spawn(move || connection.talk(&*site));
    }
}

/// A stream whose reads and writes end at a time, however many there are: a client that sends a byte now and then would
/// never run into a limit for each of them.
struct Link {
    client: Client,
    ends_at: Cell<Option<Instant>>,
}

impl Link {
    fn new(stream: TcpStream) -> Link {
        Link {
            client: Client(Arc::new(stream)),
            ends_at: Cell::new(None),
        }
    }

    /// What begins now has this long.
    fn allow(&self, patience: Option<Duration>) {
        let ends_at = patience.map(|patience| Instant::now() + patience);
        self.ends_at.set(ends_at);
    }

    fn stream(&self) -> &TcpStream {
        &self.client.0
    }

    /// The time that is left, where there is a limit.
    fn left(&self) -> io::Result<Option<Duration>> {
        let Some(ends_at) = self.ends_at.get() else {
            return Ok(None);
        };
        let left = ends_at.saturating_duration_since(Instant::now());
        // A limit of zero would be refused as an argument.
        match left.is_zero() {
            true => Err(io::ErrorKind::TimedOut.into()),
            false => Ok(Some(left)),
        }
    }
}

impl Read for &Link {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.stream().set_read_timeout(Some(left))?;
        }
        self.stream().read(buffer)
    }
}

impl Write for &Link {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(left) = self.left()? {
            self.stream().set_write_timeout(Some(left))?;
        }
        self.stream().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream().flush()
    }
}

/// A client, which is counted for as long as this lives.
struct Connection {
    link: Link,
    peer: SocketAddr,
    bounds: Bounds,
    open: Arc<AtomicUsize>,
    is_one_too_many: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    fn new(
        stream: TcpStream,
        peer: SocketAddr,
        bounds: Bounds,
        open: Arc<AtomicUsize>,
    ) -> Connection {
        let before = open.fetch_add(1, Ordering::Relaxed);
        let _ = stream.set_nodelay(true);
        Connection {
            link: Link::new(stream),
            peer,
            bounds,
            open,
            is_one_too_many: before >= bounds.connections,
        }
    }

    /// Answers one request after the other. Whatever goes wrong ends the connection, and nothing else.
    fn talk(&self, site: &impl Site) {
        if self.is_one_too_many {
            self.refuse(503, "busy\n");
            return;
        }
        if !site.admits(self.peer) {
            self.refuse(403, "this client is not served here\n");
            return;
        }
        let mut reader = BufReader::new(&self.link);
        while self.exchange(&mut reader, site) {}
    }

    fn refuse(&self, status: Status, why: &str) {
        let _ = self.send(&Response::text(status, why), Sends::All, false);
    }

    fn send(&self, response: &Response, sends: Sends, stays: bool) -> io::Result<()> {
        self.link.allow(self.bounds.patience);
        write(&self.link, response, sends, stays)
    }

    /// One request and its answer; whether another may follow.
    fn exchange(&self, reader: &mut BufReader<&Link>, site: &impl Site) -> bool {
        self.link.allow(self.bounds.patience);
        let head = match read_head(reader) {
            Ok(Some(head)) => head,
            Ok(None) => return false,
            Err(status) => {
                self.refuse(status, "this request cannot be read\n");
                return false;
            }
        };
        let body = match self.body(reader, &head) {
            Ok(body) => body,
            Err(status) => {
                site.refuses(&head.request, status, &self.link.client);
                self.refuse(status, "this body cannot be read\n");
                self.drain(reader);
                return false;
            }
        };
        let stays = head.stays;
        let request = Request {
            body,
            ..head.request
        };
        let sends = match request.method.as_str() {
            "HEAD" => Sends::Head,
            _ => Sends::All,
        };
        let response = site.answer(request, &self.link.client);
        self.send(&response, sends, stays).is_ok() && stays
    }

    fn body(&self, reader: &mut BufReader<&Link>, head: &Head) -> Result<Vec<u8>, Status> {
        if head.length > self.bounds.body {
            return Err(413);
        }
        // Some clients send a body only after they were asked for it.
        if head.expects_continue {
            let asks = b"HTTP/1.1 100 Continue\r\n\r\n";
            (&self.link).write_all(asks).map_err(|_| 400_u16)?;
        }
        read_body(reader, head, self.bounds.body)
    }

    /// Drops what is still being sent: were the connection closed meanwhile, the client would see that as an error, and
    /// not the answer.
    fn drain(&self, reader: &mut BufReader<&Link>) {
        let _ = self.link.stream().shutdown(Shutdown::Write);
        let _ = io::copy(reader, &mut io::sink());
    }
}

/// What a head says.
#[derive(Debug, Default)]
struct Head {
    request: Request,
    /// The client may ask again.
    stays: bool,
    expects_continue: bool,
    length: usize,
    chunked: bool,
}

/// The status that a bad request is answered with.
type Status = u16;

/// The next head; `None` at the end.
fn read_head(reader: &mut impl BufRead) -> Result<Option<Head>, Status> {
    let mut reader = reader.take(HEAD as u64);
    let mut bytes = Vec::new();
    while !(bytes.ends_with(b"\r\n\r\n") || bytes.ends_with(b"\n\n")) {
        match reader.read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) if bytes.is_empty() => return Ok(None),
            Ok(0) if bytes.len() == HEAD => return Err(431),
            Ok(0) | Err(_) => return Err(400),
            Ok(_) => {}
        }
    }
    parse(&bytes).map(Some)
}

fn parse(bytes: &[u8]) -> Result<Head, Status> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(431),
        Ok(httparse::Status::Partial) | Err(_) => return Err(400),
    }
    let mut head = Head {
        request: Request {
            method: parsed.method.unwrap_or_default().to_owned(),
            path: parsed.path.unwrap_or_default().to_owned(),
            ..Request::default()
        },
        stays: parsed.version == Some(1),
        ..Head::default()
    };
    for field in parsed.headers.iter() {
        head.take(field.name, &String::from_utf8_lossy(field.value))?;
    }
    Ok(head)
}

impl Head {
    fn take(&mut self, name: &str, value: &str) -> Result<(), Status> {
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "host" => self.request.host = Some(value.to_owned()),
            "content-length" => self.length = value.parse().map_err(|_| 400_u16)?,
            "transfer-encoding" if value.eq_ignore_ascii_case("chunked") => self.chunked = true,
            "transfer-encoding" => return Err(501),
            "connection" => self.stays &= !value.eq_ignore_ascii_case("close"),
            "expect" => self.expects_continue = value.eq_ignore_ascii_case("100-continue"),
            _ => {}
        }
        Ok(())
    }
}

fn read_body(reader: &mut impl BufRead, head: &Head, most: usize) -> Result<Vec<u8>, Status> {
    if head.chunked {
        return read_chunks(reader, most);
    }
    let mut body = vec![0; head.length];
    reader.read_exact(&mut body).map_err(|_| 400_u16)?;
    Ok(body)
}

fn read_chunks(reader: &mut impl BufRead, most: usize) -> Result<Vec<u8>, Status> {
    let mut body = Vec::new();
    loop {
        let line = read_line(reader)?;
        let size = match httparse::parse_chunk_size(&line) {
            Ok(httparse::Status::Complete((_, size))) => size,
            Ok(httparse::Status::Partial) | Err(_) => return Err(400),
        };
        let begin = body.len();
        if size > (most - begin) as u64 {
            return Err(413);
        }
        if size == 0 {
            // Fields may follow, up to an empty line.
            while !matches!(read_line(reader)?.as_slice(), b"\r\n" | b"\n") {}
            return Ok(body);
        }
        body.resize(begin + size as usize, 0);
        reader.read_exact(&mut body[begin..]).map_err(|_| 400_u16)?;
        if read_line(reader)?.trim_ascii() != b"" {
            return Err(400);
        }
    }
}

fn read_line(reader: &mut impl BufRead) -> Result<Vec<u8>, Status> {
    let mut line = Vec::new();
    let read = reader.take(1024).read_until(b'\n', &mut line);
    match read {
        Ok(_) if line.ends_with(b"\n") => Ok(line),
        Ok(_) | Err(_) => Err(400),
    }
}

/// Which part of a response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sends {
    Head,
    All,
}

fn write(mut stream: &Link, response: &Response, sends: Sends, stays: bool) -> io::Result<()> {
    let connection = if stays { "keep-alive" } else { "close" };
    let mut text = format!(
        "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {connection}\r\nX-Content-Type-Options: nosniff\r\n",
        response.status,
        reason(response.status),
        response.content_type,
        response.body.len()
    );
    for (name, value) in &response.fields {
        text += &format!("{name}: {value}\r\n");
    }
    text += "\r\n";
    let mut bytes = text.into_bytes();
    if sends == Sends::All {
        bytes.extend_from_slice(&response.body);
    }
    stream.write_all(&bytes)
}

/// What a status is called; clients do not read it.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what it was asked, to nobody but its own machine.
    struct Echo;

    impl Site for Echo {
        fn answer(&self, request: Request, _: &Client) -> Response {
            let Request {
                method, path, body, ..
            } = request;
            let text = format!("{method} {path} {}", String::from_utf8_lossy(&body));
            Response::text(200, &text)
        }
    }

    fn started(connections: usize) -> SocketAddr {
        started_with(connections, Duration::from_secs(60))
    }

    fn started_with(connections: usize, patience: Duration) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let bounds = Bounds {
            connections,
            body: 1000,
            patience: Some(patience),
        };
        thread::spawn(move || serve(&listener, bounds, Echo));
        address
    }

    /// What comes back for these bytes, to the end of the connection.
    fn told(address: SocketAddr, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.write_all(bytes).expect("sent");
        // A server that refused the request may have closed the connection by now.
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn requests_follow_each_other_with_bodies_of_both_kinds() {
        let address = started(4);
        let answer = told(
            address,
            b"GET /a?b HTTP/1.1\r\nHost: x\r\n\r\nPOST /c HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhiPOST /d HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nA: b\r\n\r\nGET /e HTTP/1.1\r\n\r\n",
        );
        let bodies: Vec<&str> = answer.split("\r\n\r\n").skip(1).collect();
        assert!(bodies[0].starts_with("GET /a?b "), "{answer}");
        assert!(bodies[1].starts_with("POST /c hi"), "{answer}");
        assert!(bodies[2].starts_with("POST /d hello"), "{answer}");
        // Nothing is said to a client that has gone after its last request.
        assert_eq!(bodies[3..], ["GET /e "], "{answer}");
    }

    #[test]
    fn a_head_says_whom_it_means_whether_more_comes_and_whether_its_body_is_to_be_asked_for() {
        let head = |text: &str| parse(text.as_bytes()).expect("a head");
        let asking = head("GET / HTTP/1.1\r\nHost: a:1\r\nExpect: 100-Continue\r\n\r\n");
        assert_eq!(asking.request.host.as_deref(), Some("a:1"));
        assert!(asking.stays && asking.expects_continue);
        assert!(head("GET / HTTP/1.1\r\nConnection: keep-alive\r\n\r\n").stays);
        assert!(!head("GET / HTTP/1.1\r\nConnection: Close\r\n\r\n").stays);
        let old = head("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
        assert!(!old.stays && !old.expects_continue);
    }

    #[test]
    fn a_body_may_be_as_long_as_the_bounds_say() {
        let body = |mut text: &[u8], chunked, length| {
            let head = Head {
                chunked,
                length,
                ..Head::default()
            };
            read_body(&mut text, &head, 5).map(|body| body.len())
        };
        assert_eq!(body(b"hello", false, 5), Ok(5));
        assert_eq!(body(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", true, 0), Ok(5));
        assert_eq!(
            body(b"2\r\nhe\r\n4\r\nllo!\r\n0\r\n\r\n", true, 0),
            Err(413)
        );
        // Cut off before the empty line at its end.
        assert_eq!(body(b"0\r\n", true, 0), Err(400));
    }

    #[test]
    fn what_is_as_long_as_it_may_be_is_taken() {
        let address = started(4);
        let body = format!("Content-Length: 1000\r\n\r\n{}", "x".repeat(1000));
        let head = format!("A: {}\r\n\r\n", "x".repeat(HEAD - 100));
        for rest in [body, head] {
            let answer = told(address, format!("POST / HTTP/1.1\r\n{rest}").as_bytes());
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
    }

    #[test]
    fn after_its_last_request_a_client_is_answered_no_other() {
        let answer = told(
            started(4),
            b"GET /a HTTP/1.1\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\n\r\n",
        );
        assert!(answer.ends_with("\r\n\r\nGET /a "), "{answer}");
    }

    #[test]
    fn a_client_that_sends_too_much_is_answered_and_not_cut_off() {
        let mut stream = TcpStream::connect(started(4)).expect("connected");
        let body = vec![b'x'; 8 << 20];
        let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).expect("sent");
        stream.write_all(&body).expect("all of it is read");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        assert_eq!(&status, b"HTTP/1.1 413");
    }

    #[test]
    fn a_head_is_answered_without_its_content() {
        let answer = told(started(4), b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(
            answer.contains("Content-Length: 7") && answer.ends_with("\r\n\r\n"),
            "{answer}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_the_connection_ends() {
        let address = started(4);
        let long = format!("GET / HTTP/1.1\r\nA: {}\r\n\r\n", "x".repeat(HEAD));
        for (bytes, status) in [
            (&b"nonsense\r\n\r\n"[..], 400),
            (b"GET / HTTP/1.1\r\nHost", 400),
            (long.as_bytes(), 431),
            (b"POST / HTTP/1.1\r\nContent-Length: 2000\r\n\r\n", 413),
            (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
            (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhi", 400),
            (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
            (
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n7d1\r\n",
                413,
            ),
            (
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                400,
            ),
        ] {
            let answer = told(address, bytes);
            let expected = format!("HTTP/1.1 {status} ");
            assert!(answer.starts_with(&expected), "{status}: {answer}");
        }
    }

    #[test]
    fn one_client_too_many_is_told_so() {
        let address = started(1);
        let mut first = TcpStream::connect(address).expect("connected");
        first.write_all(b"GET /1 HTTP/1.1\r\n\r\n").expect("sent");
        // Answered, so it is counted, and it stays.
        let mut answer = [0; 12];
        first.read_exact(&mut answer).expect("an answer");
        let busy = told(address, b"GET /2 HTTP/1.1\r\n\r\n");
        assert!(busy.starts_with("HTTP/1.1 503"), "{busy}");
    }

    #[test]
    fn a_client_that_sends_a_byte_now_and_then_has_as_long_as_any_other() {
        let address = started_with(1, Duration::from_millis(200));
        let mut slow = TcpStream::connect(address).expect("connected");
        slow.set_read_timeout(Some(Duration::from_millis(20)))
            .expect("set");
        let mut answer = [0; 256];
        // Each byte is in time; without an end to the whole all of them would be taken.
        let end = (0..500).find_map(|_| {
            let _ = slow.write_all(b"G");
            let read = slow.read(&mut answer);
            (!read
                .as_ref()
                .is_err_and(|e| e.kind() == io::ErrorKind::WouldBlock))
            .then_some(read)
        });
        let read = end.expect("the connection ends").unwrap_or_default();
        assert!(read == 0 || answer.starts_with(b"HTTP/1.1 400"));
    }
}
