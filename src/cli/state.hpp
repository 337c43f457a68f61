// What `riffle serve` keeps between its runs: key, certificate, secret.
#pragma once

#include <string>

#include <riffle/error.hpp>
#include <riffle/forward.hpp>
#include <riffle/options.hpp>

namespace riffle::cli {

/// Purpose: the identity of a server. The same folder gives the same ticket.
struct State {
  Certificate certificate;
  forward::Secret secret{};
};

/// $XDG_CONFIG_HOME/riffle, else ~/.config/riffle.
Result<std::string> default_state_folder();

/// Reads it, or makes it where there is none: the folder with mode 0700, key.pem, cert.pem and secret with 0600.
/// Two starts at once end with the same state. Errors: file_unreadable, permission_denied (others may read the key).
Result<State> load_or_make_state(const std::string& folder);

/// Writes a file that only its owner may read, whole or not at all.
Result<void> write_private_file(const std::string& path, const std::string& content);

}  // namespace riffle::cli
