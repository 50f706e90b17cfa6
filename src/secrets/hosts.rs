//! Patterns of hosts in rules: `contoso.crm4.dynamics.com`, `*.example.com`, `[::1]:8443`, `127.0.0.1:*`.
//!
//! Both sides are compared as the URL standard reads them: lower case, punycode, IPv4 addresses in any spelling as four
//! numbers, without a trailing dot. User names in a URL play no part.

use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// Hosts that a secret may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    host: Name,
    port: Port,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Exactly(Host<String>),
    /// Any name below this one, not itself.
    Below(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    /// 443, and https: plain http needs a port that is written.
    Usual,
    Exactly(u16),
    Any,
}

/// A pattern that is none.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{pattern}` is no host: {problem}")]
pub struct PatternError {
    pattern: String,
    problem: &'static str,
}

impl HostPattern {
    /// Is this one host, and no wildcard?
    pub fn is_exact(&self) -> bool {
        matches!(self.host, Name::Exactly(_))
    }

    /// Does the URL lead to one of these hosts?
    pub fn matches(&self, url: &Url) -> bool {
        let host = match (&self.host, url.host()) {
            (_, None) => false,
            (Name::Exactly(Host::Domain(wanted)), Some(Host::Domain(found))) => without_dot(found) == wanted,
            (Name::Exactly(Host::Ipv4(wanted)), Some(Host::Ipv4(found))) => *wanted == found,
            (Name::Exactly(Host::Ipv6(wanted)), Some(Host::Ipv6(found))) => *wanted == found,
            (Name::Below(parent), Some(Host::Domain(found))) => without_dot(found)
                .strip_suffix(parent.as_str())
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
            _ => false,
        };
        host && match self.port {
            Port::Any => true,
            Port::Exactly(port) => url.port_or_known_default() == Some(port),
            Port::Usual => url.scheme() == "https" && url.port().is_none(),
        }
    }
}

impl FromStr for HostPattern {
    type Err = PatternError;

    fn from_str(pattern: &str) -> Result<Self, PatternError> {
        let fault = |problem| PatternError {
            pattern: pattern.to_owned(),
            problem,
        };
        if pattern.contains(['/', '@', '?', '#', ' ']) {
            return Err(fault(
                "write the host alone, like `example.com` or `example.com:8443`, without scheme or path",
            ));
        }
        let (host, port) = match pattern.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (pattern, None),
        };
        let port = match port {
            None => Port::Usual,
            Some("*") => Port::Any,
            Some(digits) => digits
                .parse()
                .map(Port::Exactly)
                .map_err(|_| fault("the port is not a number or `*`"))?,
        };
        let parse = |text: &str| match Host::parse(text) {
            Ok(Host::Domain(name)) => Ok(Host::Domain(without_dot(&name).to_owned())),
            Ok(address) => Ok(address),
            Err(_) => Err(fault(
                "this is neither a name nor an IP address (IPv6 stands in brackets)",
            )),
        };
        let host = match host.strip_prefix("*.") {
            None if host.contains('*') => {
                return Err(fault(
                    "`*` may only stand before a name (`*.example.com`) or for the port (`example.com:*`)",
                ));
            }
            None => Name::Exactly(parse(host)?),
            Some(parent) => match parse(parent)? {
                Host::Domain(name) if name.contains('.') && !name.contains('*') => Name::Below(name),
                _ => return Err(fault("this is too wide: name at least a domain, like `*.example.com`")),
            },
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Name::Exactly(host) => write!(f, "{host}")?,
            Name::Below(parent) => write!(f, "*.{parent}")?,
        }
        match self.port {
            Port::Usual => Ok(()),
            Port::Exactly(port) => write!(f, ":{port}"),
            Port::Any => f.write_str(":*"),
        }
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use url::Url;

    use super::HostPattern;

    fn matches(pattern: &str, url: &str) -> bool {
        pattern
            .parse::<HostPattern>()
            .unwrap()
            .matches(&Url::parse(url).unwrap())
    }

    #[test]
    fn a_host_is_itself_in_any_spelling() {
        for url in [
            "https://contoso.crm4.dynamics.com/api",
            "https://CONTOSO.crm4.Dynamics.com",
            "https://contoso.crm4.dynamics.com.",
            "https://contoso.crm4.dynamics.com:443/",
            "https://user:pass@contoso.crm4.dynamics.com/",
        ] {
            assert!(matches("Contoso.crm4.dynamics.com", url), "{url}");
        }
    }

    #[test]
    fn what_only_looks_like_the_host_is_another_one() {
        for url in [
            "https://contoso.crm4.dynamics.com.evil.example/",
            "https://evil-contoso.crm4.dynamics.com/",
            "https://contoso.crm4.dynamics.com@evil.example/",
            "https://evil.example/contoso.crm4.dynamics.com",
            "https://evil.example?@contoso.crm4.dynamics.com",
            "https://cont\u{43e}so.crm4.dynamics.com/",
            "https://contoso.crm4.dynamics.com:8443/",
            "https://contoso.crm4.dynamics.com../",
        ] {
            assert!(!matches("contoso.crm4.dynamics.com", url), "{url}");
        }
    }

    #[test]
    fn a_wildcard_covers_names_below_but_not_the_name_itself() {
        assert!(matches("*.example.com", "https://a.example.com/"));
        assert!(matches("*.example.com", "https://a.b.example.com./"));
        assert!(!matches("*.example.com", "https://example.com/"));
        assert!(!matches("*.example.com", "https://aexample.com/"));
        assert!(!matches("*.example.com", "https://a.example.com.evil.org/"));
    }

    #[test]
    fn addresses_are_compared_as_addresses() {
        assert!(matches("127.0.0.1:*", "http://127.0.0.1:8080/"));
        assert!(matches("127.0.0.1:*", "http://2130706433/"));
        assert!(matches("127.0.0.1", "https://0x7f.0.0.1/"));
        assert!(matches("[::1]:8443", "https://[0:0:0:0:0:0:0:1]:8443/"));
        assert!(!matches("127.0.0.1:*", "http://127.0.0.2:8080/"));
        assert!(!matches("localhost:*", "http://127.0.0.1/"));
    }

    #[test]
    fn without_a_port_only_https_on_its_usual_one_matches() {
        assert!(matches("example.com", "https://example.com:443/"));
        assert!(!matches("example.com", "http://example.com/"));
        assert!(!matches("example.com", "https://example.com:8443/"));
        assert!(matches("example.com:80", "http://example.com/"));
        assert!(matches("example.com:443", "https://example.com/"));
    }

    #[test]
    fn patterns_that_are_too_wide_or_no_host_are_refused() {
        for pattern in [
            "*",
            "*:*",
            "*.com",
            "https://example.com",
            "a*.example.com",
            "example.com:x",
            "",
            "::1",
            "*.127.0.0.1",
            "*.*.com",
        ] {
            assert!(pattern.parse::<HostPattern>().is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pattern_is_shown_as_it_is_understood() {
        for (written, shown) in [
            ("EXAMPLE.com.", "example.com"),
            ("*.Example.com:*", "*.example.com:*"),
            ("[::1]:8443", "[::1]:8443"),
        ] {
            assert_eq!(written.parse::<HostPattern>().unwrap().to_string(), shown);
        }
    }
}
