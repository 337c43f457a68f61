// Why a stream, or its session, takes no more.
#pragma once

#include <riffle/error.hpp>

namespace riffle::meet {
class SessionMeet;
class StreamMeet;
}  // namespace riffle::meet

namespace riffle::api {

Error write_error(const meet::StreamMeet& stream);
Error closed_error(const meet::SessionMeet& session);

}  // namespace riffle::api
