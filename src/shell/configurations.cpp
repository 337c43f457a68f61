#include "shell/configurations.hpp"

#include <algorithm>

namespace riffle::shell {
namespace {

/// Every option that goes into a configuration, with its length before it so that no two lists read alike.
class Key {
 public:
  Key& add(const std::string& text) {
    key_ += std::to_string(text.size()) + ":" + text;
    return *this;
  }
  Key& add(std::uint64_t number) { return add(std::to_string(number)); }
  std::string take() { return std::move(key_); }

 private:
  std::string key_;
};

std::string key_of(const quic::Client& options) {
  const quic::Transport& t = options.transport;
  Key key;
  key.add(options.trust.system_store)
      .add(options.trust.ca_file)
      .add(options.trust.ca_directory)
      .add(options.trust.ca_pem);
  key.add(options.trust.insecure).add(options.trust.pins.size());
  for (const std::string& pin : options.trust.pins) key.add(pin);
  key.add(options.alpn.get().size());
  for (const std::string& name : options.alpn.get()) key.add(name);
  key.add(options.certificate.chain_file).add(options.certificate.key_file);
  key.add(options.certificate.chain_pem).add(options.certificate.key_pem);
  key.add(t.version)
      .add(static_cast<std::uint64_t>(t.idle_timeout.count()))
      .add(t.max_streams_bidi)
      .add(t.max_streams_uni);
  key.add(t.stream_window).add(t.connection_window).add(t.max_stream_window).add(t.max_connection_window);
  key.add(t.max_receive_payload).add(t.max_send_payload).add(t.path_mtu_discovery).add(t.disable_active_migration);
  key.add(t.grease).add(t.ack_delay_exponent).add(static_cast<std::uint64_t>(t.max_ack_delay.count()));
  key.add(t.active_connection_id_limit).add(t.congestion_control).add(t.initial_window_packets).add(t.key_log_file);
  key.add(options.limits.stalled_readers_tolerated);
  return key.take();
}

}  // namespace

Result<std::shared_ptr<core::QuicConfiguration>> Configurations::find_or_make(const quic::Client& options) {
  std::string key = key_of(options);
  const std::lock_guard hold(lock_);
  const auto found =
      std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) { return entry.key == key; });
  if (found != entries_.end()) {
    std::rotate(found, found + 1, entries_.end());
    return entries_.back().configuration;
  }
  auto made = quic_.configure(options);
  if (!made) return std::unexpected(made.error());
  if (entries_.size() == keep) entries_.erase(entries_.begin());
  entries_.push_back({std::move(key), std::shared_ptr<core::QuicConfiguration>(std::move(*made))});
  return entries_.back().configuration;
}

}  // namespace riffle::shell
