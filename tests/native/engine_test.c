/* engine_test.c - the engine alone, under ASan and UBSan: `make sanitize`.
 *
 * Two engines talk over memory, the reactor over loopback; a plain OpenSSL stands for everybody else.  The invariants of
 * engine.h have tests of their names; number 4 is kept by construction: no callback but psk.c's has anything of the user to call.
 *
 * Environment:  ONLY=text runs the tests whose name contains it    VERBOSE=1 tells the names
 *               SEED=n repeats a run of random cuts or scripts     CUTS=n, FAILURES=n take every n-th place only */
#include "harness.h"

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    install_allocator();
    make_certificates();
    state_tests();
    handshake_tests();
    data_tests();
    ticket_tests();
    status_tests();
    session_tests();
    psk_tests();
    reactor_tests();
    reshake_tests();
    chaos_tests();
    quiet_tests();
    limits_tests();
    signing_tests();
    allocation_tests();
    free_chaos();
    free_certificates();
    return finish();
}
