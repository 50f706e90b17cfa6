//! Names of response headers as expressions know them: `content-type` goes in, `Content-Type` comes out.
//!
//! FEEL compares names with case, and Camunda's runtime shows the letters that the server sent. deskhand's HTTP library
//! does not keep them, so every name gets its usual spelling: what almost all servers send.

/// Names that are not simply capitalised after each hyphen.
const ODD: [(&str, &str); 22] = [
    ("content-md5", "Content-MD5"),
    ("etag", "ETag"),
    ("mime-version", "MIME-Version"),
    ("odata-entityid", "OData-EntityId"),
    ("odata-isolation", "OData-Isolation"),
    ("odata-maxversion", "OData-MaxVersion"),
    ("odata-version", "OData-Version"),
    ("p3p", "P3P"),
    ("req_id", "REQ_ID"),
    ("sourcemap", "SourceMap"),
    ("te", "TE"),
    ("www-authenticate", "WWW-Authenticate"),
    ("x-correlation-id", "X-Correlation-ID"),
    ("x-dns-prefetch-control", "X-DNS-Prefetch-Control"),
    ("x-request-id", "X-Request-ID"),
    ("x-ua-compatible", "X-UA-Compatible"),
    ("x-webkit-csp", "X-WebKit-CSP"),
    ("x-xss-protection", "X-XSS-Protection"),
    ("authactivityid", "AuthActivityId"),
    ("tracestate", "tracestate"),
    ("traceparent", "traceparent"),
    ("ratelimit-limit", "RateLimit-Limit"),
];

/// Prefixes whose names stay in small letters.
const SMALL: [&str; 3] = ["x-ms-", "x-amz-", "x-goog-"];

/// The usual spelling of a header's name, which comes in small letters.
pub(super) fn usual(name: &str) -> String {
    if let Some((_, usual)) = ODD.iter().find(|(small, _)| *small == name) {
        return (*usual).to_owned();
    }
    if SMALL.iter().any(|prefix| name.starts_with(prefix)) {
        return name.to_owned();
    }
    let mut capital = true;
    name.chars()
        .map(|letter| {
            let shown = if capital { letter.to_ascii_uppercase() } else { letter };
            capital = letter == '-';
            shown
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_their_usual_spelling() {
        for (name, expected) in [
            ("content-type", "Content-Type"),
            ("location", "Location"),
            ("etag", "ETag"),
            ("www-authenticate", "WWW-Authenticate"),
            ("odata-entityid", "OData-EntityId"),
            ("req_id", "REQ_ID"),
            ("x-ms-service-request-id", "x-ms-service-request-id"),
            ("x-probe-2", "X-Probe-2"),
        ] {
            assert_eq!(usual(name), expected);
        }
    }
}
