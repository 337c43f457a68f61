//! Whom to believe: certificate authorities from memory, files, directories and the system; pins;
//! verification itself.

use std::path::Path;

use boring::hash::MessageDigest;
use boring::ssl::SslContextBuilder;
use boring::ssl::SslVerifyMode;
use boring::x509::store::X509StoreBuilder;
use boring::x509::X509Ref;
use boring::x509::X509StoreContextRef;
use boring::x509::X509VerifyError;
use boring::x509::X509;

use crate::abi::*;
use crate::certificates;
use crate::evidence;
use crate::fault::Failure;
use crate::fault::Outcome;

/// SHA-256 of a SubjectPublicKeyInfo (RFC 7469 section 2.4).
pub type Pin = [u8; 32];

pub struct Trust {
    pub is_server: bool,
    pub insecure: bool,
    pub system_store: bool,
    pub ca_file: Option<String>,
    pub ca_directory: Option<String>,
    pub ca_pem: Option<Vec<u8>>,
    pub pins: Vec<Pin>,
}

// Where distributions keep their bundle: Debian and Arch, Fedora and RHEL, openSUSE, RHEL's
// extracted form, Alpine and BSD.
const BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const DIRECTORIES: [&str; 2] = ["/etc/ssl/certs", "/etc/pki/tls/certs"];

pub fn pin_of(certificate: &X509Ref) -> Outcome<Pin> {
    let key = certificate
        .public_key()
        .and_then(|key| key.public_key_to_der())
        .map_err(|stack| Failure::tls("the certificate's public key is unreadable", &stack))?;
    let digest = boring::hash::hash(MessageDigest::sha256(), &key)
        .map_err(|stack| Failure::tls("SHA-256", &stack))?;
    let mut pin = Pin::default();
    pin.copy_from_slice(&digest);
    Ok(pin)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// 64 hex digits; colons between them are forgiven.
pub fn parse_pin(text: &str) -> Outcome<Pin> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let bad = || {
        Failure::option(format!(
            "pins: \"{text}\" is not a SHA-256 in 64 hex digits"
        ))
    };
    if digits.len() != 64 {
        return Err(bad());
    }
    let mut pin = Pin::default();
    for (byte, pair) in pin.iter_mut().zip(digits.chunks(2)) {
        let pair = std::str::from_utf8(pair).map_err(|_| bad())?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| bad())?;
    }
    Ok(pin)
}

fn add_all(store: &mut X509StoreBuilder, option: &str, certificates: &[X509]) -> Outcome<()> {
    for certificate in certificates {
        store
            .add_cert(certificate)
            .map_err(|stack| Failure::tls(option, &stack))?;
    }
    Ok(())
}

fn add_file(store: &mut X509StoreBuilder, option: &str, path: &str) -> Outcome<()> {
    let pem = certificates::read_file(option, path)?;
    add_all(
        store,
        option,
        &certificates::parse_chain(option, path, &pem)?,
    )
}

/// Every certificate of a directory's files; what is no certificate is passed over.
fn add_directory(store: &mut X509StoreBuilder, option: &str, path: &str) -> Outcome<usize> {
    let entries = std::fs::read_dir(path).map_err(|error| Failure::file(option, path, &error))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut added = 0;
    for file in paths {
        let Ok(pem) = std::fs::read(&file) else {
            continue;
        };
        let certificates = X509::stack_from_pem(&pem).unwrap_or_default();
        add_all(store, option, &certificates)?;
        added += certificates.len();
    }
    Ok(added)
}

fn add_system(store: &mut X509StoreBuilder) -> Outcome<()> {
    let option = "trust.system_store";
    if let Ok(file) = std::env::var("SSL_CERT_FILE") {
        return add_file(store, option, &file);
    }
    let from_environment = std::env::var("SSL_CERT_DIR").ok();
    if from_environment.is_none() {
        if let Some(bundle) = BUNDLES.iter().find(|path| Path::new(path).is_file()) {
            return add_file(store, option, bundle);
        }
    }
    let directories = from_environment
        .as_deref()
        .map_or(DIRECTORIES.to_vec(), |list| list.split(':').collect());
    for directory in &directories {
        if matches!(add_directory(store, option, directory), Ok(added) if added > 0) {
            return Ok(());
        }
    }
    Err(Failure::option(format!(
        "{option}: no certificates were found in {} or {}",
        BUNDLES.join(", "),
        directories.join(", ")
    )))
}

fn refused_chain(context: &X509StoreContextRef) -> String {
    let reason = match context.verify_result() {
        Err(error) => error.error_string(),
        Ok(()) => "the certificate was not accepted",
    };
    let subject = context
        .current_cert()
        .or_else(|| context.cert())
        .map(certificates::names_of)
        .unwrap_or_default();
    format!(
        "{reason} (certificate for {subject}, depth {})",
        context.error_depth()
    )
}

/// The verdict on a peer's chain. It replaces `X509_verify_cert`, so that a reason is kept in
/// either case.
fn judge(context: &mut X509StoreContextRef, check_chain: bool, pins: &[Pin]) -> bool {
    if check_chain && !context.verify_cert().unwrap_or(false) {
        let text = refused_chain(context);
        evidence::refuse(RQB_EVIDENCE_CERTIFICATE, text);
        return false;
    }
    if pins.is_empty() {
        return true;
    }
    let pin = context
        .cert()
        .map(pin_of)
        .and_then(Outcome::ok)
        .unwrap_or_default();
    if pins.contains(&pin) {
        return true;
    }
    evidence::refuse(
        RQB_EVIDENCE_PIN,
        format!("the peer's key has the pin {}", hex(&pin)),
    );
    context.set_error(Err(X509VerifyError::CERT_REJECTED));
    false
}

impl Trust {
    fn has_authorities(&self) -> bool {
        self.system_store
            || self.ca_file.is_some()
            || self.ca_directory.is_some()
            || self.ca_pem.is_some()
    }

    fn fill(&self, store: &mut X509StoreBuilder) -> Outcome<()> {
        if self.system_store {
            add_system(store)?;
        }
        if let Some(file) = &self.ca_file {
            add_file(store, "trust.ca_file", file)?;
        }
        if let Some(directory) = &self.ca_directory {
            if add_directory(store, "trust.ca_directory", directory)? == 0 {
                return Err(Failure::option(format!(
                    "trust.ca_directory: {directory} holds no certificate"
                )));
            }
        }
        if let Some(pem) = &self.ca_pem {
            let option = "trust.ca_pem";
            add_all(
                store,
                option,
                &certificates::parse_chain(option, "the text", pem)?,
            )?;
        }
        Ok(())
    }

    /// Whether the peer's name has to be checked: with authorities, on the client's side.
    pub fn checks_name(&self) -> bool {
        !self.insecure && !self.is_server && self.has_authorities()
    }

    /// Pins alone replace the chain and name checks; with authorities both must hold.
    pub fn install(self, context: &mut SslContextBuilder) -> Outcome<()> {
        let check_chain = self.has_authorities();
        if self.insecure {
            if check_chain || !self.pins.is_empty() {
                return Err(Failure::option(
                    "trust.insecure: it cannot be combined with authorities or pins",
                ));
            }
            context.set_verify(SslVerifyMode::NONE);
            return Ok(());
        }
        if !check_chain && self.pins.is_empty() {
            return Err(Failure::option(
                "trust: nothing to believe is given (system_store, ca_file, ca_directory, ca_pem or pins)",
            ));
        }
        let mut store =
            X509StoreBuilder::new().map_err(|stack| Failure::tls("trust: a store", &stack))?;
        self.fill(&mut store)?;
        context.set_cert_store(store.build());
        let mode = if self.is_server {
            SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT
        } else {
            SslVerifyMode::PEER
        };
        context.set_verify(mode);
        let pins = self.pins;
        context.set_cert_verify_callback(move |chain| judge(chain, check_chain, &pins));
        Ok(())
    }
}
