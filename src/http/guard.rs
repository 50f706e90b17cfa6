//! The network guard: which addresses a task may reach. A URL that a modeler wrote goes in, a refusal or nothing comes
//! out; what its host name leads to is judged where it is resolved, so that the address that was judged is the one used.
//!
//! Private, loopback, link-local, multicast and reserved addresses are refused, unless operations allow them by address or
//! by name. The addresses of clouds' metadata services are refused even then: only an entry that is the address itself
//! opens one. Behind a proxy the proxy resolves names: then only addresses that stand in the URL can be judged here.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::Error;
use crate::metrics::metrics;
use crate::secrets::hosts::HostPattern;

/// An entry of the list of what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Allowed {
    /// Addresses: the first so many bits are those of this one.
    Net(IpAddr, u8),
    /// A host by its name, wherever that leads.
    Host(HostPattern),
}

impl FromStr for Allowed {
    type Err = String;

    /// `10.0.0.0/8`, `fd00::/8`, `192.168.1.7`, `billing.internal`, `*.internal.example.com:8443`. A name without a port
    /// is meant with every port.
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        if let Ok(address) = address.trim_matches(['[', ']']).parse::<IpAddr>() {
            let most = if address.is_ipv4() { 32 } else { 128 };
            let bits = match bits {
                None => most,
                Some(bits) => bits
                    .parse()
                    .ok()
                    .filter(|bits| *bits <= most)
                    .ok_or_else(|| format!("`{text}`: the number behind the slash must be 0 to {most}"))?,
            };
            return Ok(Allowed::Net(address, bits));
        }
        let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let pattern = if has_port { text.to_owned() } else { format!("{text}:*") };
        let parsed = pattern.parse::<HostPattern>();
        parsed
            .map(Allowed::Host)
            .map_err(|error| format!("{error}; or write addresses like 10.0.0.0/8"))
    }
}

impl std::fmt::Display for Allowed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Allowed::Net(address, bits) => write!(f, "{address}/{bits}"),
            Allowed::Host(pattern) => write!(f, "{pattern}"),
        }
    }
}

/// What an address is, where it is not one of the public Internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Loopback,
    LinkLocal,
    Private,
    Reserved,
    Metadata,
}

impl Kind {
    fn text(self) -> &'static str {
        match self {
            Kind::Loopback => "a loopback address",
            Kind::LinkLocal => "a link-local address",
            Kind::Private => "a private address",
            Kind::Reserved => "an address that is not of the public Internet",
            Kind::Metadata => "the address of a cloud's metadata service",
        }
    }
}

/// A host that leads where tasks may not go.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "The host `{host}` leads to {}, where tasks may not go. Nothing was sent. If they shall, operations add to deskhand.toml: \
     [network] allow = [\"{entry}\"]", kind.text()
)]
pub struct Blocked {
    host: String,
    entry: String,
    kind: Kind,
}

/// Looks up a host name.
pub type Lookup = dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync;

/// The guard. Cheap to clone.
#[derive(Clone)]
pub struct Guard {
    rules: Arc<Rules>,
    lookup: Arc<Lookup>,
}

struct Rules {
    allow: Vec<Allowed>,
    /// Proxies of this machine: their names are resolved by the same resolver, and they may be anywhere.
    proxies: Vec<String>,
}

/// How far a request may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// Anywhere: the URL is operations' own.
    Anywhere,
    /// Anywhere but to metadata services: operations allow the host by its name.
    Named,
    /// To the public Internet and to allowed addresses.
    Guarded,
}

impl Guard {
    /// A guard that allows these beside the public Internet.
    pub fn new(allow: Vec<Allowed>) -> Self {
        let lookup = |host: String| -> BoxFuture<'static, io::Result<Vec<IpAddr>>> {
            Box::pin(async move {
                let found = tokio::net::lookup_host((host, 0)).await?;
                Ok(found.map(|address| address.ip()).collect())
            })
        };
        Self {
            rules: Arc::new(Rules {
                allow,
                proxies: proxies(|name| std::env::var(name).ok()),
            }),
            lookup: Arc::new(lookup),
        }
    }

    /// The same, with names looked up by `lookup`.
    #[must_use]
    pub fn with_lookup(
        mut self,
        lookup: impl Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync + 'static,
    ) -> Self {
        self.lookup = Arc::new(lookup);
        self
    }

    /// May this URL be called, as far as it shows? What its name leads to is judged when it is resolved.
    pub(super) fn judge(&self, url: &Url) -> Result<Reach, Error> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::Invalid(
                "Only http:// and https:// addresses can be called.".into(),
            ));
        }
        let by_name = self.rules.allow.iter().any(|one| match one {
            Allowed::Host(pattern) => pattern.matches(url),
            Allowed::Net(..) => false,
        });
        let reach = if by_name { Reach::Named } else { Reach::Guarded };
        let address = match url.host() {
            None => return Err(Error::Invalid("The URL has no host.".into())),
            Some(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
            Some(Host::Ipv6(address)) => Some(IpAddr::V6(address)),
            Some(Host::Domain(name)) => {
                if reach == Reach::Guarded && self.rules.is_proxy(name) {
                    return Err(Error::Blocked(Box::new(blocked(name, Kind::Private))));
                }
                None
            }
        };
        if let Some(address) = address {
            self.rules
                .judge(&address.to_string(), address, reach)
                .map_err(|refusal| Error::Blocked(Box::new(refusal)))?;
        }
        Ok(reach)
    }

    /// The resolver of connections with this reach; `None`: the system's.
    pub(super) fn resolver(&self, reach: Reach) -> Option<Arc<dyn Resolve>> {
        match reach {
            Reach::Anywhere => None,
            Reach::Named | Reach::Guarded => Some(Arc::new(GuardedResolver {
                guard: self.clone(),
                reach,
            })),
        }
    }
}

fn blocked(host: &str, kind: Kind) -> Blocked {
    metrics().policy_refused("network");
    Blocked {
        host: host.to_owned(),
        entry: host.to_owned(),
        kind,
    }
}

impl Rules {
    fn judge(&self, host: &str, address: IpAddr, reach: Reach) -> Result<(), Blocked> {
        let Some(kind) = kind(address) else { return Ok(()) };
        let embedded = embedded(address);
        let allowed = self.allow.iter().any(|one| match *one {
            Allowed::Net(net, bits) => {
                let whole = bits == if net.is_ipv4() { 32 } else { 128 };
                (kind != Kind::Metadata || whole) && (within(address, net, bits) || within(embedded, net, bits))
            }
            Allowed::Host(_) => false,
        });
        if allowed || (reach == Reach::Named && kind != Kind::Metadata) {
            return Ok(());
        }
        Err(blocked(host, kind))
    }

    fn is_proxy(&self, host: &str) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        self.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(host))
    }
}

struct GuardedResolver {
    guard: Guard,
    reach: Reach,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (guard, reach) = (self.guard.clone(), self.reach);
        Box::pin(async move {
            let host = name.as_str();
            let found = (guard.lookup)(host.to_owned()).await?;
            if !guard.rules.is_proxy(host) {
                // One address that is not allowed is enough: whoever mixes them means no good.
                for address in &found {
                    guard.rules.judge(host, *address, reach)?;
                }
            }
            let addresses = found.into_iter().map(|address| SocketAddr::new(address, 0));
            Ok(Box::new(addresses) as Addrs)
        })
    }
}

/// Hosts of the proxies that the environment names.
fn proxies(variable: impl Fn(&str) -> Option<String>) -> Vec<String> {
    [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
    ]
    .iter()
    .filter_map(|name| variable(name))
    .filter_map(|text| {
        let text = if text.contains("://") {
            text
        } else {
            format!("http://{text}")
        };
        Url::parse(&text).ok()?.host_str().map(str::to_owned)
    })
    .collect()
}

/// The IPv4 address that an IPv6 one stands for, or itself.
fn embedded(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let segments = v6.segments();
    let low = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // Mapped, compatible and translated (NAT64); `::` and `::1` are no IPv4 addresses.
        [0, 0, 0, 0, 0, 0xffff, high, last] | [0x64, 0xff9b, 0, 0, 0, 0, high, last] => low(high, last),
        [0, 0, 0, 0, 0, 0, high, last] if high != 0 || last > 1 => low(high, last),
        // 6to4.
        [0x2002, high, last, ..] => low(high, last),
        _ => address,
    }
}

fn within(address: IpAddr, net: IpAddr, bits: u8) -> bool {
    match (address, net) {
        (IpAddr::V4(address), IpAddr::V4(net)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            address.to_bits() & mask == net.to_bits() & mask
        }
        (IpAddr::V6(address), IpAddr::V6(net)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            address.to_bits() & mask == net.to_bits() & mask
        }
        _ => false,
    }
}

/// What an address is; `None`: one of the public Internet.
fn kind(address: IpAddr) -> Option<Kind> {
    match embedded(address) {
        IpAddr::V4(address) => kind_of_v4(address),
        IpAddr::V6(address) => kind_of_v6(address),
    }
}

fn kind_of_v4(address: Ipv4Addr) -> Option<Kind> {
    let [a, b, c, d] = address.octets();
    Some(match (a, b, c, d) {
        // AWS and Azure, AWS's containers, Alibaba, Oracle, Azure's wire server.
        (169, 254, 169, 254) | (169, 254, 170, 2) | (100, 100, 100, 200) | (192, 0, 0, 192) | (168, 63, 129, 16) => {
            Kind::Metadata
        }
        (127, ..) => Kind::Loopback,
        (169, 254, ..) => Kind::LinkLocal,
        (10, ..) | (172, 16..=31, ..) | (192, 168, ..) | (100, 64..=127, ..) => Kind::Private,
        (0 | 224..=255, ..) | (192, 0, 0 | 2, _) | (198, 18 | 19, ..) | (198, 51, 100, _) | (203, 0, 113, _) => {
            Kind::Reserved
        }
        _ => return None,
    })
}

fn kind_of_v6(address: Ipv6Addr) -> Option<Kind> {
    let segments = address.segments();
    Some(match segments {
        [0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254] => Kind::Metadata,
        [0, 0, 0, 0, 0, 0, 0, 1] => Kind::Loopback,
        [0, 0, 0, 0, 0, 0, 0, 0] => Kind::Reserved,
        [first, ..] if first & 0xffc0 == 0xfe80 => Kind::LinkLocal,
        [first, ..] if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 => Kind::Private,
        // Only 2000::/3 is given out; of it, Teredo and the prefix of documents lead nowhere good.
        [first, second, ..] if first & 0xe000 != 0x2000 || (first == 0x2001 && (second == 0 || second == 0xdb8)) => {
            Kind::Reserved
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(allow: &[&str], url: &str) -> Result<Reach, String> {
        let allow = allow.iter().map(|text| text.parse().unwrap()).collect();
        let url = Url::parse(url).unwrap();
        Guard::new(allow).judge(&url).map_err(|error| error.to_string())
    }

    #[test]
    fn addresses_of_the_inside_are_refused_however_they_are_written() {
        for host in [
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.0.1",
            "100.64.0.1",
            "169.254.1.1",
            "169.254.169.254",
            "168.63.129.16",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "[::1]",
            "[::]",
            "[::ffff:10.0.0.1]",
            "[::ffff:7f00:1]",
            "[::10.0.0.1]",
            "[64:ff9b::a00:1]",
            "[2002:a00:1::]",
            "[fe80::1]",
            "[fc00::1]",
            "[fd00:ec2::254]",
            "[fec0::1]",
            "[ff02::1]",
            "[2001:db8::1]",
            "[4000::1]",
        ] {
            for scheme in ["http", "https"] {
                let error = judge(&[], &format!("{scheme}://{host}/")).expect_err(host);
                assert!(error.contains("[network] allow"), "{error}");
            }
        }
    }

    #[test]
    fn the_public_internet_is_open() {
        for host in [
            "8.8.8.8",
            "172.32.0.1",
            "192.169.0.1",
            "100.128.0.1",
            "[2606:4700::1111]",
            "example.com",
        ] {
            assert_eq!(judge(&[], &format!("https://{host}/")), Ok(Reach::Guarded), "{host}");
        }
        assert!(judge(&[], "ftp://example.com/").is_err());
    }

    #[test]
    fn operations_open_nets_addresses_and_names_but_metadata_only_by_itself() {
        assert!(judge(&["10.0.0.0/8"], "http://10.9.8.7/").is_ok());
        assert!(judge(&["10.0.0.0/8"], "http://[::ffff:10.9.8.7]/").is_ok());
        assert!(judge(&["10.0.0.0/8"], "http://11.0.0.1/").is_ok());
        assert!(judge(&["10.0.0.0/16"], "http://10.1.0.1/").is_err());
        assert!(judge(&["fd00::/8"], "http://[fd12::1]/").is_ok());
        assert!(judge(&["127.0.0.1"], "http://127.0.0.1:8080/").is_ok());
        assert!(judge(&["127.0.0.1"], "http://127.0.0.2/").is_err());
        assert_eq!(
            judge(&["billing.internal"], "http://billing.internal:81/"),
            Ok(Reach::Named)
        );
        assert_eq!(
            judge(&["billing.internal:82"], "http://billing.internal:81/"),
            Ok(Reach::Guarded)
        );
        for wide in ["0.0.0.0/0", "169.254.0.0/16", "169.254.169.254:*"] {
            assert!(judge(&[wide], "http://169.254.169.254/").is_err(), "{wide}");
        }
        assert!(judge(&["169.254.169.254"], "http://169.254.169.254/").is_ok());
        for wrong in ["10.0.0.0/33", "10.0.0.0/x", "*", "http://x/", ""] {
            assert!(wrong.parse::<Allowed>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn proxies_are_read_as_people_write_them() {
        let found = proxies(|name| match name {
            "HTTP_PROXY" => Some("proxy.corp:3128".into()),
            "https_proxy" => Some("http://user:pw@10.0.0.9:8080".into()),
            _ => None,
        });
        assert_eq!(found, ["proxy.corp", "10.0.0.9"]);
    }
}
