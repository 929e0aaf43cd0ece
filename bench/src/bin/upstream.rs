//! The API behind every proxy that is measured: one fixed answer to any request without a body, in as few instructions as
//! possible, so that what is measured is the proxy.
//!
//! `upstream --port P`

use keybound_bench::arguments::Arguments;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 22\r\n\r\n{\"answer\":\"from here\"}";

/// Longer request heads are not answered.
const HEAD_BYTES_MAX: usize = 64 * 1024;

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::of_process();
    let port: u16 = arguments.required("--port")?;
    arguments.finish()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind(("127.0.0.1", port)).await?;
        println!("listening");
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::task::spawn_local(serve(stream));
        }
    })
}

async fn serve(mut stream: TcpStream) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut head = Vec::with_capacity(4096);
    loop {
        // No request here is followed by another before its answer, so a head ends where the bytes do.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() > HEAD_BYTES_MAX || stream.read_buf(&mut head).await.ok()? == 0 {
                return None;
            }
        }
        head.clear();
        stream.write_all(ANSWER).await.ok()?;
    }
}
