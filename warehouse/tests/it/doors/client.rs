//! A client of PostgreSQL's protocol that hides nothing: what is sent and what comes is said byte by byte.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// The third version of the protocol, and what says instead that a statement is to be cancelled.
const VERSION: i32 = 196_608;
const CANCEL: i32 = 80_877_102;

/// What an error is called, and says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub text: String,
}

/// What one statement was answered with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The name of each column, and the number of its type.
    pub columns: Vec<(String, u32)>,
    pub rows: Vec<Vec<Option<String>>>,
    /// What `COPY` wrote.
    pub copied: Vec<u8>,
}

impl Answer {
    /// The values of a column; a missing one is empty.
    pub fn column(&self, name: &str) -> Vec<&str> {
        let at = self.columns.iter().position(|(known, _)| known == name);
        let at = at.unwrap_or_else(|| panic!("no {name} among {:?}", self.columns));
        self.rows.iter().map(|row| row[at].as_deref().unwrap_or_default()).collect()
    }

    /// The one value of an answer that has one.
    pub fn value(&self) -> &str {
        let [row] = self.rows.as_slice() else { panic!("not one row: {:?}", self.rows) };
        let [value] = row.as_slice() else { panic!("not one column: {row:?}") };
        value.as_deref().unwrap_or_default()
    }
}

/// Who is connected.
pub struct Client {
    stream: TcpStream,
    /// By which the connection's statements are cancelled.
    key: Vec<u8>,
}

impl Client {
    /// Connects in a role, with a token as password.
    pub async fn connect(to: SocketAddr, role: &str) -> Result<Self, Refusal> {
        let stream = TcpStream::connect(to).await.unwrap();
        let mut client = Self { stream, key: Vec::new() };
        let mut start = VERSION.to_be_bytes().to_vec();
        start.extend(format!("user\0{role}\0database\0avis\0\0").as_bytes());
        client.write(&framed(&start)).await;
        loop {
            let (kind, body) = client.read().await;
            match kind {
                // The password is wanted in the clear.
                b'R' if body == 3_i32.to_be_bytes() => client.send(b'p', b"token\0").await,
                b'K' => client.key = body,
                b'E' => return Err(refusal(&body)),
                b'Z' => return Ok(client),
                _ => {}
            }
        }
    }

    /// Asks by the simple protocol: the answers of all statements of a text.
    pub async fn simple(&mut self, sql: &str) -> Result<Vec<Answer>, Refusal> {
        self.send(b'Q', &text(sql)).await;
        self.answers().await
    }

    /// Asks one statement by the simple protocol.
    pub async fn ask(&mut self, sql: &str) -> Result<Answer, Refusal> {
        let mut answers = self.simple(sql).await?;
        assert_eq!(answers.len(), 1, "{sql}");
        Ok(answers.remove(0))
    }

    /// Asks as pgjdbc does: with parameters as text, each with the number of its type, all at once.
    pub async fn bound(
        &mut self,
        sql: &str,
        parameters: &[(u32, Option<&str>)],
    ) -> Result<Answer, Refusal> {
        let count = i16::try_from(parameters.len()).unwrap().to_be_bytes();
        let mut parse = [&b"\0"[..], &text(sql)[..], &count[..]].concat();
        let mut bind = [&b"\0\0\0\0"[..], &count[..]].concat();
        for (kind, value) in parameters {
            parse.extend(kind.to_be_bytes());
            match value {
                Some(value) => {
                    bind.extend(i32::try_from(value.len()).unwrap().to_be_bytes());
                    bind.extend(value.as_bytes());
                }
                None => bind.extend((-1_i32).to_be_bytes()),
            }
        }
        // Every column as text.
        bind.extend(0_i16.to_be_bytes());
        self.send(b'P', &parse).await;
        self.send(b'B', &bind).await;
        self.send(b'D', b"P\0").await;
        self.send(b'E', b"\0\0\0\0\0").await;
        self.send(b'S', b"").await;
        let mut answers = self.answers().await?;
        assert_eq!(answers.len(), 1, "{sql}");
        Ok(answers.remove(0))
    }

    /// By which this connection's statements are cancelled.
    pub fn key(&self) -> Vec<u8> {
        self.key.clone()
    }

    async fn answers(&mut self) -> Result<Vec<Answer>, Refusal> {
        let (mut answers, mut answer, mut failed) = (Vec::new(), Answer::default(), None);
        loop {
            let (kind, body) = self.read().await;
            match kind {
                b'T' => answer.columns = columns(&body),
                b'D' => answer.rows.push(row(&body)),
                b'd' => answer.copied.extend(body),
                b'C' => answers.push(std::mem::take(&mut answer)),
                b'E' => failed = Some(refusal(&body)),
                b'Z' => return failed.map_or(Ok(answers), Err),
                _ => {}
            }
        }
    }

    async fn send(&mut self, kind: u8, body: &[u8]) {
        self.write(&[&[kind][..], &framed(body)[..]].concat()).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    async fn read(&mut self) -> (u8, Vec<u8>) {
        let kind = self.stream.read_u8().await.unwrap();
        let length = self.stream.read_u32().await.unwrap();
        let mut body = vec![0; usize::try_from(length).unwrap() - 4];
        self.stream.read_exact(&mut body).await.unwrap();
        (kind, body)
    }
}

/// Asks for a connection's statement to be cancelled, as a connection of its own.
pub async fn cancel(to: SocketAddr, key: &[u8]) {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let asked = [&CANCEL.to_be_bytes()[..], key].concat();
    stream.write_all(&framed(&asked)).await.unwrap();
    // Nothing is answered: it hangs up when it is done.
    let _ = stream.read(&mut [0]).await;
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
    [&length[..], body].concat()
}

fn text(of: &str) -> Vec<u8> {
    [of.as_bytes(), b"\0"].concat()
}

/// What is left of a message.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.0.split_first_chunk().unwrap();
        self.0 = rest;
        *bytes
    }

    fn short(&mut self) -> i16 {
        i16::from_be_bytes(self.bytes())
    }

    fn text(&mut self) -> String {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap();
        let text = String::from_utf8(self.0[..end].to_vec()).unwrap();
        self.0 = &self.0[end + 1..];
        text
    }
}

fn columns(body: &[u8]) -> Vec<(String, u32)> {
    let mut body = Body(body);
    let column = |body: &mut Body<'_>| {
        let name = body.text();
        // The table and its column, which no answer names.
        let _: [u8; 6] = body.bytes();
        let kind = u32::from_be_bytes(body.bytes());
        // The length of a value, what the type says of it, and whether it comes as text.
        let _: [u8; 8] = body.bytes();
        (name, kind)
    };
    (0..body.short()).map(|_| column(&mut body)).collect()
}

fn row(body: &[u8]) -> Vec<Option<String>> {
    let mut body = Body(body);
    let value = |body: &mut Body<'_>| {
        let length = usize::try_from(i32::from_be_bytes(body.bytes())).ok()?;
        let (value, rest) = body.0.split_at(length);
        body.0 = rest;
        Some(String::from_utf8(value.to_vec()).unwrap())
    };
    (0..body.short()).map(|_| value(&mut body)).collect()
}

fn refusal(body: &[u8]) -> Refusal {
    let mut body = Body(body);
    let (mut code, mut text) = (String::new(), String::new());
    loop {
        let [field] = body.bytes();
        match field {
            0 => return Refusal { code, text },
            b'C' => code = body.text(),
            b'M' => text = body.text(),
            _ => drop(body.text()),
        }
    }
}
