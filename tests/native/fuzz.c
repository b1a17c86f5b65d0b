/* fuzz.c - chaos.c under libFuzzer: `make fuzz`.  What it finds is repeated by build/fuzz/fuzz FILE.
 *
 * A script has to mean the same each time, so OpenSSL's random numbers come from a counter. */
#define OPENSSL_SUPPRESS_DEPRECATED     /* a provider of random numbers would take a hundred lines more */
#include "harness.h"

#include <openssl/rand.h>

int LLVMFuzzerInitialize(int *, char ***);
int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static uint64_t count;

static int numbers(unsigned char *to, int size) {
    for (int i = 0; i < size; i++) {
        count = count * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        to[i] = (unsigned char)(count >> 56);
    }
    return 1;
}

static int ready(void) { return 1; }

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static const RAND_METHOD method = { .bytes = numbers, .pseudorand = numbers, .status = ready };
    (void)argc, (void)argv;
    install_allocator();
    RAND_set_rand_method(&method);
    make_certificates();
    checks_abort = 1;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    count = 0;
    if (size < 2 || size > 4096) return 0;
    if (data[0] % 2) quiet_play(data + 1, size - 1);
    else chaos(data + 1, size - 1);
    ERR_clear_error();
    return 0;
}
