//! Certificates of our own: from files or memory, chosen by server name, and made on the spot.

use std::path::Path;

use boring::asn1::Asn1Time;
use boring::bn::BigNum;
use boring::bn::MsbOption;
use boring::ec::EcGroup;
use boring::ec::EcKey;
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::PKey;
use boring::pkey::Private;
use boring::rsa::Rsa;
use boring::ssl::ClientHello;
use boring::ssl::ExtensionType;
use boring::ssl::NameType;
use boring::ssl::SelectCertError;
use boring::ssl::SslContextBuilder;
use boring::ssl::SslRef;
use boring::x509::extension::BasicConstraints;
use boring::x509::extension::KeyUsage;
use boring::x509::extension::SubjectAlternativeName;
use boring::x509::X509NameBuilder;
use boring::x509::X509Ref;
use boring::x509::X509;

use crate::abi::ip_literal;
use crate::evidence;
use crate::fault::Failure;
use crate::fault::Outcome;

/// One chain with its key, leaf first.
pub struct Identity {
    pub chain: Vec<X509>,
    pub key: PKey<Private>,
}

/// An identity for a server name: "example.org", "*.example.org", or empty for all that no other
/// has.
pub struct Named {
    pub name: String,
    pub identity: Identity,
}

pub fn read_file(option: &str, path: &str) -> Outcome<Vec<u8>> {
    std::fs::read(Path::new(path)).map_err(|error| Failure::file(option, path, &error))
}

/// `stack_from_pem` answers junk with an empty list: that is a failure here.
pub fn parse_chain(option: &str, source: &str, pem: &[u8]) -> Outcome<Vec<X509>> {
    let chain = X509::stack_from_pem(pem).map_err(|stack| {
        Failure::certificate(format!(
            "{option}: {source} is not a PEM certificate: {stack}"
        ))
    })?;
    if chain.is_empty() {
        return Err(Failure::certificate(format!(
            "{option}: {source} holds no PEM certificate"
        )));
    }
    Ok(chain)
}

impl Identity {
    pub fn parse(option: &str, chain: (&str, &[u8]), key: (&str, &[u8])) -> Outcome<Self> {
        let chain = parse_chain(option, chain.0, chain.1)?;
        let source = key.0;
        let key = PKey::private_key_from_pem_callback(key.1, |_| Ok(0)).map_err(|stack| {
            Failure::certificate(format!(
                "{option}: {source} holds no private key in PEM without a passphrase: {stack}"
            ))
        })?;
        let public = chain[0].public_key().map_err(|stack| {
            Failure::certificate(format!(
                "{option}: the certificate's key is unusable: {stack}"
            ))
        })?;
        if !public.public_eq(&key) {
            return Err(Failure::certificate(format!(
                "{option}: the private key in {source} does not belong to the certificate for {}",
                names_of(&chain[0])
            )));
        }
        Ok(Self { chain, key })
    }

    pub fn install(&self, context: &mut SslContextBuilder) -> Outcome<()> {
        let mut install = || {
            context.set_certificate(&self.chain[0])?;
            for link in &self.chain[1..] {
                context.add_extra_chain_cert(link.clone())?;
            }
            context.set_private_key(&self.key)
        };
        install().map_err(|stack| {
            Failure::certificate(format!(
                "certificate: it cannot be used for TLS 1.3: {stack}"
            ))
        })
    }

    fn apply(&self, ssl: &mut SslRef) -> Result<(), boring::error::ErrorStack> {
        ssl.set_certificate(&self.chain[0])?;
        for link in &self.chain[1..] {
            ssl.add_chain_cert(link)?;
        }
        ssl.set_private_key(&self.key)
    }
}

/// Whether a certificate's name covers a server name; a wildcard stands for one label (RFC 9525
/// section 6.3).
pub fn covers(pattern: &str, name: &str) -> bool {
    if pattern.eq_ignore_ascii_case(name) {
        return true;
    }
    let Some(suffix) = pattern.strip_prefix("*.") else {
        return false;
    };
    name.split_once('.')
        .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(suffix))
}

/// An exact name first, then a wildcard.
pub fn find<'a>(all: &'a [Named], name: &str) -> Option<&'a Named> {
    all.iter()
        .find(|one| one.name.eq_ignore_ascii_case(name))
        .or_else(|| all.iter().find(|one| covers(&one.name, name)))
}

/// The server's first look at a ClientHello: keeps the ALPN it offers as evidence, and chooses the
/// certificate by SNI.
pub fn install_selection(context: &mut SslContextBuilder, named: Vec<Named>) {
    context.set_select_certificate_callback(move |mut hello: ClientHello<'_>| {
        let alpn = ExtensionType::APPLICATION_LAYER_PROTOCOL_NEGOTIATION;
        evidence::saw_alpn(hello.get_extension(alpn).unwrap_or(&[]));
        let chosen = hello
            .servername(NameType::HOST_NAME)
            .and_then(|name| find(&named, name));
        match chosen {
            None => Ok(()),
            Some(one) => one
                .identity
                .apply(hello.ssl_mut())
                .map_err(|_| SelectCertError::ERROR),
        }
    });
}

/// For messages: the names that a certificate bears.
pub fn names_of(certificate: &X509Ref) -> String {
    let alternatives: Vec<String> = certificate
        .subject_alt_names()
        .map(|names| {
            names
                .iter()
                .filter_map(|name| {
                    name.dnsname().map(str::to_owned).or_else(|| {
                        let bytes = name.ipaddress()?;
                        if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
                            return Some(std::net::Ipv4Addr::from(v4).to_string());
                        }
                        let v6 = <[u8; 16]>::try_from(bytes).ok()?;
                        Some(std::net::Ipv6Addr::from(v6).to_string())
                    })
                })
                .collect()
        })
        .unwrap_or_default();
    if !alternatives.is_empty() {
        return alternatives.join(", ");
    }
    let common: Vec<String> = certificate
        .subject_name()
        .entries_by_nid(Nid::COMMONNAME)
        .filter_map(|entry| entry.data().as_utf8().ok().map(|text| text.to_string()))
        .collect();
    if common.is_empty() {
        "no name".to_owned()
    } else {
        common.join(", ")
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    P256,
    /// For the simulator: its signatures have one length, so that a seed replays.
    Rsa2048,
}

fn make_key(kind: KeyKind) -> Result<PKey<Private>, boring::error::ErrorStack> {
    match kind {
        KeyKind::P256 => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
            PKey::from_ec_key(EcKey::generate(&group)?)
        }
        KeyKind::Rsa2048 => PKey::from_rsa(Rsa::generate(2048)?),
    }
}

fn build_self_signed(
    key: &PKey<Private>,
    names: &[&str],
    days: u32,
) -> Result<X509, boring::error::ErrorStack> {
    let mut subject = X509NameBuilder::new()?;
    // A common name holds at most 64 characters (RFC 5280 appendix A.1); nobody reads it where
    // there are alternative names.
    let common: String = names[0].chars().take(64).collect();
    subject.append_entry_by_nid(Nid::COMMONNAME, &common)?;
    let subject = subject.build();
    let mut serial = BigNum::new()?;
    // 159 bits: positive, and at most 20 bytes (RFC 5280 section 4.1.2.2).
    serial.rand(159, MsbOption::MAYBE_ZERO, false)?;

    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(&*serial.to_asn1_integer()?)?;
    builder.set_subject_name(&subject)?;
    builder.set_issuer_name(&subject)?;
    builder.set_not_before(&*Asn1Time::days_from_now(0)?)?;
    builder.set_not_after(&*Asn1Time::days_from_now(days)?)?;
    builder.set_pubkey(key)?;
    let mut alternatives = SubjectAlternativeName::new();
    for name in names {
        match ip_literal(name) {
            Some(ip) => alternatives.ip(&ip.to_string()),
            None => alternatives.dns(name),
        };
    }
    let alternatives = alternatives.build(&builder.x509v3_context(None, None))?;
    builder.append_extension(&alternatives)?;
    builder.append_extension(&*BasicConstraints::new().critical().ca().build()?)?;
    let usage = KeyUsage::new()
        .critical()
        .digital_signature()
        .key_cert_sign()
        .build()?;
    builder.append_extension(&usage)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

/// A key and a certificate for `names`, signed by itself: (chain, key), both PEM.
pub fn self_signed(names: &[&str], days: u32, kind: KeyKind) -> Outcome<(Vec<u8>, Vec<u8>)> {
    if names.is_empty() || names.iter().any(|name| name.is_empty()) {
        return Err(Failure::option(
            "names: at least one name, none of them empty",
        ));
    }
    // 100 years; `days_from_now` counts seconds in an int of 64 bits from a product of 32 bits:
    // 49710 days would overflow.
    if days == 0 || days > 36_500 {
        return Err(Failure::option(format!(
            "days: {days} is not between 1 and 36500"
        )));
    }
    let make = || {
        let key = make_key(kind)?;
        let certificate = build_self_signed(&key, names, days)?;
        Ok((certificate.to_pem()?, key.private_key_to_pem_pkcs8()?))
    };
    make().map_err(|stack: boring::error::ErrorStack| {
        Failure::tls("the certificate cannot be made", &stack)
    })
}
