#include "probe.h"

/// Reads and writes again: the script checks that nothing changed on the way.
SYNCDR_PROBE(echo) { return in; }
