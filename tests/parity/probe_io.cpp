#include "probe.h"

SYNCDR_PROBE(echo, "any -> the same, read and written again") { return in; }
