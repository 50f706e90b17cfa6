//! The address of an organisation: what people paste, made into one canonical origin.

use std::net::IpAddr;

use url::{Host, Url};

use super::Guid;

/// The address of a Dataverse organisation, e.g. `https://contoso.crm4.dynamics.com`. In the cloud it is an origin;
/// elsewhere a path may name the organisation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Organization {
    url: Url,
}

/// Why a text is not the address of an organisation. Texts name what to write instead, and never the address itself: it
/// may be a secret's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrganizationError {
    /// Not a URL.
    #[error("is not a URL; write `https://<organisation>.crm<n>.dynamics.com`")]
    NotAUrl,
    /// Neither https, nor http to a host that may be spoken to in plain text.
    #[error("must begin with `https://` (plain `http://` is for loopback addresses alone)")]
    NotHttps,
    /// A user name or password stands in it.
    #[error("must not hold a user name or a password; they belong under `authentication`")]
    Credentials,
    /// The Web API's own path, a query or a fragment stands in it.
    #[error("must end before `/api/data` and hold no `?`: write `https://<organisation>.crm<n>.dynamics.com`")]
    MoreThanAnAddress,
}

impl Organization {
    /// Reads an address. A trailing slash is dropped; `http` is accepted for loopback and for `plain_http_hosts`.
    ///
    /// # Errors
    /// [`OrganizationError`], to be put behind the name of the field.
    pub fn parse(text: &str, plain_http_hosts: &[String]) -> Result<Self, OrganizationError> {
        let mut url = Url::parse(text.trim()).map_err(|_| OrganizationError::NotAUrl)?;
        match url.scheme() {
            "https" | "http" if is_safe_transport(&url, plain_http_hosts) => {}
            "http" => return Err(OrganizationError::NotHttps),
            _ => return Err(OrganizationError::NotAUrl),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(OrganizationError::Credentials);
        }
        let is_api = url.path().to_ascii_lowercase().contains("/api/data");
        if is_api || url.query().is_some() || url.fragment().is_some() {
            return Err(OrganizationError::MoreThanAnAddress);
        }
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(Self { url })
    }

    /// The address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The address without a trailing slash, as token audiences want it.
    pub fn as_str(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// Where a browser shows the row of a run, to whoever may see it.
    pub fn run_link(&self, run: &Guid) -> String {
        format!(
            "{}/main.aspx?pagetype=entityrecord&etn=flowsession&id={run}",
            self.as_str()
        )
    }

    /// Does this organisation run on the machine itself (the simulator)?
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.url)
    }

    /// The URL of a resource: `path` below the Web API's root, already safe; `query` encoded.
    pub(super) fn resource(&self, path: &str, query: &str) -> Url {
        let mut url = self.url.clone();
        let root = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{root}/api/data/v9.2/{path}"));
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        url
    }

    /// Does this URL belong to the organisation? Links in answers are followed only then.
    pub(super) fn owns(&self, url: &Url) -> bool {
        url.origin() == self.url.origin() && url.username().is_empty() && url.password().is_none()
    }
}

/// May credentials be sent to this URL: over https, or over http to loopback or to a host that a setting names?
pub fn is_safe_transport(url: &Url, plain_http_hosts: &[String]) -> bool {
    let named = |host: &str| {
        plain_http_hosts
            .iter()
            .any(|allowed| allowed.eq_ignore_ascii_case(host))
    };
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url) || url.host_str().is_some_and(named),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

impl std::fmt::Debug for Organization {
    // The address may have come from a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Organization")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_comes_out_whatever_was_pasted() {
        for text in [
            "https://contoso.crm4.dynamics.com",
            "https://contoso.crm4.dynamics.com/",
            " https://CONTOSO.crm4.dynamics.com:443/ ",
        ] {
            let organization = Organization::parse(text, &[]).unwrap();
            assert_eq!(organization.as_str(), "https://contoso.crm4.dynamics.com", "{text}");
        }
    }

    #[test]
    fn a_path_may_name_the_organisation() {
        let organization = Organization::parse("https://crm.example.com/Contoso/", &[]).unwrap();
        assert_eq!(organization.as_str(), "https://crm.example.com/Contoso");
        assert_eq!(
            organization.resource("workflows", "$select=name").as_str(),
            "https://crm.example.com/Contoso/api/data/v9.2/workflows?$select=name"
        );
    }

    #[test]
    fn plain_http_is_for_loopback_and_named_hosts() {
        for text in ["http://127.0.0.1:8080", "http://localhost:1", "http://[::1]:9/"] {
            assert!(Organization::parse(text, &[]).unwrap().is_loopback(), "{text}");
        }
        let named = "http://simulator:8080";
        assert_eq!(Organization::parse(named, &[]), Err(OrganizationError::NotHttps));
        assert!(Organization::parse(named, &["Simulator".into()]).is_ok());
        assert_eq!(
            Organization::parse("http://127.0.0.1.evil.example", &[]),
            Err(OrganizationError::NotHttps)
        );
    }

    #[test]
    fn an_address_with_more_than_a_host_is_refused() {
        for (text, why) in [
            ("contoso.crm4.dynamics.com", OrganizationError::NotAUrl),
            ("", OrganizationError::NotAUrl),
            ("ftp://contoso.crm4.dynamics.com", OrganizationError::NotAUrl),
            (
                "https://user:secret@contoso.crm4.dynamics.com",
                OrganizationError::Credentials,
            ),
            (
                "https://contoso.crm4.dynamics.com/api/data/v9.2",
                OrganizationError::MoreThanAnAddress,
            ),
            (
                "https://contoso.crm4.dynamics.com/?x=1",
                OrganizationError::MoreThanAnAddress,
            ),
            (
                "https://contoso.crm4.dynamics.com/#x",
                OrganizationError::MoreThanAnAddress,
            ),
        ] {
            assert_eq!(Organization::parse(text, &[]).unwrap_err(), why, "{text}");
        }
    }

    #[test]
    fn only_links_to_the_same_origin_belong_to_the_organisation() {
        let organization = Organization::parse("https://contoso.crm4.dynamics.com", &[]).unwrap();
        let owns = |text: &str| organization.owns(&Url::parse(text).unwrap());
        assert!(owns(
            "https://contoso.crm4.dynamics.com/api/data/v9.2/workflows?$skiptoken=x"
        ));
        for foreign in [
            "https://contoso.crm4.dynamics.com.evil.example/api",
            "https://contoso.crm4.dynamics.com:8443/api",
            "http://contoso.crm4.dynamics.com/api",
            "https://a:b@contoso.crm4.dynamics.com/api",
        ] {
            assert!(!owns(foreign), "{foreign}");
        }
    }
}
