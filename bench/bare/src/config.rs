//! QUIC and TLS as riffle sets them by default, so that the two can be compared.

use boring::asn1::Asn1Time;
use boring::bn::BigNum;
use boring::ec::{EcGroup, EcKey};
use boring::hash::MessageDigest;
use boring::nid::Nid;
use boring::pkey::{PKey, Private};
use boring::ssl::{SslContextBuilder, SslMethod};
use boring::x509::{X509Builder, X509NameBuilder, X509};

/// Lengths of our connection ids.
pub const CID_LENGTH: usize = 8;
/// Largest UDP payload that we send and that we take.
pub const MAX_SEND_PAYLOAD: usize = 1452;
const MAX_RECEIVE_PAYLOAD: usize = 1472;
const STREAM_WINDOW: u64 = 1 << 20;
const CONNECTION_WINDOW: u64 = 130 << 20;
const MAX_STREAMS: u64 = 1024;
const IDLE_TIMEOUT_MS: u64 = 30_000;

type AnyError = Box<dyn std::error::Error>;

pub fn client() -> Result<quiche::Config, AnyError> {
    let mut config = quiche::Config::new(quiche::PROTOCOL_VERSION)?;
    config.verify_peer(false);
    common(config)
}

/// A server with a certificate of its own, made now.
pub fn server() -> Result<quiche::Config, AnyError> {
    let (certificate, key) = self_signed()?;
    let mut tls = SslContextBuilder::new(SslMethod::tls())?;
    tls.set_certificate(&certificate)?;
    tls.set_private_key(&key)?;
    common(quiche::Config::with_boring_ssl_ctx_builder(
        quiche::PROTOCOL_VERSION,
        tls,
    )?)
}

fn common(mut config: quiche::Config) -> Result<quiche::Config, AnyError> {
    config.set_application_protos(&[b"perf"])?;
    config.set_max_idle_timeout(IDLE_TIMEOUT_MS);
    config.set_max_recv_udp_payload_size(MAX_RECEIVE_PAYLOAD);
    config.set_max_send_udp_payload_size(MAX_SEND_PAYLOAD);
    config.set_initial_max_data(CONNECTION_WINDOW);
    config.set_max_connection_window(CONNECTION_WINDOW);
    config.set_initial_max_stream_data_bidi_local(STREAM_WINDOW);
    config.set_initial_max_stream_data_bidi_remote(STREAM_WINDOW);
    config.set_initial_max_stream_data_uni(STREAM_WINDOW);
    config.set_max_stream_window(STREAM_WINDOW);
    config.set_initial_max_streams_bidi(MAX_STREAMS);
    config.set_initial_max_streams_uni(MAX_STREAMS);
    config.set_cc_algorithm(quiche::CongestionControlAlgorithm::CUBIC);
    Ok(config)
}

fn self_signed() -> Result<(X509, PKey<Private>), AnyError> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_text("CN", "localhost")?;
    let name = name.build();
    let mut builder = X509Builder::new()?;
    builder.set_version(2)?;
    let serial = BigNum::from_u32(1)?.to_asn1_integer()?;
    builder.set_serial_number(&serial)?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    let (today, tomorrow) = (Asn1Time::days_from_now(0)?, Asn1Time::days_from_now(1)?);
    builder.set_not_before(&today)?;
    builder.set_not_after(&tomorrow)?;
    builder.set_pubkey(&key)?;
    builder.sign(&key, MessageDigest::sha256())?;
    Ok((builder.build(), key))
}
