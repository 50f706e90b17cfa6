//! The URL of a request: what the modeler wrote goes in, the URL that is called comes out.
//!
//! Camunda's runtime decodes the path and the query that were written, and encodes them again, so that `über uns` and
//! `%C3%BCber%20uns` are the same; `skipEncoding` switches that off. The characters that stay as they are, are those of
//! its URL library, but an encoded slash in the path stays encoded.

use std::fmt::Write as _;

use url::Url;

/// Beside letters and digits, what stays literal in a path.
const IN_PATH: &[u8] = b"-_.!~*'()@:$&,;=";
/// Beside letters and digits, what stays literal in a query.
const IN_QUERY: &[u8] = b"-_.!~*'()@:$,;/?";
/// Beside letters and digits, what stays literal in the name or value of a query parameter.
const IN_PARAMETER: &[u8] = b"-_.~";
/// What no URL may hold unencoded (RFC 3986).
const NOT_LITERAL: &[u8] = b" \"<>\\^`{|}";

/// The URL, or what is wrong with it.
pub(super) fn parse(
    written: &str,
    skip_encoding: bool,
    parameters: &[(String, Option<String>)],
) -> Result<Url, &'static str> {
    let (scheme, rest) = written.split_once("://").ok_or("it has no `http://` or `https://`")?;
    let rest = rest.split('#').next().unwrap_or_default();
    if rest.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("it holds a line break or another control character");
    }
    let (before_query, query) = match rest.split_once('?') {
        Some((before, query)) => (before, Some(query)),
        None => (rest, None),
    };
    let path_at = before_query.find('/').unwrap_or(before_query.len());
    let (authority, path) = before_query.split_at(path_at);
    if authority.is_empty() {
        return Err("it has no host");
    }
    if authority.contains('@') {
        return Err("it holds a user name or password; use `authentication` instead");
    }
    let mut url = format!("{scheme}://{authority}");
    if skip_encoding {
        as_written(path, &mut url)?;
    } else {
        encode_path(path, &mut url)?;
    }
    let mut separator = '?';
    if let Some(query) = query {
        url.push('?');
        separator = '&';
        if skip_encoding {
            as_written(query, &mut url)?;
        } else {
            encode_query(query, &mut url)?;
        }
        if query.is_empty() {
            url.pop();
            separator = '?';
        }
    }
    for (name, value) in parameters {
        url.push(separator);
        separator = '&';
        encode(name.bytes(), IN_PARAMETER, &mut url);
        if let Some(value) = value {
            url.push('=');
            encode(value.bytes(), IN_PARAMETER, &mut url);
        }
    }
    Url::parse(&url).map_err(|error| match error {
        url::ParseError::InvalidPort => "its port is not a number from 0 to 65535",
        url::ParseError::EmptyHost => "it has no host",
        _ => "its host is not a host name or an IP address",
    })
}

fn as_written(text: &str, url: &mut String) -> Result<(), &'static str> {
    if text.bytes().any(|byte| NOT_LITERAL.contains(&byte)) {
        return Err("it holds a character that must be encoded, and `skipEncoding` is on");
    }
    decode(text.as_bytes(), false)?;
    url.push_str(text);
    Ok(())
}

fn encode_path(path: &str, url: &mut String) -> Result<(), &'static str> {
    for (position, segment) in path.split('/').enumerate() {
        if position > 0 {
            url.push('/');
        }
        encode(decode(segment.as_bytes(), false)?, IN_PATH, url);
    }
    Ok(())
}

fn encode_query(query: &str, url: &mut String) -> Result<(), &'static str> {
    for (position, pair) in query.split('&').enumerate() {
        if position > 0 {
            url.push('&');
        }
        let (name, value) = match pair.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (pair, None),
        };
        encode(decode(name.as_bytes(), true)?, IN_QUERY, url);
        if let Some(value) = value {
            url.push('=');
            encode(decode(value.as_bytes(), true)?, IN_QUERY, url);
        }
    }
    Ok(())
}

fn decode(text: &[u8], plus_is_blank: bool) -> Result<Vec<u8>, &'static str> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'%' => {
                let hex = |byte: &u8| {
                    char::from(*byte)
                        .to_digit(16)
                        .and_then(|digit| u8::try_from(digit).ok())
                };
                let [high, low, tail @ ..] = rest else {
                    return Err(BAD_PERCENT);
                };
                let (Some(high), Some(low)) = (hex(high), hex(low)) else {
                    return Err(BAD_PERCENT);
                };
                bytes.push(high * 16 + low);
                rest = tail;
            }
            b'+' if plus_is_blank => bytes.push(b' '),
            other => bytes.push(*other),
        }
    }
    Ok(bytes)
}

const BAD_PERCENT: &str =
    "it holds a `%` without two hexadecimal digits after it; a percent sign itself is written `%25`";

fn encode(bytes: impl IntoIterator<Item = u8>, literal: &[u8], url: &mut String) {
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || literal.contains(&byte) {
            url.push(char::from(byte));
        } else {
            // Writing into a String cannot fail.
            let _ = write!(url, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(written: &str) -> String {
        match parse(&format!("http://localhost:8080{written}"), false, &[]) {
            Ok(url) => url.as_str().trim_start_matches("http://localhost:8080").to_owned(),
            Err(error) => panic!("{written}: {error}"),
        }
    }

    #[test]
    fn what_was_written_is_decoded_and_encoded_again() {
        let pairs = [
            ("", "/"),
            ("/", "/"),
            ("/port/test", "/port/test"),
            ("/hello, world!", "/hello,%20world!"),
            ("/hello, %20world!", "/hello,%20%20world!"),
            ("/hello%2C%20world%21", "/hello,%20world!"),
            ("/hello,world!", "/hello,world!"),
            ("/hello%2Cworld!", "/hello,world!"),
            ("/über uns", "/%C3%BCber%20uns"),
            ("/überuns", "/%C3%BCberuns"),
            ("/%C3%BCber%20uns", "/%C3%BCber%20uns"),
            ("/hello,&world!", "/hello,&world!"),
            ("/hello,%26world!", "/hello,&world!"),
            ("/hello+world", "/hello%2Bworld"),
            ("/hello + world", "/hello%20%2B%20world"),
            ("/hello%2Bworld", "/hello%2Bworld"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%3Fb%23c", "/a%3Fb%23c"),
            ("/a|b^c", "/a%7Cb%5Ec"),
            ("/{id}/[0]", "/%7Bid%7D/%5B0%5D"),
            ("/x;v=1@2:3", "/x;v=1@2:3"),
            ("/100%25", "/100%25"),
            ("/%FF", "/%FF"),
            ("/test?query=hello:world?", "/test?query=hello:world?"),
            ("/test?query=hello%3Aworld%3F", "/test?query=hello:world?"),
            ("/test?query=hello world", "/test?query=hello%20world"),
            ("/test?a=1&b=value 2", "/test?a=1&b=value%202"),
            ("/test?hello+world", "/test?hello%20world"),
            ("/test?f=g%2Ch&p=%2F%3A+z&p=2", "/test?f=g,h&p=/:%20z&p=2"),
            ("/test?a=%26%3D%2B", "/test?a=%26%3D%2B"),
            ("/test?a=b=c", "/test?a=b%3Dc"),
            ("/test?$filter=name eq 'x'", "/test?$filter=name%20eq%20%27x%27"),
            ("/it's(1)", "/it's(1)"),
            ("/test?a=&b", "/test?a=&b"),
            ("/test?", "/test"),
            ("/test?a=são", "/test?a=s%C3%A3o"),
            ("?a=1", "/?a=1"),
            ("/foo/bar#section 2", "/foo/bar"),
        ];
        for (written, expected) in pairs {
            assert_eq!(called(written), expected, "{written}");
        }
    }

    #[test]
    fn the_urls_of_power_automate_pass_unchanged() {
        for url in [
            "/api/data/v9.2/workflows(00000000-0000-0000-0000-000000000001)/Microsoft.Dynamics.CRM.RunDesktopFlow",
            "/api/data/v9.2/flowsessions(0000)?$select=statuscode,statecode,startedon,completedon",
            "/api/data/v9.2/flowsessions(0000)/outputs/$value",
        ] {
            assert_eq!(called(url), url);
        }
    }

    #[test]
    fn without_encoding_a_url_is_taken_as_it_is_or_refused() {
        let taken = |written: &str| parse(written, true, &[]).map(String::from);
        for url in [
            "http://localhost:8080/hello,world!",
            "http://localhost:8080/hello%2Cworld%21",
            "http://localhost:8080/hello,%20world!?f=g%2Ch+i",
        ] {
            assert_eq!(taken(url).as_deref(), Ok(url));
        }
        for url in [
            "http://localhost:8080/hello world",
            "http://localhost:8080/hello?a b",
            "http://localhost:8080/%2",
        ] {
            assert!(taken(url).is_err(), "{url}");
        }
    }

    #[test]
    fn parameters_are_added_and_encoded_whole() {
        let parameters = [
            ("q", Some("a b&c=d/e+f")),
            ("n", Some("5")),
            ("e", None),
            ("u", Some("ä")),
            ("x", Some("")),
        ]
        .map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        let query = |written: &str| parse(written, false, &parameters).unwrap().query().unwrap().to_owned();
        let encoded = "q=a%20b%26c%3Dd%2Fe%2Bf&n=5&e&u=%C3%A4&x=";
        assert_eq!(query("http://h/echo?x=1"), format!("x=1&{encoded}"));
        assert_eq!(query("http://h/echo"), encoded);
        assert_eq!(query("http://h/echo?"), encoded);
    }

    #[test]
    fn urls_that_cannot_be_called_are_refused_with_the_reason() {
        for (url, reason) in [
            ("localhost:8080/test", "http://"),
            ("//abc", "http://"),
            ("http://", "host"),
            ("http:///path", "host"),
            ("http://0000::1", "port"),
            ("http://localhost:abc/test", "port"),
            ("http://localhost:99999/test", "port"),
            ("http://me:word@localhost/", "authentication"),
            ("http://local host/", "host"),
            ("http://localhost/a\nb", "line break"),
            ("http://localhost/50%", "%25"),
            ("http://localhost/?a=%zz", "%25"),
        ] {
            let error = parse(url, false, &[]).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
