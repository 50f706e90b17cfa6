//! What follows a redirect: the request and its answer go in, the next request comes out, or none.
//!
//! The rules are those of Camunda's connector runtime: 301, 302, 303, 307 and 308; a POST becomes a GET on the first
//! three; a request with credentials never goes to another origin (the 3xx is then the answer).

use reqwest::Method;
use reqwest::header::{
    AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, LOCATION, PROXY_AUTHORIZATION,
};
use url::Url;

use super::{Answer, Request};

/// How many redirects are followed before they count as endless.
pub(super) const MAX_HOPS: usize = 50;

/// The request that the answer asks for, if it is a redirect that may be followed.
pub(super) fn next(mut request: Request, answer: &Answer) -> Option<Request> {
    let becomes_get = match answer.status {
        301 | 302 => request.method == Method::POST,
        303 => !matches!(request.method, Method::GET | Method::HEAD),
        307 | 308 => false,
        _ => return None,
    };
    let target = target(&request.url, answer)?;
    if target.origin() != request.url.origin() && has_credentials(&request) {
        return None;
    }
    if becomes_get {
        request.method = Method::GET;
        request.body = None;
        for name in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
            request.headers.remove(name);
        }
    }
    request.url = target;
    Some(request)
}

fn target(from: &Url, answer: &Answer) -> Option<Url> {
    let location = answer.headers.get(LOCATION)?.to_str().ok()?;
    let mut target = from.join(location).ok()?;
    if !matches!(target.scheme(), "http" | "https") || !target.username().is_empty() || target.password().is_some() {
        return None;
    }
    if target.fragment().is_none() {
        target.set_fragment(from.fragment());
    }
    Some(target)
}

fn has_credentials(request: &Request) -> bool {
    request.tls.as_ref().is_some_and(|tls| tls.private_key.is_some())
        || [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION]
            .iter()
            .any(|name| request.headers.contains_key(name))
        // An API key under a name of its own.
        || request.headers.values().any(reqwest::header::HeaderValue::is_sensitive)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    fn request(method: Method) -> Request {
        let mut request = Request::new(method, Url::parse("https://a.example/one?x=1").unwrap());
        request
            .headers
            .insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        request.body = Some(b"text".to_vec());
        request
    }

    fn answer(status: u16, location: &str) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(LOCATION, location.parse().unwrap());
        Answer {
            status,
            reason: String::new(),
            headers,
            body: Vec::new(),
        }
    }

    #[test]
    fn a_post_becomes_a_get_without_body_on_301_302_and_303() {
        for status in [301, 302, 303] {
            let next = next(request(Method::POST), &answer(status, "/two")).unwrap();
            assert_eq!(next.method, Method::GET);
            assert_eq!(next.url.as_str(), "https://a.example/two");
            assert!(next.body.is_none());
            assert!(next.headers.is_empty());
        }
    }

    #[test]
    fn a_put_stays_a_put_on_302_and_a_post_stays_a_post_on_307_and_308() {
        for (method, status) in [(Method::PUT, 302), (Method::POST, 307), (Method::POST, 308)] {
            let next = next(request(method.clone()), &answer(status, "/two")).unwrap();
            assert_eq!(next.method, method);
            assert_eq!(next.body.as_deref(), Some(b"text".as_slice()));
        }
    }

    #[test]
    fn a_request_with_credentials_never_leaves_its_origin() {
        for name in [AUTHORIZATION, COOKIE] {
            let mut request = request(Method::GET);
            request.headers.insert(name, HeaderValue::from_static("secret"));
            for elsewhere in ["https://b.example/", "http://a.example/", "https://a.example:8443/"] {
                assert!(next(request.clone(), &answer(302, elsewhere)).is_none(), "{elsewhere}");
            }
            assert!(next(request, &answer(302, "https://a.example/two")).is_some());
        }
    }

    #[test]
    fn what_is_no_redirect_or_leads_nowhere_is_the_answer() {
        assert!(next(request(Method::GET), &answer(304, "/two")).is_none());
        assert!(next(request(Method::GET), &answer(302, "ftp://a.example/")).is_none());
        assert!(next(request(Method::GET), &answer(302, "https://user:word@a.example/")).is_none());
        let mut without = answer(302, "/two");
        without.headers.clear();
        assert!(next(request(Method::GET), &without).is_none());
    }
}
