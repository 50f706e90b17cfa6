//! The receiver of callbacks: where it listens, and as what Dataverse sees it. One is nothing without the other.

use std::net::SocketAddr;

use url::{Host, Url};

use super::sources::Sources;

/// Longest callback URL that Dataverse stores, characters, less the token that is appended.
const LONGEST: usize = 2000 - crate::runs::token::LONGEST - 1;

/// Where callbacks are received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Address to listen at.
    pub listen: SocketAddr,
    /// The same place as Dataverse sees it, without a final slash.
    pub public_url: String,
    /// Other replicas' receivers.
    pub peers: Vec<Url>,
}

pub(super) fn settings(s: &mut Sources<'_>) -> Option<Callback> {
    let listen = s.optional("callback.listen");
    let url = s.optional("callback.public_url");
    let peers = peers(s);
    match (listen, url) {
        (None, None) => None,
        (Some(listen), Some(url)) => {
            let listen = s.socket_address("callback.listen", &listen);
            let public_url = match checked(&url) {
                Ok(url) => Some(url),
                Err(problem) => {
                    let place = s.place("callback.public_url");
                    s.fault(place, problem);
                    None
                }
            };
            Some(Callback {
                listen: listen?,
                public_url: public_url?,
                peers,
            })
        }
        (Some(_), None) => {
            let place = s.place("callback.listen");
            s.fault(
                place,
                "nobody would call there: set callback.public_url too, the address that Dataverse sees",
            );
            None
        }
        (None, Some(_)) => {
            let place = s.place("callback.public_url");
            s.fault(
                place,
                "nobody would listen there: set callback.listen too, e.g. 0.0.0.0:9700",
            );
            None
        }
    }
}

fn peers(s: &mut Sources<'_>) -> Vec<Url> {
    let mut peers = Vec::new();
    for text in s.list("callback.peers") {
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() => {
                peers.push(url);
            }
            _ => {
                let place = s.place("callback.peers");
                s.fault(
                    place,
                    format!("`{text}` is not the address of a receiver like http://deskhand-1:9700"),
                );
            }
        }
    }
    peers
}

fn checked(text: &str) -> Result<String, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL: write e.g. https://hooks.example.com/deskhand")?;
    let loopback = match url.host() {
        Some(Host::Domain("localhost")) => true,
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    };
    // The simulator calls there; Dataverse never does.
    if !loopback {
        if url.scheme() != "https" {
            return Err("must begin with https://: Dataverse calls nothing else");
        }
        if !matches!(url.host(), Some(Host::Domain(_))) {
            return Err("must name a host: Dataverse calls no IP addresses");
        }
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err("must hold no query, fragment, user name or password: the token is appended to its path");
    }
    if text.chars().count() > LONGEST {
        return Err("is too long: Dataverse takes 2000 characters, the token included");
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dataverse_would_not_call_is_refused() {
        for good in [
            "https://hooks.example.com/deskhand/",
            "http://127.0.0.1:9700",
            "http://localhost/x",
        ] {
            assert_eq!(checked(good), Ok(good.trim_end_matches('/').to_owned()));
        }
        for bad in [
            "hooks.example.com",
            "http://hooks.example.com",
            "https://10.0.0.1/x",
            "https://hooks.example.com/?a=b",
            "https://user:secret@hooks.example.com",
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }
}
