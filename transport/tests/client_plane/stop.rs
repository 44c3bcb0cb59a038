//! Stopping: links are told, connections end, and nobody can hold the plane up.

use std::{sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use transport::{
    Encoding, LinkError, OnLink, ServerIdentity,
    authority::Authority,
    client_plane::{self, Config, Limits},
    dial,
};

use crate::support::{frames, soon, start};

#[tokio::test]
async fn a_stop_tells_every_link_that_the_node_goes_away() {
    let mut server = start().await;
    let mut links = vec![
        dial::quic(&server.tls, server.address).await.unwrap(),
        dial::websocket(&server.tls, server.address, Encoding::Text, None).await.unwrap(),
    ];
    for link in &mut links {
        link.writer.send(&mut frames(["hello"])).await.unwrap();
        assert_eq!(soon("an echo", link.reader.next()).await.unwrap().unwrap(), "hello");
    }
    server.stop.cancel();
    for link in &mut links {
        let end = soon("the close", link.reader.next()).await;
        assert_eq!(end, Err(LinkError::Closed { code: 1001 }));
        assert_eq!(server.ended().await, Err(LinkError::Stopping));
    }
    soon("the end of the plane", server.handle.stopped()).await;
}

#[tokio::test]
async fn a_link_that_does_not_end_is_cut() {
    let (authority, _) = Authority::create("test").unwrap();
    let issued = authority.issue_client_plane(&[]).unwrap();
    let tls =
        ServerIdentity::from_pem(issued.certificate_pem.as_bytes(), issued.key_pem.as_bytes())
            .unwrap();
    let (began_to, mut began) = mpsc::unbounded_channel();
    let on_link: OnLink = Arc::new(move |link| {
        let began = began_to.clone();
        async move {
            began.send(()).unwrap();
            std::future::pending::<()>().await;
            drop(link);
        }
        .boxed()
    });
    let limits = Limits { stop: Duration::from_millis(100), ..Limits::default() };
    let config = Config { listen: "127.0.0.1:0".parse().unwrap(), plain_listen: None, tls, limits };
    let stop = CancellationToken::new();
    let handle =
        client_plane::serve(config, axum::Router::new(), on_link, stop.clone()).await.unwrap();
    let ca = transport::ClientTls::from_ca_pem(authority.certificate_pem().as_bytes()).unwrap();
    let mut quic = dial::quic(&ca, handle.address()).await.unwrap();
    quic.writer.send(&mut frames(["hello"])).await.unwrap();
    let mut websocket = dial::websocket(&ca, handle.address(), Encoding::Text, None).await.unwrap();
    soon("both links", async { (began.recv().await, began.recv().await) }).await;
    stop.cancel();
    soon("the end of the plane", handle.stopped()).await;
    let end = soon("the cut", quic.reader.next()).await;
    assert_eq!(end, Err(LinkError::Closed { code: 1001 }));
    let end = soon("the cut", websocket.reader.next()).await;
    assert!(matches!(end, Err(LinkError::Lost(_))), "{end:?}");
}

#[tokio::test]
async fn the_ports_are_free_after_a_stop() {
    let server = start().await;
    let address = server.address;
    server.stop.cancel();
    soon("the end of the plane", server.handle.stopped()).await;
    std::net::TcpListener::bind(address).unwrap();
    std::net::UdpSocket::bind(address).unwrap();
}
