//! The token of a start: how a run in Dataverse is known to be the one that an entry into a task asked for.
//!
//! In go the namespace of the engine, the process instance, the element instance and the attempt; out comes a short text
//! that a URL can carry. Its middle part, the [`Stable`] one, is a keyed hash of those four and the same for every worker
//! and every try, so all searching is by it. The last part is random for each start: nobody who knows the task can guess
//! it, which is what a callback needs.
//!
//! `dh1.NAMESPACE.PROCESS.ELEMENT.ATTEMPT.STABLE.NONCE`: the parts before the hash say in clear (hexadecimal) which
//! engine and which task a run belongs to, so that runs whose task is gone can be told from others.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

/// What every token begins with.
const PREFIX: &str = "dh1";
/// Without a key of the operators' own: the hash is as stable, but whoever knows the rule can compute it.
const PUBLIC_KEY: &[u8] = b"deskhand: the stable part of a start's token, version 1";
const NAMESPACE_DIGITS: usize = 12;
const STABLE_DIGITS: usize = 32;
const NONCE_DIGITS: usize = 32;
/// No token is longer, characters.
pub const LONGEST: usize = 3 + 1 + NAMESPACE_DIGITS + 1 + 16 + 1 + 16 + 1 + 8 + 1 + STABLE_DIGITS + 1 + NONCE_DIGITS;

/// Makes tokens for the tasks of one engine. Every replica must be given the same namespace and key.
#[derive(Clone)]
pub struct Tokens {
    namespace: String,
    tag: String,
    key: hmac::Key,
}

/// An entry into a task, and which start of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    /// Key of the process instance.
    pub process_instance: i64,
    /// Key of the entry into the task.
    pub element_instance: i64,
    /// Which start of this entry, from 1.
    pub attempt: u32,
}

/// The part of a token that all starts of a subject share: hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Stable(String);

/// A whole token.
#[derive(Clone, PartialEq, Eq)]
pub struct Token {
    tag: String,
    subject: Subject,
    stable: Stable,
    nonce: String,
}

impl Tokens {
    /// Tokens of this namespace (what tells engines that share a Dataverse apart), hashed with this key.
    pub fn new(namespace: &str, key: Option<&[u8]>) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.unwrap_or(PUBLIC_KEY));
        let tag = digits(&key, &["namespace", namespace], NAMESPACE_DIGITS);
        Self {
            namespace: namespace.to_owned(),
            tag,
            key,
        }
    }

    /// What all tokens of this namespace begin with.
    pub fn of_namespace(&self) -> String {
        format!("{PREFIX}.{}.", self.tag)
    }

    /// What all tokens of this process instance begin with.
    pub fn of_process_instance(&self, process_instance: i64) -> String {
        format!("{}{process_instance:x}.", self.of_namespace())
    }

    /// Is this token made by us, or by a replica with the same namespace and key?
    pub fn made(&self, token: &Token) -> bool {
        let stable = self.stable(token.subject);
        token.tag == self.tag && verify_slices_are_equal(stable.0.as_bytes(), token.stable.0.as_bytes()).is_ok()
    }

    /// The stable part for a subject.
    pub fn stable(&self, subject: Subject) -> Stable {
        let parts = [
            "start",
            &self.namespace,
            &subject.process_instance.to_string(),
            &subject.element_instance.to_string(),
            &subject.attempt.to_string(),
        ];
        Stable(digits(&self.key, &parts, STABLE_DIGITS))
    }

    /// A token for a start that is about to be sent.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn fresh(&self, subject: Subject) -> Result<Token, NoRandomness> {
        let mut nonce = [0; NONCE_DIGITS / 2];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| NoRandomness)?;
        Ok(Token {
            tag: self.tag.clone(),
            subject,
            stable: self.stable(subject),
            nonce: hexadecimal(&nonce),
        })
    }

    /// What proves that a text beside this token was written by us, or by a replica with the same namespace and key.
    pub fn seal(&self, token: &Token, text: &str) -> String {
        digits(&self.key, &["seal", &token.to_string(), text], STABLE_DIGITS)
    }

    /// A digest by which equal inputs are recognised and from which none can be read.
    pub fn digest(&self, inputs: &str) -> String {
        digits(&self.key, &["inputs", inputs], STABLE_DIGITS)
    }
}

/// Two are equal if they make the same stable parts: the tag hangs on namespace and key.
impl PartialEq for Tokens {
    fn eq(&self, other: &Self) -> bool {
        self.namespace == other.namespace && self.tag == other.tag
    }
}

/// The operating system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gives no random bytes")]
pub struct NoRandomness;

impl Stable {
    /// The digits, as they stand inside a token.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Does this text (a callback URL, the inputs of a run) carry a token with this part?
    pub fn is_in(&self, text: &str) -> bool {
        text.contains(&self.0)
    }
}

impl Token {
    /// Reads a token; whether it is one of ours is not said by that.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let mut next = || parts.next();
        if next()? != PREFIX {
            return None;
        }
        let tag = hexadecimals(next()?, NAMESPACE_DIGITS)?;
        let subject = Subject {
            process_instance: key(next()?)?,
            element_instance: key(next()?)?,
            attempt: u32::from_str_radix(next()?, 16).ok()?,
        };
        let stable = Stable(hexadecimals(next()?, STABLE_DIGITS)?);
        let nonce = hexadecimals(next()?, NONCE_DIGITS)?;
        parts.next().is_none().then_some(Self {
            tag,
            subject,
            stable,
            nonce,
        })
    }

    /// The first token in a text such as a callback URL.
    pub fn find(text: &str) -> Option<Self> {
        let mut rest = text;
        while let Some(at) = rest.find(PREFIX) {
            let found = &rest[at..];
            let end = found
                .find(|char: char| !(char.is_ascii_alphanumeric() || char == '.'))
                .unwrap_or(found.len());
            if let Some(token) = Self::parse(&found[..end]) {
                return Some(token);
            }
            rest = &found[PREFIX.len()..];
        }
        None
    }

    /// Which task it belongs to, as it says itself.
    pub fn subject(&self) -> Subject {
        self.subject
    }

    /// The part by which runs are searched for.
    pub fn stable(&self) -> &Stable {
        &self.stable
    }

    /// The random part, by which whoever was told the token is known.
    pub fn nonce(&self) -> [u8; NONCE_DIGITS / 2] {
        let mut nonce = [0; NONCE_DIGITS / 2];
        for (byte, digits) in nonce.iter_mut().zip(self.nonce.as_bytes().chunks(2)) {
            // Only hexadecimal digits get here.
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
        nonce
    }

    /// Is this text the same token? Takes as long whatever it is.
    pub fn is(&self, text: &str) -> bool {
        verify_slices_are_equal(self.to_string().as_bytes(), text.as_bytes()).is_ok()
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject {
            process_instance,
            element_instance,
            attempt,
        } = self.subject;
        write!(
            f,
            "{PREFIX}.{}.{process_instance:x}.{element_instance:x}.{attempt:x}.{}.{}",
            self.tag, self.stable.0, self.nonce
        )
    }
}

impl fmt::Debug for Stable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The nonce is what a callback is trusted for.
impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("subject", &self.subject)
            .field("stable", &self.stable)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}

/// The first digits of the hash of these parts, each with its length before it so that they cannot run into each other.
fn digits(key: &hmac::Key, parts: &[&str], count: usize) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    hexadecimal(&context.sign().as_ref()[..count / 2])
}

fn hexadecimal(bytes: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing into a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn hexadecimals(text: &str, count: usize) -> Option<String> {
    let right = text.len() == count && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    right.then(|| text.to_owned())
}

fn key(text: &str) -> Option<i64> {
    i64::from_str_radix(text, 16).ok().filter(|key| *key >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: Subject = Subject {
        process_instance: 2_251_799_813_685_249,
        element_instance: 2_251_799_813_685_268,
        attempt: 1,
    };

    #[test]
    fn the_stable_part_is_the_same_for_every_worker_and_version() {
        let tokens = Tokens::new("cluster-1", None);
        assert_eq!(tokens.stable(SUBJECT), Tokens::new("cluster-1", None).stable(SUBJECT));
        // Workers of a newer version must find what this one started.
        assert_eq!(tokens.stable(SUBJECT).as_str(), "969c47a6ae555896aaaba391673775a4");
    }

    #[test]
    fn every_part_of_the_subject_counts_and_so_do_namespace_and_key() {
        let tokens = Tokens::new("a", None);
        let of = |process_instance, element_instance, attempt| {
            tokens.stable(Subject {
                process_instance,
                element_instance,
                attempt,
            })
        };
        let all = [
            of(1, 2, 3),
            of(2, 2, 3),
            of(1, 3, 3),
            of(1, 2, 4),
            of(12, 3, 3),
            Tokens::new("b", None).stable(SUBJECT),
            tokens.stable(SUBJECT),
            Tokens::new("a", Some(b"key")).stable(SUBJECT),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn a_token_is_found_again_in_a_url_and_two_starts_have_two() {
        let tokens = Tokens::new("a", None);
        let (one, two) = (tokens.fresh(SUBJECT).unwrap(), tokens.fresh(SUBJECT).unwrap());
        assert_eq!(one.stable(), two.stable());
        assert!(one.is(&one.to_string()) && !one.is(&two.to_string()) && !one.is(""));
        assert!(one.to_string().len() <= LONGEST);
        let text = one.to_string();
        for url in [
            format!("https://hooks.example.com/dh1/{text}"),
            format!("https://dh1.example.com/?x=dh1&token={text}#top"),
            text.clone(),
        ] {
            assert_eq!(Token::find(&url), Some(one.clone()), "{url}");
            assert!(one.stable().is_in(&url));
        }
        assert!(text.starts_with(&tokens.of_namespace()));
        assert_eq!(Token::parse(&text).unwrap().subject(), SUBJECT);
    }

    #[test]
    fn what_is_no_token_is_not_taken_for_one() {
        let token = Tokens::new("a", None).fresh(SUBJECT).unwrap().to_string();
        for text in [
            String::new(),
            token[1..].to_owned(),
            token[..token.len() - 1].to_owned(),
            format!("{token}0"),
            format!("{token}.0"),
            token.to_uppercase(),
            token.replacen('.', "-", 1),
        ] {
            assert_eq!(Token::parse(&text), None, "{text}");
        }
    }
}
