// The one table of failures: name, fault, exit code, sentence, advice.
#include <riffle/error.hpp>

#include <array>
#include <cstdio>
#include <cstring>

namespace riffle {
inline namespace v1 {
namespace {

struct Row {
  Code code;
  Fault fault;
  int exit_code;  // spec/command.md, "Common to all"
  std::string_view name;
  std::string_view sentence;
  std::string_view advice;
};

constexpr std::array rows{
    Row{Code::invalid_argument, Fault::caller, 2, "invalid_argument", "an argument or option makes no sense",
        "correct the value that is named"},
    Row{Code::unsupported, Fault::caller, 2, "unsupported", "this transport cannot do that", ""},
    Row{Code::would_block, Fault::nobody, 1, "would_block", "there is no credit for it right now",
        "wait for `writable` (or for data), then try again"},
    Row{Code::would_deadlock, Fault::caller, 70, "would_deadlock", "a waiting call was made on a loop thread",
        "use the handler's context there, or call from another thread"},
    Row{Code::wrong_mode, Fault::caller, 70, "wrong_mode", "the stream delivers to its handler and cannot be read",
        "set its delivery to passive first"},
    Row{Code::concurrent_read, Fault::caller, 70, "concurrent_read", "another thread is reading this stream",
        "give each stream one reader at a time"},
    Row{Code::timed_out, Fault::nobody, 3, "timed_out", "the deadline of the call passed",
        "what it waited for may still come: wait again, or close"},
    Row{Code::too_large, Fault::peer, 5, "too_large", "there is more data than the stated bound allows",
        "raise the bound, or read in pieces"},
    Row{Code::busy, Fault::caller, 6, "busy", "a bounded queue is full", "try again later, or raise its limit"},
    Row{Code::closed, Fault::nobody, 1, "closed", "the session or engine has ended", ""},
    Row{Code::stream_reset, Fault::peer, 5, "stream_reset", "the peer reset the stream", ""},
    Row{Code::stream_stopped, Fault::peer, 5, "stream_stopped", "the peer asked us to stop sending on the stream", ""},
    Row{Code::stream_finished, Fault::caller, 70, "stream_finished", "our side of the stream has already been ended",
        "write before the fin, or open another stream"},
    Row{Code::name_not_found, Fault::caller, 3, "name_not_found", "the host name could not be resolved",
        "check the spelling and the resolver"},
    Row{Code::unreachable, Fault::network, 3, "unreachable", "nothing answers at that address",
        "check that the server runs, and its address and UDP port"},
    Row{Code::handshake_timeout, Fault::network, 3, "handshake_timeout",
        "the peer did not finish the handshake in time",
        "check that UDP reaches the peer, and that it speaks QUIC there"},
    Row{Code::idle_timeout, Fault::network, 3, "idle_timeout", "nothing was heard from the peer for too long",
        "use a keep-alive, or a longer idle timeout"},
    Row{Code::peer_closed, Fault::peer, 5, "peer_closed", "the peer closed the connection", ""},
    Row{Code::refused, Fault::peer, 4, "refused", "the peer refused the connection", "it may be full; try again later"},
    Row{Code::version_unsupported, Fault::peer, 5, "version_unsupported", "the peer does not speak this QUIC version",
        "use version 1"},
    Row{Code::alpn_refused, Fault::peer, 4, "alpn_refused", "the peer speaks none of the offered protocols (ALPN)",
        "it is another program, or another version; check `alpn` on both sides"},
    Row{Code::certificate_rejected, Fault::peer, 4, "certificate_rejected", "the peer's certificate is not trusted",
        "name the right CA (`trust`), pin its key, or mend its certificate"},
    Row{Code::certificate_refused, Fault::caller, 4, "certificate_refused", "the peer does not accept our certificate",
        "give a certificate that the peer's CA has signed"},
    Row{Code::pin_mismatch, Fault::peer, 4, "pin_mismatch", "the peer's key is not the pinned one",
        "if its key was renewed on purpose, take the new pin; else do not trust it"},
    Row{Code::tls_failed, Fault::peer, 5, "tls_failed", "the TLS handshake failed", ""},
    Row{Code::protocol_violation, Fault::peer, 5, "protocol_violation", "the peer broke the protocol", ""},
    Row{Code::address_in_use, Fault::machine, 6, "address_in_use", "the address is already in use",
        "stop the other program, or take another port (0 takes a free one)"},
    Row{Code::permission_denied, Fault::machine, 6, "permission_denied", "the system does not permit it",
        "ports below 1024 need a privilege; files need the right owner and mode"},
    Row{Code::file_unreadable, Fault::machine, 6, "file_unreadable", "a file cannot be read or written",
        "check that it exists, and its owner and mode"},
    Row{Code::certificate_unusable, Fault::caller, 2, "certificate_unusable", "a certificate or key cannot be used",
        "give a PEM chain and the private key that belongs to it"},
    Row{Code::descriptors_exhausted, Fault::machine, 6, "descriptors_exhausted", "there are no file descriptors left",
        "raise `ulimit -n`"},
    Row{Code::out_of_space, Fault::machine, 6, "out_of_space", "the disk is full", "free some space"},
    Row{Code::budget_exhausted, Fault::caller, 6, "budget_exhausted", "a budget of riffle is used up",
        "read faster, close what is not needed, or raise the limit that is named"},
    Row{Code::system_error, Fault::machine, 6, "system_error", "the operating system refused", ""},
    Row{Code::handler_failed, Fault::caller, 70, "handler_failed", "a callback threw, so its session was closed",
        "handle the exception inside the callback"},
    Row{Code::internal, Fault::riffle, 70, "internal", "riffle made a mistake", "please report it with this line"},
};

constexpr bool rows_are_in_order() {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (static_cast<std::size_t>(rows[i].code) != i + 1) return false;
  }
  return static_cast<std::size_t>(Code::internal) == rows.size();
}
static_assert(rows_are_in_order(), "every code has its row, in the order of the enum");

const Row& row_of(Code code) noexcept {
  const auto index = static_cast<std::size_t>(code) - 1;
  return index < rows.size() ? rows[index] : rows.back();
}

std::string hex(std::uint64_t value) {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(value));
  return text.data();
}

}  // namespace

std::string_view Error::name() const noexcept { return row_of(code_).name; }
std::string_view Error::sentence() const noexcept { return row_of(code_).sentence; }
std::string_view Error::advice() const noexcept { return row_of(code_).advice; }
Fault Error::fault() const noexcept { return row_of(code_).fault; }
int Error::exit_code() const noexcept { return row_of(code_).exit_code; }

std::string Error::message() const {
  std::string text(sentence());
  if (!evidence_.empty()) text += ": " + evidence_;
  if (has_wire_) text += " (code " + hex(wire_) + ")";
  if (system_ != 0) {
    text += ": ";
    text += std::strerror(system_);
  }
  return text;
}

int explain(const Error& error) {
  std::string text = "riffle: " + error.message() + "\n";
  if (!error.advice().empty()) text += "  " + std::string(error.advice()) + "\n";
  std::fputs(text.c_str(), stderr);
  return error.exit_code();
}

}  // namespace v1
}  // namespace riffle
