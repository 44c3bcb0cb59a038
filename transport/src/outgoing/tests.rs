//! Claims about where requests go, and where they do not.

use std::net::IpAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;

fn public(address: &str) -> bool {
    guard::is_public(address.parse::<IpAddr>().expect("an address"))
}

#[test]
fn only_addresses_of_the_world_are_public() {
    for address in ["1.1.1.1", "100.63.0.1", "172.32.0.1", "198.20.0.1", "2606:4700::1111"] {
        assert!(public(address), "{address}");
    }
    let private = [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "127.9.9.9",
        "169.254.169.254",
        "172.16.0.1",
        "192.168.1.1",
        "192.0.0.8",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd12::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:db8::1",
        "2001::1",
    ];
    for address in private {
        assert!(!public(address), "{address}");
    }
}

#[test]
fn a_url_is_judged_before_anything_is_asked() {
    for url in ["https://push.example.org/x?y", "https://1.1.1.1:8443/", "https://[2606:4700::1]/"]
    {
        assert_eq!(check(url, false, false), Ok(()), "{url}");
    }
    let private = [
        "https://localhost/",
        "https://LOCALHOST:1/",
        "https://a.localhost/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://10.0.0.1/",
        "https://printer.local/",
        "https://[::ffff:10.0.0.1]/",
    ];
    for url in private {
        assert_eq!(check(url, false, false), Err(Error::Private), "{url}");
        assert_eq!(check(url, false, true), Ok(()), "{url}");
    }
    let never = ["ftp://a/", "//a/", "/x", "", "https://", "https://u:p@a/", "https://a b/"];
    for url in never {
        assert!(matches!(check(url, true, true), Err(Error::Url(_))), "{url}");
    }
    assert!(matches!(check("http://a.org/", false, false), Err(Error::Url(_))));
    assert_eq!(check("http://a.org/", true, false), Ok(()));
}

#[test]
fn a_place_says_its_authority_as_a_browser_would() {
    let place = |url: &str| Place::parse(url).expect("a place");
    assert_eq!(place("https://A.org").authority(), "a.org");
    assert_eq!(place("https://a.org:8443/x?y=1").authority(), "a.org:8443");
    assert_eq!(place("http://a.org:80/").authority(), "a.org");
    assert_eq!(place("https://a.org").path, "/");
    assert_eq!(place("https://[::1]:9/x").bare_host(), "::1");
}

fn client(allow_private: bool) -> Client {
    let config = Config { authorities: None, allow_plain: true, allow_private };
    Client::new(&config).expect("no authorities are needed")
}

fn post(url: String) -> Request {
    Request { url, headers: vec![("x-one", "1".to_owned())], body: Bytes::from_static(b"{}") }
}

/// A server that says `answer` to the first request, and how often it was connected to.
async fn server(answer: &'static str) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.unwrap_or(0);
            tell.lock().push(String::from_utf8_lossy(&request[..read]).into_owned());
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (port, asked)
}

const EMPTY: &str = "HTTP/1.1 204 X\r\nRetry-After: 7\r\n\r\n";

#[tokio::test]
async fn a_name_that_stands_for_this_machine_is_not_reached_whatever_it_looks_like() {
    let (port, asked) = server(EMPTY).await;
    // No address as this room reads them, and loopback to the system's resolver.
    for host in ["127.1", "2130706433", "0x7f000001"] {
        let refused = client(false).send(post(format!("http://{host}:{port}/"))).await;
        assert_eq!(refused.expect_err("private"), Error::Private, "{host}");
    }
    assert!(asked.lock().is_empty(), "nobody connected");
    let answer = client(true).send(post(format!("http://127.1:{port}/x?y"))).await;
    let answer = answer.expect("it may");
    assert_eq!((answer.status, answer.retry_after), (204, Some(Duration::from_secs(7))));
    let asked = asked.lock().join("");
    assert!(asked.starts_with("POST /x?y HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains(&format!("host: 127.1:{port}\r\n")), "{asked}");
    assert!(asked.contains("x-one: 1\r\n") && asked.ends_with("\r\n\r\n{}"), "{asked}");
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_nothing_to_follow() {
    let (hidden, asked) = server(EMPTY).await;
    let answer = format!(
        "HTTP/1.1 307 X\r\nLocation: http://127.0.0.1:{hidden}/\r\nContent-Length: 0\r\n\r\n"
    );
    let (port, _) = server(answer.leak()).await;
    let answer = client(true).send(post(format!("http://127.0.0.1:{port}/"))).await;
    assert_eq!(answer.expect("an answer").status, 307);
    assert!(asked.lock().is_empty());
}

#[tokio::test(start_paused = true)]
async fn whoever_never_answers_is_left_after_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let answer = client(true).send(post(format!("http://127.0.0.1:{port}/"))).await;
    assert!(matches!(answer, Err(Error::Interrupted(_) | Error::Unreachable(_))), "{answer:?}");
}
