#include "cli/forward_spec.hpp"

#include <vector>

namespace riffle::cli {
namespace {

std::unexpected<Error> malformed(std::string_view text) {
  return fail(Code::invalid_argument,
              "-L " + std::string(text) + ": it should be [ADDR:]PORT:HOST:HOSTPORT, for example 8080:localhost:80");
}

/// Split at the colons that are not inside brackets.
std::vector<std::string> fields_of(std::string_view text) {
  std::vector<std::string> fields(1);
  bool is_bracketed = false;
  for (const char c : text) {
    if (c == '[') is_bracketed = true;
    if (c == ']') is_bracketed = false;
    if (c == ':' && !is_bracketed) {
      fields.emplace_back();
    } else {
      fields.back() += c;
    }
  }
  return fields;
}

std::string numeric(const std::string& host) {
  if (host == "localhost") return "127.0.0.1";
  return host == "*" ? "[::]" : host;
}

}  // namespace

Result<forward::Forward> parse_forward(std::string_view text) {
  std::vector<std::string> fields = fields_of(text);
  if (fields.size() == 3) fields.insert(fields.begin(), "127.0.0.1");
  if (fields.size() != 4) return malformed(text);
  forward::Forward parsed{.listen = numeric(fields[0]) + ":" + fields[1], .target = fields[2] + ":" + fields[3]};
  const auto target = HostPort::parse(parsed.target);
  const bool is_good = Address::parse(parsed.listen) && target && !target->host.empty() && target->port != 0;
  if (!is_good) return malformed(text);
  return parsed;
}

}  // namespace riffle::cli
