#include "cli/state.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <utility>

#include "cli/ticket.hpp"

namespace riffle::cli {
namespace {

namespace fs = std::filesystem;

std::unexpected<Error> file_failure(const std::string& path, int system) {
  const Code code = system == EACCES || system == EPERM ? Code::permission_denied
                    : system == ENOSPC                  ? Code::out_of_space
                    : system == EMFILE                  ? Code::descriptors_exhausted
                                                        : Code::file_unreadable;
  return std::unexpected(Error::with_errno(code, system, path));
}

/// A descriptor that is closed when it goes; nothing of riffle's inside is known here.
class File {
 public:
  File(const std::string& path, int flags, mode_t mode = 0)
      : descriptor_(::open(path.c_str(), flags | O_CLOEXEC, mode)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  int get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ >= 0; }

 private:
  int descriptor_;
};

Result<std::string> read_private_file(const std::string& path) {
  const File file(path, O_RDONLY);
  struct stat about{};
  if (!file || ::fstat(file.get(), &about) != 0) return file_failure(path, errno);
  if ((about.st_mode & 077) != 0) {
    return fail(Code::permission_denied, path + " can be read by others: make it mode 0600, or begin anew elsewhere");
  }
  std::string content(static_cast<std::size_t>(about.st_size), '\0');
  const ssize_t size = ::read(file.get(), content.data(), content.size());
  if (size < 0) return file_failure(path, errno);
  content.resize(static_cast<std::size_t>(size));
  return content;
}

Result<State> make_state(const fs::path& folder) {
  auto certificate = make_self_signed({"riffle"}, 3650);
  if (!certificate) return std::unexpected(certificate.error());
  State state{.certificate = std::move(*certificate)};
  if (::getrandom(state.secret.data(), state.secret.size(), 0) != static_cast<ssize_t>(state.secret.size())) {
    return std::unexpected(Error::with_errno(Code::system_error, errno, "getrandom"));
  }
  // The key last: where it is, the rest is complete.
  if (auto written = write_private_file(folder / "secret", to_hex(state.secret) + "\n"); !written) {
    return std::unexpected(written.error());
  }
  if (auto written = write_private_file(folder / "cert.pem", state.certificate.chain_pem); !written) {
    return std::unexpected(written.error());
  }
  if (auto written = write_private_file(folder / "key.pem", state.certificate.key_pem); !written) {
    return std::unexpected(written.error());
  }
  return state;
}

Result<State> load_state(const fs::path& folder) {
  auto chain = read_private_file(folder / "cert.pem");
  if (!chain) return std::unexpected(chain.error());
  auto key = read_private_file(folder / "key.pem");
  if (!key) return std::unexpected(key.error());
  const auto secret = read_private_file(folder / "secret");
  if (!secret) return std::unexpected(secret.error());
  State state{.certificate = from_pem(std::move(*chain), std::move(*key))};
  if (!from_hex(std::string_view(*secret).substr(0, secret->find('\n')), state.secret)) {
    return fail(Code::file_unreadable, (folder / "secret").string() + " is not 32 hex digits");
  }
  return state;
}

}  // namespace

Result<std::string> default_state_folder() {
  if (const char* config = std::getenv("XDG_CONFIG_HOME"); config != nullptr && *config != '\0') {
    return (fs::path(config) / "riffle").string();
  }
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0') {
    return (fs::path(home) / ".config" / "riffle").string();
  }
  return fail(Code::invalid_argument, "there is no HOME to keep the key in: name a folder with --state");
}

Result<State> load_or_make_state(const std::string& folder) {
  std::error_code error;
  fs::create_directories(fs::path(folder).parent_path(), error);
  if (::mkdir(folder.c_str(), 0700) != 0 && errno != EEXIST) return file_failure(folder, errno);
  // Held until the descriptor closes: a second start waits and then finds what the first has made.
  const File lock(folder, O_RDONLY | O_DIRECTORY);
  if (!lock || ::flock(lock.get(), LOCK_EX) != 0) return file_failure(folder, errno);
  return fs::exists(fs::path(folder) / "key.pem", error) ? load_state(folder) : make_state(folder);
}

Result<void> write_private_file(const std::string& path, const std::string& content) {
  const std::string unfinished = path + ".new";
  {
    ::unlink(unfinished.c_str());
    const File file(unfinished, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (!file) return file_failure(path, errno);
    if (::write(file.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()) ||
        ::fsync(file.get()) != 0) {
      return file_failure(path, errno == 0 ? ENOSPC : errno);
    }
  }
  if (::rename(unfinished.c_str(), path.c_str()) != 0) return file_failure(path, errno);
  return {};
}

}  // namespace riffle::cli
