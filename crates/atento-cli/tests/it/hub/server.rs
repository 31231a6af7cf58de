//! A small server on loopback that answers as the Hugging Face Hub does.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::json;

pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server serves: the model `org/m`.
#[derive(Clone, Default)]
pub struct Served {
    /// Its files.
    pub dir: PathBuf,
    /// The token without which nothing is given.
    pub token: Option<String>,
    /// A file whose connection ends after so many bytes.
    pub cut: Option<(String, usize)>,
    /// Whether weights lie at another address.
    pub redirects: bool,
}

pub struct Server {
    pub address: String,
    asked: Arc<Mutex<Vec<String>>>,
    served: Arc<Mutex<Served>>,
    thread: Option<JoinHandle<()>>,
}

/// A request, as far as it matters.
struct Request {
    path: String,
    /// The first byte that is wanted, and the last.
    range: Option<(usize, Option<usize>)>,
    token: Option<String>,
}

impl Server {
    pub fn start(served: Served) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (asked, served) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(served)));
        let (log, files, own) = (asked.clone(), served.clone(), address.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let Some(request) = read(&stream) else { continue };
                if request.path == "/stop" {
                    return;
                }
                log.lock().unwrap().push(request.path.clone());
                let served = files.lock().unwrap().clone();
                // Whoever asked may be gone.
                let _ = answer(stream, &request, &served, &own);
            }
        });
        Self { address, asked, served, thread: Some(thread) }
    }

    /// The paths that were asked for since the last look.
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    pub fn change(&self, change: impl FnOnce(&mut Served)) {
        change(&mut self.served.lock().unwrap());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(mut stream) = TcpStream::connect(self.address.trim_start_matches("http://")) {
            let _ = stream.write_all(b"GET /stop HTTP/1.1\r\n\r\n");
        }
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let path = lines.next()?.ok()?.split(' ').nth(1)?.to_owned();
    let mut request = Request { path, range: None, token: None };
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_lowercase().as_str() {
            "range" => {
                let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
                request.range = Some((first.parse().ok()?, last.parse().ok()));
            }
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    Some(request)
}

fn answer(mut stream: TcpStream, request: &Request, served: &Served, own: &str) -> std::io::Result<()> {
    let mut send = |status: &str, headers: &str, body: &[u8], length: usize| {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).and_then(|()| stream.flush())
    };
    if served.token.is_some() && served.token != request.token {
        return send("401 Unauthorized", "X-Error-Code: GatedRepo\r\n", b"", 0);
    }
    if request.path == "/api/models/org/m/revision/main"
        || request.path == format!("/api/models/org/m/revision/{COMMIT}")
    {
        let body = json!({ "sha": COMMIT, "siblings": listed(&served.dir, "") }).to_string();
        return send("200 OK", "", body.as_bytes(), body.len());
    }
    let resolved = request.path.strip_prefix(&format!("/org/m/resolve/{COMMIT}/"));
    let Some(file) = resolved.or_else(|| request.path.strip_prefix("/elsewhere/")) else {
        return send("404 Not Found", "X-Error-Code: RepoNotFound\r\n", b"", 0);
    };
    let Ok(bytes) = fs::read(served.dir.join(file)) else { return send("404 Not Found", "", b"", 0) };
    let etag = format!("{:08x}-{}", bytes.len(), file.replace(['/', '.'], "-"));
    let headers = format!("ETag: \"{etag}\"\r\nX-Repo-Commit: {COMMIT}\r\nAccept-Ranges: bytes\r\n");
    if served.redirects && resolved.is_some() && file.ends_with(".safetensors") {
        let headers = format!("{headers}X-Linked-Etag: \"{etag}\"\r\nLocation: {own}/elsewhere/{file}\r\n");
        return send("302 Found", &headers, b"", 0);
    }
    let (first, last) = request.range.unwrap_or((0, None));
    if first >= bytes.len() {
        return send("416 Range Not Satisfiable", &headers, b"", 0);
    }
    let last = last.unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
    let headers = format!("{headers}Content-Range: bytes {first}-{last}/{}\r\n", bytes.len());
    let cut = served.cut.as_ref().filter(|(cut, _)| cut == file && last > first).map(|(_, end)| *end);
    let sent = &bytes[first..cut.map_or(last + 1, |end| end.clamp(first, last))];
    send("206 Partial Content", &headers, sent, last + 1 - first)
}

/// The files of a directory, as the Hub lists them.
fn listed(dir: &Path, folder: &str) -> Vec<serde_json::Value> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let name = format!("{folder}{}", entry.file_name().into_string().unwrap());
        match entry.path().is_dir() {
            true => found.extend(listed(&entry.path(), &format!("{name}/"))),
            false => found.push(json!({ "rfilename": name })),
        }
    }
    found
}
