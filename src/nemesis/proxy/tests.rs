use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// Long enough to see that nothing comes.
const NOTHING: Duration = Duration::from_millis(100);

/// A proxy, and both ends of one connection through it.
async fn linked() -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(&listener.local_addr().unwrap().to_string()).await.unwrap();
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (proxy, client, server)
}

async fn receives(stream: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(PATIENCE, stream.read_exact(&mut bytes)).await.unwrap().unwrap();
    bytes
}

async fn ends(stream: &mut TcpStream) {
    let mut byte = [0];
    let read = timeout(PATIENCE, stream.read(&mut byte)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

async fn is_silent(stream: &mut TcpStream) {
    let mut byte = [0];
    assert!(timeout(NOTHING, stream.read(&mut byte)).await.is_err(), "something came");
}

#[tokio::test]
async fn every_byte_passes_and_is_counted() {
    let (proxy, mut client, mut server) = linked().await;
    let sent: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
    let writing = async { client.write_all(&sent).await.unwrap() };
    let ((), received) = tokio::join!(writing, receives(&mut server, sent.len()));
    assert!(received == sent);
    server.write_all(b"back").await.unwrap();
    assert_eq!(receives(&mut client, 4).await, b"back");
    let counted = Passed { connections: 1, to_server_bytes: 200_000, to_client_bytes: 4 };
    assert_eq!(proxy.passed(), counted);
    drop(client);
    ends(&mut server).await;
}

#[tokio::test]
async fn a_held_direction_loses_nothing_and_the_other_goes_on() {
    let (proxy, mut client, mut server) = linked().await;
    proxy.set(Weather { holds_to_server: true, ..Weather::default() });
    client.write_all(b"held").await.unwrap();
    server.write_all(b"free").await.unwrap();
    assert_eq!(receives(&mut client, 4).await, b"free");
    is_silent(&mut server).await;
    // Its end is held, too.
    client.shutdown().await.unwrap();
    is_silent(&mut server).await;
    proxy.set(Weather::default());
    assert_eq!(receives(&mut server, 4).await, b"held");
    ends(&mut server).await;
}

#[tokio::test]
async fn latency_delays_each_piece_without_narrowing_the_link() {
    let (proxy, mut client, mut server) = linked().await;
    let latency = Duration::from_millis(80);
    proxy.set(Weather { latency, jitter: Duration::from_millis(20), ..Weather::default() });
    let begun = Instant::now();
    for number in 0..20u8 {
        client.write_all(&[number]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(receives(&mut server, 20).await, (0..20).collect::<Vec<u8>>(), "in order");
    let took = begun.elapsed();
    assert!(took >= latency && took < 10 * latency, "{took:?}, and not 20 times the latency");
}

#[tokio::test]
async fn a_narrow_link_and_small_pieces_still_bring_everything() {
    let (proxy, mut client, mut server) = linked().await;
    proxy.set(Weather { bytes_per_s: Some(10_000), ..Weather::default() });
    let begun = Instant::now();
    client.write_all(&[7; 2_000]).await.unwrap();
    assert_eq!(receives(&mut server, 2_000).await, [7; 2_000]);
    assert!(begun.elapsed() >= Duration::from_millis(180), "{:?}", begun.elapsed());

    proxy.set(Weather { piece_bytes: Some(1), ..Weather::default() });
    client.write_all(b"one by one").await.unwrap();
    assert_eq!(receives(&mut server, 10).await, b"one by one");
}

#[tokio::test]
async fn connections_are_cut_half_closed_and_made_again() {
    let (proxy, mut client, mut server) = linked().await;
    proxy.half_close(Direction::ToServer);
    ends(&mut server).await;
    server.write_all(b"still").await.unwrap();
    assert_eq!(receives(&mut client, 5).await, b"still");
    proxy.cut();
    ends(&mut client).await;
    assert!(TcpStream::connect(proxy.address()).await.is_ok());
    let address = proxy.address();
    drop(proxy);
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it still listens");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn where_nobody_listens_the_client_is_let_go() {
    let proxy = Proxy::start("127.0.0.1:1").await.unwrap();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    ends(&mut client).await;
}
