// Certificates made on the spot, and pins: the functions of riffle/options.hpp that need BoringSSL.
#include <array>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <memory>

#include <riffle/options.hpp>

#include "quiche/bridge_values.hpp"

namespace riffle {
inline namespace v1 {
namespace {

struct FreeText {
  void operator()(rqb_text* text) const noexcept { rqb_text_free(text); }
};
using Text = std::unique_ptr<rqb_text, FreeText>;

std::string string_of(const Text& text) { return quiche::to_string(rqb_text_bytes(text.get())); }

}  // namespace

Result<Certificate> make_self_signed(const std::vector<std::string>& names, int days) {
  quiche::start_bridge();
  // A negative number is named as itself, not as what it would be without its sign.
  if (days < 1) return fail(Code::invalid_argument, "days: " + std::to_string(days) + " is not at least 1");
  std::vector<rqb_bytes> list;
  for (const std::string& name : names) list.push_back(quiche::to_bridge(name));
  rqb_text* chain = nullptr;
  rqb_text* key = nullptr;
  const int32_t code =
      rqb_make_self_signed(list.data(), list.size(), static_cast<std::uint32_t>(days), 0, &chain, &key);
  if (code != RQB_OK) return std::unexpected(quiche::last_error());
  const Text chain_owner(chain);
  const Text key_owner(key);
  Certificate out;
  out.chain_pem = string_of(chain_owner);
  out.key_pem = string_of(key_owner);
  return out;
}

Result<std::string> pin_of(const Certificate& certificate) {
  quiche::start_bridge();
  std::string pem = certificate.chain_pem;
  if (!certificate.chain_file.empty()) {
    std::ifstream file(certificate.chain_file, std::ios::binary);
    if (!file) return std::unexpected(Error::with_errno(Code::file_unreadable, errno, certificate.chain_file));
    pem.assign(std::istreambuf_iterator<char>(file), {});
  }
  std::array<std::uint8_t, 32> pin{};
  if (rqb_pin_of(quiche::to_bridge(pem), pin.data()) != RQB_OK) return std::unexpected(quiche::last_error());
  constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  for (const std::uint8_t byte : pin) {
    hex += digits[byte >> 4];
    hex += digits[byte & 15];
  }
  return hex;
}

}  // namespace v1
}  // namespace riffle
