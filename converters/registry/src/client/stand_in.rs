//! A registry for tests: HTTP over a socket, answers as Confluent's.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use connect_core::ConfigMap;
use parking_lot::{Condvar, Mutex};
use serde_json::{Value as Json, json};

/// A running one; it ends with its owner.
pub(crate) struct StandIn {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    ended: bool,
    /// No answer is given while it is set.
    held: bool,
    /// Answers in place of the real ones, the next first.
    scripted: Vec<(u16, String)>,
    /// What was asked: method, path, and the header `authorization`.
    asked: Vec<(String, String)>,
    schemas: Vec<Json>,
    /// By subject, ids in the order of their versions.
    subjects: HashMap<String, Vec<usize>>,
}

impl StandIn {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if serving.state.lock().ended {
                    return;
                }
                let serving = Arc::clone(&serving);
                std::thread::spawn(move || drop(serving.serve(stream.unwrap())));
            }
        });
        StandIn { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A configuration that names it, with other keys.
    pub(crate) fn config(&self, keys: &[(&str, &str)]) -> ConfigMap {
        let url = ("schema.registry.url", self.url());
        let own = keys.iter().map(|(key, value)| (*key, (*value).to_owned()));
        std::iter::once(url)
            .chain(own)
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// Answers the next request like this.
    pub(crate) fn script(&self, status: u16, body: &str) {
        let mut state = self.shared.state.lock();
        state.scripted.push((status, body.to_owned()));
    }

    /// Answers nothing until it is released.
    pub(crate) fn hold(&self) {
        self.shared.state.lock().held = true;
    }

    pub(crate) fn release(&self) {
        self.shared.state.lock().held = false;
        self.shared.changed.notify_all();
    }

    /// The requests so far, each as method and path.
    pub(crate) fn asked(&self) -> Vec<String> {
        let state = self.shared.state.lock();
        state.asked.iter().map(|(asked, _)| asked.clone()).collect()
    }

    /// Waits until so many requests have come.
    pub(crate) fn wait_for(&self, requests: usize) {
        let mut state = self.shared.state.lock();
        while state.asked.len() < requests {
            self.shared.changed.wait(&mut state);
        }
    }

    pub(crate) fn authorization(&self) -> String {
        let state = self.shared.state.lock();
        state.asked.last().unwrap().1.clone()
    }

    /// Registers a schema.
    pub(crate) fn add(&self, subject: &str, schema: Json) -> i32 {
        let mut state = self.shared.state.lock();
        i32::try_from(state.register(subject, schema)).unwrap()
    }

    pub(crate) fn schema(&self, id: i32) -> Json {
        let state = self.shared.state.lock();
        state.schemas[usize::try_from(id).unwrap() - 1].clone()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.shared.state.lock().ended = true;
        self.release();
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (method, path) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let (mut length, mut authorization) = (0, String::new());
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim().split_once(": ") else {
                break;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.parse().unwrap(),
                "authorization" => authorization = value.to_owned(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let (status, answer) = {
            let mut state = self.state.lock();
            state
                .asked
                .push((format!("{method} {path}"), authorization));
            self.changed.notify_all();
            while state.held && !state.ended {
                self.changed.wait(&mut state);
            }
            match state.scripted.is_empty() {
                false => state.scripted.remove(0),
                true => {
                    let (status, json) = state.answer(&path, &body);
                    (status, json.to_string())
                }
            }
        };
        write!(
            stream,
            "HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{answer}",
            answer.len()
        )
    }
}

impl State {
    fn register(&mut self, subject: &str, mut schema: Json) -> usize {
        schema.as_object_mut().unwrap().remove("id");
        let known = self.schemas.iter().position(|other| *other == schema);
        let id = known.unwrap_or_else(|| {
            self.schemas.push(schema);
            self.schemas.len() - 1
        }) + 1;
        let versions = self.subjects.entry(subject.to_owned()).or_default();
        if !versions.contains(&id) {
            versions.push(id);
        }
        id
    }

    fn answer(&mut self, path: &str, body: &[u8]) -> (u16, Json) {
        let path = path.split('?').next().unwrap();
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let missing = (
            404,
            json!({"error_code": 40403, "message": "Schema not found"}),
        );
        match parts.as_slice() {
            ["schemas", "ids", id] => {
                let id: usize = id.parse().unwrap();
                match self.schemas.get(id - 1) {
                    Some(schema) => (200, schema.clone()),
                    None => missing,
                }
            }
            ["subjects", subject, "versions"] => {
                let schema = serde_json::from_slice(body).unwrap();
                (200, json!({ "id": self.register(subject, schema) }))
            }
            ["subjects", subject] => {
                let schema: Json = serde_json::from_slice(body).unwrap();
                let id = self.schemas.iter().position(|other| *other == schema);
                let versions = self.subjects.get(*subject);
                match id.map(|id| id + 1) {
                    Some(id) if versions.is_some_and(|ids| ids.contains(&id)) => {
                        (200, json!({ "id": id, "subject": subject }))
                    }
                    _ => missing,
                }
            }
            ["subjects", subject, "versions", version] => {
                let versions = self.subjects.get(*subject).map_or(&[][..], Vec::as_slice);
                let id = match version.parse::<usize>() {
                    Ok(version) => versions.get(version - 1),
                    Err(_) => versions.last(),
                };
                match id {
                    None => missing,
                    Some(id) => {
                        let mut schema = self.schemas[id - 1].clone();
                        schema["id"] = json!(id);
                        (200, schema)
                    }
                }
            }
            _ => (404, json!("no such path")),
        }
    }
}
