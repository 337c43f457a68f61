// Everything that a program over QUIC needs.
#pragma once

#include <riffle/address.hpp>
#include <riffle/bytes.hpp>
#include <riffle/engine.hpp>
#include <riffle/error.hpp>
#include <riffle/handler.hpp>
#include <riffle/ids.hpp>
#include <riffle/options.hpp>
#include <riffle/session.hpp>
#include <riffle/stats.hpp>
#include <riffle/stream.hpp>
