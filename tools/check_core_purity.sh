#!/usr/bin/env bash
# The core is handed time and bytes: its archive may need no clock, socket, file, thread, randomness or quiche symbol.
# usage: check_core_purity.sh ARCHIVE | --self-test
set -euo pipefail

forbidden='^(clock_gettime|gettimeofday|time|nanosleep|usleep|sleep|timerfd_.*|'
forbidden+='socket|bind|listen|accept4?|connect|send|sendto|sendmsg|sendmmsg|recv|recvfrom|recvmsg|recvmmsg|'
forbidden+='[gs]etsockopt|getaddrinfo|epoll_.*|e?poll|ppoll|select|eventfd|pipe2?|'
forbidden+='open|openat|fopen(64)?|read|write|close|fcntl|ioctl|mmap|syscall|'
forbidden+='pthread_(create|join|detach|mutex_.*|cond_.*)|sem_.*|rand|random|srand|getrandom|getentropy|arc4random.*|'
forbidden+='RAND_.*|SSL_.*|quiche_.*|riffle_quiche_.*|'
forbidden+='std::chrono::.*::now\(\)|std::thread::.*|std::this_thread::.*|std::condition_variable.*|std::random_device::.*|'
forbidden+='std::(basic_)?[io]?fstream.*)(@.*)?$'

check() {
  local archive=$1 symbols found
  symbols=$(nm -uC "$archive") || return 1
  found=$(awk '$1 == "U" { sub(/^ *U /, ""); print }' <<<"$symbols" | sort -u | grep -E "$forbidden" || true)
  if [[ -n $found ]]; then
    printf '%s needs what the core may not touch:\n%s\n' "$archive" "$found"
    return 1
  fi
  printf '%s is pure\n' "$archive"
}

# make_archive NAME CODE
make_archive() {
  printf '%s\n' "$2" >"$folder/$1.cpp"
  "${CXX:-c++}" -std=c++20 -c "$folder/$1.cpp" -o "$folder/$1.o"
  ar rc "$folder/$1.a" "$folder/$1.o"
}

self_test() {
  folder=$(mktemp -d)
  trap 'rm -rf "$folder"' EXIT
  make_archive pure '#include <vector>
    int sum(const std::vector<int>& v) { int s = 0; for (int i : v) s += i; return s; } int* make() { return new int; }'
  make_archive clock '#include <chrono>
    long now() { return std::chrono::steady_clock::now().time_since_epoch().count(); }'
  make_archive socket '#include <sys/socket.h>
    int make() { return socket(AF_INET, SOCK_DGRAM, 0); }'
  make_archive thread '#include <thread>
    void run() { std::thread([] {}).join(); }'
  make_archive random '#include <random>
    unsigned draw() { return std::random_device{}(); }'
  check "$folder/pure.a"
  for name in clock socket thread random missing; do
    if check "$folder/$name.a" 2>/dev/null; then
      echo "check_core_purity: $name was not found" >&2
      exit 1
    fi
  done
}

if [[ ${1:-} == --self-test ]]; then self_test; else check "${1:?an archive}"; fi
