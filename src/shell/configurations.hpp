// TLS contexts, kept while somebody uses them: one configuration serves many sessions (CFG-5).
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <riffle/options.hpp>
#include "core/quic/quic_port.hpp"

namespace riffle::shell {

/// Purpose: makes a client's configuration, or finds the one made from equal options. Threads: any.
class Configurations {
 public:
  explicit Configurations(core::QuicStack& quic) noexcept : quic_(quic) {}
  Result<std::shared_ptr<core::QuicConfiguration>> find_or_make(const quic::Client& options);

 private:
  /// So many are kept beside those in use; a program has few.
  static constexpr std::size_t keep = 16;
  struct Entry {
    std::string key;
    std::shared_ptr<core::QuicConfiguration> configuration;
  };
  core::QuicStack& quic_;
  std::mutex lock_;
  std::vector<Entry> entries_;  // under lock_; the latest used last
};

}  // namespace riffle::shell
