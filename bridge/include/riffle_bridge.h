/* The bridge: a small C ABI over quiche and its BoringSSL. Internal to riffle: src/quiche is its only user.
 *
 * Conventions
 * - A function that returns int32_t gives RQB_OK, RQB_DONE (nothing to do, a limit reached, already over: an expected
 *   condition) or a negative RQB_E_ code; rqb_last_error then has the operation, the fault and a sentence. A function
 * that returns a pointer gives null for a failure.
 * - A Rust panic becomes RQB_E_PANIC with its message, and poisons its connection: every later call on it fails
 * likewise, except rqb_free.
 * - A null pointer with a length of 0 is empty. Text is UTF-8 without a terminator.
 * - Threads: a configuration and its connections belong to one thread. rqb_last_error is per thread. Nothing blocks
 * (but rqb_config_new and rqb_make_self_signed read files and compute).
 * - `retain` and `release` of rqb_init run inside other calls and must not enter the bridge.
 * - Booleans are uint8_t, 0 or 1. Sizes in bytes. Times in nanoseconds of CLOCK_MONOTONIC.
 *
 * bridge/check_abi.py holds this header against the Rust sources and against the exported symbols.
 */
#ifndef RIFFLE_BRIDGE_H
#define RIFFLE_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Outcomes of calls. */
#define RQB_OK 0
#define RQB_DONE 1
#define RQB_E_ARGUMENT (-1)    /* null, a bad length, not UTF-8, a value out of range: a defect of the caller */
#define RQB_E_OPTION (-2)      /* an option makes no sense; the sentence begins with its name */
#define RQB_E_FILE (-3)        /* a file cannot be read or written; `system` is errno */
#define RQB_E_CERTIFICATE (-4) /* a certificate or key cannot be used */
#define RQB_E_TLS (-5)
#define RQB_E_PANIC (-6)
#define RQB_E_SPACE (-7) /* the buffer is too short */
#define RQB_E_VERSION (-8)
#define RQB_E_STATE (-9)
#define RQB_E_STREAM (-10)   /* the stream's state does not allow it; `detail` is its id where quiche tells it */
#define RQB_E_STOPPED (-11)  /* `detail` is the code of STOP_SENDING */
#define RQB_E_RESET (-12)    /* `detail` is the code of RESET_STREAM */
#define RQB_E_LIMIT (-13)    /* streams or connection ids */
#define RQB_E_PROTOCOL (-14) /* the peer broke the protocol; the connection is closing */
#define RQB_E_CRYPTO (-15)
#define RQB_E_INTERNAL (-16)

/* Whose fault a failure is. */
#define RQB_FAULT_NOBODY 0
#define RQB_FAULT_CALLER 1
#define RQB_FAULT_PEER 2
#define RQB_FAULT_MACHINE 3
#define RQB_FAULT_BRIDGE 4

/* rqb_offered.status */
#define RQB_OFFER_TAKEN 0   /* all of it, and the fin */
#define RQB_OFFER_BLOCKED 1 /* only `size` bytes, possibly none; rqb_writable_next will name the stream */
#define RQB_OFFER_STOPPED 2 /* the peer sent STOP_SENDING with `code` */
#define RQB_OFFER_GONE 3    /* no such stream, its sending side is over, or the connection has ended */

/* rqb_read.status */
#define RQB_READ_DATA 0
#define RQB_READ_NOTHING 1 /* nothing now; rqb_readable_next will name the stream */
#define RQB_READ_RESET 2   /* the peer sent RESET_STREAM with `code` */
#define RQB_READ_GONE 3

/* rqb_evidence.kind */
#define RQB_EVIDENCE_NONE 0
#define RQB_EVIDENCE_CERTIFICATE 1 /* the peer's chain or name was not accepted */
#define RQB_EVIDENCE_PIN 2         /* the peer's key has another pin */
#define RQB_EVIDENCE_ALPN 3        /* no common protocol */
#define RQB_EVIDENCE_TLS 4         /* BoringSSL's own words */

#define RQB_NO_STREAM UINT64_MAX
#define RQB_NEVER INT64_MAX
#define RQB_SENTENCE_SIZE 512
#define RQB_MAX_SEGMENTS 64 /* of one batch: UDP_MAX_SEGMENTS of Linux before 6.9 */

typedef struct rqb_config rqb_config;
typedef struct rqb_connection rqb_connection;
typedef struct rqb_text rqb_text;

typedef struct rqb_bytes {
  const uint8_t* data;
  size_t size;
} rqb_bytes;

typedef struct rqb_error {
  const char* operation; /* the function that failed; never freed */
  int32_t code;
  int32_t system; /* errno, or 0 */
  uint64_t detail;
  uint8_t fault;
  char sentence[RQB_SENTENCE_SIZE]; /* ends with a 0 */
} rqb_error;

/* Laid out as riffle::Address: `bytes` in network order, IPv4 in the first four; `port` in host order; family 0 none,
 * 1 IPv4, 2 IPv6. */
typedef struct rqb_address {
  uint8_t bytes[16];
  uint32_t scope;
  uint16_t port;
  uint8_t family;
} rqb_address;

typedef struct rqb_connection_id {
  uint8_t bytes[20];
  uint8_t size;
} rqb_connection_id;

/* Take and give back one reference to the owner of a zero-copy buffer. */
typedef void (*rqb_retain)(void* owner);
typedef void (*rqb_release)(void* owner);

/* A chain, leaf first, with its key: each from a file or from memory. `name` is the server name it is for, "a.example"
 * or
 * "*.example"; empty: for every other name, and for a client's own certificate. */
typedef struct rqb_certificate {
  rqb_bytes name;
  rqb_bytes chain_file;
  rqb_bytes key_file;
  rqb_bytes chain_pem;
  rqb_bytes key_pem;
} rqb_certificate;

/* All of CFG-1 to CFG-3. Every value is checked; the sentence of a failure names the option. */
typedef struct rqb_options {
  uint8_t is_server;
  uint8_t path_mtu_discovery;
  uint8_t disable_active_migration;
  uint8_t grease;
  uint8_t trust_given; /* a server with it asks for client certificates; a client always verifies */
  uint8_t insecure;
  uint8_t system_store;
  uint8_t ack_delay_exponent;      /* 0 to 20 */
  uint32_t version;                /* 1, or reserved: 0x?a?a?a?a */
  uint32_t initial_window_packets; /* 0: quiche's default */
  uint64_t idle_timeout_ms;        /* 0: none */
  uint64_t max_ack_delay_ms;       /* below 2^14 */
  uint64_t max_streams_bidi;
  uint64_t max_streams_uni;
  uint64_t stream_window;
  uint64_t connection_window;
  uint64_t max_stream_window; /* raised to stream_window */
  uint64_t max_connection_window;
  uint64_t max_receive_payload; /* 1200 to 65527 */
  uint64_t max_send_payload;
  uint64_t active_connection_id_limit; /* 2 to 64 */
  rqb_bytes congestion_control;        /* cubic, reno, bbr2; empty: cubic */
  rqb_bytes key_log_file;              /* appended to */
  const rqb_bytes* alpn;               /* 1 to 255 bytes each, in order of preference */
  size_t alpn_count;
  const rqb_certificate* certificates;
  size_t certificate_count;
  rqb_bytes ca_file;
  rqb_bytes ca_directory;
  rqb_bytes ca_pem;
  const rqb_bytes* pins; /* SPKI SHA-256, 64 hex digits; alone they replace chain and name, with a CA both must hold */
  size_t pin_count;
} rqb_options;

typedef struct rqb_snapshot {
  int64_t deadline_ns; /* when rqb_on_timeout is due; RQB_NEVER: not at all */
  uint64_t streams_left_bidi;
  uint64_t streams_left_uni;
  uint64_t source_ids_left;
  uint8_t is_established;
  uint8_t is_draining;
  uint8_t is_closed;
  uint8_t is_closing; /* a CONNECTION_CLOSE of ours is on its way */
  uint8_t is_timed_out;
  uint8_t is_resumed;
  uint8_t is_in_early_data;
  uint8_t is_readable;
} rqb_snapshot;

/* Packets in the shape of UDP_SEGMENT: each `segment` bytes, the last one possibly shorter. */
typedef struct rqb_batch {
  size_t bytes;
  size_t segment;
  size_t packets;
  rqb_address local;
  rqb_address peer;
  int64_t release_ns; /* when pacing wants it to leave; 0: now */
} rqb_batch;

typedef struct rqb_offered {
  size_t size;
  uint64_t code;
  uint8_t status;
} rqb_offered;

typedef struct rqb_read {
  size_t size;
  uint64_t code;
  uint8_t status;
  uint8_t fin;
} rqb_read;

typedef struct rqb_close_info {
  uint64_t code;
  rqb_bytes reason;
  uint8_t present;
  uint8_t is_application;
} rqb_close_info;

typedef struct rqb_evidence {
  rqb_bytes text;
  uint8_t kind;
} rqb_evidence;

typedef struct rqb_info {
  rqb_bytes alpn;
  rqb_bytes server_name;
  rqb_bytes trace_id;
  size_t peer_certificates;
  uint8_t is_resumed;
  uint8_t is_server;
} rqb_info;

typedef struct rqb_stats {
  uint64_t packets_received;
  uint64_t packets_sent;
  uint64_t packets_lost;
  uint64_t packets_lost_spuriously;
  uint64_t packets_retransmitted;
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t bytes_acknowledged;
  uint64_t bytes_lost;
  uint64_t stream_bytes_retransmitted;
  uint64_t datagrams_sent;
  uint64_t datagrams_received;
  uint64_t paths;
  uint64_t streams_reset_by_us;
  uint64_t streams_stopped_by_us;
  uint64_t streams_reset_by_peer;
  uint64_t streams_stopped_by_peer;
  uint64_t data_blocked_sent;
  uint64_t stream_data_blocked_sent;
  uint64_t data_blocked_received;
  uint64_t stream_data_blocked_received;
  uint64_t streams_blocked_bidi_received;
  uint64_t streams_blocked_uni_received;
  uint64_t path_challenges_received;
  uint64_t bytes_in_flight_duration_ns;
} rqb_stats;

typedef struct rqb_path_stats {
  rqb_address local;
  rqb_address peer;
  uint64_t packets_received;
  uint64_t packets_sent;
  uint64_t packets_lost;
  uint64_t packets_retransmitted;
  uint64_t pto_count;
  uint64_t rtt_ns;
  uint64_t min_rtt_ns;
  uint64_t max_rtt_ns;
  uint64_t rtt_variance_ns;
  uint64_t congestion_window;
  uint64_t bytes_sent;
  uint64_t bytes_received;
  uint64_t bytes_lost;
  uint64_t stream_bytes_retransmitted;
  uint64_t mtu;
  uint64_t delivery_rate; /* bytes per second */
  uint8_t is_active;
} rqb_path_stats;

/* --- Start, errors, what needs no connection --- */

/* Registers the two calls that keep zero-copy buffers alive, and silences Rust's panic output. Once, before the rest.
 */
int32_t rqb_init(rqb_retain retain, rqb_release release);
/* This thread's last failure; RQB_DONE when there was none. */
int32_t rqb_last_error(rqb_error* out);
uint8_t rqb_is_version_supported(uint32_t version);
int32_t rqb_negotiate_version(const rqb_connection_id* scid, const rqb_connection_id* dcid, uint8_t* out, size_t size,
                              size_t* written);
/* Fills `out` from BoringSSL's generator. */
int32_t rqb_random(uint8_t* out, size_t size);
/* A key (P-256, or RSA of 2048 bits whose signatures have one length) and a certificate for DNS names and IP addresses,
 * signed by itself; both PEM. */
int32_t rqb_make_self_signed(const rqb_bytes* names, size_t count, uint32_t days, uint8_t is_rsa, rqb_text** chain_pem,
                             rqb_text** key_pem);
/* SHA-256 of the first certificate's SubjectPublicKeyInfo, 32 bytes. */
int32_t rqb_pin_of(rqb_bytes chain_pem, uint8_t* out);
rqb_bytes rqb_text_bytes(const rqb_text* text);
void rqb_text_free(rqb_text* text);

/* --- Configurations --- */

rqb_config* rqb_config_new(const rqb_options* options);
void rqb_config_free(rqb_config* config); /* its connections live on */

/* --- Connections --- */

/* `server_name` is for SNI and for the name check; an IP address is checked against the certificate's addresses. */
rqb_connection* rqb_connect(rqb_config* config, rqb_bytes server_name, const rqb_connection_id* scid,
                            const rqb_address* local, const rqb_address* peer);
/* `original_dcid`: only after a Retry, else null. */
rqb_connection* rqb_accept(rqb_config* config, const rqb_connection_id* scid, const rqb_connection_id* original_dcid,
                           const rqb_address* local, const rqb_address* peer);
void rqb_free(rqb_connection* connection); /* releases every block that it holds */

/* One datagram, decrypted in place. A failure has closed the connection; what rqb_send_batch gives tells the peer. */
int32_t rqb_recv(rqb_connection* connection, uint8_t* data, size_t size, const rqb_address* from,
                 const rqb_address* to);
/* One batch into `buffer`, which has room for max_send_payload at least. RQB_DONE: nothing to send now. */
int32_t rqb_send_batch(rqb_connection* connection, uint8_t* buffer, size_t size, rqb_batch* out);
/* When a pacing congestion control (BBR2) wants its next packet to leave; 0: now. */
int32_t rqb_release_time(rqb_connection* connection, int64_t* out);
int32_t rqb_on_timeout(rqb_connection* connection);
/* All that a cycle asks. */
int32_t rqb_snapshot_of(rqb_connection* connection, rqb_snapshot* out);
/* RQB_DONE when it was closed already. */
int32_t rqb_close(rqb_connection* connection, uint8_t is_application, uint64_t code, rqb_bytes reason);
/* The next packet elicits an ACK: a PING if there is nothing else. */
int32_t rqb_send_ack_eliciting(rqb_connection* connection);

/* --- Streams --- */

/* The next id of ours. RQB_DONE: the peer's limit is reached, or the connection has ended. */
int32_t rqb_stream_open(rqb_connection* connection, uint8_t is_bidirectional, uint64_t* out);
/* Offers bytes without copying them, the fin behind them; never more than the windows allow. What was taken holds a
 * reference to `owner` until the peer has acknowledged it, or the stream or connection ends. No bytes and no fin: only
 * looks whether the stream was stopped. */
int32_t rqb_stream_offer(rqb_connection* connection, uint64_t id, void* owner, const uint8_t* data, size_t size,
                         uint8_t fin, rqb_offered* out);
/* Reads in order. An empty `to` only looks: after a parked stream was reset, nothing else tells it. While a fin that
 * was offered alone is not acknowledged, the last byte of what has arrived, and an end, are kept back
 * (bridge/src/lone_fins.rs); the stream is named when they may be read, and the deadline counts it in. Such a fin is to
 * be offered only when all bytes before it were released. */
int32_t rqb_stream_read(rqb_connection* connection, uint64_t id, uint8_t* to, size_t size, rqb_read* out);
/* Named once; again after it was drained (readable) or blocked (writable). RQB_NO_STREAM: none. A stream that the peer
 * has stopped is named writable if bytes were let go by it; one that had nothing under way learns of it by its next
 * offer. */
uint64_t rqb_readable_next(rqb_connection* connection);
uint64_t rqb_writable_next(rqb_connection* connection);
/* STOP_SENDING; what has arrived is thrown away. RQB_DONE: there was nothing left to stop. */
int32_t rqb_stream_stop(rqb_connection* connection, uint64_t id, uint64_t code);
/* RESET_STREAM; what is not acknowledged is released. RQB_DONE: the sending side was over. */
int32_t rqb_stream_reset(rqb_connection* connection, uint64_t id, uint64_t code);
/* Lower urgency is sooner. RQB_DONE: no such stream. */
int32_t rqb_stream_priority(rqb_connection* connection, uint64_t id, uint8_t urgency, uint8_t incremental);
/* 1: all of the peer's data was read (or the stream is unknown). */
int32_t rqb_stream_finished(rqb_connection* connection, uint64_t id);
/* 1: both sides are over. */
int32_t rqb_stream_closed(rqb_connection* connection, uint64_t id);

/* --- What can be seen; pointers hold until the next call on the connection --- */

int32_t rqb_local_error(rqb_connection* connection, rqb_close_info* out);
int32_t rqb_peer_error(rqb_connection* connection, rqb_close_info* out);
int32_t rqb_evidence_of(rqb_connection* connection, rqb_evidence* out);
int32_t rqb_info_of(rqb_connection* connection, rqb_info* out);
/* DER, leaf first. */
int32_t rqb_peer_certificate(rqb_connection* connection, size_t index, rqb_bytes* out);
int32_t rqb_stats_of(rqb_connection* connection, rqb_stats* out);
/* At most `capacity` are written; `count` is how many there are. */
int32_t rqb_path_stats_of(rqb_connection* connection, rqb_path_stats* out, size_t capacity, size_t* count);
int32_t rqb_source_ids(rqb_connection* connection, rqb_connection_id* out, size_t capacity, size_t* count);
/* With its stateless-reset token of 16 bytes. RQB_DONE: the limit is reached. */
int32_t rqb_new_source_id(rqb_connection* connection, const rqb_connection_id* id, const uint8_t* reset_token);
/* RQB_DONE: none. */
int32_t rqb_retired_id_next(rqb_connection* connection, rqb_connection_id* out);

#ifdef __cplusplus
}
#endif

#endif
