#pragma once
#include <utility>

#include "syncdr/core/error.h"

/// Arithmetic on sizes that come from files: an overflow is bad data, never undefined behaviour.
namespace syncdr::core {

/// a * b; throws DataError naming `what` on overflow.
template <class T> T checked_mul(T a, T b, const char* what) {
  T result;
  if (__builtin_mul_overflow(a, b, &result)) throw DataError("{}: {} * {} is too large", what, a, b);
  return result;
}

/// a + b; throws DataError naming `what` on overflow.
template <class T> T checked_add(T a, T b, const char* what) {
  T result;
  if (__builtin_add_overflow(a, b, &result)) throw DataError("{}: {} + {} is too large", what, a, b);
  return result;
}

/// The value as another integer type; throws DataError naming `what` if it does not fit.
template <class To, class From> To checked_cast(From value, const char* what) {
  if (!std::in_range<To>(value)) throw DataError("{}: {} is out of range", what, value);
  return static_cast<To>(value);
}

}  // namespace syncdr::core
