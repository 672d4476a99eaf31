//! The floor of `kclpipe lambda`: Lambda's Runtime API for one function, which gets the same event again and again as
//! fast as it asks. Nothing is looked at.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// How many of its responses in a second `function` gives to this event, after one that does not count.
pub(crate) fn rate(mut function: Command, event: &[u8], events: usize) -> Result<f64> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut function = function
        .env("AWS_LAMBDA_RUNTIME_API", listener.local_addr()?.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let rate = rate_of(&listener, &mut function, event, events);
    // Whatever went wrong, it is not left behind.
    function.kill()?;
    function.wait()?;
    rate
}

fn rate_of(
    listener: &TcpListener,
    function: &mut Child,
    event: &[u8],
    events: usize,
) -> Result<f64> {
    let mut api = Api::begin(listener, function)?;
    api.invoke(event)?;
    let began = Instant::now();
    for _ in 0..events {
        api.invoke(event)?;
    }
    Ok(events as f64 / began.elapsed().as_secs_f64())
}

/// The connection of a function, and what it is given.
struct Api {
    requests: BufReader<TcpStream>,
}

impl Api {
    /// Waits for the function, unless it ends.
    fn begin(listener: &TcpListener, function: &mut Child) -> Result<Api> {
        listener.set_nonblocking(true)?;
        let connection = loop {
            match listener.accept() {
                Ok((connection, _)) => break connection,
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    ensure!(function.try_wait()?.is_none(), "the function ended");
                    thread::sleep(Duration::from_millis(1));
                }
                Err(e) => return Err(e.into()),
            }
        };
        connection.set_nonblocking(false)?;
        connection.set_nodelay(true)?;
        let requests = BufReader::new(connection);
        Ok(Api { requests })
    }

    /// Gives one event, and takes the response.
    fn invoke(&mut self, event: &[u8]) -> Result<()> {
        let asked = self.request()?;
        ensure!(asked.ends_with("/invocation/next"), "it asked for {asked}");
        let head = format!(
            "HTTP/1.1 200 OK\r\n\
             Content-Type: application/json\r\n\
             Lambda-Runtime-Aws-Request-Id: 1\r\n\
             Lambda-Runtime-Deadline-Ms: 4102444800000\r\n\
             Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:000000000000:function:f\r\n\
             Content-Length: {}\r\n\r\n",
            event.len()
        );
        self.respond(&[head.as_bytes(), event].concat())?;
        let asked = self.request()?;
        ensure!(asked.ends_with("/response"), "it asked for {asked}");
        self.respond(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
    }

    /// Reads a request, and drops its body; its path.
    fn request(&mut self) -> Result<String> {
        let (mut head, mut length) = (String::new(), 0);
        let mut begin = 0;
        while !head.ends_with("\r\n\r\n") {
            ensure!(
                self.requests.read_line(&mut head)? > 0,
                "the function ended"
            );
            if let Some((name, value)) = head[begin..].split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse()?;
            }
            begin = head.len();
        }
        self.requests.read_exact(&mut vec![0; length])?;
        let path = head.split(' ').nth(1).context("a request without a path")?;
        Ok(path.to_owned())
    }

    fn respond(&mut self, response: &[u8]) -> Result<()> {
        Ok(self.requests.get_mut().write_all(response)?)
    }
}
