/* clock.c - the one clock of the engine. */
#include "internal.h"

#include <time.h>

static int64_t read_clock(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

int64_t tio_clock(void) { return read_clock(CLOCK_MONOTONIC); }

#ifdef CLOCK_MONOTONIC_COARSE           /* Linux: the time of the last tick, much cheaper */
int64_t tio_clock_coarse(void) { return read_clock(CLOCK_MONOTONIC_COARSE); }
#else
int64_t tio_clock_coarse(void) { return tio_clock(); }
#endif
