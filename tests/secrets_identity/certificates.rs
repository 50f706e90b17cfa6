//! Certificates that sign: PEM and PFX files of today's tools and of old ones, what is wrong with them, and their rotation.

use super::*;

/// What the files of this test are sealed with.
const PASSWORD: &str = "pässwörd of a PFX";

fn endpoint() -> Url {
    Url::parse("https://login.example/t/oauth2/v2.0/token").unwrap()
}

/// A part of a signed text.
fn part(jwt: &SecretString, at: usize) -> Value {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    let text = jwt.expose_secret().split('.').nth(at).unwrap().to_owned();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).unwrap()).unwrap()
}

async fn signed(path: PathBuf, password: &str) -> Result<SecretString, String> {
    Certificate::new(path, None, Algorithm::Ps256, false)
        .with_password(password.to_owned().into())
        .make(&endpoint(), "client")
        .await
        .map_err(|error| error.to_string())
}

/// `modern`: AES-256 under PBES2, as OpenSSL 3 writes; `legacy`: RC2 and triple DES, as OpenSSL 1 and Windows wrote;
/// `nomac`: without a checksum, AES-128 for the key alone.
#[tokio::test]
async fn the_same_certificate_is_read_from_every_kind_of_file() {
    let plain = signed(pem("client.pem"), "").await.unwrap();
    for (file, password) in [
        ("modern.pfx", PASSWORD),
        ("legacy.pfx", PASSWORD),
        ("3des.pfx", PASSWORD),
        ("nomac.pfx", PASSWORD),
        ("empty.pfx", ""),
        ("encrypted.pem", PASSWORD),
    ] {
        let signed = signed(pem(file), password)
            .await
            .unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(part(&signed, 0), part(&plain, 0), "{file}");
    }
}

#[tokio::test]
async fn a_wrong_password_is_said_and_nothing_is_sent() {
    let (endpoint, asked) = counting().await;
    for file in [
        "modern.pfx",
        "legacy.pfx",
        "3des.pfx",
        "nomac.pfx",
        "empty.pfx",
        "encrypted.pem",
    ] {
        let way = SignIn::Certificate {
            certificate: Certificate::new(pem(file), None, Algorithm::Ps256, false),
            password: Some("{{secrets.PASSWORD}}".into()),
        };
        let identities = identities(vec![settings(way, &endpoint, "contoso.crm4.dynamics.com")]);
        let url = Url::parse("https://contoso.crm4.dynamics.com/api").unwrap();
        let said = identities.token_for_operations("robot", &url).await.unwrap_err();
        assert!(said.contains(file) && said.contains("is wrong"), "{said}");
        assert!(!said.contains("demo-password"), "{said}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_damaged_file_is_an_error_or_the_same_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("damaged.pfx");
    for file in ["modern.pfx", "legacy.pfx"] {
        let whole = std::fs::read(pem(file)).unwrap();
        for at in (0..whole.len()).step_by(41) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            std::fs::write(&path, &damaged).unwrap();
            assert!(signed(path.clone(), PASSWORD).await.is_err(), "{file}, byte {at}");
            std::fs::write(&path, &whole[..at]).unwrap();
            assert!(signed(path.clone(), PASSWORD).await.is_err(), "{file}, {at} bytes");
        }
    }
}

#[tokio::test]
async fn a_rotated_pfx_is_picked_up_with_its_new_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("client.pfx");
    std::fs::copy(pem("modern.pfx"), &file).unwrap();
    let certificate = Certificate::new(file.clone(), None, Algorithm::Ps256, false);
    let old = certificate.clone().with_password(PASSWORD.to_owned().into());
    old.make(&endpoint(), "client").await.unwrap();
    std::fs::copy(pem("empty.pfx"), &file).unwrap();
    assert!(old.make(&endpoint(), "client").await.is_err());
    certificate.make(&endpoint(), "client").await.unwrap();
}

#[tokio::test]
async fn certificates_that_cannot_be_used_are_errors_that_say_what_to_do() {
    let endpoint = endpoint();
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let whole = std::fs::read_to_string(pem("client.pem")).unwrap();
    let (certificate, key) = whole.split_at(whole.find("-----BEGIN PRIVATE KEY").unwrap());
    let expired = std::fs::read_to_string(pem("expired.pem")).unwrap();
    let other = &expired[expired.find("-----BEGIN PRIVATE KEY").unwrap()..];
    for (path, part) in [
        (pem("expired.pem"), "ended at 2021-01-01"),
        (pem("missing.pem"), "cannot be read"),
        (write("nothing.pem", "no PEM at all"), "holds no certificate"),
        (write("no-key.pem", certificate), "no private key"),
        (write("key-only.pem", key), "holds no certificate"),
        (write("x.pfx", "\u{0}\u{1}binary"), "holds no certificate"),
        (write("half.pfx", "0\u{1}"), "is no PFX file that can be read"),
        (pem("encrypted.pem"), "no password is given"),
        (pem("modern.pfx"), "no password is given"),
        (pem("legacy.pfx"), "no password is given"),
        (
            write("other.pem", &format!("{certificate}{other}")),
            "is not that of a certificate in",
        ),
        (
            write(
                "broken.pem",
                &format!("{certificate}-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            ),
            "no RSA key",
        ),
    ] {
        let error = Certificate::new(path, None, Algorithm::Ps256, false)
            .make(&endpoint, "client")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(part), "{part}: {error}");
        assert!(!error.contains("BEGIN PRIVATE KEY-----\n"), "{error}");
    }
}

#[tokio::test]
async fn an_assertion_says_what_entra_wants_and_a_rotated_certificate_is_picked_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("client.pem");
    std::fs::copy(pem("expired.pem"), &file).unwrap();
    let certificate = Certificate::new(file.clone(), None, Algorithm::Ps256, true);
    let endpoint = endpoint();
    assert!(certificate.make(&endpoint, "client").await.is_err());
    std::fs::copy(pem("client.pem"), &file).unwrap();
    let first = certificate.make(&endpoint, "client").await.unwrap();
    let second = certificate.make(&endpoint, "client").await.unwrap();
    let header = part(&first, 0);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("PS256"), &json!("JWT")));
    assert_eq!(header["x5t#S256"].as_str().unwrap().len(), 43);
    assert_eq!(header["x5c"].as_array().unwrap().len(), 1);
    let claims = part(&first, 1);
    assert_eq!(claims["aud"], endpoint.as_str());
    assert_eq!((&claims["iss"], &claims["sub"]), (&json!("client"), &json!("client")));
    let life = claims["exp"].as_i64().unwrap() - claims["nbf"].as_i64().unwrap();
    assert!((60..=600).contains(&life), "{life}");
    assert_ne!(claims["jti"], part(&second, 1)["jti"]);
}
