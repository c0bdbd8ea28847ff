#include "syncdr/io/utf8.h"

#include <boost/json.hpp>

namespace syncdr::io {

bool is_utf8(std::string_view text) {
  boost::json::error_code error;
  boost::json::parse(boost::json::serialize(boost::json::string(text)), error);  // only the way back looks at the bytes
  return !error;
}

}  // namespace syncdr::io
