//! Claims about where requests go, and where they do not.

use std::net::IpAddr;

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
