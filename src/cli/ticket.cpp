#include "cli/ticket.hpp"

#include <algorithm>
#include <optional>
#include <span>

#include <riffle/address.hpp>

namespace riffle::cli {
namespace {

constexpr std::string_view prefix = "rfl";
constexpr std::string_view alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";  // BIP 173
constexpr std::size_t checksum_size = 6;
constexpr std::uint8_t format = 1;

// Kinds of addresses.
constexpr std::uint8_t name = 0, ipv4 = 4, ipv6 = 6;

/// BIP 173's BCH code over groups of five bits.
std::uint32_t polymod(std::span<const std::uint8_t> values) {
  constexpr std::array<std::uint32_t, 5> generator{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3};
  std::uint32_t sum = 1;
  for (const std::uint8_t value : values) {
    const std::uint32_t top = sum >> 25;
    sum = (sum & 0x1ffffff) << 5 ^ value;
    for (std::size_t i = 0; i < generator.size(); ++i) {
      if ((top >> i & 1) != 0) sum ^= generator[i];
    }
  }
  return sum;
}

constexpr std::uint32_t bech32m = 0x2bc830a3;  // BIP 350

std::vector<std::uint8_t> with_prefix(std::span<const std::uint8_t> groups) {
  std::vector<std::uint8_t> all;
  for (const char c : prefix) all.push_back(static_cast<std::uint8_t>(c >> 5));
  all.push_back(0);
  for (const char c : prefix) all.push_back(static_cast<std::uint8_t>(c & 31));
  all.insert(all.end(), groups.begin(), groups.end());
  return all;
}

std::vector<std::uint8_t> to_groups(std::span<const std::uint8_t> bytes) {
  std::vector<std::uint8_t> groups;
  unsigned held = 0, bits = 0;
  for (const std::uint8_t byte : bytes) {
    held = (held << 8 | byte) & 0xfff;
    for (bits += 8; bits >= 5; bits -= 5) groups.push_back(static_cast<std::uint8_t>(held >> (bits - 5) & 31));
  }
  if (bits > 0) groups.push_back(static_cast<std::uint8_t>(held << (5 - bits) & 31));
  return groups;
}

std::vector<std::uint8_t> to_bytes(std::span<const std::uint8_t> groups) {
  std::vector<std::uint8_t> bytes;
  unsigned held = 0, bits = 0;
  for (const std::uint8_t group : groups) {
    held = (held << 5 | group) & 0xfff;
    if ((bits += 5) >= 8) bytes.push_back(static_cast<std::uint8_t>(held >> (bits -= 8) & 255));
  }
  return bytes;
}

void put_port(std::vector<std::uint8_t>& out, std::uint16_t port) {
  out.push_back(static_cast<std::uint8_t>(port >> 8));
  out.push_back(static_cast<std::uint8_t>(port & 255));
}

/// Takes fields off the front; once one is missing all are.
class Reader {
 public:
  explicit Reader(std::span<const std::uint8_t> bytes) : left_(bytes) {}
  std::span<const std::uint8_t> take(std::size_t size) {
    if (size > left_.size()) {
      is_good_ = false;
      return {};
    }
    const auto taken = left_.first(size);
    left_ = left_.subspan(size);
    return taken;
  }
  std::uint8_t byte() {
    const auto taken = take(1);
    return taken.empty() ? std::uint8_t{0} : taken[0];
  }
  std::uint16_t port() {
    const unsigned high = byte();
    return static_cast<std::uint16_t>(high << 8 | byte());
  }
  bool is_good() const { return is_good_; }
  bool is_at_end() const { return is_good_ && left_.empty(); }

 private:
  std::span<const std::uint8_t> left_;
  bool is_good_ = true;
};

Result<void> put_address(std::vector<std::uint8_t>& out, const std::string& text) {
  if (const auto numeric = Address::parse(text)) {
    const bool is_v4 = numeric->family == Address::Family::ipv4;
    out.push_back(is_v4 ? ipv4 : ipv6);
    out.insert(out.end(), numeric->bytes.begin(), numeric->bytes.begin() + (is_v4 ? 4 : 16));
    put_port(out, numeric->port);
    return {};
  }
  const auto parsed = HostPort::parse(text);
  if (!parsed) return std::unexpected(parsed.error());
  if (parsed->host.empty() || parsed->host.size() > 253 || parsed->port == 0) {
    return fail(Code::invalid_argument, "\"" + text + "\" is not HOST:PORT");
  }
  out.push_back(name);
  out.push_back(static_cast<std::uint8_t>(parsed->host.size()));
  out.insert(out.end(), parsed->host.begin(), parsed->host.end());
  put_port(out, parsed->port);
  return {};
}

std::string take_address(Reader& reader) {
  const std::uint8_t kind = reader.byte();
  if (kind == name) {
    const auto host = reader.take(reader.byte());
    HostPort named{.host = {host.begin(), host.end()}};
    named.port = reader.port();
    return named.to_string();
  }
  Address address{.family = kind == ipv4 ? Address::Family::ipv4 : Address::Family::ipv6};
  std::ranges::copy(reader.take(kind == ipv4 ? 4 : 16), address.bytes.begin());
  address.port = reader.port();
  return address.to_string();
}

std::unexpected<Error> not_a_ticket(const char* why) {
  return fail(Code::invalid_argument, std::string("the ticket ") + why);
}

}  // namespace

std::string to_hex(std::span<const std::uint8_t> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    text += digits[byte >> 4];
    text += digits[byte & 15];
  }
  return text;
}

bool from_hex(std::string_view text, std::span<std::uint8_t> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  if (text.size() != 2 * bytes.size()) return false;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto high = digits.find(text[2 * i]), low = digits.find(text[2 * i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return false;
    bytes[i] = static_cast<std::uint8_t>(high << 4 | low);
  }
  return true;
}

Result<std::string> Ticket::to_text() const {
  std::vector<std::uint8_t> bytes{format, static_cast<std::uint8_t>(std::min(addresses.size(), most_addresses))};
  for (std::size_t i = 0; i < addresses.size() && i < most_addresses; ++i) {
    if (auto put = put_address(bytes, addresses[i]); !put) return std::unexpected(put.error());
  }
  bytes.insert(bytes.end(), pin.begin(), pin.end());
  bytes.insert(bytes.end(), secret.begin(), secret.end());

  std::vector<std::uint8_t> groups = to_groups(bytes);
  const std::size_t size = groups.size();
  groups.resize(size + checksum_size);
  const std::uint32_t sum = polymod(with_prefix(groups)) ^ bech32m;
  for (std::size_t i = 0; i < checksum_size; ++i) {
    groups[size + i] = static_cast<std::uint8_t>(sum >> 5 * (checksum_size - 1 - i) & 31);
  }
  std::string text = std::string(prefix) + "1";
  for (const std::uint8_t group : groups) text += alphabet[group];
  return text;
}

Result<Ticket> Ticket::parse(std::string_view text) {
  std::string lower;
  for (const char c : text) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  if (!lower.starts_with(std::string(prefix) + "1"))
    return not_a_ticket("does not begin with \"rfl1\": copy the whole line");
  std::vector<std::uint8_t> groups;
  for (const char c : std::string_view(lower).substr(prefix.size() + 1)) {
    const auto group = alphabet.find(c);
    if (group == std::string_view::npos) {
      return not_a_ticket((std::string("holds a character that none has: \"") + c + "\"").c_str());
    }
    groups.push_back(static_cast<std::uint8_t>(group));
  }
  if (groups.size() < checksum_size || polymod(with_prefix(groups)) != bech32m) {
    return not_a_ticket("has a typo, or a part of it is missing: its checksum does not fit");
  }
  groups.resize(groups.size() - checksum_size);
  const std::vector<std::uint8_t> bytes = to_bytes(groups);
  Reader reader(bytes);
  if (reader.byte() != format) return not_a_ticket("is of a newer riffle: use that here too");
  Ticket ticket;
  const std::size_t count = reader.byte();
  for (std::size_t i = 0; i < count && reader.is_good(); ++i) ticket.addresses.push_back(take_address(reader));
  const auto pin = reader.take(ticket.pin.size());
  const auto secret = reader.take(ticket.secret.size());
  if (!reader.is_at_end() || count == 0) return not_a_ticket("is not complete");
  std::ranges::copy(pin, ticket.pin.begin());
  std::ranges::copy(secret, ticket.secret.begin());
  return ticket;
}

}  // namespace riffle::cli
