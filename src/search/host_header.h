#pragma once
#include <string>

namespace syncdr::search {

/// Whether a request with this Host header ("NAME", "NAME:PORT") is meant for this server, not for a name of somebody else's that leads here: addresses,
/// localhost, this machine's name, and the host that the server was told to listen on.
bool is_own_host(const std::string& header, const std::string& listened);
/// Whether a page of this origin ("http://NAME:PORT") was given by this server.
bool is_own_origin(const std::string& origin, const std::string& host);

}  // namespace syncdr::search
